package consistency

import "github.com/walplex/walplex/sdk/wal"

// Where fields of hash indexes lie on their pages, in bytes (access/hash.h): of
// HashPageOpaqueData, and of the metapage.
const (
	hashPrev   = 8176
	hashNext   = 8180
	hashBucket = 8184
	hashFlag   = 8188

	hashMetaTuples     = 24 + 8
	hashMetaMaxBucket  = 24 + 24
	hashMetaMasks      = 24 + 28
	hashMetaPoint      = 24 + 36
	hashMetaFirstFree  = 24 + 40
	hashMetaBitmaps    = 24 + 44
	hashMetaSpares     = 24 + 52
	hashMetaSparesSize = 4 * 98
)

// hashFaults are mistakes in the redo of hash indexes. Not among them is what
// the server's images cannot show: pages that are not used,
// LH_PAGE_HAS_DEAD_TUPLES, pd_lsn.
var hashFaults = []fault{
	{"INIT_META_PAGE, the masks", wal.RmgrHash, 0x00, 0, zero(hashMetaMasks, 8)},
	{"INIT_META_PAGE, the spare pages", wal.RmgrHash, 0x00, 0, zero(hashMetaSpares, hashMetaSparesSize)},
	{"INIT_BITMAP_PAGE, no bit set", wal.RmgrHash, 0x10, 0, zero(24, 4096)},
	{"INIT_BITMAP_PAGE, not on the metapage", wal.RmgrHash, 0x10, 1, kept(hashMetaBitmaps, 4)},
	{"INSERT, skipped", wal.RmgrHash, 0x20, 0, skipped},
	{"INSERT, in the wrong place", wal.RmgrHash, 0x20, 0, exchanged(-1, -2)},
	{"INSERT, not counted", wal.RmgrHash, 0x20, 1, kept(hashMetaTuples, 8)},
	{"ADD_OVFL_PAGE, the bucket", wal.RmgrHash, 0x30, 0, zero(hashBucket, 4)},
	{"ADD_OVFL_PAGE, the link back", wal.RmgrHash, 0x30, 0, zero(hashPrev, 4)},
	{"ADD_OVFL_PAGE, not in the chain", wal.RmgrHash, 0x30, 1, kept(hashNext, 4)},
	{"ADD_OVFL_PAGE, its bit", wal.RmgrHash, 0x30, 2, skipped},
	{"ADD_OVFL_PAGE, the spare pages", wal.RmgrHash, 0x30, 4, kept(hashMetaSpares, hashMetaSparesSize)},
	{"SPLIT_ALLOCATE_PAGE, the old bucket's flag", wal.RmgrHash, 0x40, 0, kept(hashFlag, 2)},
	{"SPLIT_ALLOCATE_PAGE, the old bucket's hasho_prevblkno", wal.RmgrHash, 0x40, 0, kept(hashPrev, 4)},
	{"SPLIT_ALLOCATE_PAGE, the new bucket's flag", wal.RmgrHash, 0x40, 1, zero(hashFlag, 2)},
	{"SPLIT_ALLOCATE_PAGE, the largest bucket", wal.RmgrHash, 0x40, 2, kept(hashMetaMaxBucket, 4)},
	{"SPLIT_ALLOCATE_PAGE, the masks", wal.RmgrHash, 0x40, 2, kept(hashMetaMasks, 8)},
	{"SPLIT_ALLOCATE_PAGE, the split point", wal.RmgrHash, 0x40, 2, kept(hashMetaPoint, 4)},
	{"SPLIT_COMPLETE, the old bucket's flag", wal.RmgrHash, 0x60, 0, skipped},
	{"SPLIT_COMPLETE, the new bucket's flag", wal.RmgrHash, 0x60, 1, skipped},
	{"MOVE_PAGE_CONTENTS, not added", wal.RmgrHash, 0x70, 1, skipped},
	{"MOVE_PAGE_CONTENTS, not deleted", wal.RmgrHash, 0x70, 2, skipped},
	{"SQUEEZE_PAGE, not added", wal.RmgrHash, 0x80, 1, skipped},
	{"SQUEEZE_PAGE, the target's next page", wal.RmgrHash, 0x80, 1, kept(hashNext, 4)},
	{"SQUEEZE_PAGE, the page not freed", wal.RmgrHash, 0x80, 2, skipped},
	{"SQUEEZE_PAGE, the page before keeps its next", wal.RmgrHash, 0x80, 3, skipped},
	{"SQUEEZE_PAGE, its bit", wal.RmgrHash, 0x80, 5, skipped},
	{"SQUEEZE_PAGE, the first free page", wal.RmgrHash, 0x80, 6, kept(hashMetaFirstFree, 4)},
	{"DELETE, skipped", wal.RmgrHash, 0x90, 1, skipped},
	{"DELETE, one too many", wal.RmgrHash, 0x90, 1, lastIDLost},
	{"SPLIT_CLEANUP, the flag", wal.RmgrHash, 0xA0, 0, skipped},
	{"UPDATE_META_PAGE, skipped", wal.RmgrHash, 0xB0, 0, skipped},
	{"VACUUM_ONE_PAGE, skipped", wal.RmgrHash, 0xC0, 0, skipped},
	{"VACUUM_ONE_PAGE, not counted", wal.RmgrHash, 0xC0, 1, skipped},
}
