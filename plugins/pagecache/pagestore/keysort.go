package pagestore

import "slices"

// Sizes of sorting.
const (
	fewEntries = 256 // are sorted by comparing
	digitBits  = 11
	digits     = 1 << digitBits
	forkSlots  = 256
)

// pageSorter orders page entries as their keys are ordered. The entries must have
// been appended in the order of their LSNs, so that those of a page are in order
// already: then numbers of forks and blocks alone are sorted, digit by digit,
// which takes a tenth of the time of comparing. It keeps its memory from one time
// to the next.
type pageSorter struct {
	ranks  map[forkName]uint64 // of forks, in the order of their names
	names  []forkName
	last   [forkSlots]rankedFork // those met last, by a hash of their names
	items  []sortItem
	next   []sortItem
	sorted []pageEntry
}

// forkName is a fork as entries name it.
type forkName struct{ space, rel uint64 }

type rankedFork struct {
	forkName
	rank uint64
}

// sortItem is an entry: its fork's rank and its block, and its place.
type sortItem struct {
	key   uint64 // rank, block u32
	place uint32
}

// sort answers the entries in order; their own memory is kept for the next time.
func (s *pageSorter) sort(list []pageEntry) []pageEntry {
	if len(list) < fewEntries {
		slices.SortFunc(list, comparePages)
		return list
	}
	s.rank(list)
	s.items = slices.Grow(s.items[:0], len(list))[:len(list)]
	s.next = slices.Grow(s.next[:0], len(list))[:len(list)]
	differ := uint64(0) // bits in which keys do
	for i := range list {
		e := &list[i]
		s.items[i] = sortItem{key: s.rankOf(forkName{e.space, e.rel})<<32 | uint64(e.block), place: uint32(i)}
		differ |= s.items[i].key ^ s.items[0].key
	}
	for shift := 0; differ>>shift != 0; shift += digitBits {
		if differ>>shift%digits != 0 {
			s.pass(shift)
		}
	}
	out := slices.Grow(s.sorted[:0], len(list))[:len(list)]
	for i, item := range s.items {
		out[i] = list[item.place]
	}
	s.sorted = list
	return out
}

// rank numbers the forks of the entries in their order.
func (s *pageSorter) rank(list []pageEntry) {
	if s.ranks == nil {
		s.ranks = map[forkName]uint64{}
	}
	clear(s.ranks)
	clear(s.last[:])
	s.names = s.names[:0]
	for i := range list {
		n := forkName{list[i].space, list[i].rel}
		slot := &s.last[n.slot()]
		if slot.forkName == n {
			continue
		}
		slot.forkName = n
		if _, known := s.ranks[n]; !known {
			s.ranks[n] = 0
			s.names = append(s.names, n)
		}
	}
	slices.SortFunc(s.names, func(a, b forkName) int {
		return comparePages(pageEntry{space: a.space, rel: a.rel}, pageEntry{space: b.space, rel: b.rel})
	})
	clear(s.last[:])
	for i, n := range s.names {
		s.ranks[n] = uint64(i)
	}
}

func (s *pageSorter) rankOf(n forkName) uint64 {
	slot := &s.last[n.slot()]
	if slot.forkName != n {
		*slot = rankedFork{n, s.ranks[n]}
	}
	return slot.rank
}

// slot is a hash: relations of a database have numbers that lie close together,
// and a number has up to four forks in its low bits.
func (n forkName) slot() uint64 { return (n.rel>>6 ^ n.rel ^ n.space) % forkSlots }

// pass orders the items by one digit, and leaves those that have the same digit in
// the order that they had.
func (s *pageSorter) pass(shift int) {
	var starts [digits]uint32
	for i := range s.items {
		starts[s.items[i].key>>shift%digits]++
	}
	sum := uint32(0)
	for i, n := range starts {
		starts[i] = sum
		sum += n
	}
	for _, item := range s.items {
		at := &starts[item.key>>shift%digits]
		s.next[*at] = item
		*at++
	}
	s.items, s.next = s.next, s.items
}
