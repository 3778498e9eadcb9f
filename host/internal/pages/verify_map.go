package pages

import (
	"context"
	"errors"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// within says that a page of the visibility map has no bit that the other lacks.
func within(ours, theirs []byte) bool {
	for i, b := range ours {
		if b&^theirs[i] != 0 {
			return false
		}
	}
	return true
}

// lostBits says whether a page of a visibility map began with an image without
// its bits: CREATE DATABASE with the strategy wal_log takes the page for one whose
// middle is empty and leaves that out of the WAL (log_newpage_buffer as called by
// RelationCopyStorageUsingBuffer, bufmgr.c, since PG15). No standby has these bits,
// and none needs them.
//
// The page's history shows it; where that was collected, the database that was
// copied does.
func (v *verifier) lostBits(ctx context.Context, f Fork, block uint32, ours, theirs []byte) (lost bool, err error) {
	known := false
	name := pageclient.PageName{Rel: f.Rel, Fork: f.Fork, Block: wal.BlockNumber(block)}
	err = v.Client.History(ctx, pageclient.HistoryRequest{Page: name, To: v.target, Records: true}, func(h *pagepb.HistoryRecord) error {
		if !h.Image {
			return nil
		}
		rec := wal.Record{StartLSN: wal.LSN(h.StartLsn), EndLSN: wal.LSN(h.EndLsn), Version: wal.Version(h.Version), Data: h.Record}
		if err := rec.Decode(h.Record); err != nil {
			return err
		}
		for i := range rec.Blocks {
			if b := &rec.Blocks[i]; uint32(b.ID) == h.BlockId {
				known, lost = true, b.HoleLen > 0
			}
		}
		return nil
	})
	if err != nil || known {
		return lost, err
	}
	return v.copiedBits(f, block, ours, theirs)
}

// copiedBits says whether another database has, on the same page of a relation of
// the same number, all bits that the sink's page lacks.
func (v *verifier) copiedBits(f Fork, block uint32, ours, theirs []byte) (bool, error) {
	page := make([]byte, wal.BlockSize)
	for other, blocks := range v.dir.blocks {
		if other.Fork != f.Fork || other.Rel.Rel != f.Rel.Rel || other.Rel.DB == f.Rel.DB || block >= blocks {
			continue
		}
		file := v.dir.file(other)
		if err := errors.Join(file.read(block, page), file.close()); err != nil {
			return false, err
		}
		copied := true
		for i := headerSize; i < wal.BlockSize; i++ {
			copied = copied && theirs[i]&^ours[i]&^page[i] == 0
		}
		if copied {
			return true, nil
		}
	}
	return false, nil
}
