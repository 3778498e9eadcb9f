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
	// MadeBase: the records follow an image that the store holds itself, of a base
	// backup or made by redo.
	MadeBase
	// CopyBase: the records follow the page of the database that was copied.
	CopyBase
)

// EachVersion calls f with every record that made the page as it is as of lsn, at
// LSN 0 as of now, in the order of redo from the newest base on. base is the same
// for all. The record is f's until it returns. An error of f ends the walk.
//
// It answers the LSN that 0 stands for. Errors are those of [Store.ReadPage] but
// for [ErrNoBase].
func (s *Store) EachVersion(ctx context.Context, id PageID, lsn wal.LSN, f func(base Base, rec *wal.Record) error) (wal.LSN, error) {
	gen, err := s.visible.enter()
	if err != nil {
		return 0, err
	}
	defer s.visible.leave(gen)
	st, lsn, err := s.readAt(lsn)
	if err != nil {
		return 0, err
	}
	r := s.newReading(id, &st)
	defer s.putReading(r)
	if err := r.find(ctx, 0, lsn); err != nil {
		return 0, s.unlessCollected(lsn, err)
	}
	if !r.more && r.base == NoBase && r.unknown != 0 && !r.ended {
		return 0, r.noBase()
	}
	if !r.more && r.base != MadeBase {
		return 0, r.notFound(lsn)
	}
	return lsn, s.unlessCollected(lsn, r.each(ctx, func(rec *wal.Record) error { return f(r.base, rec) }))
}

// readAt checks that the store can be read as of lsn, and answers what LSN 0
// stands for. The caller is between enter and leave.
func (s *Store) readAt(lsn wal.LSN) (State, wal.LSN, error) {
	st := s.visible.state()
	switch {
	case st.SystemID == 0:
		return st, 0, fmt.Errorf("%w: nothing was received yet", ErrNotReached)
	case lsn == 0 && st.LastValid < st.Horizon:
		return st, 0, fmt.Errorf("%w: the base backup that the page cache began with ends at %s, and WAL was received up to %s on timeline %d",
			ErrNotReached, st.Horizon, st.LastValid, st.Timeline)
	case lsn == 0:
		lsn = st.LastValid
	case lsn < st.Horizon:
		return st, 0, belowHorizon(lsn, st.Horizon)
	}
	if lsn > st.LastValid {
		return st, 0, fmt.Errorf("%w: WAL was received up to %s on timeline %d, not up to %s", ErrNotReached, st.LastValid, st.Timeline, lsn)
	}
	return st, lsn, nil
}

func belowHorizon(lsn, horizon wal.LSN) error {
	return fmt.Errorf("%w: it began at %s, and holds nothing as of %s", ErrBelowHorizon, horizon, lsn)
}

// unlessCollected is err unless the horizon went beyond lsn while it was read:
// then nothing that was found counts.
func (s *Store) unlessCollected(lsn wal.LSN, err error) error {
	if h := s.visible.horizon(); lsn < h {
		return belowHorizon(lsn, h)
	}
	return err
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
	from database // of databaseCopied
}

// reading is the history of a page from its base on, and what reading it needs.
type reading struct {
	s        *Store
	id       PageID
	st       State
	base     Base
	baseLSN  wal.LSN // of an ImageBase, InitBase or MadeBase
	low      wal.LSN // the page is known as of it; 0: it is not
	unknown  wal.LSN // the page was changed up to then, and what it was is not known; 0: not so
	image    pointer // of a MadeBase
	imported bool    // the image is of the base backup
	it       *pebble.Iterator
	more     bool   // it is at the first version from the base on that has a record to be read
	ended    bool   // the relation went through end last, before all of these
	end      ending //
	cuts     []step // records that change the page and have no key of it, in order
	versions int    // keys from the base on
	at       step   // the record that was read last
	cut      bool   // it is one of cuts
	bySize   bool   // the page is all zero because the relation is long enough

	lower, upper [pageKeySize]byte
	options      pebble.IterOptions
	rec          wal.Record
	buf          []byte
	replay       replay
}

// newReading begins a read of a page. putReading ends it.
func (s *Store) newReading(id PageID, st *State) *reading {
	r, _ := s.reads.Get().(*reading)
	if r == nil {
		r = &reading{buf: make([]byte, imageBuffer)}
	}
	r.s, r.id, r.st = s, id, *st
	return r
}

// maxKeptBuffer is the size of a record, in bytes, up to which the memory for it
// is kept for the next read.
const maxKeptBuffer = 256 << 10

func (s *Store) putReading(r *reading) {
	if r.it != nil {
		_ = r.it.Close() // its errors are those of Error
	}
	images, implied := r.replay.images, r.replay.implied[:0]
	buf, blocks, cuts := r.buf, r.rec.Blocks[:0], r.cuts[:0]
	if cap(buf) > maxKeptBuffer {
		buf = make([]byte, imageBuffer)
	}
	*r = reading{buf: buf, cuts: cuts}
	r.rec.Blocks = blocks
	r.replay.images, r.replay.implied = images, implied
	s.reads.Put(r)
}

