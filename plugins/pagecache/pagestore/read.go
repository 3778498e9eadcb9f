package pagestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
)

// Answer is a page as of an LSN.
type Answer struct {
	At      wal.LSN // all records that end at or before it count
	Page    []byte  // wal.BlockSize bytes
	Base    Base
	LastLSN wal.LSN // end of the last record that changed the page
	Records int     // how many records made it, that of the base included
}

// ReadPage reads a page as all records that end at or before lsn have left it,
// at LSN 0 as of now. It does not wait: an lsn that is not reached yet is an
// error ([Store.Wait]).
//
// The page is made as recovery makes it: from its newest base at or before lsn,
// by the redo of every record after that, one at a time, so that a read needs no
// more memory for a long history. It has what WAL carries, and so no hint bits
// that were never logged, and a checksum only from its image (package redo).
//
// Where the store did not begin with a base backup, a page without a base,
// because the store began after the page's last image, is [ErrNoBase], and a page
// that no record touched is [ErrNotFound], also where the relation has it,
// extended and never logged, and all zero. A store that began with one knows
// better: such a page is all zero if the relation has it as of lsn. A page that the
// relation does not have, or had lost by then to a truncation or a drop, is
// [ErrNotFound]. A record that does not fit its page is a [*wal.Error].
func (s *Store) ReadPage(ctx context.Context, id PageID, lsn wal.LSN) (*Answer, error) {
	a, err := s.ReadPageInto(ctx, id, lsn, make([]byte, wal.BlockSize))
	if err != nil {
		return nil, err
	}
	return &a, nil
}

// ReadPageInto is [Store.ReadPage] into page, of [wal.BlockSize] bytes, which is
// the Page of its answer. After an error what page holds means nothing.
func (s *Store) ReadPageInto(ctx context.Context, id PageID, lsn wal.LSN, page []byte) (Answer, error) {
	gen, err := s.visible.enter()
	if err != nil {
		return Answer{}, err
	}
	defer s.visible.leave(gen)
	st, lsn, err := s.readAt(lsn)
	if err != nil {
		return Answer{}, err
	}
	a, err := s.readPage(ctx, &st, id, lsn, page, 0)
	return a, s.unlessCollected(lsn, err)
}

// readPage makes the page as of lsn, from the pages in memory if it can. copies is
// how many copies of databases led to it.
func (s *Store) readPage(ctx context.Context, st *State, id PageID, lsn wal.LSN, page []byte, copies int) (Answer, error) {
	held, from, ok := s.pages.get(id, lsn, page)
	if ok && held.At == lsn {
		return held, nil
	}
	if ok && held.At >= st.Horizon {
		a, err := s.makePage(ctx, st, id, lsn, page, copies, made{Answer: held, since: from, own: true})
		if h := s.visible.horizon(); held.At >= h {
			if err == nil && a.since != 0 {
				s.pages.put(id, a.since, &a.Answer)
			}
			return a.Answer, err
		}
		// What happened since then was collected meanwhile, perhaps.
	}
	a, err := s.makePage(ctx, st, id, lsn, page, copies, made{})
	if err == nil && a.since != 0 && lsn >= s.visible.horizon() {
		s.pages.put(id, a.since, &a.Answer)
	}
	return a.Answer, err
}

// made is a page that was made.
type made struct {
	Answer
	since wal.LSN // the page is the same since then; 0: since when is not known
	own   bool    // since is the LSN of a key of the page, or of a truncation that changed it
}

// makePage makes the page as of lsn, from what it was as of held.At, where that is
// not 0.
func (s *Store) makePage(ctx context.Context, st *State, id PageID, lsn wal.LSN, page []byte, copies int, held made) (made, error) {
	r := s.newReading(id, st)
	defer s.putReading(r)
	if err := r.find(ctx, held.At, lsn); err != nil {
		return made{}, err
	}
	a := held
	a.At = lsn
	if r.low == 0 {
		a = made{Answer: Answer{At: lsn, Page: page, Base: r.base}, since: r.baseLSN, own: r.baseLSN != 0}
		if r.ended {
			a.since = r.end.lsn
		}
		if err := r.begin(ctx, &a.Answer, copies); err != nil {
			return made{}, err
		}
	}
	p := &r.replay
	// What a copied database has can be of a base backup too.
	p.id, p.page, p.imported = id, page, r.imported || r.base == CopyBase && st.Complete()
	err := r.each(ctx, func(rec *wal.Record) error {
		a.LastLSN, a.since, a.own = rec.EndLSN, rec.EndLSN, true
		a.Records++
		return p.apply(rec)
	})
	if r.bySize {
		a.since, a.own = 0, false // since when it is there, only sizes know
	}
	return a, err
}

