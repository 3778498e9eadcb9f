package rmgrdesc

import (
	"github.com/walplex/walplex/sdk/wal"
)

// pruneItems appends the items of a PRUNE of PG16: in the data of block 0 the
// redirections, the dead, and the rest of it unused.
func pruneItems(dst []byte, r *wal.Record) []byte {
	items, ok := data0(r)
	if !ok {
		return dst
	}
	c := mainData(r)
	c.skip(4)
	nredirected, ndead := c.u16(), c.u16()
	nunused := int64(items.left())/2 - int64(nredirected)*2 - int64(ndead)
	dst = appendInt(dst, ", nunused: ", nunused)
	dst = append(dst, ", redirected:"...)
	dst = appendArray(dst, &items, int64(nredirected), 4, redirectElement)
	dst = appendOffsets(dst, ", dead:", &items, ndead)
	dst = appendOffsets(dst, ", unused:", &items, uint16(items.left()/2))
	return items.end(dst)
}

// vacuumItems appends the items that a VACUUM of PG16 makes unused: the data of
// block 0.
func vacuumItems(dst []byte, r *wal.Record) []byte {
	items, ok := data0(r)
	if !ok {
		return dst
	}
	c := mainData(r)
	dst = appendOffsets(dst, ", unused:", &items, c.u16())
	return items.end(dst)
}

// freezePlans appends the plans of a FREEZE_PAGE of PG16: the data of block 0 is
// the plans, then the offsets of all of them.
func freezePlans(dst []byte, r *wal.Record) []byte {
	plans, ok := data0(r)
	if !ok {
		return dst
	}
	c := mainData(r)
	c.skip(4)
	offsets := plans
	plans = offsets.array(int64(c.u16()), freezePlanSize)
	dst = appendPlans(dst, &plans, &offsets)
	return offsets.end(dst)
}

// freezePlanSize is the size of xl_heap_freeze_plan (PG16) and xlhp_freeze_plan
// (since PG17), which are alike: xmax, infomask2, infomask, frzflags, ntuples.
const freezePlanSize = 12

// appendPlans appends freeze plans as an array, each with its part of offsets.
func appendPlans(dst []byte, plans, offsets *cursor) []byte {
	dst = append(dst, ", plans: ["...)
	for separator := ""; plans.left() > 0 && !offsets.short; separator = ", " {
		xmax, infomask2, infomask := plans.u32(), plans.u16(), plans.u16()
		plans.skip(2)
		n := plans.u16()
		dst = append(dst, separator...)
		dst = appendUint(dst, "{ xmax: ", xmax)
		dst = appendUint(dst, ", infomask: ", infomask)
		dst = appendUint(dst, ", infomask2: ", infomask2)
		dst = appendUint(dst, ", ntuples: ", n)
		dst = appendOffsets(dst, ", offsets:", offsets, n)
		if !offsets.short {
			dst = append(dst, " }"...)
		}
	}
	if offsets.short {
		return dst
	}
	return append(dst, ']')
}

// The flags of xl_heap_prune since PG17 (XLHP_*, access/heapam_xlog.h).
const (
	xlhpIsCatalogRel       = 1 << 1
	xlhpHasConflictHorizon = 1 << 3
	xlhpHasFreezePlans     = 1 << 4
	xlhpHasRedirections    = 1 << 5
	xlhpHasDeadItems       = 1 << 6
	xlhpHasNowUnusedItems  = 1 << 7
)

// pruneFreeze appends a PRUNE_* record, since PG17:
//
//	main data    reason, flags, [conflict horizon, unaligned]
//	block 0      [nplans, 2 bytes of padding, plans], [nredirected, pairs],
//	             [ndead, offsets], [nunused, offsets], the offsets of the plans
//
// where flags say what is there.
func pruneFreeze(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	c.skip(1)
	flags := c.u8()
	if flags&xlhpHasConflictHorizon != 0 {
		if horizon := c.u32(); !c.short {
			dst = appendUint(dst, "snapshotConflictHorizon: ", horizon)
		}
	}
	if c.short {
		return c.end(dst)
	}
	dst = appendChoice(dst, ", isCatalogRel: ", flags&xlhpIsCatalogRel != 0, "T", "F")
	items, ok := data0(r)
	if !ok {
		return dst
	}
	sub := splitPrune(&items, flags)
	if items.short {
		return items.end(dst)
	}
	dst = appendUint(dst, ", nplans: ", sub.nplans)
	dst = appendUint(dst, ", nredirected: ", sub.nredirected)
	dst = appendUint(dst, ", ndead: ", sub.ndead)
	dst = appendUint(dst, ", nunused: ", sub.nunused)
	if sub.nplans > 0 {
		if dst = appendPlans(dst, &sub.plans, &items); items.short {
			return items.end(dst)
		}
	}
	if sub.nredirected > 0 {
		dst = append(dst, ", redirected:"...)
		dst = appendArray(dst, &sub.redirected, int64(sub.nredirected), 4, redirectElement)
	}
	if sub.ndead > 0 {
		dst = appendOffsets(dst, ", dead:", &sub.dead, sub.ndead)
	}
	if sub.nunused > 0 {
		dst = appendOffsets(dst, ", unused:", &sub.unused, sub.nunused)
	}
	return dst
}

// pruned are the sub-records of a PRUNE_* record.
type pruned struct {
	nplans, nredirected, ndead, nunused uint16
	plans, redirected, dead, unused     cursor
}

// splitPrune reads the sub-records that the flags name and leaves the offsets of
// the plans in c (heap_xlog_deserialize_prune_and_freeze). If c is short, they are
// not to be used.
func splitPrune(c *cursor, flags uint8) pruned {
	var p pruned
	if flags&xlhpHasFreezePlans != 0 {
		p.nplans = c.u16()
		c.skip(2)
		p.plans = c.array(int64(p.nplans), freezePlanSize)
	}
	if flags&xlhpHasRedirections != 0 {
		p.nredirected = c.u16()
		p.redirected = c.array(int64(p.nredirected), 4)
	}
	if flags&xlhpHasDeadItems != 0 {
		p.ndead = c.u16()
		p.dead = c.array(int64(p.ndead), 2)
	}
	if flags&xlhpHasNowUnusedItems != 0 {
		p.nunused = c.u16()
		p.unused = c.array(int64(p.nunused), 2)
	}
	return p
}
