package consistency

import "github.com/walplex/walplex/sdk/wal"

// Where fields of GISTPageOpaqueData lie on a page, in bytes (access/gist.h).
const (
	gistNSN       = 8176
	gistRightlink = 8184
	gistFlags     = 8188
	gistPageID    = 8190
)

// gistFaults are mistakes in the redo of GiST. Not among them is what the server's
// images cannot show: NSN, F_FOLLOW_RIGHT, F_TUPLES_DELETED.
var gistFaults = []fault{
	{"PAGE_UPDATE, skipped", wal.RmgrGist, 0x00, 0, skipped},
	{"PAGE_UPDATE, one tuple too few", wal.RmgrGist, 0x00, 0, lastIDLost},
	{"PAGE_UPDATE, in the wrong place", wal.RmgrGist, 0x00, 0, exchanged(-1, -2)},
	{"PAGE_UPDATE, a tuple replaced by deletion and insertion", wal.RmgrGist, 0x00, 0, movedToEnd},
	{"DELETE, skipped", wal.RmgrGist, 0x10, 0, skipped},
	{"DELETE, one too many", wal.RmgrGist, 0x10, 0, lastIDLost},
	{"PAGE_SPLIT, the first page's rightlink", wal.RmgrGist, 0x30, 1, zero(gistRightlink, 4)},
	{"PAGE_SPLIT, the last page's rightlink", wal.RmgrGist, 0x30, 2, zero(gistRightlink, 4)},
	{"PAGE_SPLIT, a leaf is none", wal.RmgrGist, 0x30, 2, flipped(gistFlags, 1)},
	{"PAGE_SPLIT, the page's id", wal.RmgrGist, 0x30, 1, zero(gistPageID, 2)},
	{"PAGE_SPLIT, one tuple too few", wal.RmgrGist, 0x30, 1, lastIDLost},
	{"PAGE_SPLIT, into three, the third", wal.RmgrGist, 0x30, 3, lastIDLost},
	{"PAGE_SPLIT, the order", wal.RmgrGist, 0x30, 2, exchanged(1, 2)},
	{"PAGE_DELETE, the flag", wal.RmgrGist, 0x60, 0, flipped(gistFlags, 2)},
	{"PAGE_DELETE, the XID", wal.RmgrGist, 0x60, 0, kept(24, 8)},
	{"PAGE_DELETE, pd_lower", wal.RmgrGist, 0x60, 0, keptLower},
	{"PAGE_DELETE, still in its parent", wal.RmgrGist, 0x60, 1, skipped},
}

// movedToEnd: where there are as many tuples as before, and one is another, it is
// the last.
func movedToEnd(page, before []byte) {
	if lower(page) != lower(before) {
		return
	}
	for n := 1; idBytes(page, n) != nil; n++ {
		if string(itemBytes(page, n)) == string(itemBytes(before, n)) {
			continue
		}
		ids := page[24+(n-1)*4 : lower(page)]
		id := [4]byte(ids)
		copy(ids, ids[4:])
		copy(ids[len(ids)-4:], id[:])
		return
	}
}
