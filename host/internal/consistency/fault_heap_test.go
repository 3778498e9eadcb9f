package consistency

import "github.com/walplex/walplex/sdk/wal"

// Flags of pages, and where fields of heap tuples lie, in bytes
// (storage/bufpage.h, access/htup_details.h).
const (
	pageFlags   = 10
	freeLines   = 1 << 0
	allVisible  = 1 << 2
	pagePruneID = 20

	tupleXmax      = 4
	tupleField3    = 8
	tupleCtidBlock = 12
	tupleCtidItem  = 16
	tupleInfomask2 = 18
	tupleInfomask  = 20
	tupleHoff      = 22
)

// heapFaults are mistakes in the redo of heap records that the images show.
var heapFaults = []fault{
	{"INSERT, skipped", wal.RmgrHeap, 0x00, 0, skipped},
	{"INSERT, t_ctid", wal.RmgrHeap, 0x00, 0, newItem(func(t []byte) { t[tupleCtidItem]++ })},
	{"INSERT, t_hoff", wal.RmgrHeap, 0x00, 0, newItem(func(t []byte) { t[tupleHoff] += 8 })},
	{"INSERT, xmin", wal.RmgrHeap, 0x00, 0, newItem(func(t []byte) { t[0]++ })},
	{"INSERT, the last byte of the tuple lost", wal.RmgrHeap, 0x00, 0, newItem(func(t []byte) { t[len(t)-1] ^= 0xFF })},
	{"INSERT+INIT, the page's layout number", wal.RmgrHeap, 0x80, 0, zero(18, 2)},
	{"DELETE, skipped", wal.RmgrHeap, 0x10, 0, skipped},
	{"DELETE, xmax not set", wal.RmgrHeap, 0x10, 0, keptInTuples(tupleXmax, 4)},
	{"DELETE, t_infomask2 as it was", wal.RmgrHeap, 0x10, 0, keptInTuples(tupleInfomask2, 2)},
	{"UPDATE, the new version's t_ctid", wal.RmgrHeap, 0x20, 0, newItem(func(t []byte) { t[tupleCtidBlock+2]++ })},
	{"UPDATE, the old version's t_ctid", wal.RmgrHeap, 0x20, 1, keptInTuples(tupleCtidBlock, 6)},
	{"HOT_UPDATE, the new version's suffix", wal.RmgrHeap, 0x40, 0, newItem(func(t []byte) { t[len(t)-1] ^= 1 })},
	{"HOT_UPDATE, the new version's prefix", wal.RmgrHeap, 0x40, 0, newItem(func(t []byte) { t[t[tupleHoff]] ^= 1 })},
	{"HOT_UPDATE, HEAP_HOT_UPDATED not set", wal.RmgrHeap, 0x40, 0, keptInTuples(tupleInfomask2, 2)},
	{"HEAP_CONFIRM, t_ctid", wal.RmgrHeap, 0x50, 0, everyTuple(func(t []byte) { t[tupleCtidItem] ^= 0x40 })},
	{"LOCK, xmax not set", wal.RmgrHeap, 0x60, 0, keptInTuples(tupleXmax, 4)},
	{"LOCK, t_ctid as it was", wal.RmgrHeap, 0x60, 0, keptInTuples(tupleCtidBlock, 6)},
	{"INPLACE, skipped", wal.RmgrHeap, 0x70, 0, skipped},
	{"MULTI_INSERT, the last tuple lost", wal.RmgrHeap2, 0x50, 0, lastIDLost},
	{"MULTI_INSERT, tuples exchanged", wal.RmgrHeap2, 0x50, 0, exchanged(-1, -2)},
	{"LOCK_UPDATED, skipped", wal.RmgrHeap2, 0x60, 0, skipped},
	{"VISIBLE, the bits of the map", wal.RmgrHeap2, 0x40, 0, skipped},
	{"VISIBLE, the bits next to them", wal.RmgrHeap2, 0x40, 0, flipped(24, 0x80)},
	{"LOG, the sequence's magic", wal.RmgrSequence, 0x00, 0, zero(8184, 4)},
	{"LOG, the tuple", wal.RmgrSequence, 0x00, 0, newItem(func(t []byte) { t[len(t)-1] ^= 1 })},
	{"Generic, skipped", wal.RmgrGeneric, 0x00, 0, skipped},
}

// pruneFaults are such mistakes in the redo of pruning, before PG17.
var pruneFaults = []fault{
	{"PRUNE, skipped", wal.RmgrHeap2, 0x10, 0, skipped},
	{"PRUNE, line pointers as they were", wal.RmgrHeap2, 0x10, 0, keptIDs},
	{"PRUNE, pd_upper as it was", wal.RmgrHeap2, 0x10, 0, kept(14, 2)},
	{"VACUUM, skipped", wal.RmgrHeap2, 0x20, 0, skipped},
	{"VACUUM, pd_lower as it was", wal.RmgrHeap2, 0x20, 0, kept(12, 2)},
	{"FREEZE_PAGE, skipped", wal.RmgrHeap2, 0x30, 0, skipped},
}

// pruneLowerFaults are such mistakes from PG15 on, which gives line pointers back.
var pruneLowerFaults = []fault{
	{"PRUNE, pd_lower as it was", wal.RmgrHeap2, 0x10, 0, kept(12, 2)},
}

