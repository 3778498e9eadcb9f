package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// descBtree is btree_desc (access/rmgrdesc/nbtdesc.c).
func descBtree(dst []byte, r *wal.Record) []byte {
	return btreeOperations.append(dst, r, r.Info>>4)
}

// btreeOperations are the structures of access/nbtxlog.h.
var btreeOperations = operations{
	0x0: btreeInsert,
	0x1: btreeInsert,
	0x2: btreeInsert,
	0x3: btreeSplit,
	0x4: btreeSplit,
	0x5: btreeInsert,
	0x6: { // xl_btree_dedup
		{wal.PG14, layout{fields{{"nintervals ", 0, asU16}}, nil}},
		{wal.PG16, layout{fields{{"nintervals: ", 0, asU16}}, nil}},
	},
	0x7: { // xl_btree_delete
		{wal.PG14, layout{fields{
			{"latestRemovedXid ", 0, asU32}, {"; ndeleted ", 4, asU16}, {"; nupdated ", 6, asU16},
		}, nil}},
		{wal.PG16, layout{fields{
			{"snapshotConflictHorizon: ", 0, asU32}, {", ndeleted: ", 4, asU16}, {", nupdated: ", 6, asU16},
		}, btreeDeleted}},
		{wal.PG17, layout{fields{
			{"snapshotConflictHorizon: ", 0, asU32}, {", ndeleted: ", 4, asU16}, {", nupdated: ", 6, asU16},
			{", isCatalogRel: ", 8, asTruth},
		}, btreeDeleted}},
	},
	0x8: btreeUnlink,
	0x9: btreeUnlink,
	0xA: { // xl_btree_newroot
		{wal.PG14, layout{fields{{"lev ", 4, asU32}}, nil}},
		{wal.PG16, layout{fields{{"level: ", 4, asU32}}, nil}},
	},
	0xB: { // xl_btree_mark_page_halfdead
		{wal.PG14, layout{fields{
			{"topparent ", 16, asU32}, {"; leaf ", 4, asU32}, {"; left ", 8, asU32}, {"; right ", 12, asU32},
		}, nil}},
		{wal.PG16, layout{fields{
			{"topparent: ", 16, asU32}, {", leaf: ", 4, asU32}, {", left: ", 8, asU32}, {", right: ", 12, asU32},
		}, nil}},
	},
	0xC: { // xl_btree_vacuum
		{wal.PG14, layout{fields{{"ndeleted ", 0, asU16}, {"; nupdated ", 2, asU16}}, nil}},
		{wal.PG16, layout{fields{{"ndeleted: ", 0, asU16}, {", nupdated: ", 2, asU16}}, btreeVacuumed}},
	},
	0xD: { // xl_btree_reuse_page
		{wal.PG14, layout{fields{{"rel ", 0, asLocator}, {"; latestRemovedXid ", 16, asFullXID}}, nil}},
		{wal.PG16, layout{fields{{"rel: ", 0, asLocator}, {", snapshotConflictHorizon: ", 16, asFullXID}}, nil}},
		{wal.PG17, layout{fields{
			{"rel: ", 0, asLocator}, {", snapshotConflictHorizon: ", 16, asFullXID}, {", isCatalogRel: ", 24, asTruth},
		}, nil}},
	},
	0xE: {
		{wal.PG14, layout{nil, btreeMetaCleanup}},
	},
}

// btreeInsert are the layouts of xl_btree_insert, for INSERT_*.
var btreeInsert = changes[layout]{
	{wal.PG14, layout{fields{{"off ", 0, asU16}}, nil}},
	{wal.PG16, layout{fields{{"off: ", 0, asU16}}, nil}},
}

// btreeSplit are the layouts of xl_btree_split, for SPLIT_L and SPLIT_R.
var btreeSplit = changes[layout]{
	{wal.PG14, layout{fields{
		{"level ", 0, asU32}, {", firstrightoff ", 4, asU16}, {", newitemoff ", 6, asU16}, {", postingoff ", 8, asU16},
	}, nil}},
	{wal.PG16, layout{fields{
		{"level: ", 0, asU32}, {", firstrightoff: ", 4, asU16}, {", newitemoff: ", 6, asU16}, {", postingoff: ", 8, asU16},
	}, nil}},
}

// btreeUnlink are the layouts of xl_btree_unlink_page, for UNLINK_PAGE and
// UNLINK_PAGE_META.
var btreeUnlink = changes[layout]{
	{wal.PG14, layout{fields{
		{"left ", 0, asU32}, {"; right ", 4, asU32}, {"; level ", 8, asU32}, {"; safexid ", 16, asFullXID},
		{"; leafleft ", 24, asU32}, {"; leafright ", 28, asU32}, {"; leaftopparent ", 32, asU32},
	}, nil}},
	{wal.PG16, layout{fields{
		{"left: ", 0, asU32}, {", right: ", 4, asU32}, {", level: ", 8, asU32}, {", safexid: ", 16, asFullXID},
		{", leafleft: ", 24, asU32}, {", leafright: ", 28, asU32}, {", leaftopparent: ", 32, asU32},
	}, nil}},
}

// btreeMetadata are the layouts of xl_btree_metadata.
var btreeMetadata = changes[fields]{
	{wal.PG14, fields{{"last_cleanup_num_delpages ", 20, asU32}}},
	{wal.PG16, fields{{"last_cleanup_num_delpages: ", 20, asU32}}},
}

// btreeMetaCleanup appends a META_CLEANUP: the data of block 0 is an
// xl_btree_metadata.
func btreeMetaCleanup(dst []byte, r *wal.Record) []byte {
	c, _ := blockData(r, 0)
	dst, whole := btreeMetadata.in(r.Version).append(dst, c.buf)
	if !whole {
		return append(dst, Truncated...)
	}
	return dst
}

// btreeDeleted appends the items of a DELETE, since PG16.
func btreeDeleted(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	c.skip(4)
	return appendDeleted(dst, r, c.u16(), c.u16())
}

// btreeVacuumed appends the items of a VACUUM, since PG16.
func btreeVacuumed(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	return appendDeleted(dst, r, c.u16(), c.u16())
}

// appendDeleted appends the items that a DELETE or VACUUM removes or updates, if
// the record has them (delvacuum_desc). The data of block 0 is the offsets of the
// deleted, of the updated, and of each updated one an xl_btree_update: how many of
// its posting list's TIDs go, and which.
func appendDeleted(dst []byte, r *wal.Record, ndeleted, nupdated uint16) []byte {
	c, ok := data0(r)
	if !ok {
		return dst
	}
	dst = appendOffsets(dst, ", deleted:", &c, ndeleted)
	offsets := c.array(int64(nupdated), 2)
	if c.short {
		return c.end(dst)
	}
	dst = append(dst, ", updated: ["...)
	for separator := ""; offsets.left() > 0; separator = ", " {
		n := c.u16()
		if c.short {
			return c.end(dst)
		}
		dst = append(dst, separator...)
		dst = appendUint(dst, "{ off: ", offsets.u16())
		dst = appendUint(dst, ", nptids: ", n)
		dst = append(dst, ", ptids: ["...)
		ptids := c.array(int64(n), 2)
		for comma := ""; ptids.left() > 0; comma = ", " {
			dst = appendUint(dst, comma, ptids.u16())
		}
		if c.short {
			return c.end(dst)
		}
		dst = append(dst, "] }"...)
	}
	return append(dst, ']')
}
