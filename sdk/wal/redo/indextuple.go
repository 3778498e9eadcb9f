package redo

import (
	"errors"
	"fmt"
)

// IndexTupleData (access/itup.h), the start of every tuple of an index:
//
//	 0                        6
//	+------------------------+--------+----------------
//	| t_tid: block hi, lo, n | t_info | null bitmap, keys, …
//	+------------------------+--------+----------------
//
// t_info has the tuple's size in bytes in its lower 13 bits.
const (
	indexTupleSize = 8
	indexSizeMask  = 0x1FFF
	indexAltTID    = 0x2000 // INDEX_ALT_TID_MASK: t_tid is no TID, in a B-tree
	tidSize        = 6      // of ItemPointerData
)

// indexTupleLen is the size that the tuple's t_info names, if it has as many
// bytes.
func indexTupleLen(t []byte) (int, error) {
	if len(t) < indexTupleSize {
		return 0, fmt.Errorf("an index tuple has %d bytes", len(t))
	}
	n := int(le.Uint16(t[6:]) & indexSizeMask)
	if n < indexTupleSize || n > len(t) {
		return 0, fmt.Errorf("an index tuple of %d bytes names %d as its size", len(t), n)
	}
	return n, nil
}

// indexTuple reads a tuple, with the alignment behind it.
func (c *cursor) indexTuple() ([]byte, error) {
	if c.short {
		return nil, errShort
	}
	n, err := indexTupleLen(c.buf[c.off:])
	if err != nil {
		return nil, err
	}
	t := c.bytes(maxAlign(n))
	return t, c.err()
}

// appendTo appends the item numbers to dst.
func (o offsets) appendTo(dst []uint16) []uint16 {
	for i := range o.len() {
		dst = append(dst, uint16(o.at(i)))
	}
	return dst
}

// deleteItems is PageIndexMultiDelete of item numbers as they lie in a record.
func (p *page) deleteItems(ns offsets) error {
	if ns.len() > maxItems {
		return fmt.Errorf("%d items are to be deleted of a page", ns.len())
	}
	if ns.len() == 0 {
		return nil
	}
	var list [maxItems]uint16
	return p.indexMultiDelete(ns.appendTo(list[:0]))
}

// tempCopySpecial is PageGetTempPageCopySpecial: an empty page with the special
// space of p.
func (p *page) tempCopySpecial(temp *page) error {
	if err := p.check(); err != nil {
		return err
	}
	temp.init(pageSize - p.special())
	copy(temp[p.special():], p[p.special():])
	return nil
}

// appendItem adds an item behind all others.
func (p *page) appendItem(item []byte) error {
	if len(item) == 0 {
		return errors.New("an item has no bytes")
	}
	_, err := p.addItem(item, p.maxOffset()+1, 0)
	return err
}