// find finds the page's versions up to high, from its base on. Where the page is
// known as of low, that is the base, unless another came after it.
func (r *reading) find(ctx context.Context, low, high wal.LSN) error {
	r.low = low
	r.lower, r.upper = pageBounds(r.id, low, high)
	r.options = pebble.IterOptions{LowerBound: r.lower[:], UpperBound: r.upper[:]}
	it, err := r.s.ix.db.NewIterWithContext(ctx, &r.options)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	r.it = it
	if err := r.findBase(ctx); err != nil {
		return err
	}
	return r.findEnd(ctx, high)
}

// findBase goes from the last version back to the base, or to the first version.
func (r *reading) findBase(ctx context.Context) error {
	n := 0
	for ok := r.it.Last(); ok; ok = r.it.Prev() {
		p, image, err := parsePage(r.it.Value())
		if err != nil {
			return err
		}
		r.versions++
		switch {
		case p.flags&flagMade != 0:
			r.base, r.image = MadeBase, image
			r.imported = p.flags&flagNoRecord != 0 && r.st.Complete() && keyLSN(r.it.Key()) == r.st.BaseLSN
		case p.flags&flagNoRecord != 0:
			// The page had no base, and the records that changed it were collected.
			r.unknown = keyLSN(r.it.Key())
			r.more = r.it.Next()
			return r.indexError()
		case p.flags&flagImage != 0:
			r.base = ImageBase
		case p.flags&flagWillInit != 0:
			r.base = InitBase
		}
		if r.base != NoBase {
			r.low = 0
			r.baseLSN, r.more = keyLSN(r.it.Key()), true
			if r.base == MadeBase {
				r.more = r.it.Next()
			}
			return r.indexError()
		}
		if n++; n%ctxEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := r.indexError(); err != nil {
		return err
	}
	r.more = r.it.First()
	return r.indexError()
}

func (r *reading) indexError() error {
	if err := r.it.Error(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// findEnd looks for what happened to the relation. Only what did after the base
// can matter.
func (r *reading) findEnd(ctx context.Context, high wal.LSN) error {
	if r.id.isSLRU() {
		return r.findSLRUEnd(ctx, high)
	}
	if err := r.relationChanges(ctx, max(r.baseLSN, r.low, r.unknown), high); err != nil {
		return err
	}
	if !r.ended {
		return r.zeroBase()
	}
	// Rare: the base, and all before this end, were another page.
	r.base, r.baseLSN, r.low, r.unknown = ZeroBase, 0, 0, 0
	if r.end.kind == databaseCopied {
		r.base = CopyBase
	}
	from, _ := pageBounds(r.id, r.end.lsn, high)
	r.more = r.it.SeekGE(from[:])
	return r.indexError()
}

// zeroBase makes the base of a page that has none zero, where the store knows
// that the page was not there when it began.
func (r *reading) zeroBase() error {
	if r.base == NoBase && r.low == 0 && r.unknown == 0 && r.st.Complete() {
		r.base = ZeroBase
	}
	return nil
}

// each reads the records of the history, those without a key of the page among
// the others. f has the record until it returns.
func (r *reading) each(ctx context.Context, f func(*wal.Record) error) error {
	cuts := r.cuts
	for n := 1; r.more || len(cuts) > 0; n++ {
		var next step
		if r.more {
			p, err := parsePointer(r.it.Value())
			if err != nil {
				return err
			}
			next = step{end: keyLSN(r.it.Key()), ptr: p}
		}
		if len(cuts) > 0 && (!r.more || cuts[0].end < next.end) {
			next, cuts = cuts[0], cuts[1:]
			r.cut = true
		} else {
			r.more = r.it.Next()
			r.cut = false
		}
		r.at = next
		if err := r.read(next); err != nil {
			return err
		}
		if err := f(&r.rec); err != nil {
			return err
		}
		if n%ctxEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return r.indexError()
}

// notFound is why there is no version of the page.
func (r *reading) notFound(lsn wal.LSN) error {
	if !r.ended {
		if r.st.Complete() && r.id.isSLRU() {
			return fmt.Errorf("%w: there is no %s as of %s", ErrNotFound, r.id, lsn)
		}
		if r.st.Complete() {
			return fmt.Errorf("%w: the relation has no %s as of %s", ErrNotFound, r.id, lsn)
		}
		return fmt.Errorf("%w: no record from %s, where the page cache begins, to %s touched %s", ErrNotFound, r.st.Horizon, lsn, r.id)
	}
	what := "dropped the relation"
	switch r.end.kind {
	case relationCreated:
		what = "made the relation"
	case relationCut:
		what = "truncated the relation to fewer blocks"
	case databaseCreated:
		what = "made the database"
	case databaseCopied:
		what = fmt.Sprintf("made the database by copying the files of database %d in tablespace %d, which did not have the block", r.end.from.db, r.end.from.spc)
		if !r.st.Complete() {
			what = "made the database by copying files, which are not in the WAL"
		}
	case databaseDropped:
		what = "dropped the database"
	case slruCut, slruEmptied:
		what = "removed the page's file"
	}
	return fmt.Errorf("%w: %s as of %s: the record that ends at %s %s, and none after it touched the block",
		ErrNotFound, r.id, lsn, r.end.lsn, what)
}
