package pagestore

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// ctxEvery is after how many versions a read looks whether it is still wanted.
const ctxEvery = 1024

// Base says what a page begins with.
type Base uint8

// Bases of a page.
const (
	// NoBase: what the page was before the first of the records is not held.
	NoBase Base = iota
	// ImageBase: the first of the records carries an image.
	ImageBase
	// InitBase: the first of the records initialises the page.
	InitBase
	// ZeroBase: the relation was made, or had lost the page, and the page was all
	// zero before the first of the records, as relations are extended.
	ZeroBase
)

// EachVersion calls f with every record that made the page as it is as of lsn, at
// LSN 0 as of now, in the order of redo from the newest base on. base is the same
// for all. The record is f's until it returns. An error of f ends the walk.
//
// It answers the LSN that 0 stands for. Errors are those of [Store.ReadPage] but
// for [ErrNoBase].
func (s *Store) EachVersion(ctx context.Context, id PageID, lsn wal.LSN, f func(base Base, rec *wal.Record) error) (wal.LSN, error) {
	if err := s.visible.enter(); err != nil {
		return 0, err
	}
	defer s.visible.leave()
	st := s.visible.state()
	if st.SystemID == 0 {
		return 0, fmt.Errorf("%w: nothing was received yet", ErrNotReached)
	}
	if lsn == 0 {
		lsn = st.LastValid
	}
	if lsn > st.LastValid {
		return 0, fmt.Errorf("%w: WAL was received up to %s on timeline %d, not up to %s", ErrNotReached, st.LastValid, st.Timeline, lsn)
	}
	if lsn < st.Horizon {
		return 0, fmt.Errorf("%w: it began at %s, and holds nothing as of %s", ErrBelowHorizon, st.Horizon, lsn)
	}
	h, err := s.history(ctx, id, lsn)
	if err != nil {
		return 0, err
	}
	defer h.it.Close() // its errors are those of Error
	if !h.more {
		return 0, h.notFound(id, lsn, st.Horizon)
	}
	return lsn, s.each(ctx, h, f)
}

// history is what made a page.
type history struct {
	base    Base
	baseLSN wal.LSN          // of an ImageBase or InitBase
	it      *pebble.Iterator // over the page's versions
	more    bool             // it is at the first of them, from the base on
	end     *ending          // what the relation had gone through last, before all of these
	cuts    []step           // records that change the page and have no key of it, in order
}

// step is a record that changes a page.
type step struct {
	end wal.LSN
	ptr pointer
}

// ending is a change of the relation before which the page was another.
type ending struct {
	kind changeKind
	lsn  wal.LSN
}

// history finds the page's versions up to high, from its base on.
func (s *Store) history(ctx context.Context, id PageID, high wal.LSN) (*history, error) {
	lower, upper := pageBounds(id, 0, high)
	it, err := s.ix.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]})
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	h := &history{it: it}
	if err = h.findBase(ctx); err == nil {
		err = s.findEnd(ctx, h, id, high)
	}
	if err != nil {
		it.Close() // after another error
		return nil, err
	}
	return h, nil
}

// findBase goes from the last version back to the base, or to the first version.
func (h *history) findBase(ctx context.Context) error {
	n := 0
	for ok := h.it.Last(); ok; ok = h.it.Prev() {
		p, err := parsePointer(h.it.Value())
		if err != nil {
			return err
		}
		switch {
		case p.flags&flagImage != 0:
			h.base = ImageBase
		case p.flags&flagWillInit != 0:
			h.base = InitBase
		}
		if h.base != NoBase {
			h.baseLSN, h.more = keyLSN(h.it.Key()), true
			return nil
		}
		if n++; n%ctxEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := h.it.Error(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	h.more = h.it.First()
	return nil
}

// findEnd looks for what happened to the relation. Only what did after the base
// can matter.
func (s *Store) findEnd(ctx context.Context, h *history, id PageID, high wal.LSN) error {
	rel, err := s.relationChanges(ctx, id, h.baseLSN, high)
	if err != nil {
		return err
	}
	h.cuts = rel.cuts
	if rel.end == nil {
		return nil
	}
	// Rare: the base, and all before this end, were another page.
	h.base, h.baseLSN, h.end = ZeroBase, 0, rel.end
	if rel.end.kind == databaseCopied {
		h.base = NoBase
	}
	from, _ := pageBounds(id, rel.end.lsn, high)
	h.more = h.it.SeekGE(from[:])
	return nil
}

// each reads the records of the history, those without a key of the page among
// the others.
func (s *Store) each(ctx context.Context, h *history, f func(Base, *wal.Record) error) error {
	var rec wal.Record
	cuts := h.cuts
	for n := 1; h.more || len(cuts) > 0; n++ {
		var next step
		if h.more {
			p, err := parsePointer(h.it.Value())
			if err != nil {
				return err
			}
			next = step{end: keyLSN(h.it.Key()), ptr: p}
		}
		if len(cuts) > 0 && (!h.more || cuts[0].end < next.end) {
			next, cuts = cuts[0], cuts[1:]
		} else {
			h.more = h.it.Next()
		}
		if err := s.reader.record(next.ptr, next.end, &rec); err != nil {
			return err
		}
		if err := f(h.base, &rec); err != nil {
			return err
		}
		if n%ctxEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := h.it.Error(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// notFound is why there is no version of the page.
func (h *history) notFound(id PageID, lsn, horizon wal.LSN) error {
	if err := h.it.Error(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if h.end == nil {
		return fmt.Errorf("%w: no record from %s, where the page cache begins, to %s touched %s", ErrNotFound, horizon, lsn, id)
	}
	what := "dropped the relation"
	switch h.end.kind {
	case relationCreated:
		what = "made the relation"
	case relationCut:
		what = "truncated the relation to fewer blocks"
	case databaseCreated:
		what = "made the database"
	case databaseCopied:
		what = "made the database by copying files, which are not in the WAL"
	case databaseDropped:
		what = "dropped the database"
	}
	return fmt.Errorf("%w: %s as of %s: the record that ends at %s %s, and none after it touched the block",
		ErrNotFound, id, lsn, h.end.lsn, what)
}
