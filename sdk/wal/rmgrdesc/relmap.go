package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// relMapUpdate is the operation of RelMap (utils/relmapper.h).
const relMapUpdate = 0x00

// descRelMap is relmap_desc (access/rmgrdesc/relmapdesc.c). It does not show
// the map itself.
func descRelMap(dst []byte, r *wal.Record) []byte {
	if operation(r) != relMapUpdate {
		return dst
	}
	c := mainData(r) // xl_relmap_update
	db, spc, size := c.u32(), c.u32(), c.i32()
	if !c.short {
		dst = appendUint(dst, "database ", db)
		dst = appendUint(dst, " tablespace ", spc)
		dst = appendInt(dst, " size ", size)
	}
	return c.end(dst)
}
