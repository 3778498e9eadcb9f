package redo

import (
	"errors"
	"fmt"
)

// A leaf of a posting tree has posting lists, one behind the other, ascending
// (GinPostingList in access/ginblock.h):
//
//	 0                6        8
//	+----------------+--------+----------------------- … -+---------+
//	| first TID      | nbytes | nbytes: the other TIDs    | to even |
//	+----------------+--------+----------------------- … -+---------+
//
// A TID is the number block << 11 | offset; each but the first is stored as what
// it is greater by, in groups of 7 bits, the lowest first, of which all but the
// last have the bit 0x80 set.
const (
	ginSegmentHeader = 8
	ginOffsetBits    = 11 // MaxHeapTuplesPerPageBits
	ginMaxVarbyte    = 7  // bytes, of the largest difference
)

// Actions on a segment, that is a posting list (access/ginxlog.h).
const (
	ginSegmentDelete   = 1
	ginSegmentInsert   = 2
	ginSegmentReplace  = 3
	ginSegmentAddItems = 4
)

// ginSegmentLen is the size of the posting list at the start of b, if it has
// as many bytes.
func ginSegmentLen(b []byte) (int, error) {
	if len(b) < ginSegmentHeader {
		return 0, fmt.Errorf("a posting list has %d bytes", len(b))
	}
	n := ginSegmentHeader + (int(le.Uint16(b[6:]))+1)&^1
	if n > len(b) {
		return 0, fmt.Errorf("a posting list of %d bytes names %d as its size", len(b), n)
	}
	return n, nil
}

// segment reads a posting list.
func (c *cursor) segment() ([]byte, error) {
	if c.short {
		return nil, errShort
	}
	n, err := ginSegmentLen(c.buf[c.off:])
	if err != nil {
		return nil, err
	}
	return c.bytes(n), nil
}

// ginWriter writes posting lists to a page's data.
type ginWriter struct {
	dst []byte
	n   int
}

func (w *ginWriter) bytes(b []byte) error {
	if len(b) > len(w.dst)-w.n {
		return fmt.Errorf("no room for a posting list of %d bytes behind %d", len(b), w.n)
	}
	w.n += copy(w.dst[w.n:], b)
	return nil
}

// ginRecompress is ginRedoRecompress: data are actions on the posting lists of the
// leaf (ginxlogRecompressDataLeaf), by the lists' numbers before.
func (p *page) ginRecompress(data *cursor) error {
	o, err := p.ginOpaqueWith(ginData|ginLeaf, 0)
	if err != nil {
		return err
	}
	if o.flags()&ginCompressed == 0 {
		if err := p.ginCompress(o); err != nil {
			return err
		}
	}
	if p.special() != pageSize-ginOpaqueSize || p.lower() < ginDataStart {
		return fmt.Errorf("corrupted page pointers of a posting tree's leaf: lower = %d, special = %d", p.lower(), p.special())
	}
	before := *p
	old := cursor{buf: before[ginDataStart:p.lower()]}
	w := ginWriter{dst: p[ginDataStart : pageSize-ginOpaqueSize]}
	segment := 0
	for range data.u16() {
		number, action := int(data.u8()), data.u8()
		if data.short {
			return errShort
		}
		for ; segment < number; segment++ {
			s, err := old.segment()
			if err == nil {
				err = w.bytes(s)
			}
			if err != nil {
				return err
			}
		}
		taken, err := w.act(action, data, &old)
		if err != nil {
			return fmt.Errorf("posting list %d: %w", number, err)
		}
		if taken {
			segment++
		}
	}
	if err := data.err(); err != nil {
		return err
	}
	if err := w.bytes(old.rest()); err != nil {
		return err
	}
	p.ginSetDataSize(w.n)
	return nil
}

// act does one action, and tells whether it took an old list.
func (w *ginWriter) act(action uint8, data, old *cursor) (taken bool, err error) {
	if action == ginSegmentInsert {
		s, err := data.segment()
		if err != nil {
			return false, err
		}
		return false, w.bytes(s)
	}
	s, err := old.segment()
	if err != nil {
		return false, err
	}
	switch action {
	case ginSegmentDelete:
		return true, nil
	case ginSegmentReplace:
		if s, err = data.segment(); err != nil {
			return false, err
		}
		return true, w.bytes(s)
	case ginSegmentAddItems:
		items := data.bytes(int(data.u16()) * tidSize)
		if data.short {
			return false, errShort
		}
		return true, w.merge(s, items)
	}
	return false, fmt.Errorf("unexpected GIN leaf action: %d", action)
}

