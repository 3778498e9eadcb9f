package pagestore

import (
	"context"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// MaxListed is how many of the records that would have to be replayed an Answer
// lists.
const MaxListed = 1000

// ctxEvery is after how many versions a read looks whether it is still wanted.
const ctxEvery = 1024

// Base says what a page begins with.
type Base uint8

// Bases of a page.
const (
	// NoBase: what the page was before the first of the records is not held.
	NoBase Base = iota
	// ImageBase: an image in the record that ends at BaseLSN.
	ImageBase
	// InitBase: the record that ends at BaseLSN initialises the page. It is the
	// first of the records.
	InitBase
)

// Version is a record that changed a page.
type Version struct {
	Start     wal.LSN
	End       wal.LSN
	Rmgr      wal.RmgrID
	Operation string // as pg_waldump names it
}

// Answer is what is known of a page as of an LSN.
type Answer struct {
	At      wal.LSN // all records that end at or before it count
	Page    []byte  // the page, wal.BlockSize bytes; nil where records have to be replayed
	Base    Base
	BaseLSN wal.LSN // 0 with NoBase
	Records []Version
	Total   int // of the records to be replayed; Records has the first [MaxListed] of them
}

// ReadPage reads a page as all records that end at or before lsn have left it,
// at LSN 0 as of now. It does not wait: an lsn that is not reached yet is an
// error ([Store.Wait]).
//
// Where the last such record carries an image, that is the page, with pd_lsn set
// to the record's end as redo does; else the answer names what would have to be
// replayed. A page that the relation had lost by then, to a truncation or a drop,
// is not found.
func (s *Store) ReadPage(ctx context.Context, id PageID, lsn wal.LSN) (*Answer, error) {
	if err := s.visible.enter(); err != nil {
		return nil, err
	}
	defer s.visible.leave()
	st := s.visible.state()
	if st.SystemID == 0 {
		return nil, fmt.Errorf("%w: nothing was received yet", ErrNotReached)
	}
	if lsn == 0 {
		lsn = st.LastValid
	}
	if lsn > st.LastValid {
		return nil, fmt.Errorf("%w: WAL was received up to %s on timeline %d, not up to %s", ErrNotReached, st.LastValid, st.Timeline, lsn)
	}
	if lsn < st.Horizon {
		return nil, fmt.Errorf("%w: it began at %s, and holds nothing as of %s", ErrBelowHorizon, st.Horizon, lsn)
	}
	h, err := s.history(ctx, id, lsn)
	if err != nil {
		return nil, err
	}
	a := &Answer{At: lsn, Base: h.base, BaseLSN: h.baseLSN, Total: h.total}
	switch {
	case h.total == 0 && h.base == ImageBase:
		a.Page, err = s.restore(h.image, h.baseLSN)
	case h.total == 0:
		err = h.notFound(id, lsn, st.Horizon)
	default:
		a.Records, err = s.list(h.first)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// history is what made a page.
type history struct {
	base    Base
	baseLSN wal.LSN
	image   pointer // of an ImageBase
	first   []step  // the first records to be replayed, in order
	total   int     // of all records to be replayed
	end     *ending // what the relation had gone through last, before all of these
}

// step is one record to be replayed.
type step struct {
	end wal.LSN
	ptr pointer
}

// ending is a change of the relation before which the page was another.
type ending struct {
	kind changeKind
	lsn  wal.LSN
}

// history finds the page's versions up to high, back to its base.
func (s *Store) history(ctx context.Context, id PageID, high wal.LSN) (*history, error) {
	h, err := s.versions(ctx, id, 0, high)
	if err != nil {
		return nil, err
	}
	// Only what happened to the relation after the base can matter.
	rel, err := s.relationChanges(ctx, id, h.baseLSN, high)
	if err != nil {
		return nil, err
	}
	if rel.end != nil {
		// Rare: the base, and all before this end, were another page.
		if h, err = s.versions(ctx, id, rel.end.lsn, high); err != nil {
			return nil, err
		}
		h.end = rel.end
	}
	if len(rel.cuts) > 0 {
		h.merge(rel.cuts)
	}
	return h, nil
}

// versions reads the page's versions in (low, high] from the last back to the
// base.
func (s *Store) versions(ctx context.Context, id PageID, low, high wal.LSN) (*history, error) {
	lower, upper := pageBounds(id, low, high)
	it, err := s.ix.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]})
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	defer it.Close() // its errors are those of Error
	h := &history{}
	for ok := it.Last(); ok; ok = it.Prev() {
		p, err := parsePointer(it.Value())
		if err != nil {
			return nil, err
		}
		end := keyLSN(it.Key())
		if p.flags&flagImage != 0 {
			h.base, h.baseLSN, h.image = ImageBase, end, p
			break
		}
		h.prepend(step{end: end, ptr: p})
		if p.flags&flagWillInit != 0 {
			h.base, h.baseLSN = InitBase, end
			break
		}
		if h.total%ctxEvery == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if err := it.Error(); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	h.finish()
	return h, nil
}

// prepend notes a record before those that are noted. The last MaxListed
// prepended are kept, as a ring: the first that would be replayed.
func (h *history) prepend(s step) {
	if len(h.first) < MaxListed {
		h.first = append(h.first, s)
	} else {
		h.first[h.total%MaxListed] = s
	}
	h.total++
}

// finish brings the ring into the order of replay.
func (h *history) finish() {
	if h.total > MaxListed {
		at := h.total % MaxListed // the oldest place of the ring: the last to be replayed
		h.first = append(h.first[at:len(h.first):len(h.first)], h.first[:at]...)
	}
	slices.Reverse(h.first)
}

// merge adds records that change the page though they have no key of it.
func (h *history) merge(cuts []step) {
	h.total += len(cuts)
	h.first = append(h.first, cuts...)
	slices.SortStableFunc(h.first, func(a, b step) int { return order(a.end < b.end) })
	if len(h.first) > MaxListed {
		h.first = h.first[:MaxListed]
	}
}

func (h *history) notFound(id PageID, lsn, horizon wal.LSN) error {
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

// list says what the records to be replayed are.
func (s *Store) list(steps []step) ([]Version, error) {
	out := make([]Version, len(steps))
	for i, st := range steps {
		v, err := s.reader.head(st.ptr, st.end)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// Offsets in a page header (storage/bufpage.h), in bytes.
const (
	pdLSN   = 0  // pd_lsn: xlogid u32, xrecoff u32
	pdUpper = 14 // pd_upper
)

// restore makes the page of an image.
func (s *Store) restore(p pointer, end wal.LSN) ([]byte, error) {
	var rec wal.Record
	if err := s.reader.record(p, end, &rec); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(rec.Blocks, func(b wal.BlockRef) bool { return b.ID == p.blockID })
	if i < 0 {
		return nil, s.reader.damaged(p, end)
	}
	im, _ := s.images.Get().(*wal.Images)
	if im == nil {
		im = new(wal.Images)
	}
	defer s.images.Put(im)
	page := make([]byte, wal.BlockSize)
	if err := im.Restore(page, &rec, &rec.Blocks[i]); err != nil {
		return nil, err
	}
	// As XLogReadBufferForRedoExtended: a page without content has no LSN.
	if le.Uint16(page[pdUpper:]) != 0 {
		le.PutUint32(page[pdLSN:], uint32(end>>32))
		le.PutUint32(page[pdLSN+4:], uint32(end))
	}
	return page, nil
}
