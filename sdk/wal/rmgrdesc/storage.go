package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// Operations of Storage (catalog/storage_xlog.h).
const (
	storageCreate   = 0x10
	storageTruncate = 0x20
)

// descStorage is smgr_desc (access/rmgrdesc/smgrdesc.c).
func descStorage(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	switch operation(r) {
	case storageCreate: // xl_smgr_create
		rel, fork := c.locator(), c.u32()
		if !c.short {
			dst = appendRelPath(dst, r.Version, rel, fork)
		}
	case storageTruncate: // xl_smgr_truncate
		block, rel, flags := c.u32(), c.locator(), c.i32()
		if !c.short {
			dst = appendRelPath(dst, r.Version, rel, uint32(wal.MainFork))
			dst = appendUint(dst, " to ", block)
			dst = appendInt(dst, " blocks flags ", flags)
		}
	}
	return c.end(dst)
}
