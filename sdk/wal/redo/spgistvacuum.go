package redo

import "fmt"

// spgVacuumLeaf is VACUUM_LEAF (spgxlogVacuumLeaf): tuples become dead ones or
// placeholders, others move to a place in the chain, and chains are linked anew.
func spgVacuumLeaf(c *change) error {
	ndead, nplaceholder, nmove, nchain := int(c.main.u16()), int(c.main.u16()), int(c.main.u16()), int(c.main.u16())
	state := c.main.spgState()
	dead, placeholder := c.main.offsets(ndead), c.main.offsets(nplaceholder)
	from, to := c.main.offsets(nmove), c.main.offsets(nmove)
	chained, next := c.main.offsets(nchain), c.main.offsets(nchain)
	if c.main.short {
		return errShort
	}
	if err := c.page.spgMultiDelete(state, dead, spgDead, spgDead, invalidBlock, 0); err != nil {
		return err
	}
	if err := c.page.spgMultiDelete(state, placeholder, spgPlaceholder, spgPlaceholder, invalidBlock, 0); err != nil {
		return err
	}
	// What a tuple moves to is dead by now: the line pointers change places, and
	// then what was moved is deleted where it was.
	for i := range nmove {
		if err := c.page.swapItemIDs(from.at(i), to.at(i)); err != nil {
			return err
		}
	}
	if err := c.page.spgMultiDelete(state, from, spgPlaceholder, spgPlaceholder, invalidBlock, 0); err != nil {
		return err
	}
	for i := range nchain {
		if err := c.page.spgSetNext(chained.at(i), next.at(i)); err != nil {
			return err
		}
	}
	return nil
}

// swapItemIDs exchanges two line pointers.
func (p *page) swapItemIDs(a, b int) error {
	ida, err := p.getItemID(a)
	if err != nil {
		return err
	}
	idb, err := p.getItemID(b)
	if err != nil {
		return err
	}
	p.setID(a, idb)
	p.setID(b, ida)
	return nil
}

// spgVacuumRoot is VACUUM_ROOT (spgxlogVacuumRoot), of a root that is a leaf.
func spgVacuumRoot(c *change) error {
	n := int(c.main.u16())
	c.main.spgState()
	deleted := c.main.offsets(n)
	if c.main.short {
		return errShort
	}
	return c.page.deleteItems(deleted)
}

// spgVacuumRedirect is VACUUM_REDIRECT (spgxlogVacuumRedirect): redirections become
// placeholders, and placeholders at the page's end go.
func spgVacuumRedirect(c *change, offsetsAt int) error {
	n, first := int(c.main.u16()), int(c.main.u16())
	c.main.skip(offsetsAt - 4)
	redirects := c.main.offsets(n)
	o, err := c.page.spgOpaque()
	if err != nil {
		return err
	}
	if c.main.short {
		return errShort
	}
	for i := range n {
		t, err := c.page.normalItem(redirects.at(i), spgDeadSize)
		if err != nil {
			return err
		}
		if state := t[0] & 3; state != spgRedirect {
			return fmt.Errorf("SPGiST tuple %d is not a redirection, but of state %d", redirects.at(i), state)
		}
		t[0] |= spgPlaceholder
		putTID(t[6:], invalidBlock, 0)
	}
	if o.redirections() < n {
		return fmt.Errorf("%d redirections go of a page that counts %d", n, o.redirections())
	}
	o.addRedirections(-n)
	o.addPlaceholders(n)
	if first == 0 {
		return nil
	}
	gone := c.page.maxOffset() - first + 1
	if gone < 0 || gone > o.placeholders() {
		return fmt.Errorf("%d placeholders go of a page that counts %d", gone, o.placeholders())
	}
	o.addPlaceholders(-gone)
	var list [maxItems]uint16
	last := list[:gone]
	for i := range last {
		last[i] = uint16(first + i)
	}
	return c.page.indexMultiDelete(last)
}
