package redo

import (
	"errors"
	"fmt"
)

// indexTupleDelete is PageIndexTupleDelete: item n goes, and both line pointers
// and items close up.
func (p *page) indexTupleDelete(n int) error {
	id, err := p.storedItem(n)
	if err != nil {
		return err
	}
	from := headerSize + (n-1)*itemIDSize
	copy(p[from:], p[from+itemIDSize:p.lower()])
	p.setLower(p.lower() - itemIDSize)
	p.closeUp(id, maxAlign(id.length()), false)
	return nil
}

// indexTupleDeleteNoCompact is PageIndexTupleDeleteNoCompact: item n goes, and
// its line pointer becomes unused, or goes too if it is the last.
func (p *page) indexTupleDeleteNoCompact(n int) error {
	id, err := p.storedItem(n)
	if err != nil {
		return err
	}
	if n < p.maxOffset() {
		p.setID(n, 0)
	} else {
		p.setLower(p.lower() - itemIDSize)
	}
	p.closeUp(id, maxAlign(id.length()), true)
	return nil
}

// indexTupleOverwrite is PageIndexTupleOverwrite: item n becomes another, of any
// size that there is room for, in the same place of the order.
func (p *page) indexTupleOverwrite(n int, item []byte) error {
	id, err := p.storedItem(n)
	if err != nil {
		return err
	}
	oldSize, newSize := maxAlign(id.length()), maxAlign(len(item))
	if newSize > oldSize+p.upper()-p.lower() || len(item) == 0 {
		return fmt.Errorf("no room for an item of %d bytes in place of item %d of %d", len(item), n, id.length())
	}
	diff := oldSize - newSize
	if diff != 0 {
		p.closeUp(id, diff, true)
	}
	offset := id.offset() + diff
	p.setID(n, makeItemID(offset, id.flags(), len(item)))
	copy(p[offset:], item)
	return nil
}

// storedItem is line pointer n of an item that has storage inside a page that is
// in order.
func (p *page) storedItem(n int) (itemID, error) {
	if err := p.check(); err != nil {
		return 0, err
	}
	if _, err := p.item(n); err != nil {
		return 0, err
	}
	return p.id(n), nil
}

// closeUp moves what lies between pd_upper and the item by so many bytes, and
// corrects the line pointers; of those without storage only if it is not asked
// for it. A negative size makes room.
func (p *page) closeUp(item itemID, size int, onlyStored bool) {
	upper, offset := p.upper(), item.offset()
	copy(p[upper+size:], p[upper:offset])
	p.setUpper(upper + size)
	for n := 1; n <= p.maxOffset(); n++ {
		id := p.id(n)
		if id.offset() <= offset && (id.hasStorage() || !onlyStored) {
			p.setID(n, makeItemID(id.offset()+size, id.flags(), id.length()))
		}
	}
}

// indexMultiDelete is PageIndexMultiDelete: the items ns go, which are in
// ascending order, and line pointers and items close up.
func (p *page) indexMultiDelete(ns []uint16) error {
	if err := p.check(); err != nil {
		return err
	}
	if len(ns) <= 2 {
		// As there: from the end, for the numbers stay true.
		for i := len(ns) - 1; i >= 0; i-- {
			if err := p.indexTupleDelete(int(ns[i])); err != nil {
				return err
			}
		}
		return nil
	}
	kept, deleted := 0, 0
	var items itemIDs
	for n := 1; n <= p.maxOffset(); n++ {
		id := p.id(n)
		if !p.inside(id) {
			return fmt.Errorf("corrupted line pointer %d: offset = %d, size = %d", n, id.offset(), id.length())
		}
		if deleted < len(ns) && int(ns[deleted]) == n {
			deleted++
			continue
		}
		items[kept] = id
		kept++
	}
	if deleted != len(ns) {
		return errors.New("incorrect index offsets supplied")
	}
	for i, id := range items[:kept] {
		p.setID(i+1, id)
	}
	p.setLower(headerSize + kept*itemIDSize)
	return p.compactify()
}

// itemIDs is room for all line pointers of a page.
type itemIDs [maxItems]itemID

// compactify is compactify_tuples: items with storage, which all lie inside the
// page, are laid down from pd_special in the order of their line pointers,
// without gaps.
func (p *page) compactify() error {
	if p.inOrder() {
		p.closeGaps()
		return nil
	}
	var old page
	copy(old[p.upper():p.special()], p[p.upper():p.special()])
	upper := p.special()
	for n := 1; n <= p.maxOffset(); n++ {
		id := p.id(n)
		if !id.hasStorage() {
			continue
		}
		size := maxAlign(id.length())
		upper -= size
		if upper < p.lower() {
			return errors.New("the items overlap")
		}
		copy(p[upper:upper+size], old[id.offset():])
		p.setID(n, makeItemID(upper, id.flags(), id.length()))
	}
	p.setUpper(upper)
	return nil
}

// inOrder reports that items lie from pd_special down in the order of their line
// pointers, with or without gaps.
func (p *page) inOrder() bool {
	above := p.special()
	for n := 1; n <= p.maxOffset(); n++ {
		id := p.id(n)
		if !id.hasStorage() {
			continue
		}
		if id.offset()+maxAlign(id.length()) > above {
			return false
		}
		above = id.offset()
	}
	return true
}

// closeGaps is compactify of items that lie in order: those without gaps between
// them move together.
func (p *page) closeGaps() {
	upper := p.special()     // where the next item ends
	from, to := upper, upper // items that are to move together, as they are
	move := func() {
		copy(p[upper:], p[from:to])
	}
	for n := 1; n <= p.maxOffset(); n++ {
		id := p.id(n)
		if !id.hasStorage() {
			continue
		}
		size := maxAlign(id.length())
		if id.offset()+size != from {
			move()
			to = id.offset() + size
		}
		from = id.offset()
		upper -= size
		p.setID(n, makeItemID(upper, id.flags(), id.length()))
	}
	move()
	p.setUpper(upper)
}
