package redo

import (
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// A hash index's page (access/hash.h). HashPageOpaqueData is its special space:
//
//	 0                 4                 8              12           14
//	+-----------------+-----------------+--------------+------------+---------------+
//	| hasho_prevblkno | hasho_nextblkno | hasho_bucket | hasho_flag | hasho_page_id |
//	+-----------------+-----------------+--------------+------------+---------------+
//
// A bucket is a chain: its primary page, whose hasho_prevblkno is another thing,
// and overflow pages. Which overflow pages are free, bitmap pages say.
const hashOpaqueSize = 16

// Values and flags of hasho_flag, and what else a page is told by.
const (
	lhUnusedPage              = 0
	lhOverflowPage            = 1 << 0
	lhBitmapPage              = 1 << 2
	lhMetaPage                = 1 << 3
	lhBucketNeedsSplitCleanup = 1 << 6
	lhPageHasDeadTuples       = 1 << 7

	hashPageID     = 0xFF80     // HASHO_PAGE_ID
	invalidBlock   = 0xFFFFFFFF // InvalidBlockNumber
	invalidBucket  = 0xFFFFFFFF // InvalidBucket
	maxBitmapBytes = pageSize - headerSize - hashOpaqueSize
)

// hashRedo are the records of hash_redo (access/hash/hash_xlog.c).
func hashRedo(v wal.Version) operations {
	squeeze := hashSqueezePage
	if v < wal.PG17 {
		squeeze = hashSqueezePageUntil16
	}
	return operations{
		0x0: hashInitMetaPage,
		0x1: hashInitBitmapPage,
		0x2: hashInsert,
		0x3: hashAddOverflowPage,
		0x4: hashSplitAllocatePage,
		0x5: hashSplitPage,
		0x6: hashSplitComplete,
		0x7: hashMovePageContents,
		0x8: squeeze,
		0x9: hashDelete,
		0xA: hashSplitCleanup,
		0xB: hashUpdateMetaPage,
		0xC: hashVacuumOnePage,
	}
}

// hashOpaque is a page's HashPageOpaqueData, in place.
type hashOpaque []byte

func (p *page) hashOpaque() (hashOpaque, error) {
	s, err := p.specialSpace(hashOpaqueSize)
	return s, err
}

func (o hashOpaque) setPrev(b uint32) { le.PutUint32(o[0:], b) }
func (o hashOpaque) setNext(b uint32) { le.PutUint32(o[4:], b) }
func (o hashOpaque) flags() uint16    { return le.Uint16(o[12:]) }
func (o hashOpaque) setFlags(f uint16) {
	le.PutUint16(o[12:], f)
}

// hashInit is _hash_initbuf: an empty page without a next one.
func (p *page) hashInit(prev, bucket uint32, flags uint16) {
	p.init(hashOpaqueSize)
	o := hashOpaque(p[pageSize-hashOpaqueSize:])
	o.setPrev(prev)
	o.setNext(invalidBlock)
	le.PutUint32(o[8:], bucket)
	o.setFlags(flags)
	le.PutUint16(o[14:], hashPageID)
}

// hashInitBitmap is _hash_initbitmapbuffer: a bitmap of so many bytes, all set.
func (p *page) hashInitBitmap(size int) error {
	if size > maxBitmapBytes {
		return fmt.Errorf("a bitmap page cannot have %d bytes of bitmap", size)
	}
	p.hashInit(invalidBlock, invalidBucket, lhBitmapPage)
	bits := p.contents()[:size]
	for i := range bits {
		bits[i] = 0xFF
	}
	p.setLower(headerSize + size)
	return nil
}

// hashBit sets or clears a bit of a bitmap page, which block data names.
func hashBit(c *change, set bool) error {
	n := c.data.u32()
	if c.data.short {
		return errShort
	}
	if n >= maxBitmapBytes*8 {
		return fmt.Errorf("a bitmap page has no bit %d", n)
	}
	// An array of uint32, little-endian: so byte by byte it is the same.
	b := &c.page.contents()[n/8]
	if set {
		*b |= 1 << (n % 8)
	} else {
		*b &^= 1 << (n % 8)
	}
	return nil
}

// hashFlags sets and clears flags of the page.
func (c *change) hashFlags(set, unset uint16) error {
	o, err := c.page.hashOpaque()
	if err != nil {
		return err
	}
	o.setFlags(o.flags()&^unset | set)
	return nil
}

// hashSetNext sets the page's next one.
func (c *change) hashSetNext(b uint32) error {
	o, err := c.page.hashOpaque()
	if err != nil {
		return err
	}
	o.setNext(b)
	return nil
}

// hashSetPrev sets the page's previous one.
func (c *change) hashSetPrev(b uint32) error {
	o, err := c.page.hashOpaque()
	if err != nil {
		return err
	}
	o.setPrev(b)
	return nil
}

// hashInsert inserts a tuple into block 0, and counts it on the metapage.
func hashInsert(c *change) error {
	switch c.ref.ID {
	case 0:
		n := int(c.main.u16())
		if c.main.short {
			return errShort
		}
		return c.page.insertAt(c.data.rest(), n)
	case 1:
		m, err := c.page.hashMeta()
		if err != nil {
			return err
		}
		m.setTuples(m.tuples() + 1)
		return nil
	}
	return strangeBlock(c)
}

// hashAddOverflowPage appends block 0 to a bucket's chain, whose last page was
// block 1. The page's bit is set in the bitmap page that is block 2; where that
// bit is a new one, the page may need a new bitmap page, block 3. Block 4 is the
// metapage.
func hashAddOverflowPage(c *change) error {
	bitmapSize, found := int(c.main.u16()), c.main.bool()
	overflow, last := c.block(0), c.block(1)
	switch {
	case c.main.short:
		return errShort
	case overflow == nil || last == nil:
		return errors.New("the overflow page, or what it follows, is missing")
	}
	switch c.ref.ID {
	case 0:
		bucket := c.data.u32()
		if c.data.short {
			return errShort
		}
		c.page.hashInit(uint32(last.Block), bucket, lhOverflowPage)
		return nil
	case 1:
		return c.hashSetNext(uint32(overflow.Block))
	case 2:
		return hashBit(c, true)
	case 3:
		return c.page.hashInitBitmap(bitmapSize)
	case 4:
		return hashAddOverflowMeta(c, found)
	}
	return strangeBlock(c)
}

// hashAddOverflowMeta is the metapage's part of it.
func hashAddOverflowMeta(c *change, found bool) error {
	m, err := c.page.hashMeta()
	if err != nil {
		return err
	}
	firstFree := c.data.u32()
	if c.data.short {
		return errShort
	}
	m.setFirstFree(firstFree)
	if found {
		return nil
	}
	pages := uint32(1)
	if bitmap := c.block(3); bitmap != nil {
		if err := m.addBitmap(uint32(bitmap.Block)); err != nil {
			return err
		}
		pages++
	}
	return m.addSpares(pages)
}

// xlHashSplit is xl_hash_split_allocate_page (access/hash_xlog.h).
type xlHashSplit struct {
	bucket           uint32
	oldFlag, newFlag uint16
	masks, point     bool // what block data of the metapage has
}

// hashSplitAllocatePage begins the split of a bucket, block 0, into itself and a
// new one, block 1. Block 2 is the metapage.
func hashSplitAllocatePage(c *change) error {
	x := xlHashSplit{bucket: c.main.u32(), oldFlag: c.main.u16(), newFlag: c.main.u16()}
	flags := c.main.u8()
	if c.main.short {
		return errShort
	}
	x.masks, x.point = flags&1 != 0, flags&2 != 0
	switch c.ref.ID {
	case 0:
		o, err := c.page.hashOpaque()
		if err != nil {
			return err
		}
		o.setFlags(x.oldFlag)
		o.setPrev(x.bucket)
		return nil
	case 1:
		c.page.hashInit(x.bucket, x.bucket, x.newFlag)
		return nil
	case 2:
		return hashSplitMeta(c, x)
	}
	return strangeBlock(c)
}

// hashSplitMeta is the metapage's part of it.
func hashSplitMeta(c *change, x xlHashSplit) error {
	m, err := c.page.hashMeta()
	if err != nil {
		return err
	}
	m.setMaxBucket(x.bucket)
	if x.masks {
		low, high := c.data.u32(), c.data.u32()
		m.setMasks(low, high)
	}
	if x.point {
		point, spares := c.data.u32(), c.data.u32()
		if c.data.short {
			return errShort
		}
		if err := m.setSpares(point, spares); err != nil {
			return err
		}
		m.setOverflowPoint(point)
	}
	return c.data.err()
}

// hashSplitPage is a page of the new bucket as it is after the split: an image.
func hashSplitPage(*change) error {
	return errors.New("hash split record did not contain a full-page image")
}

// hashSplitComplete ends the split of block 0 into itself and block 1.
func hashSplitComplete(c *change) error {
	oldFlag, newFlag := c.main.u16(), c.main.u16()
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		return c.hashFlags(oldFlag, 0xFFFF)
	case 1:
		return c.hashFlags(newFlag, 0xFFFF)
	}
	return strangeBlock(c)
}

// hashSplitCleanup ends the cleaning of a bucket that was split.
func hashSplitCleanup(c *change) error {
	if c.ref.ID != 0 {
		return strangeBlock(c)
	}
	return c.hashFlags(0, lhBucketNeedsSplitCleanup)
}

// hashUpdateMetaPage sets the number of tuples.
func hashUpdateMetaPage(c *change) error {
	if c.ref.ID != 0 {
		return strangeBlock(c)
	}
	tuples := c.main.float64()
	if c.main.short {
		return errShort
	}
	m, err := c.page.hashMeta()
	if err != nil {
		return err
	}
	m.setTuples(tuples)
	return nil
}