// merge writes the posting list of a list's TIDs and of others, both ascending. A
// TID that both have is an error: servers log such a list whole.
func (w *ginWriter) merge(list, items []byte) error {
	e := ginEncoder{w: w, start: w.n}
	l := ginDecoder{rest: list[ginSegmentHeader : ginSegmentHeader+int(le.Uint16(list[6:]))], tid: tidNumber(list)}
	for more := true; more || len(items) > 0; {
		var err error
		switch {
		case !more || len(items) > 0 && tidNumber(items) < l.tid:
			err = e.add(tidNumber(items))
			items = items[tidSize:]
		default:
			if err = e.add(l.tid); err == nil {
				more, err = l.next()
			}
		}
		if err != nil {
			return err
		}
	}
	return e.end()
}

// tidNumber is the number that stands for an ItemPointerData.
func tidNumber(b []byte) uint64 {
	block := uint64(le.Uint16(b))<<16 | uint64(le.Uint16(b[2:]))
	return block<<ginOffsetBits | uint64(le.Uint16(b[4:]))
}

// ginDecoder reads a posting list.
type ginDecoder struct {
	rest []byte
	tid  uint64
}

// next goes to the next TID, if there is one.
func (d *ginDecoder) next() (bool, error) {
	if len(d.rest) == 0 {
		return false, nil
	}
	var v uint64
	for i := range min(len(d.rest), ginMaxVarbyte) {
		b := d.rest[i]
		v |= uint64(b&0x7F) << (7 * i)
		if b&0x80 == 0 {
			d.rest = d.rest[i+1:]
			d.tid += v
			return true, nil
		}
	}
	return false, errors.New("a posting list ends within an item")
}

// ginEncoder writes one posting list (ginCompressPostingList).
type ginEncoder struct {
	w     *ginWriter
	start int // of the list
	last  uint64
}

func (e *ginEncoder) add(tid uint64) error {
	if e.w.n == e.start {
		var head [ginSegmentHeader]byte
		putTID(head[:], uint32(tid>>ginOffsetBits), int(tid&(1<<ginOffsetBits-1)))
		e.last = tid
		return e.w.bytes(head[:])
	}
	if tid <= e.last {
		return errors.New("the items of a posting list are not in order")
	}
	v := tid - e.last
	e.last = tid
	var buf [10]byte
	n := 0
	for ; v > 0x7F; v >>= 7 {
		buf[n] = uint8(v) | 0x80
		n++
	}
	buf[n] = uint8(v)
	return e.w.bytes(buf[:n+1])
}

// end writes the list's size, and the padding.
func (e *ginEncoder) end() error {
	n := e.w.n - e.start - ginSegmentHeader
	le.PutUint16(e.w.dst[e.start+6:], uint16(n))
	if n%2 == 0 {
		return nil
	}
	return e.w.bytes([]byte{0})
}

// ginCompress makes the leaf, which an index from before 9.4 has kept through
// pg_upgrade, one of posting lists: it has maxoff TIDs as they are, and no pd_lower
// that means anything.
func (p *page) ginCompress(o ginOpaque) error {
	n := o.maxoff()
	if n*tidSize > ginDataSize || p.special() != pageSize-ginOpaqueSize {
		return fmt.Errorf("a leaf cannot have %d items", n)
	}
	before := *p
	w := ginWriter{dst: p[ginDataStart : pageSize-ginOpaqueSize]}
	if n > 0 {
		e := ginEncoder{w: &w}
		for items := before[ginDataStart : ginDataStart+n*tidSize]; len(items) > 0; items = items[tidSize:] {
			if err := e.add(tidNumber(items)); err != nil {
				return err
			}
		}
		if err := e.end(); err != nil {
			return err
		}
	}
	p.ginSetDataSize(w.n)
	o.setFlags(o.flags() | ginCompressed)
	o.setMaxoff(0)
	return nil
}
