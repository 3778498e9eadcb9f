package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// Parts of xl_info (access/heapam_xlog.h).
const (
	heapOpMask   = 0x70 // XLOG_HEAP_OPMASK
	heapInitPage = 0x80 // XLOG_HEAP_INIT_PAGE
)

// descHeap is heap_desc (access/rmgrdesc/heapdesc.c).
func descHeap(dst []byte, r *wal.Record) []byte {
	return heapOperations.append(dst, r, r.Info&heapOpMask>>4)
}

// heapOperations are the structures of access/heapam_xlog.h.
var heapOperations = operations{
	0x0: { // xl_heap_insert
		{wal.PG14, layout{fields{{"off ", 0, asU16}, {" flags ", 2, asHex8}}, nil}},
		{wal.PG16, layout{fields{{"off: ", 0, asU16}, {", flags: ", 2, asHex8}}, nil}},
	},
	0x1: { // xl_heap_delete
		{wal.PG14, layout{fields{{"off ", 4, asU16}, {" flags ", 7, asHex8}, {" ", 6, asWords}}, nil}},
		{wal.PG16, layout{lockFields, nil}},
	},
	0x2: heapUpdate,
	0x3: { // xl_heap_truncate
		{wal.PG14, layout{fields{{"", 8, asRestartWords}, {"nrelids ", 4, asU32}, {" relids", 4, asText}}, truncateRelidWords}},
		{wal.PG16, layout{fields{{"flags: ", 8, asRestart}, {", nrelids: ", 4, asU32}, {", relids:", 4, asText}}, truncateRelids}},
	},
	0x4: heapUpdate,
	0x5: { // xl_heap_confirm
		{wal.PG14, layout{fields{{"off ", 0, asU16}}, nil}},
		{wal.PG16, layout{fields{{"off: ", 0, asU16}}, nil}},
	},
	0x6: { // xl_heap_lock
		{wal.PG14, layout{fields{{"off ", 4, asU16}, {": xid ", 0, asU32}, {": flags ", 7, asHex8}, {" ", 6, asWords}}, nil}},
		{wal.PG16, layout{lockFields, nil}},
	},
	0x7: { // xl_heap_inplace
		{wal.PG14, layout{fields{{"off ", 0, asU16}}, nil}},
		{wal.PG16, layout{fields{{"off: ", 0, asU16}}, nil}},
		{wal.PG18, layout{fields{{"off: ", 0, asU16}}, inplaceInvalidations}},
	},
}

// heapUpdate are the layouts of xl_heap_update, for UPDATE and HOT_UPDATE.
var heapUpdate = changes[layout]{
	{wal.PG14, layout{fields{
		{"off ", 4, asU16}, {" xmax ", 0, asU32}, {" flags ", 7, asHex8}, {" ", 6, asWords},
		{"; new off ", 12, asU16}, {" xmax ", 8, asU32},
	}, nil}},
	{wal.PG16, layout{fields{
		{"old_xmax: ", 0, asU32}, {", old_off: ", 4, asU16}, {", old_infobits: ", 6, asNames},
		{", flags: ", 7, asHex8}, {", new_xmax: ", 8, asU32}, {", new_off: ", 12, asU16},
	}, nil}},
}

// lockFields are what xl_heap_delete, xl_heap_lock and xl_heap_lock_updated have
// in common since PG16.
var lockFields = fields{
	{"xmax: ", 0, asU32}, {", off: ", 4, asU16}, {", infobits: ", 6, asNames}, {", flags: ", 7, asHex8},
}

// Where nrelids and relids lie in xl_heap_truncate, in bytes.
const (
	truncateNrelids = 4
	truncateRelid0  = 12
)

// truncateArray is a cursor over relids and their number, which is there.
func truncateArray(r *wal.Record) (c cursor, nrelids uint32) {
	c = mainData(r)
	c.skip(truncateNrelids)
	nrelids = c.u32()
	c.skip(truncateRelid0 - truncateNrelids - 4)
	return c, nrelids
}

// truncateRelidWords appends the relations of a TRUNCATE, a space before each.
func truncateRelidWords(dst []byte, r *wal.Record) []byte {
	c, nrelids := truncateArray(r)
	relids := c.array(int64(nrelids), 4)
	for relids.left() > 0 {
		dst = appendUint(dst, " ", relids.u32())
	}
	return c.end(dst)
}

// truncateRelids appends the relations of a TRUNCATE as an array.
func truncateRelids(dst []byte, r *wal.Record) []byte {
	c, nrelids := truncateArray(r)
	dst = appendArray(dst, &c, int64(nrelids), 4, oidElement)
	return c.end(dst)
}

// inplaceInvalidations appends the invalidation messages of an INPLACE (since
// PG18): after offnum, at 0 of xl_heap_inplace, dbId at 4, tsId at 8,
// relcacheInitFileInval at 12, nmsgs at 16, and the messages.
func inplaceInvalidations(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	c.skip(4)
	db, ts := wal.OID(c.u32()), wal.OID(c.u32())
	initFile := c.bool()
	c.skip(3)
	n := c.i32()
	if c.short {
		return c.end(dst)
	}
	if n <= 0 {
		return dst
	}
	dst = appendInvalidations(dst, r.Version, c.array(int64(n), invalidationSize), db, ts, initFile)
	return c.end(dst)
}
