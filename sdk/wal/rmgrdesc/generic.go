package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// descGeneric is generic_desc (access/rmgrdesc/genericdesc.c): the regions of a
// page that main data overrides. It has none in the records of any server, which
// keeps the regions in the data of the block references, so that pg_waldump
// shows nothing.
func descGeneric(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	for c.left() > 0 {
		offset, length := c.u16(), c.u16()
		if c.short {
			break
		}
		dst = appendUint(dst, "offset ", offset)
		dst = appendUint(dst, ", length ", length)
		if c.skip(int(length)); c.short {
			break
		}
		if c.left() > 0 {
			dst = append(dst, "; "...)
		}
	}
	return c.end(dst)
}
