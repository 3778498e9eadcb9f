package pagestore

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/slru"
)

// partial is a record that comes in fragments because it is larger than the sink
// has records put together. Nothing that references a page is that large; a
// commit of millions of subtransactions is.
type partial struct {
	open bool
	kept bool
	rec  wal.Record // the first fragment's, without Data
	ptr  pointer    // of the first fragment, length of the record
	next uint32     // offset in the record at which the next fragment begins
	scan dropScanner

	changes []change
	tree    slru.Tree   // if it ends a transaction
	slru    []slru.Page // that it changes
}

// appendFragment takes the next fragment of a record. Its keys are made with the
// last one: before, nobody knows where it ends, nor that it is whole.
func (s *Store) appendFragment(f *wal.Record) error {
	r := &s.rest
	if f.FragmentOffset == 0 {
		r.begin(f)
	}
	if !r.open || f.StartLSN != r.rec.StartLSN || f.FragmentOffset != r.next {
		return fmt.Errorf("record at %s: the fragment at byte %d does not follow what was delivered before", f.StartLSN, f.FragmentOffset)
	}
	r.next += uint32(len(f.Data))
	last := f.Last() && f.EndLSN != 0
	if r.kept {
		e := entry{start: f.StartLSN, end: f.EndLSN, kind: kindFragment, version: f.Version}
		ptr, err := s.log.append(&e, f.Data, f.FragmentOffset > 0)
		if err != nil {
			return err
		}
		if f.FragmentOffset == 0 {
			r.ptr = pointer{file: ptr.file, offset: ptr.offset, length: f.TotalLen, flags: flagFragments}
		}
		s.pending.bytes += int64(len(f.Data))
		r.changes = r.scan.feed(r.changes, f.MainData())
		r.slru = r.tree.Pages(r.slru, f.MainData())
	}
	if !last {
		return nil
	}
	r.open = false
	s.state.LastRecord = f.EndLSN
	if r.kept {
		r.rec.EndLSN = f.EndLSN
		s.note(&r.rec, r.ptr, r.changes)
		return s.noteSizes(&r.rec, r.changes)
	}
	return nil
}

func (r *partial) begin(f *wal.Record) {
	blocks := append(r.rec.Blocks[:0], f.Blocks...)
	r.rec = *f
	r.rec.Blocks, r.rec.Data = blocks, nil
	r.open, r.next = true, 0
	r.kept = len(f.Blocks) > 0 || keptAlone(f.RmgrID, f.Info)
	r.changes = r.changes[:0]
	r.scan = dropScanner{}
	r.tree, _ = slru.NewTree(f)
	r.slru = r.slru[:0]
	if f.RmgrID == wal.RmgrTransaction {
		r.scan = newDropScanner(f.Info)
	}
}
