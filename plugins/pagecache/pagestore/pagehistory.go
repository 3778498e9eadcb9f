package pagestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// RecordFlags say what a record does to a page.
type RecordFlags uint8

// What a record does to a page; without any of these it changes what was there.
const (
	RecordInit    RecordFlags = 1 << iota // redo initialises the page
	RecordImage                           // redo restores the page from an image
	RecordImplied                         // the record does not reference the page
	RecordEnds                            // the page is no more what it was: its relation was made, cut or dropped, or its database
)

// EachRecord calls f with every record that touched the page and ends in (from,
// to], in the order of the WAL: those that change it, from where the page has a
// base or not, and those that made, cut or dropped its relation or its database,
// so that the page was lost. A from of 0 is all that is held, a to of 0 is as of
// now. blockID is the id of the reference to the page, 0 where there is none
// (RecordImplied). The record is f's until it returns. Of one that is held in
// fragments, which is a commit or abort with very much to tell, Data is the first
// fragment. An error of f ends the walk.
//
// It answers what a to of 0 stands for. It does not wait. Errors are those of
// [Store.RelSize] but for [ErrNotFound]: a page that nothing touched has no
// records.
func (s *Store) EachRecord(ctx context.Context, id PageID, from, to wal.LSN, f func(rec *wal.Record, flags RecordFlags, blockID uint8) error) (at wal.LSN, err error) {
	gen, err := s.visible.enter()
	if err != nil {
		return 0, err
	}
	defer s.visible.leave(gen)
	st, at, err := s.readAt(to)
	if err != nil {
		return 0, err
	}
	if from != 0 && from < st.Horizon {
		return 0, belowHorizon(from, st.Horizon)
	}
	// Of what was collected there can be keys, and no records.
	m, err := s.openTouches(ctx, id, max(from, s.visible.collected()), at)
	if err == nil {
		err = s.eachTouch(ctx, m, from, f)
	}
	return at, s.unlessCollected(at, err)
}

// eachTouch calls f with the records of m and closes it. Nothing was collected of
// them if the horizon has not come beyond from since before m was opened.
func (s *Store) eachTouch(ctx context.Context, m *touches, from wal.LSN, f func(*wal.Record, RecordFlags, uint8) error) error {
	if h := s.visible.horizon(); from != 0 && from < h {
		return errors.Join(belowHorizon(from, h), m.close())
	}
	return errors.Join(m.each(ctx, f), m.close())
}

// touches goes through the records of a page: those under its keys and the
// changes of its relation and its database.
type touches struct {
	s    *Store
	id   PageID
	its  []*pebble.Iterator // the first over the page's keys, then over changes
	rec  wal.Record
	buf  []byte
	rels []wal.RelFileLocator // of its[1:]
}

func (s *Store) openTouches(ctx context.Context, id PageID, low, high wal.LSN) (*touches, error) {
	in := id.database()
	m := &touches{s: s, id: id, rels: []wal.RelFileLocator{{Spc: in.spc, DB: in.db}, id.Rel}}
	pageLower, pageUpper := pageBounds(id, low, high)
	bounds := []pebble.IterOptions{{LowerBound: pageLower[:], UpperBound: pageUpper[:]}}
	for _, rel := range m.rels {
		lower, upper := relationKey(rel, after(low)), relationKey(rel, after(high))
		bounds = append(bounds, pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]})
	}
	for i := range bounds {
		it, err := s.ix.db.NewIterWithContext(ctx, &bounds[i])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("index: %w", err), m.close())
		}
		m.its = append(m.its, it)
		it.First()
	}
	return m, nil
}

// close answers what went wrong in the index.
func (m *touches) close() error {
	var err error
	for _, it := range m.its {
		err = errors.Join(err, it.Close())
	}
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// each calls f with the least of the iterators' records until all are at their
// end.
func (m *touches) each(ctx context.Context, f func(*wal.Record, RecordFlags, uint8) error) error {
	for n := 1; ; n++ {
		next := -1
		for i, it := range m.its {
			if it.Valid() && (next < 0 || keyLSN(it.Key()) < keyLSN(m.its[next].Key())) {
				next = i
			}
		}
		if next < 0 {
			return nil
		}
		p, flags, err := m.touch(next)
		if err != nil {
			return err
		}
		if p.length > 0 {
			if err := m.s.reader.recordOrFirst(p, keyLSN(m.its[next].Key()), &m.rec, &m.buf); err != nil {
				return err
			}
			if err := f(&m.rec, flags, p.blockID); err != nil {
				return err
			}
		}
		if n%ctxEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		m.its[next].Next()
	}
}

// touch is the record that iterator i is at, of length 0 where there is none, or
// none that touches the page.
func (m *touches) touch(i int) (pointer, RecordFlags, error) {
	v := m.its[i].Value()
	if i == 0 {
		p, _, err := parsePage(v)
		if err != nil || p.flags&flagNoRecord != 0 {
			return pointer{}, 0, err
		}
		return p, recordFlags(p.flags), nil
	}
	p, err := parsePointer(v)
	if err != nil || len(v) != relationValueSize {
		return pointer{}, 0, fmt.Errorf("%w: a value of %d bytes in the index", ErrDamaged, len(v))
	}
	c := parseChange(m.rels[i-1], v[pointerSize:])
	switch c.means(m.id) {
	case endsPage:
		return p, RecordImplied | RecordEnds, nil
	case changesPage:
		return p, RecordImplied, nil
	}
	return pointer{}, 0, nil
}

func recordFlags(flags uint8) (f RecordFlags) {
	if flags&flagWillInit != 0 {
		f |= RecordInit
	}
	if flags&flagImage != 0 {
		f |= RecordImage
	}
	if flags&flagImplied != 0 {
		f |= RecordImplied
	}
	return f
}

// recordOrFirst is recordInto, but of a record in fragments reads the first.
func (r *logReader) recordOrFirst(p pointer, end wal.LSN, rec *wal.Record, space *[]byte) error {
	if p.flags&flagFragments == 0 {
		return r.recordInto(p, end, rec, space)
	}
	e, err := r.fragment(p, end, space)
	if err != nil {
		return err
	}
	*rec = wal.Record{StartLSN: e.start, EndLSN: end, Version: e.version, Data: (*space)[entryHeader : entryHeader+int(e.length)], Blocks: rec.Blocks[:0]}
	return rec.Decode(rec.Data)
}

// fragment reads an entry that is a fragment of the record that ends at end into
// space, from its header on.
func (r *logReader) fragment(p pointer, end wal.LSN, space *[]byte) (entry, error) {
	if cap(*space) < entryHeader {
		*space = make([]byte, entryHeader)
	}
	if err := r.readAt(p, (*space)[:entryHeader]); err != nil {
		return entry{}, err
	}
	e := decodeEntry((*space)[:entryHeader])
	if e.kind != kindFragment || e.length > MaxReadRecord || e.end != 0 && e.end != end {
		return entry{}, r.damaged(p, end)
	}
	size := entryHeader + int(e.length)
	if cap(*space) < size {
		*space = make([]byte, size)
	}
	*space = (*space)[:size]
	if err := r.readAt(p, *space); err != nil {
		return entry{}, err
	}
	if e = decodeEntry(*space); len(*space) != entryHeader+int(e.length) || !e.checksumHolds(*space) {
		return entry{}, r.damaged(p, end)
	}
	return e, nil
}
