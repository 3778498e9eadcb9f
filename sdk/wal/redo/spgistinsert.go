package redo

import "fmt"

// What insertions do to an SP-GiST index. Main data has it all: each block takes
// its part of it.

// spgAddLeaf is ADD_LEAF (spgxlogAddLeaf): block 0 gets a leaf tuple, block 1 is
// its parent.
func spgAddLeaf(c *change) error {
	newPage, nulls := c.main.bool(), c.main.bool()
	n, head := int(c.main.u16()), int(c.main.u16())
	parent, node := int(c.main.u16()), int(c.main.u16())
	tuple := c.main.leafTuple()
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		if newPage {
			c.page.spgInit(spgLeafFlags(nulls))
		}
		if n == head { // in place of a dead one
			return c.page.spgReplace(tuple, n)
		}
		if err := c.page.spgAdd(tuple, n); err != nil || head == 0 {
			return err
		}
		return c.page.spgSetNext(head, n)
	case 1:
		block, err := c.blockOf(0)
		if err != nil {
			return err
		}
		return c.page.spgSetLink(parent, node, block, n)
	}
	return errBlock(c)
}

// blockOf is the number of the block that the record names by id.
func (c *change) blockOf(id uint8) (uint32, error) {
	ref := c.block(id)
	if ref == nil {
		return 0, fmt.Errorf("the record has no block reference %d", id)
	}
	return uint32(ref.Block), nil
}

// spgMoveLeafs is MOVE_LEAFS (spgxlogMoveLeafs): a chain moves from block 0 to
// block 1, and grows by a tuple; block 2 is its parent.
func spgMoveLeafs(c *change) error {
	nmoves := int(c.main.u16())
	newPage, replaceDead, nulls := c.main.bool(), c.main.bool(), c.main.bool()
	c.main.align(2)
	parent, node := int(c.main.u16()), int(c.main.u16())
	state := c.main.spgState()
	ninsert := nmoves + 1
	if replaceDead {
		ninsert = 1
	}
	deleted, inserted := c.main.offsets(nmoves), c.main.offsets(ninsert)
	if c.main.short {
		return errShort
	}
	block, err := c.blockOf(1)
	if err != nil {
		return err
	}
	head := inserted.at(ninsert - 1)
	switch c.ref.ID {
	case 0:
		first := spgRedirect
		if state.build {
			first = spgPlaceholder
		}
		return c.page.spgMultiDelete(state, deleted, first, spgPlaceholder, block, head)
	case 1:
		if newPage {
			c.page.spgInit(spgLeafFlags(nulls))
		}
		for i := range ninsert {
			tuple := c.main.leafTuple()
			if c.main.short {
				return errShort
			}
			if err := c.page.spgAdd(tuple, inserted.at(i)); err != nil {
				return err
			}
		}
		return nil
	case 2:
		return c.page.spgSetLink(parent, node, block, head)
	}
	return errBlock(c)
}

// spgAddNode is ADD_NODE (spgxlogAddNode): an inner tuple of block 0 gets a node,
// in place, or else on block 1; its parent is on one of them, or on block 2.
func spgAddNode(c *change) error {
	old, n := int(c.main.u16()), int(c.main.u16())
	newPage, parentBlock := c.main.bool(), int8(c.main.u8())
	parent, node := int(c.main.u16()), int(c.main.u16())
	state := c.main.spgState()
	tuple := c.main.innerTuple()
	if c.main.short {
		return errShort
	}
	moved := c.block(1)
	if moved == nil {
		if c.ref.ID != 0 {
			return errBlock(c)
		}
		return c.page.spgReplace(tuple, old)
	}
	block := uint32(moved.Block)
	var err error
	switch c.ref.ID {
	case 0:
		err = c.page.spgForward(state, old, block, n)
	case 1:
		if newPage {
			c.page.spgInit(0)
		}
		err = c.page.spgAdd(tuple, n)
	case 2:
	default:
		err = errBlock(c)
	}
	if err != nil || int8(c.ref.ID) != parentBlock {
		return err
	}
	return c.page.spgSetLink(parent, node, block, n)
}

