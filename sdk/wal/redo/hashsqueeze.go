package redo

import (
	"fmt"
)

// hashAddItems adds tuples that come from another page of the bucket: block data
// is their line pointers' numbers, then the tuples.
func hashAddItems(c *change, count int) error {
	ns := c.data.offsets(count)
	if c.data.short {
		return errShort
	}
	for i := range count {
		t, err := c.data.indexTuple()
		if err != nil {
			return err
		}
		if err := c.page.insertAt(t, ns.at(i)); err != nil {
			return err
		}
	}
	if count > 0 && c.data.left() > 0 {
		return fmt.Errorf("%d bytes follow the %d tuples", c.data.left(), count)
	}
	return nil
}

// hashMovePageContents moves tuples forward in a bucket's chain, to block 1 from
// block 2. Block 0, the primary page, is named only to be locked.
func hashMovePageContents(c *change) error {
	count := int(c.main.u16())
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		c.untouched = true
		return nil
	case 1:
		return hashAddItems(c, count)
	case 2:
		return c.page.deleteItems(c.data.rest())
	}
	return strangeBlock(c)
}

// hashSqueezePage moves the last tuples of an overflow page, block 2, to a page
// before it, block 1, and frees the page: it leaves the chain between blocks 3,
// which may be block 1, and 4. Block 0, the primary page, is named only to be
// locked; so is block 1 if it is that page, and nothing changes on it. Block 5 is
// the bitmap page, block 6 the metapage.
func hashSqueezePage(c *change) error {
	prev, next, count := c.main.u32(), c.main.u32(), int(c.main.u16())
	c.main.skip(1) // is_prim_bucket_same_wrt
	prevIsTarget := c.main.bool()
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		c.untouched = true
		return nil
	case 1:
		if err := hashAddItems(c, count); err != nil || !prevIsTarget {
			c.untouched = count == 0
			return err
		}
		return c.hashSetNext(next)
	case 2:
		c.page.hashInit(invalidBlock, invalidBucket, lhUnusedPage)
		return nil
	case 3:
		return c.hashSetNext(next)
	case 4:
		return c.hashSetPrev(prev)
	case 5:
		return hashBit(c, false)
	case 6:
		return hashSetFirstFree(c)
	}
	return strangeBlock(c)
}

// hashSqueezePageUntil16 is hashSqueezePage before PG17, which gave block 1 the
// record's LSN whether it changed or not.
func hashSqueezePageUntil16(c *change) error {
	err := hashSqueezePage(c)
	if c.ref.ID == 1 {
		c.untouched = false
	}
	return err
}

// hashSetFirstFree sets on the metapage which overflow page is the first that
// may be free.
func hashSetFirstFree(c *change) error {
	m, err := c.page.hashMeta()
	if err != nil {
		return err
	}
	bit := c.data.u32()
	if c.data.short {
		return errShort
	}
	m.setFirstFree(bit)
	return nil
}

// hashDelete deletes tuples from block 1. Block 0, the primary page, is named
// only to be locked.
func hashDelete(c *change) error {
	clearDead := c.main.bool()
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		c.untouched = true
		return nil
	case 1:
		if err := c.page.deleteItems(c.data.rest()); err != nil || !clearDead {
			return err
		}
		return c.hashFlags(0, lhPageHasDeadTuples)
	}
	return strangeBlock(c)
}

// hashVacuumOnePage deletes dead tuples from block 0, before an insertion, and
// takes them off the number on the metapage, block 1. Their line pointers'
// numbers are in main data. Until PG15 their count has 32 bits, since PG16 it has
// 16, and a flag behind it.
func hashVacuumOnePage(c *change) error {
	c.main.skip(4) // snapshotConflictHorizon
	count := int(c.main.u16())
	c.main.skip(2) // isCatalogRel; the count's upper half until PG15
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		ns := c.main.offsets(count)
		if c.main.short {
			return errShort
		}
		if err := c.page.deleteItems(ns); err != nil {
			return err
		}
		return c.hashFlags(0, lhPageHasDeadTuples)
	case 1:
		m, err := c.page.hashMeta()
		if err != nil {
			return err
		}
		m.setTuples(m.tuples() - float64(count))
		return nil
	}
	return strangeBlock(c)
}
