package pagestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/slru"
)

// Pages of the server's SLRUs are pages of pseudo relations: {0, 0, kind}, main fork,
// block the page's number. Each record that changes one has a key under it. Files that
// a record removes are a change of the pseudo relation. A page is there from where the
// base backup or a record that makes it has it, and whatever changes it otherwise is
// nothing, as times of commits that a server does not keep.

// SLRUPage names the page of an SLRU. A base backup's pages are imported as that.
func SLRUPage(kind slru.Kind, page uint32) PageID {
	return PageID{Rel: wal.RelFileLocator{Rel: wal.OID(kind)}, Block: wal.BlockNumber(page)}
}

// isSLRU reports that the page is SLRUPage's.
func (p PageID) isSLRU() bool {
	return p.Rel.Spc == 0 && p.Rel.DB == 0 && slru.Kind(p.Rel.Rel).Valid() && p.Rel.Rel <= wal.OID(slru.CommitTs)
}

// slruPage is what the page is to package slru.
func (p PageID) slruPage() slru.Page {
	return slru.Page{Kind: slru.Kind(p.Rel.Rel), Number: uint32(p.Block)}
}

// slruState is what has to be known of the server to tell which pages a record changes.
type slruState struct {
	next     wal.XID // the next xid; 0: not known
	tracking tracking
}

// tracking is whether the server keeps the times of commits. While it is not known,
// commits get keys as if it did.
type tracking uint8

const (
	trackingUnknown tracking = iota
	trackingOff
	trackingOn
)

// slruNotes is that state, and what noting a record needs.
type slruNotes struct {
	slruState
	committed slruState
	pages     []slru.Page
	cuts      []slru.Truncation
}

// sees takes the record's xid.
func (n *slruNotes) sees(rec *wal.Record) {
	if x := rec.XID; x != 0 && n.next != 0 && int32(x-n.next) >= 0 {
		n.next = max(x+1, firstNormalXID)
	}
}

const firstNormalXID = 3 // FirstNormalTransactionId (access/transam.h)

// noteSLRU adds the keys of the pages of SLRUs that the record at ptr changes. Of a
// record in fragments, the first is given, and s.rest knows the pages.
func (s *Store) noteSLRU(rec *wal.Record, ptr pointer) {
	n := &s.slru
	switch rec.RmgrID {
	case wal.RmgrTransaction:
	case wal.RmgrXLOG, wal.RmgrCLOG, wal.RmgrMultiXact, wal.RmgrCommitTs:
		s.noteSLRUCuts(rec, ptr)
	default:
		return
	}
	if n.pages = n.pages[:0]; ptr.flags&flagFragments != 0 {
		n.pages = append(n.pages, s.rest.slru...)
	} else {
		n.pages = slru.Pages(rec, n.pages)
	}
	n.track(rec)
	ptr.flags |= flagImplied
	for _, p := range n.pages {
		if p.Kind == slru.CommitTs && p.Existing && n.tracking == trackingOff {
			continue
		}
		v := ptr
		if p.Init {
			v.flags |= flagWillInit
		}
		id := SLRUPage(p.Kind, p.Number)
		s.pending.pages = append(s.pending.pages, makePageEntry(id.Rel, id.Fork, id.Block, rec.EndLSN, v))
	}
}

// track takes what the record says of the next xid and of times. A server that begins
// to keep times makes a page.
func (n *slruNotes) track(rec *wal.Record) {
	if next, ok := slru.NextXID(rec); ok && (n.next == 0 || int32(next-n.next) > 0) {
		n.next = next
	}
	on, told := slru.Tracking(rec)
	if !told {
		return
	}
	was := n.tracking
	n.tracking = trackingOff
	if on {
		n.tracking = trackingOn
	}
	if _, checkpoint := slru.NextXID(rec); on && was == trackingOff && !checkpoint && n.next != 0 {
		n.pages = append(n.pages, slru.TrackingBegins(n.next))
	}
}

// noteSLRUCuts adds the keys of what the record at ptr removes.
func (s *Store) noteSLRUCuts(rec *wal.Record, ptr pointer) {
	s.slru.cuts = slru.Truncated(rec, s.slru.cuts[:0])
	for i := range s.slru.cuts {
		t := &s.slru.cuts[i]
		c := change{rel: SLRUPage(t.Kind, 0).Rel, kind: slruCut, forks: 1 << wal.MainFork}
		switch {
		case t.All:
			c.kind = slruEmptied
		case t.Kind == slru.MultiXactMembers:
			c.block, c.to = wal.BlockNumber(t.From), t.To
		default:
			c.block = wal.BlockNumber(t.Cutoff)
		}
		s.pending.changes = append(s.pending.changes, changeEntry{change: c, lsn: rec.EndLSN, ptr: ptr})
	}
}