// begin makes the answer's page the base of its history.
func (r *reading) begin(ctx context.Context, a *Answer, copies int) error {
	switch r.base {
	case MadeBase:
		a.LastLSN = r.baseLSN
		if err := r.s.images.reader.image(r.image, r.id, r.baseLSN, a.Page, r.buf); err != nil {
			return err
		}
		if r.imported && r.id.Rel.Spc != 0 {
			a.LastLSN = pageLSN(a.Page)
		}
		return nil
	case CopyBase:
		return r.beginCopy(ctx, a, copies)
	}
	if r.base == NoBase && (r.more || r.unknown != 0) {
		return r.noBase()
	}
	if !r.more {
		return r.beginNothing(ctx, a)
	}
	clear(a.Page)
	return nil
}

// beginNothing is for a page that no record touched, as far as the store knows.
func (r *reading) beginNothing(ctx context.Context, a *Answer) error {
	if !r.st.Complete() || r.id.Rel.Spc == 0 {
		return r.notFound(a.At)
	}
	blocks, err := r.s.committedView(ctx).blocks(makeForkKey(r.id.Rel, r.id.Fork), a.At)
	if err != nil {
		return err
	}
	if blocks == noFork || r.id.Block >= blocks {
		return r.notFound(a.At)
	}
	r.bySize = true
	clear(a.Page)
	return nil
}

// beginCopy makes the page what it was in the database that was copied.
func (r *reading) beginCopy(ctx context.Context, a *Answer, copies int) error {
	if copies >= maxCopies {
		in := r.id.database()
		return tooManyCopies(makeSpace(in.spc, in.db))
	}
	from, err := r.s.readPage(ctx, &r.st, r.id.in(r.end.from), r.end.lsn-1, a.Page, copies+1)
	switch {
	case err == nil:
		a.LastLSN, a.Records = from.LastLSN, from.Records
		return nil
	case !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNoBase):
		return err
	case !r.more:
		return r.beginNothing(ctx, a)
	case r.st.Complete():
		clear(a.Page)
		return nil
	}
	return r.noBase()
}

// noBase names the first record of a history without a base.
func (r *reading) noBase() error {
	if r.unknown != 0 {
		return fmt.Errorf("%w: what %s was at %s is not known, and the records that had changed it by then were collected; "+
			"the page's first change after a checkpoint brings an image", ErrNoBase, r.id, r.unknown)
	}
	p, err := parsePointer(r.it.Value())
	if err == nil {
		err = r.read(step{end: keyLSN(r.it.Key()), ptr: p})
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: the first record that is held of %s, %s %s from %s to %s, changes what the page cache, which begins at %s, does not hold; "+
		"the page's first change after a checkpoint brings an image",
		ErrNoBase, r.id, r.rec.RmgrID, r.rec.Operation(), r.rec.StartLSN, r.rec.EndLSN, r.st.Horizon)
}

// replay does records to one page.
type replay struct {
	id      PageID
	page    []byte
	images  wal.Images
	implied []redo.ImpliedBlock

	// imported says that the page is of a base backup, whose pages were copied
	// while they were changed: it can have records already that follow.
	imported bool

	fragments inFragments // of a record that is held in fragments
}

// apply does to the page what the record does to it, by each reference to it and
// without one.
func (r *replay) apply(rec *wal.Record) error {
	if r.id.isRelMap() {
		return r.applyRelMap(rec)
	}
	if r.id.isSLRU() {
		return r.applySLRU(rec)
	}
	at := pageLSN(r.page)
	if r.imported && at >= rec.EndLSN && r.id.Fork != wal.VisibilityMapFork {
		return nil // as recovery passes over it
	}
	// All changes of a map's bits are done again, in order: those that no LSN of the
	// map tells of too.
	if !r.imported && at >= rec.EndLSN {
		// Nothing on the page can come from a later record than the last one.
		return wal.Errorf(rec.StartLSN, "could not redo %s %s at %s, which ends at %s, on %s: the page has LSN %s already",
			rec.RmgrID, rec.Operation(), rec.StartLSN, rec.EndLSN, r.id, at)
	}
	changed := false
	for i := range rec.Blocks {
		if b := &rec.Blocks[i]; r.id == (PageID{b.Rel, b.Fork, b.Block}) {
			if err := redo.ApplyScratch(r.page, rec, i, &r.images); err != nil {
				return err
			}
			changed = true
		}
	}
	r.implied = redo.Implied(rec, r.implied[:0])
	for _, b := range r.implied {
		if r.id == (PageID{b.Rel, b.Fork, b.Block}) {
			if err := redo.ApplyImplied(r.page, rec, b); err != nil {
				return err
			}
			changed = true
		}
	}
	if !changed {
		return fmt.Errorf("%w: the index says that %s %s at %s changes %s, and the record does not; make the cache anew from an empty directory",
			ErrDamaged, rec.RmgrID, rec.Operation(), rec.StartLSN, r.id)
	}
	return nil
}

// pageLSN is pd_lsn (storage/bufpage.h): xlogid u32, xrecoff u32.
func pageLSN(page []byte) wal.LSN {
	return wal.LSN(le.Uint32(page))<<32 | wal.LSN(le.Uint32(page[4:]))
}
