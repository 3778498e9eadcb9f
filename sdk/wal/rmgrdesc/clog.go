package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// Operations of CLOG (access/clog.h).
const (
	clogZeroPage = 0x00
	clogTruncate = 0x10
)

// slruPageBytes is how wide the page numbers of CLOG, CommitTs and MultiXact
// are, in bytes.
var slruPageBytes = changes[int]{{wal.PG14, 4}, {wal.PG17, 8}}

// slruPage reads a page number.
func (c *cursor) slruPage(v wal.Version) int64 {
	if slruPageBytes.in(v) == 8 {
		return c.i64()
	}
	return int64(c.i32())
}

// descCLOG is clog_desc (access/rmgrdesc/clogdesc.c).
func descCLOG(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	switch operation(r) {
	case clogZeroPage:
		if page := c.slruPage(r.Version); !c.short {
			dst = appendInt(dst, "page ", page)
		}
	case clogTruncate: // xl_clog_truncate
		page, oldest := c.slruPage(r.Version), c.u32()
		if !c.short {
			dst = appendInt(dst, "page ", page)
			dst = appendUint(dst, "; oldestXact ", oldest)
		}
	}
	return c.end(dst)
}
