package redo

import (
	"fmt"
	"math"

	"github.com/walplex/walplex/sdk/wal"
)

// A B-tree's page (access/nbtree.h). BTPageOpaqueData is its special space:
//
//	 0           4           8           12         14
//	+-----------+-----------+-----------+----------+-------------+
//	| btpo_prev | btpo_next | btpo_level|btpo_flags|btpo_cycleid |
//	+-----------+-----------+-----------+----------+-------------+
//
// Item 1 of a page that is not the rightmost of its level is the high key.
const btreeOpaqueSize = 16

// Flags of btpo_flags.
const (
	btpLeaf            = 1 << 0
	btpRoot            = 1 << 1
	btpDeleted         = 1 << 2
	btpMeta            = 1 << 3
	btpHalfDead        = 1 << 4
	btpHasGarbage      = 1 << 6
	btpIncompleteSplit = 1 << 7
	btpHasFullXID      = 1 << 8
)

// btreeNone is P_NONE: no sibling.
const btreeNone wal.BlockNumber = 0

// btreeMagic is BTREE_MAGIC, of the metapage.
const btreeMagic = 0x053162

// btreeRedo are the records of btree_redo (access/nbtree/nbtxlog.c), the same in
// all majors. REUSE_PAGE changes no page.
func btreeRedo(wal.Version) operations {
	return operations{
		0x0: btreeInsert,
		0x1: btreeInsert, // INSERT_UPPER
		0x2: btreeInsert, // INSERT_META
		0x3: btreeSplit,  // SPLIT_L
		0x4: btreeSplit,  // SPLIT_R
		0x5: btreeInsertPosting,
		0x6: btreeDedup,
		0x7: btreeDelete,
		0x8: btreeUnlinkPage,
		0x9: btreeUnlinkPage, // UNLINK_PAGE_META
		0xA: btreeNewRoot,
		0xB: btreeMarkPageHalfDead,
		0xC: btreeVacuum,
		0xE: btreeMetaCleanup,
	}
}

// btreeOpaque is a page's BTPageOpaqueData, in place.
type btreeOpaque []byte

func (p *page) btreeOpaque() (btreeOpaque, error) {
	s, err := p.specialSpace(btreeOpaqueSize)
	return s, err
}

// btreeInit is _bt_pageinit, with the fields that are not zero.
func (p *page) btreeInit(flags uint16, level uint32, prev, next wal.BlockNumber) {
	p.init(btreeOpaqueSize)
	o := btreeOpaque(p[pageSize-btreeOpaqueSize:])
	o.setFlags(flags)
	o.setPrev(prev)
	o.setNext(next)
	le.PutUint32(o[8:], level)
}

func (o btreeOpaque) setPrev(b wal.BlockNumber) { le.PutUint32(o[0:], uint32(b)) }
func (o btreeOpaque) next() wal.BlockNumber     { return wal.BlockNumber(le.Uint32(o[4:])) }
func (o btreeOpaque) setNext(b wal.BlockNumber) { le.PutUint32(o[4:], uint32(b)) }
func (o btreeOpaque) flags() uint16             { return le.Uint16(o[12:]) }
func (o btreeOpaque) setFlags(f uint16)         { le.PutUint16(o[12:], f) }
func (o btreeOpaque) setCycleID(id uint16)      { le.PutUint16(o[14:], id) }

// firstDataKey is P_FIRSTDATAKEY: the first item that is no high key.
func (o btreeOpaque) firstDataKey() int {
	if o.next() == btreeNone {
		return 1
	}
	return 2
}

// strangeBlock is the error of a block reference that such a record never has.
func strangeBlock(c *change) error {
	return fmt.Errorf("a record of this kind has no block reference %d", c.ref.ID)
}

// btreeInsert inserts a tuple, into block 0; of INSERT_UPPER and INSERT_META it
// is a downlink, which completes the split of block 1. Block 2 is the metapage.
func btreeInsert(c *change) error {
	switch c.ref.ID {
	case 0:
		n := int(c.main.u16())
		if c.main.short {
			return errShort
		}
		return c.page.insertAt(c.data.rest(), n)
	case 1:
		return btreeClearIncompleteSplit(c)
	case 2:
		return btreeRestoreMeta(c)
	}
	return strangeBlock(c)
}

// insertAt is PageAddItem with a line pointer that must be named.
func (p *page) insertAt(item []byte, n int) error {
	if n == 0 {
		return fmt.Errorf("no line pointer is named for the item")
	}
	_, err := p.addItem(item, n, 0)
	return err
}

// btreeClearIncompleteSplit is _bt_clear_incomplete_split: the page's right
// sibling has its downlink.
func btreeClearIncompleteSplit(c *change) error {
	return c.btreeFlags(0, btpIncompleteSplit)
}

