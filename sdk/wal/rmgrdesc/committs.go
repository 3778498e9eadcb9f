package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// Operations of CommitTs (access/commit_ts.h).
const (
	commitTsZeroPage = 0x00
	commitTsTruncate = 0x10
)

// descCommitTs is commit_ts_desc (access/rmgrdesc/committsdesc.c).
func descCommitTs(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	switch operation(r) {
	case commitTsZeroPage:
		if page := c.slruPage(r.Version); !c.short {
			dst = appendInt(dst, "", page)
		}
	case commitTsTruncate: // xl_commit_ts_truncate
		page, oldest := c.slruPage(r.Version), c.u32()
		if !c.short {
			dst = appendInt(dst, "pageno ", page)
			dst = appendUint(dst, ", oldestXid ", oldest)
		}
	}
	return c.end(dst)
}