// spgForward makes a tuple that has moved a redirection, or a placeholder.
func (p *page) spgForward(s spgState, n int, block uint32, offset int) error {
	o, err := p.spgOpaque()
	if err != nil {
		return err
	}
	state := spgRedirect
	if s.build {
		state = spgPlaceholder
		o.addPlaceholders(1)
	} else {
		o.addRedirections(1)
	}
	t := spgDeadTuple(s, state, block, offset)
	return p.spgReplace(t[:], n)
}

// spgSplitTuple is SPLIT_TUPLE (spgxlogSplitTuple): an inner tuple of block 0
// becomes two, of which the lower may lie on block 1.
func spgSplitTuple(c *change) error {
	prefixAt, postfixAt := int(c.main.u16()), int(c.main.u16())
	newPage, same := c.main.bool(), c.main.bool()
	prefix, postfix := c.main.innerTuple(), c.main.innerTuple()
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		if err := c.page.spgReplace(prefix, prefixAt); err != nil || !same {
			return err
		}
	case 1:
		if newPage {
			c.page.spgInit(0)
		}
	default:
		return errBlock(c)
	}
	return c.page.spgAdd(postfix, postfixAt)
}

// pickSplit is spgxlogPickSplit.
type pickSplit struct {
	initSrc, initDest, initInner, nulls bool
	innerIsParent                       bool
	inner, parent, node                 int // where the new inner tuple goes, and who leads to it
	state                               spgState
	deleted, inserted                   offsets
	toDest                              []byte // of each inserted tuple, whether it goes to block 1
	tuple                               []byte
}

// pickSplit reads the record up to the leaf tuples.
func (c *cursor) pickSplit() (s pickSplit) {
	c.skip(2) // isRootSplit: then there is no block 0
	ndelete, ninsert := int(c.u16()), int(c.u16())
	s.initSrc, s.initDest = c.bool(), c.bool()
	s.inner = int(c.u16())
	s.initInner, s.nulls, s.innerIsParent = c.bool(), c.bool(), c.bool()
	c.align(2)
	s.parent, s.node = int(c.u16()), int(c.u16())
	s.state = c.spgState()
	s.deleted, s.inserted = c.offsets(ndelete), c.offsets(ninsert)
	s.toDest = c.bytes(ninsert)
	s.tuple = c.innerTuple()
	return s
}

// spgPickSplit is PICKSPLIT: leaf tuples of block 0, if it is not the root, become
// others there and on block 1 below a new inner tuple on block 2, to which block 3
// leads.
func spgPickSplit(c *change) error {
	s := c.main.pickSplit()
	if c.main.short {
		return errShort
	}
	block, err := c.blockOf(2)
	if err != nil {
		return err
	}
	switch c.ref.ID {
	case 0:
		if s.initSrc {
			c.page.spgInit(spgLeafFlags(s.nulls))
		} else {
			first := spgRedirect
			if s.state.build {
				first = spgPlaceholder
			}
			if err := c.page.spgMultiDelete(s.state, s.deleted, first, spgPlaceholder, block, s.inner); err != nil {
				return err
			}
		}
		return c.spgAddLeaves(s)
	case 1:
		if s.initDest {
			c.page.spgInit(spgLeafFlags(s.nulls))
		}
		return c.spgAddLeaves(s)
	case 2:
		if s.initInner {
			c.page.spgInit(spgLeafFlags(s.nulls) &^ spgLeaf)
		}
		if err := c.page.spgAdd(s.tuple, s.inner); err != nil || !s.innerIsParent {
			return err
		}
		return c.page.spgSetLink(s.parent, s.node, block, s.inner)
	case 3:
		return c.page.spgSetLink(s.parent, s.node, block, s.inner)
	}
	return errBlock(c)
}

// spgAddLeaves adds those of the leaf tuples, the rest of main data, that are for
// the page.
func (c *change) spgAddLeaves(s pickSplit) error {
	for i := range s.inserted.len() {
		tuple := c.main.leafTuple()
		if c.main.short {
			return errShort
		}
		if (s.toDest[i] != 0) != (c.ref.ID == 1) {
			continue
		}
		if err := c.page.spgAdd(tuple, s.inserted.at(i)); err != nil {
			return err
		}
	}
	return nil
}