// btreeFlags sets and clears flags.
func (c *change) btreeFlags(set, unset uint16) error {
	o, err := c.page.btreeOpaque()
	if err != nil {
		return err
	}
	o.setFlags(o.flags()&^unset | set)
	return nil
}

// btreeMetaCleanup makes the metapage anew, which is block 0.
func btreeMetaCleanup(c *change) error {
	if c.ref.ID != 0 {
		return strangeBlock(c)
	}
	return btreeRestoreMeta(c)
}

// btreeRestoreMeta is _bt_restore_meta: the metapage is made anew from block data,
// an xl_btree_metadata.
func btreeRestoreMeta(c *change) error {
	const size = 48 // of BTMetaPageData
	version, root, level := c.data.u32(), c.data.u32(), c.data.u32()
	fastRoot, fastLevel := c.data.u32(), c.data.u32()
	deletedPages, allEqualImage := c.data.u32(), c.data.bool()
	if c.data.short {
		return errShort
	}
	p := c.page
	p.btreeInit(btpMeta, 0, btreeNone, btreeNone)
	m := p.contents()
	for i, v := range [...]uint32{btreeMagic, version, root, level, fastRoot, fastLevel, deletedPages} {
		le.PutUint32(m[4*i:], v)
	}
	le.PutUint64(m[32:], math.Float64bits(-1)) // btm_last_cleanup_num_heap_tuples, no longer kept
	if allEqualImage {
		m[40] = 1
	}
	p.setLower(headerSize + size)
	return nil
}

// btreeNewRoot makes block 0 the root: an empty leaf, or two downlinks above the
// halves of the old root, whose left one is block 1.
func btreeNewRoot(c *change) error {
	c.main.skip(4) // rootblk
	level := c.main.u32()
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		if level == 0 {
			c.page.btreeInit(btpRoot|btpLeaf, 0, btreeNone, btreeNone)
			return nil
		}
		c.page.btreeInit(btpRoot, level, btreeNone, btreeNone)
		return c.page.btreeRestore(c.data.rest())
	case 1:
		return btreeClearIncompleteSplit(c)
	case 2:
		return btreeRestoreMeta(c)
	}
	return strangeBlock(c)
}

// btreeMarkPageHalfDead makes the empty leaf, block 0, half-dead. In the parent
// of the subtree that goes, block 1, the downlink takes the next one's place:
// the next key goes, and this one gets its child.
func btreeMarkPageHalfDead(c *change) error {
	n := int(c.main.u16())
	c.main.skip(2 + 4) // padding, leafblk
	left, right, topParent := c.main.blockNumber(), c.main.blockNumber(), c.main.blockNumber()
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		return c.page.btreeHalfDead(left, right, topParent)
	case 1:
		downlink, err := c.page.normalItem(n, indexTupleSize)
		if err != nil {
			return err
		}
		next, err := c.page.normalItem(n+1, indexTupleSize)
		if err != nil {
			return err
		}
		copy(downlink[:4], next[:4])
		return c.page.indexTupleDelete(n + 1)
	}
	return strangeBlock(c)
}

// btreeHalfDead makes a half-dead leaf: of its high key only the link to the top
// parent of what goes with it is left, in the form of a pivot without keys.
func (p *page) btreeHalfDead(left, right, topParent wal.BlockNumber) error {
	p.btreeInit(btpHalfDead|btpLeaf, 0, left, right)
	var pivot [indexTupleSize]byte
	le.PutUint16(pivot[0:], uint16(topParent>>16))
	le.PutUint16(pivot[2:], uint16(topParent))
	le.PutUint16(pivot[6:], indexTupleSize|indexAltTID)
	_, err := p.addItem(pivot[:], 1, 0)
	return err
}

// btreeUnlinkPage deletes block 0, between its siblings, blocks 1 and 2. Where
// that is no leaf, the half-dead leaf of its subtree is block 3. Block 4 is the
// metapage.
func btreeUnlinkPage(c *change) error {
	left, right, level := c.main.blockNumber(), c.main.blockNumber(), c.main.u32()
	c.main.align(8)
	safeXID := c.main.u64()
	leafLeft, leafRight, leafTopParent := c.main.blockNumber(), c.main.blockNumber(), c.main.blockNumber()
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		flags := uint16(btpDeleted | btpHasFullXID)
		if level == 0 {
			flags |= btpLeaf
		}
		c.page.btreeInit(flags, level, left, right)
		// BTDeletedPageData is all that is on it.
		le.PutUint64(c.page.contents(), safeXID)
		c.page.setLower(headerSize + 8)
		return nil
	case 3:
		return c.page.btreeHalfDead(leafLeft, leafRight, leafTopParent)
	case 4:
		return btreeRestoreMeta(c)
	}
	o, err := c.page.btreeOpaque()
	if err != nil {
		return err
	}
	switch c.ref.ID {
	case 1:
		o.setNext(right)
	case 2:
		o.setPrev(left)
	default:
		return strangeBlock(c)
	}
	return nil
}
