package redo

import "github.com/walplex/walplex/sdk/wal"

// operations are a resource manager's redo functions by the high four bits of
// xl_info. Without one no page of a relation is changed.
type operations [16]redoFunc

// byRmgr are a major's.
type byRmgr [wal.RmgrMaxBuiltin + 1]operations

// majors are those of all majors, from PG14 on. It is never written to.
var majors = [...]byRmgr{
	makeTable(wal.PG14), makeTable(wal.PG15), makeTable(wal.PG16), makeTable(wal.PG17), makeTable(wal.PG18),
}

func makeTable(v wal.Version) byRmgr {
	return byRmgr{
		wal.RmgrXLOG:     xlogRedo(v),
		wal.RmgrHeap2:    heap2Redo(v),
		wal.RmgrHeap:     heapRedo(v),
		wal.RmgrSequence: sequenceRedo(v),
		wal.RmgrGeneric:  genericRedo(v),
		wal.RmgrBtree:    btreeRedo(v),
		wal.RmgrHash:     hashRedo(v),
		wal.RmgrGin:      ginRedo(v),
		wal.RmgrGist:     gistRedo(v),
		wal.RmgrSPGist:   spgistRedo(v),
		wal.RmgrBRIN:     brinRedo(v),
	}
}

// find is the record's redo function, nil if there is none.
func find(rec *wal.Record) redoFunc {
	v := int(rec.Version) - int(wal.PG14)
	if v < 0 || v >= len(majors) || rec.RmgrID > wal.RmgrMaxBuiltin {
		return nil
	}
	return majors[v][rec.RmgrID][rec.Info>>4]
}
