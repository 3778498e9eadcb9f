package consistency

import "github.com/walplex/walplex/sdk/wal"

// Storage's TRUNCATE: blkno, the relation, flags (catalog/storage_xlog.h); and
// how many heap pages have their bits on a page of the visibility map
// (access/heap/visibilitymap.c).
const (
	truncateInfo  = 0x20
	truncateSize  = 4 + 12 + 4
	truncateHeap  = 0x1
	truncateVM    = 0x2
	truncateFSM   = 0x4
	heapBlocksMap = (wal.BlockSize - 24) * 4
)

// truncate forgets the pages that a record takes off a relation.
func (c *checker) truncate(rec *wal.Record) {
	main := rec.MainData()
	if rec.RmgrID != wal.RmgrStorage || rec.Info&0xF0 != truncateInfo || len(main) < truncateSize {
		return
	}
	blocks := wal.BlockNumber(le.Uint32(main))
	rel := wal.RelFileLocator{Spc: wal.OID(le.Uint32(main[4:])), DB: wal.OID(le.Uint32(main[8:])), Rel: wal.OID(le.Uint32(main[12:]))}
	flags := le.Uint32(main[16:])
	for key := range c.pages {
		if key.rel != rel {
			continue
		}
		switch key.fork {
		case wal.MainFork:
			if flags&truncateHeap != 0 && key.block >= blocks {
				delete(c.pages, key)
			}
		case wal.VisibilityMapFork:
			if flags&truncateVM != 0 && key.block >= (blocks+heapBlocksMap-1)/heapBlocksMap {
				delete(c.pages, key)
			}
		case wal.FSMFork:
			if flags&truncateFSM != 0 {
				delete(c.pages, key)
			}
		}
	}
}
