package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// Operations of MultiXact (access/multixact.h).
const (
	multiXactZeroOffPage = 0x00
	multiXactZeroMemPage = 0x10
	multiXactCreateID    = 0x20
	multiXactTruncateID  = 0x30
)

// multiXactStatuses are the values of MultiXactStatus (access/multixact.h), as
// pg_waldump shows them.
var multiXactStatuses = [...]string{
	" (keysh) ", " (sh) ", " (fornokeyupd) ", " (forupd) ", " (nokeyupd) ", " (upd) ",
}

// descMultiXact is multixact_desc (access/rmgrdesc/mxactdesc.c).
func descMultiXact(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	switch operation(r) {
	case multiXactZeroOffPage, multiXactZeroMemPage:
		if page := c.slruPage(r.Version); !c.short {
			dst = appendInt(dst, "", page)
		}
	case multiXactCreateID: // xl_multixact_create
		id, offset, n := c.u32(), c.u32(), c.i32()
		if c.short {
			break
		}
		members := c.array(int64(n), 8)
		dst = appendUint(dst, "", id)
		dst = appendUint(dst, " offset ", offset)
		dst = appendInt(dst, " nmembers ", n)
		dst = append(dst, ": "...)
		for members.left() > 0 {
			dst = appendUint(dst, "", members.u32())
			dst = appendMultiXactStatus(dst, members.u32())
		}
	case multiXactTruncateID: // xl_multixact_truncate
		c.skip(4) // oldestMultiDB
		startOff, endOff, startMemb, endMemb := c.u32(), c.u32(), c.u32(), c.u32()
		if !c.short {
			dst = appendUint(dst, "offsets [", startOff)
			dst = appendUint(dst, ", ", endOff)
			dst = appendUint(dst, "), members [", startMemb)
			dst = appendUint(dst, ", ", endMemb)
			dst = append(dst, ')')
		}
	}
	return c.end(dst)
}

func appendMultiXactStatus(dst []byte, status uint32) []byte {
	if status >= uint32(len(multiXactStatuses)) {
		return append(dst, " (unk) "...)
	}
	return append(dst, multiXactStatuses[status]...)
}
