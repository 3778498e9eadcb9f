package redo

import (
	"errors"
	"fmt"
)

// What happens to a GIN index's list of pending entries (access/gin/ginfast.c):
// tuples are added to its tail, pages to its end, and its head is taken away when
// the entries have gone to the tree.

// ginSetMeta makes the page a metapage anew, with what the record holds.
func (c *change) ginSetMeta(meta []byte) {
	c.page.ginInit(ginMeta)
	copy(c.page.contents(), meta)
	c.page.setLower(headerSize + ginMetaSize)
}

// ginUpdateMetaPage is UPDATE_META_PAGE (ginxlogUpdateMeta): block 0 is the
// metapage, block 1 the list's tail, which gets tuples or a page behind it.
func ginUpdateMetaPage(c *change) error {
	c.main.skip(12) // the relation
	c.main.align(8)
	meta := c.main.bytes(ginMetaSize)
	c.main.skip(4) // prevTail, which is block 1
	newRightlink, ntuples := c.main.u32(), int32(c.main.u32())
	if c.main.short {
		return errShort
	}
	switch {
	case c.ref.ID == 0:
		c.ginSetMeta(meta)
		return nil
	case c.ref.ID != 1:
		return errBlock(c)
	}
	o, err := c.page.ginOpaqueWith(ginList, 0)
	if err != nil {
		return err
	}
	if ntuples <= 0 {
		o.setRightlink(newRightlink)
		return nil
	}
	o.setMaxoff(o.maxoff() + 1) // heap tuples
	return c.appendTuples(int(ntuples))
}

// appendTuples adds n index tuples, which are the rest of the block data, behind
// all others.
func (c *change) appendTuples(n int) error {
	for range n {
		tuple, err := c.data.indexTupleExact()
		if err != nil {
			return err
		}
		if err := c.page.appendItem(tuple); err != nil {
			return err
		}
	}
	if left := c.data.left(); left != 0 {
		return fmt.Errorf("%d bytes are left over behind %d tuples", left, n)
	}
	return nil
}

// ginInsertListPage is INSERT_LISTPAGE (ginxlogInsertListPage): a page of the list
// from its beginning.
func ginInsertListPage(c *change) error {
	rightlink, ntuples := c.main.u32(), int32(c.main.u32())
	if c.main.short || ntuples < 0 {
		return errShort
	}
	o := c.page.ginInit(ginList)
	o.setRightlink(rightlink)
	if rightlink == invalidBlock { // the tail
		o.setFlags(ginList | ginListFullRow)
		o.setMaxoff(1)
	}
	return c.appendTuples(int(ntuples))
}

// ginDeleteListPages is DELETE_LISTPAGE (ginxlogDeleteListPages): block 0 is the
// metapage, all others are pages that leave the list.
func ginDeleteListPages(c *change) error {
	meta := c.main.bytes(ginMetaSize)
	ndeleted := int32(c.main.u32())
	switch {
	case c.main.short:
		return errShort
	case c.ref.ID == 0:
		c.ginSetMeta(meta)
	case int32(c.ref.ID) > ndeleted:
		return errors.New("a page is named beyond those that are deleted")
	default:
		c.page.ginInit(ginDeleted)
	}
	return nil
}
