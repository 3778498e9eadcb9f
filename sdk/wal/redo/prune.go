package redo

import (
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// pruning is what heap_page_prune_execute does to line pointers.
type pruning struct {
	redirected         offsets // pairs: from, to
	nowDead, nowUnused offsets
}

// mark sets the line pointers.
func (p *page) mark(r pruning) error {
	for i := 0; i+1 < r.redirected.len(); i += 2 {
		if err := p.setItemID(r.redirected.at(i), makeItemID(r.redirected.at(i+1), lpRedirect, 0)); err != nil {
			return err
		}
	}
	for i := range r.nowDead.len() {
		if err := p.setItemID(r.nowDead.at(i), makeItemID(0, lpDead, 0)); err != nil {
			return err
		}
	}
	for i := range r.nowUnused.len() {
		if err := p.setItemID(r.nowUnused.at(i), 0); err != nil {
			return err
		}
	}
	return nil
}

// redoPrune is heap_xlog_prune, before PG17. Main data: conflict horizon,
// nredirected, ndead. Block 0: pairs, dead, and the rest unused.
func redoPrune(c *change) error {
	c.main.skip(4)
	nredirected, ndead := int(c.main.u16()), int(c.main.u16())
	r := pruning{redirected: c.data.offsets(2 * nredirected), nowDead: c.data.offsets(ndead)}
	r.nowUnused = offsets(c.data.rest())
	if err := c.err(); err != nil {
		return err
	}
	if err := c.page.mark(r); err != nil {
		return err
	}
	return c.page.repairFragmentation(c.rec.Version >= wal.PG15)
}

// redoVacuum is heap_xlog_vacuum, before PG17. Main data: nunused. Block 0: them.
func redoVacuum(c *change) error {
	r := pruning{nowUnused: c.data.offsets(int(c.main.u16()))}
	if err := c.err(); err != nil {
		return err
	}
	if err := c.page.mark(r); err != nil {
		return err
	}
	c.page.truncateLinePointers()
	return nil
}

// redoFreezeTuples is heap_xlog_freeze_page, before PG16. Main data: cutoff,
// ntuples. Block 0: of each tuple xmax, offset, infomask2, infomask, flags.
func redoFreezeTuples(c *change) error {
	c.main.skip(4)
	ntuples := int(c.main.u16())
	if err := c.err(); err != nil {
		return err
	}
	for range ntuples {
		xmax, n := c.data.xid(), int(c.data.u16())
		f := freezing{xmax: xmax, infomask2: c.data.u16(), infomask: c.data.u16(), flags: c.data.u8()}
		c.data.skip(1)
		if err := c.err(); err != nil {
			return err
		}
		if err := c.page.freeze(n, f); err != nil {
			return err
		}
	}
	return nil
}

// redoFreezePlans is heap_xlog_freeze_page of PG16. Main data: conflict horizon,
// nplans. Block 0: the plans, and the offsets of all their tuples.
func redoFreezePlans(c *change) error {
	c.main.skip(4)
	plans := cursor{buf: c.data.bytes(int(c.main.u16()) * freezePlanSize)}
	if err := c.err(); err != nil {
		return err
	}
	return c.page.freezePlans(&plans, &c.data)
}

// freezing is what one plan does to its tuples, xl_heap_freeze_plan and since
// PG17 xlhp_freeze_plan: xmax, infomask2, infomask, flags, padding, ntuples.
type freezing struct {
	xmax                wal.XID
	infomask2, infomask uint16
	flags               uint8
}

const freezePlanSize = 12

// Flags of freezing (access/heapam_xlog.h).
const (
	xlhFreezeXvac  = 0x02
	xlhInvalidXvac = 0x04

	frozenXID = 2 // FrozenTransactionId
)

// freeze is heap_execute_freeze_tuple.
func (p *page) freeze(n int, f freezing) error {
	t, err := p.heapTuple(n)
	if err != nil {
		return err
	}
	t.setXmax(f.xmax)
	if f.flags&xlhFreezeXvac != 0 {
		t.setField3(frozenXID)
	}
	if f.flags&xlhInvalidXvac != 0 {
		t.setField3(0)
	}
	t.setInfomask(f.infomask)
	t.setInfomask2(f.infomask2)
	return nil
}

// freezePlans freezes tuples by plans; numbers are those of all their tuples, in
// order.
func (p *page) freezePlans(plans, numbers *cursor) error {
	for plans.left() > 0 {
		f := freezing{xmax: plans.xid(), infomask2: plans.u16(), infomask: plans.u16(), flags: plans.u8()}
		plans.skip(1)
		ns := numbers.offsets(int(plans.u16()))
		if err := errors.Join(plans.err(), numbers.err()); err != nil {
			return err
		}
		for i := range ns.len() {
			if err := p.freeze(ns.at(i), f); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flags of xl_heap_prune since PG17 (XLHP_*).
const (
	xlhpCleanupLock       = 1 << 2
	xlhpHasFreezePlans    = 1 << 4
	xlhpHasRedirections   = 1 << 5
	xlhpHasDeadItems      = 1 << 6
	xlhpHasNowUnusedItems = 1 << 7
)

// redoPruneFreeze is heap_xlog_prune_freeze, since PG17, for pruning, freezing
// and vacuum's second pass:
//
//	main data    reason, flags, [conflict horizon, unaligned]
//	block 0      [nplans, 2 bytes of padding, plans], [nredirected, pairs],
//	             [ndead, offsets], [nunused, offsets], the offsets of the plans
//
// where flags say what is there.
func redoPruneFreeze(c *change) error {
	c.main.skip(1)
	flags := c.main.u8()
	var plans cursor
	var r pruning
	if flags&xlhpHasFreezePlans != 0 {
		nplans := int(c.data.u16())
		c.data.skip(2)
		plans.buf = c.data.bytes(nplans * freezePlanSize)
	}
	if flags&xlhpHasRedirections != 0 {
		r.redirected = c.data.offsets(2 * int(c.data.u16()))
	}
	if flags&xlhpHasDeadItems != 0 {
		r.nowDead = c.data.offsets(int(c.data.u16()))
	}
	if flags&xlhpHasNowUnusedItems != 0 {
		r.nowUnused = c.data.offsets(int(c.data.u16()))
	}
	if err := c.err(); err != nil {
		return err
	}
	if err := c.page.mark(r); err != nil {
		return err
	}
	switch {
	case r.redirected.len()+r.nowDead.len()+r.nowUnused.len() == 0:
	case flags&xlhpCleanupLock == 0:
		c.page.truncateLinePointers()
	default:
		if err := c.page.repairFragmentation(true); err != nil {
			return err
		}
	}
	return c.page.freezePlans(&plans, &c.data)
}

// repairFragmentation is PageRepairFragmentation: tuples are laid down without
// gaps in the order of their line pointers, from pd_special on. Unused line
// pointers at the end go, since PG15.
func (p *page) repairFragmentation(truncate bool) error {
	last, unused := 0, 0
	for n := 1; n <= p.maxOffset(); n++ {
		id := p.id(n)
		if !id.used() {
			p.setID(n, 0)
			unused++
			continue
		}
		if id.hasStorage() && !p.inside(id) {
			return fmt.Errorf("corrupted line pointer %d: offset = %d, size = %d", n, id.offset(), id.length())
		}
		last = n
	}
	if err := p.compactify(); err != nil {
		return err
	}
	if truncate {
		atEnd := p.maxOffset() - last
		p.setLower(p.lower() - atEnd*itemIDSize)
		unused -= atEnd
	}
	p.hintFreeLines(unused > 0)
	return nil
}

// truncateLinePointers is PageTruncateLinePointerArray: unused line pointers at
// the end go, but for the first.
func (p *page) truncateLinePointers() {
	last := p.maxOffset()
	for last > 1 && !p.id(last).used() {
		last--
	}
	free := false
	for n := 1; n <= last && !free; n++ {
		free = !p.id(n).used()
	}
	p.setLower(headerSize + last*itemIDSize)
	p.hintFreeLines(free)
}

// hintFreeLines sets or clears PD_HAS_FREE_LINES.
func (p *page) hintFreeLines(free bool) {
	if free {
		p.setFlag(pdHasFreeLines)
	} else {
		p.clearFlag(pdHasFreeLines)
	}
}
