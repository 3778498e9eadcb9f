package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// Operations of Tablespace (commands/tablespace.h).
const (
	tablespaceCreate = 0x00
	tablespaceDrop   = 0x10
)

// descTablespace is tblspc_desc (access/rmgrdesc/tblspcdesc.c).
func descTablespace(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	switch operation(r) {
	case tablespaceCreate: // xl_tblspc_create_rec
		spc := c.u32()
		if c.short {
			break
		}
		dst = appendUint(dst, "", spc)
		dst = append(dst, ` "`...)
		dst = append(dst, c.cstring()...)
		dst = append(dst, '"')
	case tablespaceDrop: // xl_tblspc_drop_rec
		if spc := c.u32(); !c.short {
			dst = appendUint(dst, "", spc)
		}
	}
	return c.end(dst)
}
