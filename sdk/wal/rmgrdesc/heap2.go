package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// descHeap2 is heap2_desc (access/rmgrdesc/heapdesc.c). REWRITE has no
// description.
func descHeap2(dst []byte, r *wal.Record) []byte {
	return heap2Operations.append(dst, r, r.Info&heapOpMask>>4)
}

// heap2Operations are the structures of access/heapam_xlog.h. What PG14 to PG16
// call PRUNE, VACUUM and FREEZE_PAGE became one structure in PG17.
var heap2Operations = operations{
	0x1: { // xl_heap_prune
		{wal.PG14, layout{fields{{"latestRemovedXid ", 0, asU32}, {" nredirected ", 4, asU16}, {" ndead ", 6, asU16}}, nil}},
		{wal.PG16, layout{fields{{"snapshotConflictHorizon: ", 0, asU32}, {", nredirected: ", 4, asU16}, {", ndead: ", 6, asU16}}, pruneItems}},
		{wal.PG17, layout{nil, pruneFreeze}},
	},
	0x2: { // xl_heap_vacuum
		{wal.PG14, layout{fields{{"nunused ", 0, asU16}}, nil}},
		{wal.PG16, layout{fields{{"nunused: ", 0, asU16}}, vacuumItems}},
		{wal.PG17, layout{nil, pruneFreeze}},
	},
	0x3: { // xl_heap_freeze_page
		{wal.PG14, layout{fields{{"cutoff xid ", 0, asU32}, {" ntuples ", 4, asU16}}, nil}},
		{wal.PG16, layout{fields{{"snapshotConflictHorizon: ", 0, asU32}, {", nplans: ", 4, asU16}}, freezePlans}},
		{wal.PG17, layout{nil, pruneFreeze}},
	},
	0x4: { // xl_heap_visible
		{wal.PG14, layout{fields{{"cutoff xid ", 0, asU32}, {" flags ", 4, asHex8}}, nil}},
		{wal.PG16, layout{fields{{"snapshotConflictHorizon: ", 0, asU32}, {", flags: ", 4, asHex8}}, nil}},
	},
	0x5: { // xl_heap_multi_insert
		{wal.PG14, layout{fields{{"", 2, asU16}, {" tuples flags ", 0, asHex8}}, nil}},
		{wal.PG16, layout{fields{{"ntuples: ", 2, asU16}, {", flags: ", 0, asHex8}}, multiInsertOffsets}},
	},
	0x6: { // xl_heap_lock_updated
		{wal.PG14, layout{fields{{"off ", 4, asU16}, {": xmax ", 0, asU32}, {": flags ", 7, asHex8}, {" ", 6, asWords}}, nil}},
		{wal.PG16, layout{lockFields, nil}},
	},
	0x7: { // xl_heap_new_cid
		{wal.PG14, layout{fields{
			{"rel ", 16, asLocator}, {"; tid ", 28, asTID},
			{"; cmin: ", 4, asU32}, {", cmax: ", 8, asU32}, {", combo: ", 12, asU32},
		}, nil}},
		{wal.PG16, layout{fields{
			{"rel: ", 16, asLocator}, {", tid: ", 28, asTID},
			{", cmin: ", 4, asU32}, {", cmax: ", 8, asU32}, {", combo: ", 12, asU32},
		}, nil}},
	},
}

// multiInsertOffsets appends the offsets of a MULTI_INSERT, which it has unless
// it initialises the page, and pg_waldump prints if the tuples are logged.
func multiInsertOffsets(dst []byte, r *wal.Record) []byte {
	if _, ok := data0(r); !ok || r.Info&heapInitPage != 0 {
		return dst
	}
	c := mainData(r)
	c.skip(2)
	n := c.u16()
	dst = appendOffsets(dst, ", offsets:", &c, n)
	return c.end(dst)
}
