package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// Operations of ReplicationOrigin (replication/origin.h).
const (
	originSet  = 0x00
	originDrop = 0x10
)

// descReplicationOrigin is replorigin_desc (access/rmgrdesc/replorigindesc.c).
func descReplicationOrigin(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	switch operation(r) {
	case originSet: // xl_replorigin_set
		remote, node, force := c.lsn(), c.u16(), c.u8()
		if !c.short {
			dst = appendUint(dst, "set ", node)
			dst = appendLSN(dst, "; lsn ", remote)
			dst = appendUint(dst, "; force: ", force)
		}
	case originDrop: // xl_replorigin_drop
		if node := c.u16(); !c.short {
			dst = appendUint(dst, "drop ", node)
		}
	}
	return c.end(dst)
}
