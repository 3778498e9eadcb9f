package redo

import (
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// A GiST index's page (access/gist.h). GISTPageOpaqueData is its special space:
//
//	 0             8           12      14
//	+-------------+-----------+-------+--------------+
//	| nsn, hi, lo | rightlink | flags | gist_page_id |
//	+-------------+-----------+-------+--------------+
const (
	gistOpaqueSize = 16
	gistPageID     = 0xFF81
	gistRootBlock  = 0 // GIST_ROOT_BLKNO
)

// Flags of a page.
const (
	gistLeaf          = 1 << 0
	gistDeleted       = 1 << 1
	gistTuplesDeleted = 1 << 2
	gistFollowRight   = 1 << 3
	gistHasGarbage    = 1 << 4
)

// gistRedo are the records of gist_redo (access/gist/gistxlog.c). PAGE_REUSE and
// ASSIGN_LSN change no page.
func gistRedo(v wal.Version) operations {
	offsetsAt := 8 // gistxlogDelete
	if v < wal.PG16 {
		offsetsAt = 6 // without isCatalogRel
	}
	return operations{
		0x0: gistPageUpdate,
		0x1: func(c *change) error { return gistDelete(c, offsetsAt) },
		0x3: gistPageSplit,
		0x6: gistPageDelete,
	}
}

// gistOpaque is a page's GISTPageOpaqueData, in place.
type gistOpaque []byte

func (p *page) gistOpaque() (gistOpaque, error) {
	s, err := p.specialSpace(gistOpaqueSize)
	return s, err
}

func (o gistOpaque) setRightlink(b uint32) { le.PutUint32(o[8:], b) }
func (o gistOpaque) flags() uint16         { return le.Uint16(o[12:]) }
func (o gistOpaque) setFlags(f uint16)     { le.PutUint16(o[12:], f) }

func (o gistOpaque) setNSN(l wal.LSN) {
	le.PutUint32(o[0:], uint32(l>>32))
	le.PutUint32(o[4:], uint32(l))
}

// gistInit is gistinitpage.
func (p *page) gistInit(flags uint16) gistOpaque {
	p.init(gistOpaqueSize)
	o := gistOpaque(p[pageSize-gistOpaqueSize:])
	o.setRightlink(invalidBlock)
	o.setFlags(flags)
	le.PutUint16(o[14:], gistPageID)
	return o
}

// gistLeftChild is the block reference of a left child whose split the record
// finishes by a downlink: -1 if it is no such record.
func gistLeftChild(rec *wal.Record) int {
	switch rec.Info >> 4 {
	case 0x0: // PAGE_UPDATE
		return 1
	case 0x3: // PAGE_SPLIT
		return 0
	}
	return -1
}

// gistClearFollowRight is what finishing its split does to a left child.
func (p *page) gistClearFollowRight(end wal.LSN) error {
	o, err := p.gistOpaque()
	if err != nil {
		return err
	}
	o.setNSN(end)
	o.setFlags(o.flags() &^ gistFollowRight)
	return nil
}

// gistRestored completes a page that was restored from an image: that of a left
// child is from before its split was finished, because the NSN is the LSN that the
// record was to get (gistRedoClearFollowRight).
func gistRestored(p *page, rec *wal.Record, ref *wal.BlockRef) error {
	if rec.RmgrID != wal.RmgrGist || int(ref.ID) != gistLeftChild(rec) {
		return nil
	}
	if err := p.gistClearFollowRight(rec.EndLSN); err != nil {
		return wal.Errorf(rec.StartLSN, "could not finish the split of a GiST page from an image at %s, relation %s, block %d: %v",
			rec.StartLSN, ref.Rel, ref.Block, err)
	}
	return nil
}

// gistPageUpdate is PAGE_UPDATE: block 0 loses and gets tuples, block 1 is a left
// child.
func gistPageUpdate(c *change) error {
	if int(c.ref.ID) == gistLeftChild(c.rec) {
		return c.page.gistClearFollowRight(c.rec.EndLSN)
	}
	o, err := c.page.gistOpaque()
	if err != nil {
		return err
	}
	ndelete, ninsert := int(c.main.u16()), int(c.main.u16())
	deleted := c.data.offsets(ndelete)
	if err := c.err(); err != nil {
		return err
	}
	if ndelete == 1 && ninsert == 1 {
		tuple, err := c.data.indexTupleExact()
		if err != nil {
			return err
		}
		return c.page.indexTupleOverwrite(deleted.at(0), tuple)
	}
	if ndelete > 0 {
		if err := c.page.deleteItems(deleted); err != nil {
			return err
		}
		if o.flags()&gistLeaf != 0 {
			o.setFlags(o.flags() | gistTuplesDeleted)
		}
	}
	return c.appendTuples(ninsert)
}

// gistDelete is DELETE: tuples of a leaf that were marked dead go.
func gistDelete(c *change, offsetsAt int) error {
	c.main.skip(4) // snapshotConflictHorizon
	n := int(c.main.u16())
	c.main.skip(offsetsAt - 6)
	deleted := c.main.offsets(n)
	o, err := c.page.gistOpaque()
	if err = errors.Join(err, c.err()); err != nil {
		return err
	}
	if err := c.page.deleteItems(deleted); err != nil {
		return err
	}
	o.setFlags(o.flags()&^gistHasGarbage | gistTuplesDeleted)
	return nil
}

// gistPageSplit is PAGE_SPLIT (gistxlogPageSplit): block 0 is a left child, all
// others are what the page becomes, the first in its place.
func gistPageSplit(c *change) error {
	if int(c.ref.ID) == gistLeftChild(c.rec) {
		return c.page.gistClearFollowRight(c.rec.EndLSN)
	}
	rightlink := c.main.u32()
	c.main.align(8)
	nsn := wal.LSN(c.main.u64())
	wasLeaf := c.main.bool()
	c.main.align(2)
	npage, follow := int(c.main.u16()), c.main.bool()
	n := int32(c.data.u32())
	if err := c.err(); err != nil {
		return err
	}
	id := int(c.ref.ID)
	first := c.block(1)
	if id > npage || first == nil || n < 0 {
		return fmt.Errorf("block reference %d of a split into %d pages", id, npage)
	}
	root := c.ref.Block == gistRootBlock
	flags := uint16(0)
	if wasLeaf && !root {
		flags |= gistLeaf
	}
	if !root && id < npage {
		next := c.block(uint8(id + 1))
		if next == nil {
			return fmt.Errorf("a split into %d pages names no page behind the %dth", npage, id)
		}
		rightlink = uint32(next.Block)
		if follow && first.Block != gistRootBlock {
			flags |= gistFollowRight
		}
	}
	o := c.page.gistInit(flags)
	if !root {
		o.setRightlink(rightlink)
	}
	o.setNSN(nsn)
	return c.appendTuples(int(n))
}

// gistPageDelete is PAGE_DELETE (gistxlogPageDelete): block 0 is an empty leaf,
// block 1 its parent.
func gistPageDelete(c *change) error {
	xid, downlink := c.main.u64(), int(c.main.u16())
	if c.main.short {
		return errShort
	}
	if c.ref.ID == 1 {
		return c.page.indexTupleDelete(downlink)
	}
	o, err := c.page.gistOpaque()
	if err != nil {
		return err
	}
	// GISTDeletedPageContents takes the line pointers' place.
	if n := c.page.maxOffset(); n != 0 || c.page.upper() < headerSize+8 {
		return fmt.Errorf("a page with %d items, upper = %d, is deleted", n, c.page.upper())
	}
	o.setFlags(o.flags() | gistDeleted)
	le.PutUint64(c.page.contents(), xid)
	c.page.setLower(headerSize + 8)
	return nil
}
