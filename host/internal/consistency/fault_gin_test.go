package consistency

import "github.com/walplex/walplex/sdk/wal"

// Where fields of GIN indexes lie on their pages, in bytes (access/ginblock.h): of
// GinPageOpaqueData, and of a posting tree's pages.
const (
	ginRightlink = 8184
	ginMaxoff    = 8188
	ginFlags     = 8190
	ginDataStart = 32
)

// ginFaults are mistakes in the redo of GIN. Not among them is what the server's
// images cannot show: what deleted pages hold.
var ginFaults = []fault{
	{"CREATE_PTREE, no posting lists", wal.RmgrGin, 0x10, 0, zero(ginDataStart, 8)},
	{"CREATE_PTREE, the flags", wal.RmgrGin, 0x10, 0, flipped(ginFlags, 0x80)},
	{"CREATE_PTREE, the rightlink", wal.RmgrGin, 0x10, 0, zero(ginRightlink, 4)},
	{"CREATE_PTREE, pd_lower", wal.RmgrGin, 0x10, 0, lastIDLost},
	{"INSERT, skipped", wal.RmgrGin, 0x20, 0, skipped},
	{"INSERT, an entry in the wrong place", wal.RmgrGin, 0x20, 0, onGinEntries(exchanged(-1, -2))},
	{"INSERT, an entry's links", wal.RmgrGin, 0x20, 0, onGinEntries(everyItem(func(item []byte) { clear(item[:6]) }))},
	{"INSERT, a leaf's last item", wal.RmgrGin, 0x20, 0, onGinLeaves(func(page, _ []byte) { page[lower(page)-2] ^= 1 })},
	{"INSERT, a leaf's pd_lower", wal.RmgrGin, 0x20, 0, onGinLeaves(keptLower)},
	{"INSERT, an inner page's old child", wal.RmgrGin, 0x20, 0, onGinInner(func(page, _ []byte) {
		copy(page[ginDataStart+10:lower(page)], page[ginDataStart:ginDataStart+4])
	})},
	{"INSERT, an inner page's count", wal.RmgrGin, 0x20, 0, onGinInner(kept(ginMaxoff, 2))},
	{"INSERT, an inner page's pd_lower", wal.RmgrGin, 0x20, 0, onGinInner(keptLower)},
	{"INSERT, the child's split is not finished", wal.RmgrGin, 0x20, 1, skipped},
	{"SPLIT, the child's split is not finished", wal.RmgrGin, 0x30, 3, skipped},
	{"DELETE_PAGE, not deleted", wal.RmgrGin, 0x50, 0, skipped},
	{"DELETE_PAGE, still in its parent", wal.RmgrGin, 0x50, 1, skipped},
	{"DELETE_PAGE, the parent's count", wal.RmgrGin, 0x50, 1, kept(ginMaxoff, 2)},
	{"DELETE_PAGE, the sibling's rightlink", wal.RmgrGin, 0x50, 2, skipped},
	{"UPDATE_META_PAGE, the tail", wal.RmgrGin, 0x60, 0, kept(24+4, 4)},
	{"UPDATE_META_PAGE, the counts", wal.RmgrGin, 0x60, 0, kept(24+8, 16)},
	{"UPDATE_META_PAGE, not added", wal.RmgrGin, 0x60, 1, skipped},
	{"UPDATE_META_PAGE, not counted", wal.RmgrGin, 0x60, 1, kept(ginMaxoff, 2)},
	{"UPDATE_META_PAGE, not in the list", wal.RmgrGin, 0x60, 1, kept(ginRightlink, 4)},
	{"UPDATE_META_PAGE, one tuple too few", wal.RmgrGin, 0x60, 1, lastIDLost},
	{"INSERT_LISTPAGE, the rightlink", wal.RmgrGin, 0x70, 0, zero(ginRightlink, 4)},
	{"INSERT_LISTPAGE, the tail's flag", wal.RmgrGin, 0x70, 0, flipped(ginFlags, 0x20)},
	{"INSERT_LISTPAGE, the tail's count", wal.RmgrGin, 0x70, 0, zero(ginMaxoff, 2)},
	{"INSERT_LISTPAGE, one tuple too few", wal.RmgrGin, 0x70, 0, lastIDLost},
	{"DELETE_LISTPAGE, the head", wal.RmgrGin, 0x80, 0, kept(24, 4)},
	{"DELETE_LISTPAGE, not deleted", wal.RmgrGin, 0x80, 1, skipped},
	{"VACUUM_DATA_LEAF_PAGE, skipped", wal.RmgrGin, 0x90, 0, skipped},
	{"VACUUM_DATA_LEAF_PAGE, pd_lower", wal.RmgrGin, 0x90, 0, keptLower},
}

// lower is the page's pd_lower.
func lower(page []byte) int { return int(le.Uint16(page[12:])) }

// keptLower: pd_lower was left as it was.
func keptLower(page, before []byte) { copy(page[12:14], before[12:14]) }

// onGin is a mistake on pages alone whose kind (GIN_DATA, GIN_LEAF) is one.
func onGin(mask, kind byte, s spoil) spoil {
	return func(page, before []byte) {
		if page[ginFlags]&mask == kind {
			s(page, before)
		}
	}
}

func onGinEntries(s spoil) spoil { return onGin(1, 0, s) }
func onGinLeaves(s spoil) spoil  { return onGin(3, 3, s) }
func onGinInner(s spoil) spoil   { return onGin(3, 1, s) }
