package pagestore

import "github.com/walplex/walplex/sdk/wal"

// Operations of Transaction (access/xact.h).
const (
	xactOpMask         = 0x70 // XLOG_XACT_OPMASK
	xactCommit         = 0x00 // XLOG_XACT_COMMIT
	xactPrepare        = 0x10 // XLOG_XACT_PREPARE
	xactAbort          = 0x20 // XLOG_XACT_ABORT
	xactCommitPrepared = 0x30 // XLOG_XACT_COMMIT_PREPARED
	xactAbortPrepared  = 0x40 // XLOG_XACT_ABORT_PREPARED
	xactHasInfo        = 0x80 // XLOG_XACT_HAS_INFO
)

// keptAlone reports whether a record without block references is kept; see the
// package documentation.
func keptAlone(rmgr wal.RmgrID, info uint8) bool {
	switch rmgr {
	case wal.RmgrXLOG, wal.RmgrStorage, wal.RmgrCLOG, wal.RmgrDatabase, wal.RmgrTablespace,
		wal.RmgrMultiXact, wal.RmgrRelMap, wal.RmgrCommitTs:
		return true
	case wal.RmgrTransaction:
		switch info & xactOpMask {
		case xactCommit, xactPrepare, xactAbort, xactCommitPrepared, xactAbortPrepared:
			return true
		}
		return false
	}
	return rmgr.Custom()
}

// Operations of Heap and Heap2 (access/heapam_xlog.h).
const (
	heapOpMask      = 0x70 // XLOG_HEAP_OPMASK
	heapInsert      = 0x00 // XLOG_HEAP_INSERT
	heapDelete      = 0x10 // XLOG_HEAP_DELETE
	heapUpdate      = 0x20 // XLOG_HEAP_UPDATE
	heapHotUpdate   = 0x40 // XLOG_HEAP_HOT_UPDATE
	heapLock        = 0x60 // XLOG_HEAP_LOCK
	heap2MultiIns   = 0x50 // XLOG_HEAP2_MULTI_INSERT
	heap2LockUpdate = 0x60 // XLOG_HEAP2_LOCK_UPDATED
)

// Where flags lies in the main data of each, in bytes, identical in PG 14–18.
const (
	heapInsertFlags = 2 // after offnum (xl_heap_insert)
	heapTupleFlags  = 7 // after xmax, offnum, infobits (xl_heap_delete, _update, _lock, _lock_updated)
	heapMultiFlags  = 0 // xl_heap_multi_insert
)

// Bits of those flags. Of an update, bit 0 is about the old tuple's page and bit
// 1 about the new one's; of all others bit 0 is about block 0
// (XLH_INSERT_ALL_VISIBLE_CLEARED, XLH_DELETE_ALL_VISIBLE_CLEARED,
// XLH_UPDATE_OLD_ALL_VISIBLE_CLEARED, XLH_UPDATE_NEW_ALL_VISIBLE_CLEARED,
// XLH_LOCK_ALL_FROZEN_CLEARED).
const (
	visibleCleared    = 0x01
	newVisibleCleared = 0x02
)

// heapBlocksPerMapPage is HEAPBLOCKS_PER_PAGE (access/heap/visibilitymap.c): two
// bits a heap block in the 8168 bytes after a page header.
const heapBlocksPerMapPage = (wal.BlockSize - 24) * 4

// clearedMapPages are the pages of the visibility map in which redo of the record
// clears bits though the record does not reference them: up to two, of the
// relation of block reference 0. From 17.11 and 18.6 on servers reference them.
func clearedMapPages(rec *wal.Record) (pages [2]wal.BlockNumber, n int) {
	if rec.RmgrID != wal.RmgrHeap && rec.RmgrID != wal.RmgrHeap2 || len(rec.Blocks) == 0 {
		return pages, 0
	}
	flags, ok := heapFlags(rec)
	if !ok || flags&(visibleCleared|newVisibleCleared) == 0 {
		return pages, 0
	}
	for i := range rec.Blocks {
		if rec.Blocks[i].Fork == wal.VisibilityMapFork {
			return pages, 0
		}
	}
	first, last := &rec.Blocks[0], &rec.Blocks[len(rec.Blocks)-1]
	op := rec.Info & heapOpMask
	if rec.RmgrID == wal.RmgrHeap && (op == heapUpdate || op == heapHotUpdate) {
		// Block 0 is the new tuple's page, the last one the old tuple's.
		if flags&newVisibleCleared != 0 {
			pages[n] = first.Block / heapBlocksPerMapPage
			n++
		}
		if old := last.Block / heapBlocksPerMapPage; flags&visibleCleared != 0 && (n == 0 || pages[0] != old) {
			pages[n] = old
			n++
		}
		return pages, n
	}
	if flags&visibleCleared != 0 {
		pages[0] = first.Block / heapBlocksPerMapPage
		n = 1
	}
	return pages, n
}

// heapFlags is the flags field of a record that can clear bits of a visibility
// map.
func heapFlags(rec *wal.Record) (uint8, bool) {
	at := -1
	switch op := rec.Info & heapOpMask; {
	case rec.RmgrID == wal.RmgrHeap2:
		switch op {
		case heap2MultiIns:
			at = heapMultiFlags
		case heap2LockUpdate:
			at = heapTupleFlags
		}
	case op == heapInsert:
		at = heapInsertFlags
	case op == heapDelete, op == heapUpdate, op == heapHotUpdate, op == heapLock:
		at = heapTupleFlags
	}
	main := rec.MainData()
	if at < 0 || at >= len(main) {
		return 0, false
	}
	return main[at], true
}