// pruneFreezeFaults are such mistakes since PG17, where one form of record prunes,
// freezes and vacuums.
var pruneFreezeFaults = []fault{
	{"PRUNE_ON_ACCESS, skipped", wal.RmgrHeap2, 0x10, 0, skipped},
	{"PRUNE_ON_ACCESS, line pointers as they were", wal.RmgrHeap2, 0x10, 0, keptIDs},
	{"PRUNE_ON_ACCESS, pd_upper as it was", wal.RmgrHeap2, 0x10, 0, kept(14, 2)},
	{"PRUNE_ON_ACCESS, pd_lower as it was", wal.RmgrHeap2, 0x10, 0, kept(12, 2)},
	{"PRUNE_VACUUM_SCAN, skipped", wal.RmgrHeap2, 0x20, 0, skipped},
	{"PRUNE_VACUUM_SCAN, line pointers as they were", wal.RmgrHeap2, 0x20, 0, keptIDs},
	{"PRUNE_VACUUM_SCAN, xmax not frozen", wal.RmgrHeap2, 0x20, 0, keptInTuples(tupleXmax, 4)},
	{"PRUNE_VACUUM_CLEANUP, skipped", wal.RmgrHeap2, 0x30, 0, skipped},
	{"PRUNE_VACUUM_CLEANUP, pd_lower as it was", wal.RmgrHeap2, 0x30, 0, kept(12, 2)},
}

// hiddenFaults are mistakes that masks hide from a comparison with images, and a
// recovered server's pages show.
var hiddenFaults = []fault{
	{"INSERT, PD_ALL_VISIBLE not cleared", wal.RmgrHeap, 0x00, 0, keptFlag(allVisible)},
	{"INSERT, infomask", wal.RmgrHeap, 0x00, 0, newItem(func(t []byte) { t[tupleInfomask+1] &^= 0x08 })},
	{"DELETE, PD_ALL_VISIBLE not cleared", wal.RmgrHeap, 0x10, 0, keptFlag(allVisible)},
	{"DELETE, pd_prune_xid not set", wal.RmgrHeap, 0x10, 0, kept(pagePruneID, 4)},
	{"DELETE, t_cid as it was", wal.RmgrHeap, 0x10, 0, everyTuple(func(t []byte) { t[tupleField3]++ })},
	{"DELETE, infomask as it was", wal.RmgrHeap, 0x10, 0, keptInTuples(tupleInfomask, 2)},
	{"UPDATE, PD_ALL_VISIBLE not cleared", wal.RmgrHeap, 0x20, 1, keptFlag(allVisible)},
	{"UPDATE, the old version's infomask", wal.RmgrHeap, 0x20, 1, keptInTuples(tupleInfomask, 2)},
	{"HOT_UPDATE, the old version's infomask", wal.RmgrHeap, 0x40, 0, keptInTuples(tupleInfomask, 2)},
	{"HOT_UPDATE, pd_prune_xid not set", wal.RmgrHeap, 0x40, 0, kept(pagePruneID, 4)},
	{"LOCK, infomask as it was", wal.RmgrHeap, 0x60, 0, keptInTuples(tupleInfomask, 2)},
	{"MULTI_INSERT, PD_ALL_VISIBLE not cleared", wal.RmgrHeap2, 0x50, 0, keptFlag(allVisible)},
	{"VISIBLE, PD_ALL_VISIBLE not set", wal.RmgrHeap2, 0x40, 1, keptFlag(allVisible)},
	{"PRUNE, PD_HAS_FREE_LINES not set", wal.RmgrHeap2, 0x10, 0, keptFlag(freeLines)},
	{"VACUUM, PD_HAS_FREE_LINES not set", wal.RmgrHeap2, 0x20, 0, keptFlag(freeLines)},
}

// newItem: what is done to the items that the record added, or moved.
func newItem(change func(item []byte)) spoil {
	return func(page, before []byte) {
		for n := 1; idBytes(page, n) != nil; n++ {
			old := idBytes(before, n)
			if item := itemBytes(page, n); len(item) > tupleHoff && (old == nil || le.Uint32(old) != le.Uint32(idBytes(page, n))) {
				change(item)
			}
		}
	}
}

// keptInTuples: bytes of each tuple that was there, n from an offset on, were
// left as they were.
func keptInTuples(at, n int) spoil {
	return func(page, before []byte) {
		for i := 1; idBytes(before, i) != nil; i++ {
			if item, old := itemBytes(page, i), itemBytes(before, i); len(old) > tupleHoff && len(item) == len(old) {
				copy(item[at:at+n], old[at:at+n])
			}
		}
	}
}

// keptIDs: line pointers were left as they were.
func keptIDs(page, before []byte) {
	copy(page[24:le.Uint16(page[12:])], before[24:])
}

// keptFlag: a flag of the page was left as it was.
func keptFlag(flag byte) spoil {
	return func(page, before []byte) { page[pageFlags] = page[pageFlags]&^flag | before[pageFlags]&flag }
}

// everyTuple: what is done to each tuple.
func everyTuple(change func(tuple []byte)) spoil {
	return everyItem(func(item []byte) {
		if len(item) > tupleHoff {
			change(item)
		}
	})
}
