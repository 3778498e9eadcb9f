package consistency

import "github.com/walplex/walplex/sdk/wal"

// Where the fields of a B-tree's BTPageOpaqueData lie on a page, in bytes
// (access/nbtree.h), and flags.
const (
	btPrev  = 8176
	btNext  = 8180
	btLevel = 8184
	btFlags = 8188

	btRoot = 1 << 1
)

// btreeFaults are mistakes in the redo of B-trees. Not among them is what the
// server's images cannot show: BTP_HAS_GARBAGE, btpo_cycleid, pd_lsn.
var btreeFaults = []fault{
	{"INSERT_LEAF, skipped", wal.RmgrBtree, 0x00, 0, skipped},
	{"INSERT_LEAF, in the wrong place", wal.RmgrBtree, 0x00, 0, exchanged(-1, -2)},
	{"INSERT_UPPER, skipped", wal.RmgrBtree, 0x10, 0, skipped},
	{"INSERT_UPPER, the child's split incomplete", wal.RmgrBtree, 0x10, 1, skipped},
	{"INSERT_META, the metapage as it was", wal.RmgrBtree, 0x20, 2, skipped},
	{"SPLIT_L, the new item forgotten", wal.RmgrBtree, 0x30, 0, lastIDLost},
	{"SPLIT_L, the right link", wal.RmgrBtree, 0x30, 0, kept(btNext, 4)},
	{"SPLIT_L, not marked incomplete", wal.RmgrBtree, 0x30, 0, kept(btFlags, 2)},
	{"SPLIT_R, lists on the left lose a TID", wal.RmgrBtree, 0x40, 0, everyItem(loseTID)},
	{"SPLIT_R, the right page's left link", wal.RmgrBtree, 0x40, 1, zero(btPrev, 4)},
	{"SPLIT_R, the right page's items backwards", wal.RmgrBtree, 0x40, 1, exchanged(1, -1)},
	{"SPLIT_R, the right page's level", wal.RmgrBtree, 0x40, 1, zero(btLevel, 4)},
	{"SPLIT_R, the sibling's left link", wal.RmgrBtree, 0x40, 2, kept(btPrev, 4)},
	{"SPLIT_R, the child's split incomplete", wal.RmgrBtree, 0x40, 3, skipped},
	{"INSERT_POST, skipped", wal.RmgrBtree, 0x50, 0, skipped},
	{"INSERT_POST, the posting list as it was", wal.RmgrBtree, 0x50, 0, postingAsItWas},
	{"DEDUP, skipped", wal.RmgrBtree, 0x60, 0, skipped},
	{"DEDUP, the last TID of each list lost", wal.RmgrBtree, 0x60, 0, everyItem(loseTID)},
	{"DELETE, skipped", wal.RmgrBtree, 0x70, 0, skipped},
	{"UNLINK_PAGE, safexid", wal.RmgrBtree, 0x80, 0, zero(24, 8)},
	{"UNLINK_PAGE, the target's level", wal.RmgrBtree, 0x80, 0, zero(btLevel, 4)},
	{"UNLINK_PAGE, the left sibling's right link", wal.RmgrBtree, 0x80, 1, skipped},
	{"UNLINK_PAGE, the right sibling's left link", wal.RmgrBtree, 0x80, 2, skipped},
	{"UNLINK_PAGE, the leaf's link to the top parent", wal.RmgrBtree, 0x80, 3, skipped},
	{"UNLINK_PAGE_META, the fast root", wal.RmgrBtree, 0x90, 4, zero(40, 4)},
	{"NEWROOT, no root", wal.RmgrBtree, 0xA0, 0, flipped(btFlags, btRoot)},
	{"NEWROOT, the left child's split incomplete", wal.RmgrBtree, 0xA0, 1, skipped},
	{"NEWROOT, btm_allequalimage", wal.RmgrBtree, 0xA0, 2, flipped(24+40, 1)},
	{"MARK_PAGE_HALFDEAD, the leaf as it was", wal.RmgrBtree, 0xB0, 0, skipped},
	{"MARK_PAGE_HALFDEAD, its top parent", wal.RmgrBtree, 0xB0, 0, everyItem(func(item []byte) { clear(item[:4]) })},
	{"MARK_PAGE_HALFDEAD, the downlink deleted is the other", wal.RmgrBtree, 0xB0, 1, lastIDLost},
	{"VACUUM, skipped", wal.RmgrBtree, 0xC0, 0, skipped},
	{"VACUUM, updated lists keep their size", wal.RmgrBtree, 0xC0, 0, everyItem(func(item []byte) { item[6] ^= 8 })},
	{"META_CLEANUP, btm_last_cleanup_num_delpages", wal.RmgrBtree, 0xE0, 0, skipped},
}

// postingAsItWas: tuples that lay on the page before are still the same; the new
// one alone is there.
func postingAsItWas(page, before []byte) {
	upper := le.Uint16(before[14:])
	copy(page[upper:btPrev], before[upper:btPrev])
}

// loseTID makes a posting list one TID shorter.
func loseTID(item []byte) {
	if le.Uint16(item[6:])&0x2000 != 0 && le.Uint16(item[4:])&0x2000 != 0 {
		item[4]--
	}
}
