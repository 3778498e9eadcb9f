package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// descHash is hash_desc (access/rmgrdesc/hashdesc.c). SPLIT_PAGE and
// SPLIT_CLEANUP have no description.
func descHash(dst []byte, r *wal.Record) []byte {
	return hashOperations.append(dst, r, r.Info>>4)
}

// hashOperations are the structures of access/hash_xlog.h.
var hashOperations = operations{
	0x0: {{wal.PG14, layout{fields{ // xl_hash_init_meta_page
		{"num_tuples ", 0, asDouble}, {", fillfactor ", 12, asU16},
	}, nil}}},
	0x1: {{wal.PG14, layout{fields{{"bmsize ", 0, asU16}}, nil}}}, // xl_hash_init_bitmap_page
	0x2: {{wal.PG14, layout{fields{{"off ", 0, asU16}}, nil}}},    // xl_hash_insert
	0x3: {{wal.PG14, layout{fields{ // xl_hash_add_ovfl_page
		{"bmsize ", 0, asU16}, {", bmpage_found ", 2, asTruth},
	}, nil}}},
	0x4: {{wal.PG14, layout{fields{ // xl_hash_split_allocate_page
		{"new_bucket ", 0, asU32}, {", meta_page_masks_updated ", 8, asBit0}, {", issplitpoint_changed ", 8, asBit1},
	}, nil}}},
	0x6: {{wal.PG14, layout{fields{ // xl_hash_split_complete
		{"old_bucket_flag ", 0, asU16}, {", new_bucket_flag ", 2, asU16},
	}, nil}}},
	0x7: {{wal.PG14, layout{fields{ // xl_hash_move_page_contents
		{"ntups ", 0, asU16}, {", is_primary ", 2, asTruth},
	}, nil}}},
	0x8: {{wal.PG14, layout{fields{ // xl_hash_squeeze_page
		{"prevblkno ", 0, asU32}, {", nextblkno ", 4, asU32}, {", ntups ", 8, asU16}, {", is_primary ", 10, asTruth},
	}, nil}}},
	0x9: {{wal.PG14, layout{fields{ // xl_hash_delete
		{"clear_dead_marking ", 0, asTruth}, {", is_primary ", 1, asTruth},
	}, nil}}},
	0xB: {{wal.PG14, layout{fields{{"ntuples ", 0, asDouble}}, nil}}}, // xl_hash_update_meta_page
	0xC: { // xl_hash_vacuum_one_page; ntuples is a uint16 since PG16
		{wal.PG14, layout{fields{
			{"ntuples ", 4, asI32}, {", latestRemovedXid ", 0, asU32},
		}, nil}},
		{wal.PG16, layout{fields{
			{"ntuples ", 4, asU16}, {", snapshotConflictHorizon ", 0, asU32},
		}, nil}},
		{wal.PG17, layout{fields{
			{"ntuples ", 4, asU16}, {", snapshotConflictHorizon ", 0, asU32}, {", isCatalogRel ", 6, asTruth},
		}, nil}},
	},
}
