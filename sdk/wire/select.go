package wire

import "github.com/walplex/walplex/sdk/wal"

// Selector makes blocks that hold some of the records of other blocks, and no
// raw WAL: for a sink that is to see nothing else. It takes the blocks of one
// stream in their order. It is not safe for concurrent use.
//
// What is decided on the first fragment of a record holds for the rest of it,
// also across blocks.
type Selector struct {
	rmgrs [256]bool
	keep  func(rec *wal.Record) bool
	rec   wal.Record

	keeping bool    // the record in fragments that is under way is kept
	whose   wal.LSN // its start

	buf, index, refs []byte
}

// NewSelector makes one that keeps the records of these resource managers (32
// bytes, bit i of byte i/8; empty: all) that keep wants (nil: all). keep must not
// hold on to rec; of a record in fragments it is shown the first.
func NewSelector(rmgrs []byte, keep func(rec *wal.Record) bool) *Selector {
	s := &Selector{keep: keep}
	for i := range s.rmgrs {
		s.rmgrs[i] = len(rmgrs) == 0 || i/8 < len(rmgrs) && rmgrs[i/8]&(1<<(i%8)) != 0
	}
	return s
}

// Block makes the block for a sink that has the entries before first already.
// Timeline, version, positions and time are those of v. It is valid until the
// next call. An error says that v's index points outside of it.
func (s *Selector) Block(v *View, first int) ([]byte, error) {
	s.buf, s.index, s.refs = append(s.buf[:0], v.b[:headerSize]...), s.index[:0], s.refs[:0]
	records := 0
	for i := first; i < v.records; i++ {
		e := v.entry(i)
		keep, err := s.wants(v, i, e)
		if err != nil {
			return nil, err
		}
		if keep {
			if err := s.add(v, i, e); err != nil {
				return nil, err
			}
			records++
		}
	}
	h, data := s.buf, len(s.buf)-headerSize
	le.PutUint32(h[48:], headerSize)
	le.PutUint32(h[52:], 0)
	le.PutUint32(h[56:], headerSize)
	le.PutUint32(h[60:], uint32(data))
	le.PutUint32(h[64:], uint32(headerSize+data))
	le.PutUint32(h[68:], uint32(records))
	le.PutUint32(h[72:], uint32(headerSize+data+len(s.index)))
	le.PutUint32(h[76:], uint32(len(s.refs)/refEntrySize))
	s.buf = append(append(s.buf, s.index...), s.refs...)
	return s.buf, nil
}

// wants decides on entry i, whose bytes in the index are e.
func (s *Selector) wants(v *View, i int, e []byte) (bool, error) {
	if !s.rmgrs[e[33]] {
		return false, nil
	}
	start, _ := v.lsns(e)
	fragment := le.Uint32(e[12:]) != le.Uint32(e[16:])
	if fragment && le.Uint32(e[20:]) > 0 {
		return s.keeping && s.whose == start, nil
	}
	keep := true
	if s.keep != nil {
		if err := v.Record(i, &s.rec); err != nil {
			return false, err
		}
		keep = s.keep(&s.rec)
	}
	if fragment {
		s.keeping, s.whose = keep, start
	}
	return keep, nil
}

// add copies entry i, its bytes and its references.
func (s *Selector) add(v *View, i int, e []byte) error {
	off, n, first, refs, err := v.bounds(i, e)
	if err != nil {
		return err
	}
	at := len(s.index)
	s.index = append(s.index, e...)
	le.PutUint32(s.index[at+8:], uint32(len(s.buf)))
	le.PutUint32(s.index[at+28:], uint32(len(s.refs)/refEntrySize))
	s.buf = append(s.buf, v.b[off:off+n]...)
	from := int(le.Uint32(v.b[72:])) + first*refEntrySize
	s.refs = append(s.refs, v.b[from:from+refs*refEntrySize]...)
	return nil
}
