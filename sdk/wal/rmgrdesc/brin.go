package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// brinOpMask is XLOG_BRIN_OPMASK: bit 0x80 of xl_info is XLOG_BRIN_INIT_PAGE
// (access/brin_xlog.h).
const brinOpMask = 0x70

// descBRIN is brin_desc (access/rmgrdesc/brindesc.c).
func descBRIN(dst []byte, r *wal.Record) []byte {
	return brinOperations.append(dst, r, r.Info&brinOpMask>>4)
}

// brinOperations are the structures of access/brin_xlog.h.
var brinOperations = operations{
	0x0: {{wal.PG14, layout{fields{ // xl_brin_createidx
		{"v", 4, asU16}, {" pagesPerRange ", 0, asU32},
	}, nil}}},
	0x1: {{wal.PG14, layout{fields{ // xl_brin_insert
		{"heapBlk ", 0, asU32}, {" pagesPerRange ", 4, asU32}, {" offnum ", 8, asU16},
	}, nil}}},
	0x2: {{wal.PG14, layout{fields{ // xl_brin_update
		{"heapBlk ", 4, asU32}, {" pagesPerRange ", 8, asU32},
		{" old offnum ", 0, asU16}, {", new offnum ", 12, asU16},
	}, nil}}},
	0x3: {{wal.PG14, layout{fields{{"offnum ", 0, asU16}}, nil}}},    // xl_brin_samepage_update
	0x4: {{wal.PG14, layout{fields{{"targetBlk ", 0, asU32}}, nil}}}, // xl_brin_revmap_extend
	0x5: {{wal.PG14, layout{fields{ // xl_brin_desummarize
		{"pagesPerRange ", 0, asU32}, {", heapBlk ", 4, asU32}, {", page offset ", 8, asU16},
	}, nil}}},
}
