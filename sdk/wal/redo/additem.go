package redo

import "fmt"

// How addItem adds (PAI_* of storage/bufpage.h).
const (
	overwrite = 1 << 0 // PAI_OVERWRITE: the line pointer is there, unused; else the later ones move up
	isHeap    = 1 << 1 // PAI_IS_HEAP: no more than MaxHeapTuplesPerPage
)

// addItem is PageAddItemExtended: it puts item on the page with line pointer n,
// or the first that is free if n is 0, and answers which. Bytes of alignment
// behind it stay as they are.
func (p *page) addItem(item []byte, n, flags int) (int, error) {
	place, n, err := p.placeItem(len(item), n, flags)
	copy(place, item)
	return n, err
}

// placeItem is addItem of an item of size bytes that the caller writes: all of
// them, to the place on the page that it answers. No other item moves.
func (p *page) placeItem(size, n, flags int) (place []byte, _ int, err error) {
	if err := p.check(); err != nil {
		return nil, 0, err
	}
	limit := p.maxOffset() + 1
	shuffle := false
	switch {
	case n < 0:
		return nil, 0, fmt.Errorf("no line pointer has number %d", n)
	case n == 0:
		n = p.freeID(limit)
	case n < limit && flags&overwrite == 0:
		shuffle = true
	case n < limit:
		if id := p.id(n); id.used() || id.hasStorage() {
			return nil, 0, fmt.Errorf("will not overwrite a used line pointer %d", n)
		}
	}
	if n > limit {
		return nil, 0, fmt.Errorf("line pointer %d is too large, only %d are in use", n, limit-1)
	}
	if flags&isHeap != 0 && n > maxHeapTuples {
		return nil, 0, fmt.Errorf("can't put more than %d tuples on a heap page", maxHeapTuples)
	}
	lower := p.lower()
	if n == limit || shuffle {
		lower += itemIDSize
	}
	upper := p.upper() - maxAlign(size)
	if lower > upper || size >= pageSize {
		return nil, 0, fmt.Errorf("no room for an item of %d bytes: lower = %d, upper = %d", size, p.lower(), p.upper())
	}
	if shuffle {
		from := headerSize + (n-1)*itemIDSize
		copy(p[from+itemIDSize:lower], p[from:lower-itemIDSize])
	}
	p.setLower(lower)
	p.setUpper(upper)
	p.setID(n, makeItemID(upper, lpNormal, size))
	return p[upper : upper+size : upper+size], n, nil
}

// freeID is the first line pointer without use and storage, else limit. It is
// looked for only if PD_HAS_FREE_LINES hints that there is one.
func (p *page) freeID(limit int) int {
	if p.flags()&pdHasFreeLines == 0 {
		return limit
	}
	for n := 1; n < limit; n++ {
		if id := p.id(n); !id.used() && !id.hasStorage() {
			return n
		}
	}
	p.clearFlag(pdHasFreeLines)
	return limit
}
