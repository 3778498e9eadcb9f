package filter

import (
	"slices"

	"github.com/walplex/walplex/sdk/wal"
)

// set is the values that a comparison holds for: an interval, or a list. The
// zero value is empty.
type set struct {
	some   bool
	lo, hi uint64
	list   []uint64 // all values, sorted, when they are more than an interval
	bits   uint64   // of such a list: lo+i is in it, when hi is less than 64 above lo
}

func interval(lo, hi uint64) set { return set{some: true, lo: lo, hi: hi} }

// listed is the set of these values.
func listed(values []uint64) set {
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) == 0 {
		return set{}
	}
	s := interval(values[0], values[len(values)-1])
	if s.hi-s.lo != uint64(len(values))-1 {
		s.list = values
		for _, v := range values {
			s.bits |= 1 << (v - s.lo) // nothing beyond 63
		}
	}
	return s
}

func (s *set) empty() bool { return !s.some }

func (s *set) full(most uint64) bool { return s.some && s.list == nil && s.lo == 0 && s.hi == most }

func (s *set) has(v uint64) bool {
	if !s.some || v < s.lo || v > s.hi {
		return false
	}
	if s.list == nil {
		return true
	}
	if s.hi-s.lo < 64 {
		return s.bits>>(v-s.lo)&1 != 0
	}
	_, found := slices.BinarySearch(s.list, v)
	return found
}

// overlap is what is known of a value that lies from lo to hi.
func (s *set) overlap(lo, hi uint64) truth {
	in, out := false, false
	for v := lo; v <= hi; v++ { // at most a byte's values
		if s.has(v) {
			in = true
		} else {
			out = true
		}
	}
	switch {
	case !out:
		return yes
	case !in:
		return no
	}
	return perhaps
}

// leaf is that an attribute has a value of the set; of a block's attribute, that
// any block has.
func leaf(a attribute, s set) expr {
	switch {
	case s.empty():
		return constant(false)
	case s.full(a.most) && a.block == nil:
		return constant(true)
	}
	return comparison(a.within(s), a.knownOf(s))
}

// knownOf is what a record's class tells of the attribute.
func (a attribute) knownOf(s set) func(class) truth {
	switch a.name {
	case "rmgr":
		return func(c class) truth { return truthOf(s.has(uint64(c.rmgr))) }
	case "info":
		return func(c class) truth { return s.overlap(uint64(c.op)<<4, uint64(c.op)<<4|0xF) }
	}
	return unknown
}

// within is the predicate of a set that is not empty.
func (a attribute) within(s set) predicate {
	lo, width := s.lo, s.hi-s.lo
	switch {
	case a.interval != nil && s.list == nil:
		return a.interval(lo, width)
	case a.block != nil:
		return func(rec *wal.Record) bool {
			for i := range rec.Blocks {
				if s.has(a.block(&rec.Blocks[i])) {
					return true
				}
			}
			return false
		}
	case s.list != nil:
		return func(rec *wal.Record) bool { return s.has(a.value(rec)) }
	}
	value := a.value
	return func(rec *wal.Record) bool { return value(rec)-lo <= width }
}
