package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// descGist is gist_desc (access/rmgrdesc/gistdesc.c). PAGE_UPDATE and ASSIGN_LSN
// have no description.
func descGist(dst []byte, r *wal.Record) []byte {
	return gistOperations.append(dst, r, r.Info>>4)
}

// gistOperations are the structures of access/gistxlog.h.
var gistOperations = operations{
	0x1: { // gistxlogDelete
		{wal.PG14, layout{fields{
			{"delete: latestRemovedXid ", 0, asU32}, {", nitems: ", 4, asU16},
		}, nil}},
		{wal.PG16, layout{fields{
			{"delete: snapshotConflictHorizon ", 0, asU32}, {", nitems: ", 4, asU16},
		}, nil}},
		{wal.PG17, layout{fields{
			{"delete: snapshotConflictHorizon ", 0, asU32}, {", nitems: ", 4, asU16}, {", isCatalogRel ", 6, asTruth},
		}, nil}},
	},
	0x2: { // gistxlogPageReuse
		{wal.PG14, layout{fields{
			{"rel ", 0, asLocator}, {"; blk ", 12, asU32}, {"; latestRemovedXid ", 16, asFullXID},
		}, nil}},
		{wal.PG16, layout{fields{
			{"rel ", 0, asLocator}, {"; blk ", 12, asU32}, {"; snapshotConflictHorizon ", 16, asFullXID},
		}, nil}},
		{wal.PG17, layout{fields{
			{"rel ", 0, asLocator}, {"; blk ", 12, asU32}, {"; snapshotConflictHorizon ", 16, asFullXID},
			{", isCatalogRel ", 24, asTruth},
		}, nil}},
	},
	0x3: {{wal.PG14, layout{fields{ // gistxlogPageSplit
		{"page_split: splits to ", 18, asU16}, {" pages", 18, asText},
	}, nil}}},
	0x6: {{wal.PG14, layout{fields{ // gistxlogPageDelete
		{"deleteXid ", 0, asFullXID}, {"; downlink ", 8, asU16},
	}, nil}}},
}