// cutsSLRU is what the removal of files means to a page.
func (c *change) cutsSLRU(page wal.BlockNumber) meaning {
	t := slru.Truncation{Kind: slru.Kind(c.rel.Rel), All: c.kind == slruEmptied}
	if t.Kind == slru.MultiXactMembers {
		t.From, t.To = uint32(c.block), c.to
	} else {
		t.Cutoff = uint32(c.block)
	}
	if t.Removes(uint32(page)) {
		return endsPage
	}
	return nothing
}

// findSLRUEnd looks for the page's removal, after its base. Without a base after that
// there is no page, but for a store that does not know what there was when it began.
func (r *reading) findSLRUEnd(ctx context.Context, high wal.LSN) error {
	if err := r.relationChanges(ctx, max(r.baseLSN, r.low, r.unknown), high); err != nil {
		return err
	}
	known := r.base != NoBase || r.low != 0 || r.unknown != 0
	if r.ended || !known && r.st.Complete() {
		r.base, r.baseLSN, r.low, r.unknown, r.more = NoBase, 0, 0, 0, false
	}
	return nil
}

// applySLRU does to the page what the record does to it.
func (r *replay) applySLRU(rec *wal.Record) error {
	p := r.id.slruPage()
	if rec.Whole() {
		return slru.Apply(r.page, rec, p)
	}
	tree, ok := slru.NewTree(rec)
	if !ok {
		return wal.Errorf(rec.StartLSN, "could not redo %s %s at %s on %s: it has %d bytes, and is held in fragments",
			rec.RmgrID, rec.Operation(), rec.StartLSN, p, rec.TotalLen)
	}
	if err := r.fragments.each(rec, func(main []byte) { tree.Skim(main) }); err != nil {
		return err
	}
	if err := tree.Again(); err != nil {
		return err
	}
	changed := false
	if err := r.fragments.each(rec, func(main []byte) { changed = tree.Apply(r.page, p, main) || changed }); err != nil {
		return err
	}
	if !changed {
		return fmt.Errorf("%w: the index says that %s %s at %s changes %s, and the record does not; make the cache anew from an empty directory",
			ErrDamaged, rec.RmgrID, rec.Operation(), rec.StartLSN, r.id)
	}
	return nil
}

// inFragments is where a record lies that is held in fragments.
type inFragments struct {
	reader *logReader
	step
}

// read reads the record of a step; of one in fragments, which only pages of SLRUs have,
// the first fragment.
func (r *reading) read(next step) error {
	if !r.id.isSLRU() || next.ptr.flags&flagFragments == 0 {
		return r.s.reader.recordInto(next.ptr, next.end, &r.rec, &r.buf)
	}
	r.replay.fragments = inFragments{r.s.reader, next}
	return r.s.reader.recordOrFirst(next.ptr, next.end, &r.rec, &r.buf)
}

// each calls use with the main data of each fragment, in order. It has no more than one
// in memory at a time.
func (f *inFragments) each(first *wal.Record, use func(main []byte)) error {
	var space []byte
	p, rec := f.ptr, *first
	for rec.FragmentOffset = 0; rec.FragmentOffset < rec.TotalLen; {
		e, err := f.reader.fragment(p, f.end, &space)
		if err != nil {
			return err
		}
		if e.start != first.StartLSN || e.length == 0 {
			return f.reader.damaged(p, f.end)
		}
		rec.Data = space[entryHeader : entryHeader+int(e.length)]
		use(rec.MainData())
		rec.FragmentOffset += e.length
		p.offset += entryHeader + e.length
	}
	return nil
}

// slruStateSize is that of the state's value, in bytes: next xid u32, tracking u8, 3
// bytes 0.
const slruStateSize = 8

// fillSLRU puts the state into the batch, if it changed.
func (s *Store) fillSLRU() error {
	n := &s.slru
	if n.slruState == n.committed {
		return nil
	}
	var b [slruStateSize]byte
	le.PutUint32(b[:], uint32(n.next))
	b[4] = byte(n.tracking)
	n.committed = n.slruState
	return s.ix.batch.Set([]byte{spaceSLRU}, b[:], nil)
}

// readSLRU reads the committed state.
func (s *Store) readSLRU() error {
	b, closer, err := s.ix.db.Get([]byte{spaceSLRU})
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if len(b) != slruStateSize {
		err = fmt.Errorf("%w: a state of SLRUs of %d bytes, want %d", ErrDamaged, len(b), slruStateSize)
	} else {
		s.slru.slruState = slruState{next: wal.XID(le.Uint32(b)), tracking: tracking(b[4])}
		s.slru.committed = s.slru.slruState
	}
	return errors.Join(err, closer.Close())
}

// goBack is for a rewind: what was committed may be later than where it goes back to,
// and is deleted; else what was not committed goes.
func (n *slruNotes) goBack(beyond bool) {
	if beyond {
		n.committed = slruState{}
	}
	n.slruState = n.committed
}
