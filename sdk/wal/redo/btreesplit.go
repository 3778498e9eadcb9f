package redo

import (
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// xlBtreeSplit is xl_btree_split (access/nbtxlog.h).
type xlBtreeSplit struct {
	level      uint32
	firstRight int // the first item of the page that goes right
	newItem    int // the new item's number, in the page as it was with it
	postingOff int // where in the posting list before it the new item's TID belongs, 0 without
}

// leaf is BTP_LEAF if leaves are split.
func (x xlBtreeSplit) leaf() uint16 {
	if x.level == 0 {
		return btpLeaf
	}
	return 0
}

// btreeSplit splits block 0: its upper part goes to the new page, block 1. Block
// 2 is the right sibling there was, block 3 the child whose split this completes.
func btreeSplit(c *change) error {
	x := xlBtreeSplit{level: c.main.u32(), firstRight: int(c.main.u16()), newItem: int(c.main.u16()), postingOff: int(c.main.u16())}
	left, right := c.block(0), c.block(1)
	switch {
	case c.main.short:
		return errShort
	case left == nil || right == nil:
		return errors.New("one of a split's two pages is missing")
	}
	switch c.ref.ID {
	case 0:
		return btreeSplitLeft(c, x, right.Block)
	case 1:
		next := btreeNone
		if sibling := c.block(2); sibling != nil {
			next = sibling.Block
		}
		c.page.btreeInit(x.leaf(), x.level, left.Block, next)
		return c.page.btreeRestore(c.data.rest())
	case 2:
		o, err := c.page.btreeOpaque()
		if err != nil {
			return err
		}
		o.setPrev(right.Block)
		return nil
	case 3:
		return btreeClearIncompleteSplit(c)
	}
	return strangeBlock(c)
}

// btreeRestore is _bt_restore_page: it enters all tuples of what was the upper
// part of a page, where the first item comes last.
func (p *page) btreeRestore(tuples []byte) error {
	var starts [maxItems]uint16
	count := 0
	for c := (cursor{buf: tuples}); c.left() > 0; count++ {
		if count == len(starts) {
			return fmt.Errorf("more than %d tuples are to fill a page", count)
		}
		starts[count] = uint16(c.off)
		if _, err := c.indexTuple(); err != nil {
			return err
		}
	}
	end := len(tuples)
	for count > 0 {
		count--
		start := int(starts[count])
		if err := p.appendItem(tuples[start:end]); err != nil {
			return err
		}
		end = start
	}
	return nil
}

// btreeSplitLeft makes the left page of a split of the page: block data is the
// new item, if it is on the left or splits a posting list, and the new high key.
func btreeSplitLeft(c *change, x xlBtreeSplit, right wal.BlockNumber) error {
	onLeft := c.rec.Info&0xF0 == 0x30 // SPLIT_L
	var newItem []byte
	var err error
	if onLeft || x.postingOff != 0 {
		if newItem, err = c.data.indexTuple(); err != nil {
			return err
		}
	}
	highKey, err := c.data.indexTuple()
	if err != nil {
		return err
	}
	if c.data.left() != 0 {
		return fmt.Errorf("%d bytes follow the new high key", c.data.left())
	}
	orig := c.page
	// A new item whose TID is in the midst of the posting list before it takes
	// the list's last TID for its own. The list is changed in place, for the
	// items of this page are copied below.
	ownTID := newItem
	if x.postingOff != 0 {
		posting, err := orig.item(x.newItem - 1)
		if err != nil {
			return err
		}
		var tid [tidSize]byte
		if tid, err = swapPosting(posting, x.postingOff, newItem[:tidSize]); err != nil {
			return err
		}
		ownTID = tid[:]
	}
	if !onLeft {
		newItem = nil
	}
	var temp page
	if err := orig.btreeLeftHalf(&temp, x, highKey, newItem, ownTID); err != nil {
		return err
	}
	*orig = temp
	o, err := orig.btreeOpaque()
	if err != nil {
		return err
	}
	o.setFlags(btpIncompleteSplit | x.leaf())
	o.setNext(right)
	o.setCycleID(0)
	return nil
}

// btreeLeftHalf fills temp with the new high key and what of p stays left, among
// that the new item, unless it is nil, with a TID of its own.
func (p *page) btreeLeftHalf(temp *page, x xlBtreeSplit, highKey, newItem, ownTID []byte) error {
	o, err := p.btreeOpaque()
	if err != nil {
		return err
	}
	if err := p.tempCopySpecial(temp); err != nil {
		return err
	}
	if err := temp.appendItem(highKey); err != nil {
		return err
	}
	n := o.firstDataKey()
	for ; n <= x.firstRight; n++ {
		if newItem != nil && n == x.newItem {
			if err := temp.appendItem(newItem); err != nil {
				return err
			}
			added, err := temp.item(temp.maxOffset())
			if err != nil {
				return err
			}
			copy(added[:tidSize], ownTID)
		}
		if n == x.firstRight {
			break
		}
		item, err := p.item(n)
		if err != nil {
			return err
		}
		if err := temp.appendItem(item); err != nil {
			return err
		}
	}
	return nil
}
