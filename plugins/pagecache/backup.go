package pagecache

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
	"github.com/walplex/walplex/sdk/wal/slru"
)

// backup takes the files of a base backup apart into pages: those of relations,
// of the transactions' states, and the relation maps. A page may be torn, or of any
// moment of the backup: the first record that changes it after the backup's start
// has an image of it.
type backup struct {
	store *pagestore.Store
	keeps *keeps

	file   relfile.File
	use    bool   // the file holds pages that are stored
	size   int64  // of the file
	at     int64  // bytes of it that came
	rest   []byte // of a page that has not come as a whole
	blocks map[fork]wal.BlockNumber
}

// fork names a relation's fork.
type fork struct {
	rel  wal.RelFileLocator
	fork wal.ForkNumber
}

// begin begins a file.
func (b *backup) begin(name string, size int64) {
	b.file = relfile.Parse(name)
	b.size, b.at, b.rest = size, 0, b.rest[:0]
	switch b.file.Kind {
	case relfile.Other, relfile.Temporary:
		b.use = false
	case relfile.Relation:
		b.use = b.keeps.stores(b.file.Rel)
	default:
		b.use = true
	}
	if b.use && b.file.Kind == relfile.Relation {
		// A file that grew while it was read can end in a part of a page.
		f := fork{b.file.Rel, b.file.Fork}
		end := wal.BlockNumber(size / wal.BlockSize)
		if end > 0 {
			end += b.file.FirstBlock()
		}
		b.blocks[f] = max(b.blocks[f], end)
	}
}

// data takes the file's next bytes.
func (b *backup) data(p []byte) error {
	if !b.use {
		return nil
	}
	first := b.at
	b.at += int64(len(p))
	if n := len(b.rest); n > 0 {
		take := min(wal.BlockSize-n, len(p))
		b.rest = append(b.rest, p[:take]...)
		if len(b.rest) < wal.BlockSize && b.at < b.size {
			return nil
		}
		if err := b.pages(first-int64(n), b.rest); err != nil {
			return err
		}
		b.rest, p, first = b.rest[:0], p[take:], first+int64(take)
	}
	whole := len(p) &^ (wal.BlockSize - 1)
	if whole > 0 {
		if err := b.pages(first, p[:whole]); err != nil {
			return err
		}
	}
	b.rest = append(b.rest, p[whole:]...)
	if b.at == b.size && len(b.rest) > 0 {
		return b.pages(first+int64(whole), b.rest)
	}
	return nil
}

// pages imports what lies at a place of the file: whole pages, or the file's end.
func (b *backup) pages(at int64, p []byte) error {
	block := b.file.FirstBlock() + wal.BlockNumber(at/wal.BlockSize)
	id := pagestore.PageID{Rel: b.file.Rel, Fork: b.file.Fork, Block: block}
	switch b.file.Kind {
	case relfile.RelMap:
		if at != 0 || len(p) > wal.BlockSize {
			return sdk.Permanentf("%s of database %d in the base backup has %d bytes, and can have %d at most", relfile.RelMapName, b.file.Rel.DB, b.size, wal.BlockSize)
		}
		id = pagestore.RelMapPage(b.file.Rel.Spc, b.file.Rel.DB)
		p = append(make([]byte, 0, wal.BlockSize), p...)[:wal.BlockSize]
	case relfile.Relation:
	default:
		id = pagestore.SLRUPage(slruOf(b.file.Kind), uint32(block))
	}
	p = p[:len(p)&^(wal.BlockSize-1)]
	if len(p) == 0 {
		return nil
	}
	return b.store.ImportPages(id.Rel, id.Fork, id.Block, p)
}

// end tells the sizes of all forks.
func (b *backup) end() error {
	for f, blocks := range b.blocks {
		if err := b.store.ImportFork(f.rel, f.fork, blocks); err != nil {
			return err
		}
	}
	return nil
}

// BeginBackup begins the import of a base backup.
func (s *sink) BeginBackup(_ context.Context, b *sdk.BackupStart) error {
	s.backup = &backup{store: s.store, keeps: s.keeps, blocks: map[fork]wal.BlockNumber{}}
	return s.failedBackup(s.store.BeginImport(s.system.ID, b.Start.Timeline, s.system.SegmentSize, b.Start.LSN))
}

// BackupFile begins a file.
func (s *sink) BackupFile(_ context.Context, f *sdk.BackupFile) error {
	if f.Mode&fs.ModeDir == 0 {
		s.backup.begin(f.Name, f.Size)
	}
	return nil
}

// BackupData imports a part of a file.
func (s *sink) BackupData(_ context.Context, p []byte) error {
	return s.failedBackup(s.backup.data(p))
}

// EndBackup makes the import durable. From here on reads are answered.
func (s *sink) EndBackup(ctx context.Context, end wal.Position) error {
	err := s.backup.end()
	s.backup = nil
	if err == nil {
		err = s.store.EndImport(ctx, end.LSN)
	}
	st := s.store.State()
	s.at = pagestore.Progress{Position: st.Position, LastValid: st.LastValid}
	return s.failedBackup(err)
}

func (s *sink) failedBackup(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("base backup into %s: %w", s.config.Directory, err)
}

// slruOf is the SLRU of a file.
func slruOf(kind relfile.Kind) slru.Kind {
	switch kind {
	case relfile.Xact:
		return slru.Xact
	case relfile.MultiXactOffsets:
		return slru.MultiXactOffsets
	case relfile.MultiXactMembers:
		return slru.MultiXactMembers
	case relfile.CommitTs:
		return slru.CommitTs
	}
	return 0
}
