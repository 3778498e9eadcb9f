package redo

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// heap2Redo are the records of Heap2 (heap2_redo in access/heap/heapam.c, since
// PG18 heapam_xlog.c). REWRITE and NEW_CID are for logical decoding only.
func heap2Redo(v wal.Version) operations {
	o := operations{
		0x1: redoPrune,
		0x2: redoVacuum,
		0x3: redoFreezeTuples,
		0x4: redoVisible,
		0x5: redoMultiInsert,
		0x6: redoLockUpdated,
		0xD: redoMultiInsert,
	}
	if v >= wal.PG16 {
		o[0x3] = redoFreezePlans
	}
	if v >= wal.PG17 { // PRUNE_ON_ACCESS, PRUNE_VACUUM_SCAN, PRUNE_VACUUM_CLEANUP
		o[0x1], o[0x2], o[0x3] = redoPruneFreeze, redoPruneFreeze, redoPruneFreeze
	}
	return o
}

// redoVisible is heap_xlog_visible. Main data: conflict horizon, flags, bits of
// the visibility map. Block 0 is the map's page, block 1 the heap's, whose
// pd_lsn a server sets only with checksums or wal_log_hints; here it always is.
func redoVisible(c *change) error {
	c.main.skip(4)
	bits := c.main.u8() & vmValidBits
	if err := c.err(); err != nil {
		return err
	}
	if c.ref.ID != 0 {
		c.page.setFlag(pdAllVisible)
		return nil
	}
	heap := c.block(1)
	if heap == nil {
		return missing(heap, 1)
	}
	if c.page.isNew() {
		c.page.init(0)
	}
	return c.page.setMapBits(c.ref.Block, heap.Block, bits)
}

// redoMultiInsert is heap_xlog_multi_insert. Main data: flags, padding, number
// of tuples, and their offset numbers, unless the page is initialised. Block 0:
// of each tuple, 2-aligned, the length of its data, its header, and its data;
// block 1, in some minor versions: the visibility map.
func redoMultiInsert(c *change) error {
	if c.ref.Fork == wal.VisibilityMapFork {
		return c.clearMap()
	}
	flags := c.main.u8()
	c.main.skip(1)
	ntuples := int(c.main.u16())
	var numbers offsets
	if c.ref.WillInit() {
		c.page.init(0)
	} else {
		numbers = c.main.offsets(ntuples)
	}
	if err := c.err(); err != nil {
		return err
	}
	for i := range ntuples {
		n := i + 1
		if numbers != nil {
			n = numbers.at(i)
		}
		c.data.align(2)
		length := int(c.data.u16())
		h := c.data.heapHeader()
		data := c.data.bytes(length)
		if err := c.err(); err != nil {
			return err
		}
		t, err := c.page.placeTuple(length, n)
		if err != nil {
			return err
		}
		t.begin(h, c.rec.XID, c.ref.Block, n)
		copy(t[tupleHeaderSize:], data)
	}
	if n := c.data.left(); n > 0 {
		return fmt.Errorf("total tuple length mismatch: %d bytes remain", n)
	}
	c.page.setInsertVisibility(flags)
	return nil
}

// redoLockUpdated is heap_xlog_lock_updated. Main data: xmax, offnum, infobits,
// flags.
func redoLockUpdated(c *change) error {
	if c.ref.Fork == wal.VisibilityMapFork {
		return c.clearMap()
	}
	xmax, n, infobits := c.main.xid(), int(c.main.u16()), c.main.u8()
	c.main.skip(1)
	if err := c.err(); err != nil {
		return err
	}
	t, err := c.page.heapTuple(n)
	if err != nil {
		return err
	}
	t.forgetXmax()
	t.setInfobits(infobits)
	t.setXmax(xmax)
	return nil
}
