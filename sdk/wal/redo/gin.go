package redo

import (
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// A GIN index's page (access/ginblock.h). GinPageOpaqueData is its special space:
//
//	 0           4        6
//	+-----------+--------+--------+
//	| rightlink | maxoff | flags  |
//	+-----------+--------+--------+
//
// Pages of the entry tree and of the list of pending entries hold index tuples.
// Pages of a posting tree (GIN_DATA) hold at 24 their right bound, a TID, and
// from 32 up to pd_lower, on leaves, posting lists ([page.ginRecompress]), else
// maxoff PostingItems of 10 bytes: the child's block number and the key, a TID.
const (
	ginOpaqueSize      = 8
	ginDataStart       = headerSize + 8 // GinDataPageGetData: behind the right bound, MAXALIGNed
	ginDataSize        = pageSize - ginOpaqueSize - ginDataStart
	ginPostingItemSize = 10
	ginMetaSize        = 56 // GinMetaPageData
)

// Flags of a page.
const (
	ginData            = 1 << 0
	ginLeaf            = 1 << 1
	ginDeleted         = 1 << 2
	ginMeta            = 1 << 3
	ginList            = 1 << 4
	ginListFullRow     = 1 << 5
	ginIncompleteSplit = 1 << 6
	ginCompressed      = 1 << 7
)

// Flags of INSERT (access/ginxlog.h).
const (
	ginInsertIsData = 0x01
	ginInsertIsLeaf = 0x02
)

// ginRedo are the records of gin_redo (access/gin/ginxlog.c).
func ginRedo(wal.Version) operations {
	return operations{
		0x1: ginCreatePostingTree,
		0x2: ginInsert,
		0x3: ginSplit,
		0x4: func(*change) error {
			return errors.New("replay of gin entry tree page vacuum did not restore the page")
		},
		0x5: ginDeletePage,
		0x6: ginUpdateMetaPage,
		0x7: ginInsertListPage,
		0x8: ginDeleteListPages,
		0x9: ginVacuumDataLeafPage,
	}
}

// ginOpaque is a page's GinPageOpaqueData, in place.
type ginOpaque []byte

func (p *page) ginOpaque() (ginOpaque, error) {
	s, err := p.specialSpace(ginOpaqueSize)
	return s, err
}

func (o ginOpaque) setRightlink(b uint32) { le.PutUint32(o[0:], b) }
func (o ginOpaque) maxoff() int           { return int(le.Uint16(o[4:])) }
func (o ginOpaque) setMaxoff(n int)       { le.PutUint16(o[4:], uint16(n)) }
func (o ginOpaque) flags() uint16         { return le.Uint16(o[6:]) }
func (o ginOpaque) setFlags(f uint16)     { le.PutUint16(o[6:], f) }

// ginInit is GinInitPage.
func (p *page) ginInit(flags uint16) ginOpaque {
	p.init(ginOpaqueSize)
	o := ginOpaque(p[pageSize-ginOpaqueSize:])
	o.setRightlink(invalidBlock)
	o.setFlags(flags)
	return o
}

// ginOpaqueWith is the page's opaque data if the page has all flags of has, and
// none of hasNot.
func (p *page) ginOpaqueWith(has, hasNot uint16) (ginOpaque, error) {
	o, err := p.ginOpaque()
	if err != nil {
		return nil, err
	}
	if f := o.flags(); f&has != has || f&hasNot != 0 {
		return nil, fmt.Errorf("it is a GIN page with flags %#x, want %#x and not %#x", f, has, hasNot)
	}
	return o, nil
}

// ginSetDataSize is GinDataPageSetDataSize.
func (p *page) ginSetDataSize(n int) { p.setLower(ginDataStart + n) }

func ginCreatePostingTree(c *change) error {
	list := c.main.bytes(int(c.main.u32()))
	if c.main.short {
		return errShort
	}
	if len(list) > ginDataSize {
		return fmt.Errorf("posting lists of %d bytes do not fit on a page", len(list))
	}
	c.page.ginInit(ginData | ginLeaf | ginCompressed)
	copy(c.page[ginDataStart:], list)
	c.page.ginSetDataSize(len(list))
	return nil
}

// ginClearIncompleteSplit is what finishing the split of a left child does to it.
func ginClearIncompleteSplit(c *change) error {
	o, err := c.page.ginOpaque()
	if err == nil {
		o.setFlags(o.flags() &^ ginIncompleteSplit)
	}
	return err
}

// ginInsert is INSERT: block 0 is the page, block 1, if it is not a leaf, the left
// child whose split is finished.
func ginInsert(c *change) error {
	if c.ref.ID != 0 {
		return ginClearIncompleteSplit(c)
	}
	flags := c.main.u16()
	leaf := flags&ginInsertIsLeaf != 0
	right := uint32(invalidBlock)
	if !leaf {
		c.main.skip(4) // the left child
		right = c.main.blockID()
	}
	if c.main.short {
		return errShort
	}
	switch {
	case flags&ginInsertIsData == 0:
		return ginInsertEntry(c, right)
	case leaf:
		return c.page.ginRecompress(&c.data)
	}
	return ginInsertDataInternal(c, right)
}

// blockID reads a BlockIdData.
func (c *cursor) blockID() uint32 {
	hi := uint32(c.u16())
	return hi<<16 | uint32(c.u16())
}

// ginInsertEntry puts an index tuple on a page of the entry tree; right is the
// right child of a split that this finishes.
func ginInsertEntry(c *change, right uint32) error {
	offset := int(c.data.u16())
	isDelete := c.data.bool()
	c.data.skip(1)
	tuple, err := c.data.indexTupleExact()
	if err != nil {
		return err
	}
	hasNot := uint16(ginData)
	if right != invalidBlock {
		hasNot |= ginLeaf
	}
	if _, err := c.page.ginOpaqueWith(0, hasNot); err != nil {
		return err
	}
	if right != invalidBlock {
		old, err := c.page.normalItem(offset, indexTupleSize)
		if err != nil {
			return err
		}
		putTID(old, right, 0)
	}
	if isDelete {
		if err := c.page.indexTupleDelete(offset); err != nil {
			return err
		}
	}
	_, err = c.page.addItem(tuple, offset, 0)
	return err
}

// putTID writes an ItemPointerData.
func putTID(b []byte, block uint32, offset int) {
	putBlockID(b, block)
	le.PutUint16(b[4:], uint16(offset))
}

// putBlockID writes a BlockIdData.
func putBlockID(b []byte, block uint32) {
	le.PutUint16(b[0:], uint16(block>>16))
	le.PutUint16(b[2:], uint16(block))
}

// indexTupleExact reads a tuple, without alignment behind it.
func (c *cursor) indexTupleExact() ([]byte, error) {
	if c.short {
		return nil, errShort
	}
	n, err := indexTupleLen(c.buf[c.off:])
	if err != nil {
		return nil, err
	}
	return c.bytes(n), nil
}

// ginInsertDataInternal puts a PostingItem on an inner page of a posting tree, in
// front of that of the child that was split, which now leads to the right half.
func ginInsertDataInternal(c *change, right uint32) error {
	offset := int(c.data.u16())
	item := c.data.bytes(ginPostingItemSize)
	if c.data.short {
		return errShort
	}
	o, err := c.page.ginOpaqueWith(ginData, ginLeaf)
	if err != nil {
		return err
	}
	n := o.maxoff()
	if offset < 1 || offset > n {
		return fmt.Errorf("no posting item %d among %d", offset, n)
	}
	if (n+1)*ginPostingItemSize > ginDataSize {
		return fmt.Errorf("no room for one posting item more than %d", n)
	}
	at, end := ginDataStart+(offset-1)*ginPostingItemSize, ginDataStart+n*ginPostingItemSize
	putBlockID(c.page[at:], right)
	copy(c.page[at+ginPostingItemSize:], c.page[at:end])
	copy(c.page[at:], item)
	o.setMaxoff(n + 1)
	c.page.ginSetDataSize((n + 1) * ginPostingItemSize)
	return nil
}

// ginSplit is SPLIT: blocks 0 to 2, the halves and a new root, come as images;
// block 3 is the left child whose split is finished.
func ginSplit(c *change) error {
	if c.ref.ID == 3 {
		return ginClearIncompleteSplit(c)
	}
	return errors.New("GIN split record did not contain a full-page image of the page")
}

// ginDeletePage is DELETE_PAGE of a posting tree: the page, its parent, and its
// left sibling.
func ginDeletePage(c *change) error {
	parentOffset := int(c.main.u16())
	c.main.align(4)
	rightlink, deleteXID := c.main.u32(), c.main.xid()
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		o, err := c.page.ginOpaqueWith(ginData, 0)
		if err != nil {
			return err
		}
		o.setFlags(o.flags() | ginDeleted)
		c.page.setPruneXID(deleteXID) // GinPageSetDeleteXid
		return nil
	case 1:
		return c.page.ginDeletePostingItem(parentOffset)
	case 2:
		o, err := c.page.ginOpaqueWith(ginData, 0)
		if err != nil {
			return err
		}
		o.setRightlink(rightlink)
		return nil
	}
	return errBlock(c)
}

// errBlock says that the record has a block reference that none of its kind has.
func errBlock(c *change) error {
	return fmt.Errorf("unexpected block reference %d", c.ref.ID)
}

// ginDeletePostingItem is GinPageDeletePostingItem.
func (p *page) ginDeletePostingItem(offset int) error {
	o, err := p.ginOpaqueWith(ginData, ginLeaf)
	if err != nil {
		return err
	}
	n := o.maxoff()
	if offset < 1 || offset > n || n*ginPostingItemSize > ginDataSize {
		return fmt.Errorf("no posting item %d among %d", offset, n)
	}
	at, end := ginDataStart+(offset-1)*ginPostingItemSize, ginDataStart+n*ginPostingItemSize
	copy(p[at:], p[at+ginPostingItemSize:end])
	o.setMaxoff(n - 1)
	p.ginSetDataSize((n - 1) * ginPostingItemSize)
	return nil
}

// ginVacuumDataLeafPage is VACUUM_DATA_LEAF_PAGE.
func ginVacuumDataLeafPage(c *change) error { return c.page.ginRecompress(&c.data) }
