package redo

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// The visibility map has two bits of each heap page, all visible and all frozen,
// from the first byte behind the header of its pages on, four heap pages a byte,
// the lowest bits first (access/heap/visibilitymap.c).
const (
	vmAllFrozen = 0x02 // VISIBILITYMAP_ALL_FROZEN
	vmValidBits = 0x03 // VISIBILITYMAP_VALID_BITS

	vmBitsPerHeapBlock = 2
	vmHeapBlocksByte   = 8 / vmBitsPerHeapBlock
	vmMapSize          = pageSize - headerSize // MAPSIZE
	vmHeapBlocksPage   = vmMapSize * vmHeapBlocksByte
)

// mapBlock is HEAPBLK_TO_MAPBLOCK.
func mapBlock(heap wal.BlockNumber) wal.BlockNumber { return heap / vmHeapBlocksPage }

// mapByte is where a heap page's bits are: which byte of the page, and from
// which bit on.
func mapByte(heap wal.BlockNumber) (at, shift int) {
	return headerSize + int(heap%vmHeapBlocksPage)/vmHeapBlocksByte, int(heap%vmHeapBlocksByte) * vmBitsPerHeapBlock
}

// setMapBits sets a heap page's bits on page block of the map.
func (p *page) setMapBits(block, heap wal.BlockNumber, bits uint8) error {
	if mapBlock(heap) != block {
		return fmt.Errorf("block %d of the visibility map has no bits of heap block %d", block, heap)
	}
	at, shift := mapByte(heap)
	p[at] |= bits << shift
	return nil
}

// clearMapBits clears a heap page's bits on the page of the map that has them.
func (p *page) clearMapBits(heap wal.BlockNumber, bits uint8) {
	at, shift := mapByte(heap)
	p[at] &^= bits << shift
}

// truncateMap clears the bits of the heap page and of all after it
// (visibilitymap_prepare_truncate).
func (p *page) truncateMap(heap wal.BlockNumber) {
	at, shift := mapByte(heap)
	p[at] &= 1<<shift - 1
	clear(p[at+1:])
}

// cleared are heap pages whose bits of the visibility map a record clears: two
// at most, the old and the new of an update.
type cleared struct {
	n    int
	heap [2]wal.BlockNumber
	bits uint8
}

func (c *cleared) add(ref *wal.BlockRef) {
	if ref != nil {
		c.heap[c.n] = ref.Block
		c.n++
	}
}

// clearedBits reads from a record of Heap or Heap2 whose bits it clears. It says
// so with the flag that says that the heap page was all visible, or frozen.
func clearedBits(rec *wal.Record) cleared {
	c := cleared{bits: vmValidBits}
	main := cursor{buf: rec.MainData()}
	flag := func(at int, f uint8) bool {
		main.off = 0
		main.skip(at)
		return main.u8()&f != 0
	}
	switch {
	case rec.RmgrID == wal.RmgrHeap2 && rec.Info&heapOpMask == 0x50: // MULTI_INSERT
		if flag(0, xlhInsertAllVisibleCleared) {
			c.add(block(rec, 0))
		}
	case rec.RmgrID == wal.RmgrHeap2 && rec.Info&heapOpMask == 0x60, // LOCK_UPDATED
		rec.RmgrID == wal.RmgrHeap && rec.Info&heapOpMask == 0x60: // LOCK
		c.bits = vmAllFrozen
		if flag(7, xlhLockAllFrozenCleared) {
			c.add(block(rec, 0))
		}
	case rec.RmgrID != wal.RmgrHeap:
	case rec.Info&heapOpMask == 0x00: // INSERT
		if flag(2, xlhInsertAllVisibleCleared) {
			c.add(block(rec, 0))
		}
	case rec.Info&heapOpMask == 0x10: // DELETE
		if flag(7, xlhDeleteAllVisibleCleared) {
			c.add(block(rec, 0))
		}
	case rec.Info&heapOpMask == 0x20 || rec.Info&heapOpMask == heapHotUpdate:
		old := block(rec, 1)
		if old == nil || old.Fork != wal.MainFork {
			old = block(rec, 0)
		}
		if flag(7, xlhUpdateOldAllVisibleCleared) {
			c.add(old)
		}
		if flag(7, xlhUpdateNewAllVisibleCleared) {
			c.add(block(rec, 0))
		}
	}
	return c
}

// clearMap clears on a page of the visibility map, to which the record refers,
// what the record clears there: since 17.11 and 18.6 heap records refer to it.
func (c *change) clearMap() error {
	if c.page.isNew() {
		c.untouched = true
		return nil
	}
	cleared := clearedBits(c.rec)
	for _, heap := range cleared.heap[:cleared.n] {
		if mapBlock(heap) == c.ref.Block {
			c.page.clearMapBits(heap, cleared.bits)
		}
	}
	return nil
}
