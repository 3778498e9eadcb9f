package consistency

import "github.com/walplex/walplex/sdk/wal"

// hiddenIndexFaults are mistakes in the redo of indexes that masks hide from a
// comparison with images, and a recovered server's pages show.
var hiddenIndexFaults = []fault{
	{"DELETE_PAGE, the XID", wal.RmgrGin, 0x50, 0, zero(pagePruneID, 4)},
	{"DELETE_LISTPAGE, the rightlink", wal.RmgrGin, 0x80, 1, zero(ginRightlink, 4)},
	{"PAGE_UPDATE, the left child's NSN", wal.RmgrGist, 0x00, 1, kept(gistNSN, 8)},
	{"PAGE_UPDATE, the left child is to be followed", wal.RmgrGist, 0x00, 1, kept(gistFlags, 2)},
	{"PAGE_SPLIT, the last page's NSN", wal.RmgrGist, 0x30, 2, zero(gistNSN, 8)},
	{"PAGE_SPLIT, the last page is to be followed", wal.RmgrGist, 0x30, 2, flipped(gistFlags, 8)},
	{"PAGE_SPLIT, the left child's NSN", wal.RmgrGist, 0x30, 0, kept(gistNSN, 8)},
}
