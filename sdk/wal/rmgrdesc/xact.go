package rmgrdesc

import (
	"bytes"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// Bits of a Transaction record's xl_info (access/xact.h).
const (
	xactOpMask         = 0x70 // XLOG_XACT_OPMASK
	xactCommit         = 0x00
	xactPrepare        = 0x10
	xactAbort          = 0x20
	xactCommitPrepared = 0x30
	xactAbortPrepared  = 0x40
	xactAssignment     = 0x50
	xactInvalidations  = 0x60
	xactHasInfo        = 0x80 // XLOG_XACT_HAS_INFO: xinfo follows the time
)

// Bits of xinfo (access/xact.h): XACT_XINFO_HAS_… and XACT_COMPLETION_….
const (
	xinfoDBInfo             = 1 << 0
	xinfoSubxacts           = 1 << 1
	xinfoRelations          = 1 << 2 // XACT_XINFO_HAS_RELFILELOCATORS
	xinfoInvalidations      = 1 << 3
	xinfoTwoPhase           = 1 << 4
	xinfoOrigin             = 1 << 5
	xinfoGID                = 1 << 7
	xinfoDroppedStats       = 1 << 8 // since PG15
	xinfoApplyFeedback      = 1 << 29
	xinfoUpdateRelcacheFile = 1 << 30
	xinfoForceSyncCommit    = 1 << 31
)

// xactFormat is what differs between majors in Transaction records.
type xactFormat struct {
	statsItem     int  // bytes of an xl_xact_stats_item; 0: records have none
	applyFeedback bool // xinfo's bit is shown
	origins       bool // ABORT and PREPARE show their origin, as COMMIT always did
}

var xactFormats = changes[xactFormat]{
	{wal.PG14, xactFormat{}},
	{wal.PG15, xactFormat{statsItem: 12, applyFeedback: true, origins: true}}, // kind, dboid, objoid
	{wal.PG18, xactFormat{statsItem: 16, applyFeedback: true, origins: true}}, // objid has 64 bits
}

// descTransaction is xact_desc (access/rmgrdesc/xactdesc.c).
func descTransaction(dst []byte, r *wal.Record, loc *time.Location) []byte {
	switch r.Info & xactOpMask {
	case xactCommit, xactCommitPrepared:
		return descCommit(dst, r, loc)
	case xactAbort, xactAbortPrepared:
		return descAbort(dst, r, loc)
	case xactPrepare:
		return descPrepare(dst, r, loc)
	case xactAssignment:
		return descAssignment(dst, r)
	case xactInvalidations: // xl_xact_invals
		c := mainData(r)
		n := int64(c.i32())
		msgs := c.array(n, invalidationSize)
		return c.end(appendInvalidations(dst, r.Version, msgs, 0, 0, false))
	}
	return dst
}

// xactEnd is the body of a commit or abort. Lists are cursors over their
// elements.
type xactEnd struct {
	cursor      // of the whole body: short if it is
	at          int64
	timed       bool // at was there
	xinfo       uint32
	db, spc     wal.OID
	subxacts    cursor // of XIDs
	rels        cursor // of RelFileLocators
	stats       cursor // of xl_xact_stats_items
	invals      cursor // of SharedInvalidationMessages
	twoPhaseXID wal.XID
	originLSN   wal.LSN
	originTime  int64
}

// parseXactEnd is ParseCommitRecord and ParseAbortRecord: the parts that xinfo
// announces, in this order. They differ in that an abort has no invalidations.
func parseXactEnd(r *wal.Record, f *xactFormat, abort bool) (x xactEnd) {
	x.cursor = mainData(r)
	x.at = x.i64()
	x.timed = !x.short
	if r.Info&xactHasInfo != 0 {
		x.xinfo = x.u32()
	}
	if x.xinfo&xinfoDBInfo != 0 {
		x.db, x.spc = wal.OID(x.u32()), wal.OID(x.u32())
	}
	if x.xinfo&xinfoSubxacts != 0 {
		x.subxacts = x.array(int64(x.i32()), 4)
	}
	if x.xinfo&xinfoRelations != 0 {
		x.rels = x.array(int64(x.i32()), 12)
	}
	if x.xinfo&xinfoDroppedStats != 0 && f.statsItem != 0 {
		x.stats = x.array(int64(x.i32()), f.statsItem)
	}
	if x.xinfo&xinfoInvalidations != 0 && !abort {
		x.invals = x.array(int64(x.i32()), invalidationSize)
	}
	if x.xinfo&xinfoTwoPhase != 0 {
		x.twoPhaseXID = wal.XID(x.u32())
		if x.xinfo&xinfoGID != 0 {
			x.cstring()
		}
	}
	if x.xinfo&xinfoOrigin != 0 {
		x.originLSN, x.originTime = x.lsn(), x.i64()
		if x.short {
			x.xinfo &^= xinfoOrigin
		}
	}
	return x
}

// begin appends what commit and abort records begin with: of a prepared
// transaction its own XID, then the time.
func (x *xactEnd) begin(dst []byte, v wal.Version, loc *time.Location) []byte {
	if x.twoPhaseXID != 0 {
		dst = appendUint(dst, "", x.twoPhaseXID)
		dst = append(dst, ": "...)
	}
	if x.timed {
		dst = appendTime(dst, "", x.at, loc)
	}
	dst = appendRelations(dst, "; rels:", x.rels, v)
	return appendXIDs(dst, "; subxacts:", x.subxacts)
}

func descCommit(dst []byte, r *wal.Record, loc *time.Location) []byte {
	f := xactFormats.in(r.Version)
	x := parseXactEnd(r, &f, false)
	dst = x.begin(dst, r.Version, loc)
	dst = appendStats(dst, "; dropped stats:", x.stats, f.statsItem)
	dst = appendInvalidations(dst, r.Version, x.invals, x.db, x.spc, x.xinfo&xinfoUpdateRelcacheFile != 0)
	if x.xinfo&xinfoApplyFeedback != 0 && f.applyFeedback {
		dst = append(dst, "; apply_feedback"...)
	}
	if x.xinfo&xinfoForceSyncCommit != 0 {
		dst = append(dst, "; sync"...)
	}
	if x.xinfo&xinfoOrigin != 0 {
		dst = appendOrigin(dst, r.Origin, x.originLSN, x.originTime, loc)
	}
	return x.end(dst)
}

func descAbort(dst []byte, r *wal.Record, loc *time.Location) []byte {
	f := xactFormats.in(r.Version)
	x := parseXactEnd(r, &f, true)
	dst = x.begin(dst, r.Version, loc)
	if x.xinfo&xinfoOrigin != 0 && f.origins {
		dst = appendOrigin(dst, r.Origin, x.originLSN, x.originTime, loc)
	}
	dst = appendStats(dst, "; dropped stats:", x.stats, f.statsItem)
	return x.end(dst)
}

// descPrepare describes an xl_xact_prepare and the lists behind it, each padded
// to 8 bytes. The numbers of stats are there since PG15.
func descPrepare(dst []byte, r *wal.Record, loc *time.Location) []byte {
	f := xactFormats.in(r.Version)
	c := mainData(r)
	c.skip(4 + 4 + 4) // magic, total_len, xid
	db := wal.OID(c.u32())
	at := c.i64()
	c.skip(4) // owner
	nsubxacts, ncommitrels, nabortrels := c.i32(), c.i32(), c.i32()
	var ncommitstats, nabortstats int32
	if f.statsItem != 0 {
		ncommitstats, nabortstats = c.i32(), c.i32()
	}
	ninvals := c.i32()
	initFile := c.bool()
	c.skip(1)
	gidLen := c.u16()
	originLSN, originTime := c.lsn(), c.i64()
	if c.short {
		return c.end(dst)
	}
	gid := c.alignedArray(int64(gidLen), 1).buf
	subxacts := c.alignedArray(int64(nsubxacts), 4)
	commitRels := c.alignedArray(int64(ncommitrels), 12)
	abortRels := c.alignedArray(int64(nabortrels), 12)
	commitStats := c.alignedArray(int64(ncommitstats), max(f.statsItem, 1))
	abortStats := c.alignedArray(int64(nabortstats), max(f.statsItem, 1))
	invals := c.alignedArray(int64(ninvals), invalidationSize)

	if n := bytes.IndexByte(gid, 0); n >= 0 {
		gid = gid[:n]
	}
	dst = append(append(append(dst, "gid "...), gid...), ": "...)
	dst = appendTime(dst, "", at, loc)
	dst = appendRelations(dst, "; rels(commit):", commitRels, r.Version)
	dst = appendRelations(dst, "; rels(abort):", abortRels, r.Version)
	dst = appendStats(dst, "; commit dropped stats:", commitStats, f.statsItem)
	dst = appendStats(dst, "; abort dropped stats:", abortStats, f.statsItem)
	dst = appendXIDs(dst, "; subxacts:", subxacts)
	dst = appendInvalidations(dst, r.Version, invals, db, 0, initFile)
	if r.Origin != 0 && f.origins {
		dst = appendOrigin(dst, r.Origin, originLSN, originTime, loc)
	}
	return c.end(dst)
}

// alignedArray is array, and passes over the padding to the next multiple of
// MAXALIGN, as far as there is any.
func (c *cursor) alignedArray(count int64, size int) cursor {
	a := c.array(count, size)
	if !c.short {
		c.off = min((c.off+wal.MaxAlign-1)&^(wal.MaxAlign-1), len(c.buf))
	}
	return a
}

// descAssignment describes an xl_xact_assignment.
func descAssignment(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	top, n := c.u32(), int64(c.i32())
	if c.short {
		return c.end(dst)
	}
	xids := c.array(n, 4)
	dst = appendUint(dst, "xtop ", top)
	dst = append(dst, ": subxacts:"...)
	return c.end(appendXIDs(dst, "", xids))
}

// appendXIDs appends the label and the XIDs, each after a blank; nothing
// without XIDs.
func appendXIDs(dst []byte, label string, xids cursor) []byte {
	for ; xids.left() > 0; label = "" {
		dst = append(dst, label...)
		dst = appendUint(dst, " ", xids.u32())
	}
	return dst
}

// appendStats appends the label and kind/database/object of each
// xl_xact_stats_item; nothing without any.
func appendStats(dst []byte, label string, items cursor, size int) []byte {
	for ; items.left() > 0; label = "" {
		dst = append(dst, label...)
		dst = appendInt(dst, " ", items.i32())
		dst = appendUint(dst, "/", items.u32())
		if size == 12 {
			dst = appendUint(dst, "/", items.u32())
		} else {
			dst = appendUint(dst, "/", items.u64()) // objid_lo, objid_hi
		}
	}
	return dst
}

func appendOrigin(dst []byte, node uint16, lsn wal.LSN, at int64, loc *time.Location) []byte {
	dst = appendUint(dst, "; origin: node ", node)
	dst = appendLSN(dst, ", lsn ", lsn)
	return appendTime(dst, ", at ", at, loc)
}
