package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// descSPGist is spg_desc (access/rmgrdesc/spgdesc.c).
func descSPGist(dst []byte, r *wal.Record) []byte {
	return spgistOperations.append(dst, r, r.Info>>4)
}

// spgistOperations are the structures of access/spgxlog.h.
var spgistOperations = operations{
	0x1: {{wal.PG14, layout{fields{ // spgxlogAddLeaf
		{"off: ", 2, asU16}, {", headoff: ", 4, asU16}, {", parentoff: ", 6, asU16}, {", nodeI: ", 8, asU16},
		{" (newpage)", 0, asIf}, {" (nulls)", 1, asIf},
	}, nil}}},
	0x2: {{wal.PG14, layout{fields{ // spgxlogMoveLeafs
		{"nmoves: ", 0, asU16}, {", parentoff: ", 6, asU16}, {", nodeI: ", 8, asU16},
		{" (newpage)", 2, asIf}, {" (replacedead)", 3, asIf}, {" (nulls)", 4, asIf},
	}, nil}}},
	0x3: {{wal.PG14, layout{fields{ // spgxlogAddNode
		{"off: ", 0, asU16}, {", newoff: ", 2, asU16}, {", parentBlk: ", 5, asI8},
		{", parentoff: ", 6, asU16}, {", nodeI: ", 8, asU16},
		{" (newpage)", 4, asIf},
	}, nil}}},
	0x4: {{wal.PG14, layout{fields{ // spgxlogSplitTuple
		{"prefixoff: ", 0, asU16}, {", postfixoff: ", 2, asU16},
		{" (newpage)", 4, asIf}, {" (same)", 5, asIf},
	}, nil}}},
	0x5: {{wal.PG14, layout{fields{ // spgxlogPickSplit
		{"ndelete: ", 2, asU16}, {", ninsert: ", 4, asU16}, {", inneroff: ", 8, asU16},
		{", parentoff: ", 14, asU16}, {", nodeI: ", 16, asU16},
		{" (innerIsParent)", 12, asIf}, {" (nulls)", 11, asIf}, {" (isRootSplit)", 0, asIf},
	}, nil}}},
	0x6: {{wal.PG14, layout{fields{ // spgxlogVacuumLeaf
		{"ndead: ", 0, asU16}, {", nplaceholder: ", 2, asU16}, {", nmove: ", 4, asU16}, {", nchain: ", 6, asU16},
	}, nil}}},
	0x7: {{wal.PG14, layout{fields{{"ndelete: ", 0, asU16}}, nil}}}, // spgxlogVacuumRoot
	0x8: { // spgxlogVacuumRedirect
		{wal.PG14, layout{fields{
			{"ntoplaceholder: ", 0, asU16}, {", firstplaceholder: ", 2, asU16}, {", newestredirectxid: ", 4, asU32},
		}, nil}},
		{wal.PG16, layout{fields{
			{"ntoplaceholder: ", 0, asU16}, {", firstplaceholder: ", 2, asU16}, {", snapshotConflictHorizon: ", 4, asU32},
		}, nil}},
		{wal.PG17, layout{fields{
			{"ntoplaceholder: ", 0, asU16}, {", firstplaceholder: ", 2, asU16}, {", snapshotConflictHorizon: ", 4, asU32},
			{", isCatalogRel: ", 8, asTruth},
		}, nil}},
	},
}
