package redo

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// A BRIN index's page (access/brin_page.h). BrinSpecialSpace is its special space:
//
//	 0          4       6
//	+----------+-------+------+
//	|          | flags | type |
//	+----------+-------+------+
//
// The metapage, regular pages with a tuple for each range of the table's pages,
// and pages of the range map (revmap) with, from 24 on, the tuple's TID of each
// range, of 6 bytes.
const (
	brinSpecialSize = 8
	brinMetaPage    = 0xF091
	brinRevmapPage  = 0xF092
	brinRegularPage = 0xF093
	brinMetaMagic   = 0xA8109CFA
	brinMetaSize    = 16                                                  // BrinMetaPageData
	brinRevmapItems = (pageSize - headerSize - brinSpecialSize) / tidSize // REVMAP_PAGE_MAXITEMS
)

// brinInitPage is XLOG_BRIN_INIT_PAGE among the high bits of xl_info.
const brinInitPage = 0x8

// brinRedo are the records of brin_redo (access/brin/brin_xlog.c).
func brinRedo(wal.Version) operations {
	return operations{
		0x0:                brinCreateIndex,
		0x1:                brinInsert,
		0x1 | brinInitPage: brinInsert,
		0x2:                brinUpdate,
		0x2 | brinInitPage: brinUpdate,
		0x3:                brinSamePageUpdate,
		0x4:                brinRevmapExtend,
		0x5:                brinDesummarize,
	}
}

// brinInit is brin_page_init.
func (p *page) brinInit(kind uint16) {
	p.init(brinSpecialSize)
	le.PutUint16(p[pageSize-2:], kind)
}

// brinKind checks that the page is of that type.
func (p *page) brinKind(kind uint16) error {
	s, err := p.specialSpace(brinSpecialSize)
	if err != nil {
		return err
	}
	if k := le.Uint16(s[6:]); k != kind {
		return fmt.Errorf("it is a BRIN page of type %#x, want %#x", k, kind)
	}
	return nil
}

// brinCreateIndex is CREATE_INDEX (xl_brin_createidx): the metapage.
func brinCreateIndex(c *change) error {
	pagesPerRange, version := c.main.u32(), c.main.u16()
	if c.main.short {
		return errShort
	}
	c.page.brinInit(brinMetaPage)
	m := c.page.contents()
	le.PutUint32(m[0:], brinMetaMagic)
	le.PutUint32(m[4:], uint32(version))
	le.PutUint32(m[8:], pagesPerRange)
	le.PutUint32(m[12:], 0) // lastRevmapPage
	c.page.setLower(headerSize + brinMetaSize)
	return nil
}

// brinInsert is INSERT (xl_brin_insert): block 0 gets the tuple, block 1 is the
// page of the range map.
func brinInsert(c *change) error {
	heapBlock, pagesPerRange, offset := c.main.u32(), c.main.u32(), int(c.main.u16())
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		if c.rec.Info>>4&brinInitPage != 0 {
			c.page.brinInit(brinRegularPage)
		}
		if err := c.page.brinKind(brinRegularPage); err != nil {
			return err
		}
		_, err := c.page.addItem(c.data.rest(), offset, overwrite)
		return err
	case 1:
		regular := c.block(0)
		if regular == nil {
			return fmt.Errorf("the record does not name the tuple's page")
		}
		return c.page.brinSetRange(pagesPerRange, heapBlock, uint32(regular.Block), offset)
	}
	return errBlock(c)
}

// brinSetRange is brinSetHeapBlockItemptr: the range of a page of the table gets a
// tuple, or none if offset is 0.
func (p *page) brinSetRange(pagesPerRange, heapBlock, block uint32, offset int) error {
	if err := p.brinKind(brinRevmapPage); err != nil {
		return err
	}
	if pagesPerRange == 0 {
		return fmt.Errorf("a range of no pages")
	}
	i := int(heapBlock / pagesPerRange % brinRevmapItems)
	putTID(p[headerSize+i*tidSize:], block, offset)
	return nil
}

// brinUpdate is UPDATE (xl_brin_update): an INSERT, and block 2 loses the old
// tuple.
func brinUpdate(c *change) error {
	old := int(c.main.u16())
	c.main.align(4)
	if c.main.short {
		return errShort
	}
	if c.ref.ID == 2 {
		return c.page.indexTupleDeleteNoCompact(old)
	}
	return brinInsert(c)
}

// brinSamePageUpdate is SAMEPAGE_UPDATE.
func brinSamePageUpdate(c *change) error {
	offset := int(c.main.u16())
	if c.main.short {
		return errShort
	}
	return c.page.indexTupleOverwrite(offset, c.data.rest())
}

// brinRevmapExtend is REVMAP_EXTEND: block 0 is the metapage, block 1 becomes a
// page of the range map.
func brinRevmapExtend(c *change) error {
	target := c.main.u32()
	if c.main.short {
		return errShort
	}
	if c.ref.ID == 1 {
		c.page.brinInit(brinRevmapPage)
		return nil
	}
	if err := c.page.brinKind(brinMetaPage); err != nil {
		return err
	}
	le.PutUint32(c.page.contents()[12:], target) // lastRevmapPage
	c.page.setLower(headerSize + brinMetaSize)   // which servers before 11 did not set
	return nil
}

// brinDesummarize is DESUMMARIZE (xl_brin_desummarize): block 0 is the page of the
// range map, block 1 that of the tuple.
func brinDesummarize(c *change) error {
	pagesPerRange, heapBlock, offset := c.main.u32(), c.main.u32(), int(c.main.u16())
	if c.main.short {
		return errShort
	}
	if c.ref.ID == 0 {
		return c.page.brinSetRange(pagesPerRange, heapBlock, invalidBlock, 0)
	}
	return c.page.indexTupleDeleteNoCompact(offset)
}
