package redo

import "github.com/walplex/walplex/sdk/wal"

// ImpliedBlock is a page that a record changes without a block reference to it:
// a page of the visibility map. [ApplyImplied] takes only what [Implied] made.
type ImpliedBlock struct {
	Rel   wal.RelFileLocator
	Fork  wal.ForkNumber
	Block wal.BlockNumber

	heap wal.BlockNumber // the heap page whose bits it changes
	bits uint8           // those that are cleared; 0: of that heap page and all after it, all
}

// Storage's TRUNCATE (catalog/storage_xlog.h).
const (
	smgrTruncate   = 0x20
	smgrTruncateVM = 0x0002
)

// Implied appends to dst the pages that rec changes without naming them, which
// may be none on file:
//
//   - Heap and Heap2 records that change a page that is all visible, or lock a
//     row on one that is all frozen, clear its bits in the visibility map, in the
//     minor versions before 17.11 and 18.6 without a reference to it.
//   - Storage/TRUNCATE clears the bits of the pages that go in the last page of
//     the visibility map that stays. (Which pages of which forks go, is not said
//     here.)
//
// The record is a whole one.
func Implied(rec *wal.Record, dst []ImpliedBlock) []ImpliedBlock {
	switch {
	case rec.RmgrID == wal.RmgrHeap || rec.RmgrID == wal.RmgrHeap2:
		c := clearedBits(rec)
		for _, heap := range c.heap[:c.n] {
			ref := &rec.Blocks[0] // clearedBits has seen one
			if i := (ImpliedBlock{ref.Rel, wal.VisibilityMapFork, mapBlock(heap), heap, c.bits}); !i.named(rec) {
				dst = append(dst, i)
			}
		}
	case rec.RmgrID == wal.RmgrStorage && rec.Info&0xF0 == smgrTruncate:
		main := cursor{buf: rec.MainData()}
		heap := main.blockNumber()
		rel := wal.RelFileLocator{Spc: wal.OID(main.u32()), DB: wal.OID(main.u32()), Rel: wal.OID(main.u32())}
		if flags := main.u32(); !main.short && flags&smgrTruncateVM != 0 && heap%vmHeapBlocksPage != 0 {
			dst = append(dst, ImpliedBlock{rel, wal.VisibilityMapFork, mapBlock(heap), heap, 0})
		}
	}
	return dst
}

// named reports that the record refers to the page after all.
func (i *ImpliedBlock) named(rec *wal.Record) bool {
	for n := range rec.Blocks {
		if b := &rec.Blocks[n]; b.Fork == i.Fork && b.Block == i.Block && b.Rel == i.Rel {
			return true
		}
	}
	return false
}

// ApplyImplied does to the page, of [wal.BlockSize] bytes, what rec does to it by
// the implication i, which [Implied] made of rec. As on a server, pd_lsn stays,
// and a page that was never initialised stays so. Errors are those of [Apply];
// doing it again changes nothing.
func ApplyImplied(b []byte, rec *wal.Record, i ImpliedBlock) error {
	p, err := target(b, rec)
	if err != nil {
		return err
	}
	switch {
	case p.isNew():
	case i.bits == 0:
		p.truncateMap(i.heap)
	default:
		p.clearMapBits(i.heap, i.bits)
	}
	return nil
}
