package slru

import (
	"bytes"

	"github.com/walplex/walplex/sdk/wal"
)

// Operations of Transaction (access/xact.h).
const (
	xactOpMask         = 0x70 // XLOG_XACT_OPMASK
	xactCommit         = 0x00 // XLOG_XACT_COMMIT
	xactAbort          = 0x20 // XLOG_XACT_ABORT
	xactCommitPrepared = 0x30 // XLOG_XACT_COMMIT_PREPARED
	xactAbortPrepared  = 0x40 // XLOG_XACT_ABORT_PREPARED
	xactHasInfo        = 0x80 // XLOG_XACT_HAS_INFO
)

// Bits of xinfo (access/xact.h): XACT_XINFO_HAS_….
const (
	xinfoDBInfo       = 1 << 0
	xinfoSubxacts     = 1 << 1
	xinfoRelations    = 1 << 2 // RELFILELOCATORS
	xinfoInvals       = 1 << 3
	xinfoTwoPhase     = 1 << 4
	xinfoOrigin       = 1 << 5
	xinfoGID          = 1 << 7
	xinfoDroppedStats = 1 << 8 // since PG15
)

// part is a part of the main data of a commit or an abort, in their order; all but
// the first are there only if xl_info and xinfo say so (ParseCommitRecord,
// ParseAbortRecord).
type part uint8

const (
	partTime     part = iota // xact_time i64
	partXinfo                // u32
	partDB                   // dbId, tsId u32
	partSubxacts             // number i32
	partSubxact              // u32 each
	partRels                 // number i32, 12 bytes each
	partStats                // number i32, 12 bytes each, since PG18 16
	partInvals               // number i32, 16 bytes each; of commits
	partTwoPhase             // xid u32
	partGID                  // bytes up to a NUL
	partOrigin               // LSN u64, time i64
	partNone
)

// partSize is how many bytes of a part are read, in bytes; of lists, their number.
var partSize = [...]int{partTime: 8, partXinfo: 4, partDB: 8, partSubxacts: 4, partSubxact: 4, partRels: 4,
	partStats: 4, partInvals: 4, partTwoPhase: 4, partGID: 0, partOrigin: 16, partNone: 0}

// Tree is the end of a transaction and its subtransactions, read from a COMMIT,
// ABORT, COMMIT_PREPARED or ABORT_PREPARED whose main data comes in pieces, as that
// of a record in fragments does. The pieces, in order, are given twice:
//
//	t, ok := slru.NewTree(rec)                       // the first fragment
//	for each piece { pages = t.Pages(pages, piece) } // the pages that it changes
//	err := t.Again()
//	for each piece { t.Apply(page, p, piece) }       // one of them
//
// and the second time once more, after Again, for each further page.
type Tree struct {
	rec wal.Record // without Data and Blocks

	part  part
	xinfo uint32
	skip  uint64 // bytes to pass over before part
	left  uint32 // subxacts still to come
	buf   [16]byte
	n     int // bytes in buf
	bad   bool
	again bool

	xid  wal.XID // of the whole transaction, 0 while not known
	time int64   // of the commit, where times are kept: that at the origin, if it has one

	toppled     bool // the pages of xid are among those told
	xact, times told
}

// told are pages that were told of: the first and the last one.
type told struct {
	some        bool
	first, last uint32
}

func (t *told) add(number uint32) (isNew bool) {
	if t.some && (number == t.last || number == t.first) {
		return false
	}
	if !t.some {
		t.some, t.first = true, number
	}
	t.last = number
	return true
}

// NewTree begins with a record, or its first fragment. It is false for a record that
// does not end a transaction.
func NewTree(rec *wal.Record) (t Tree, ok bool) {
	if !endsTransaction(rec) {
		return Tree{}, false
	}
	t.rec = *rec
	t.rec.Data, t.rec.Blocks = nil, nil
	t.begin()
	return t, true
}

func endsTransaction(rec *wal.Record) bool {
	if rec.RmgrID != wal.RmgrTransaction {
		return false
	}
	switch rec.Info & xactOpMask {
	case xactCommit, xactAbort, xactCommitPrepared, xactAbortPrepared:
		return true
	}
	return false
}

func (t *Tree) begin() {
	t.part, t.xinfo, t.skip, t.left, t.n, t.bad = partTime, 0, 0, 0, 0, false
	if !t.prepared() {
		t.xid = t.rec.XID
	}
}

func (t *Tree) prepared() bool {
	op := t.rec.Info & xactOpMask
	return op == xactCommitPrepared || op == xactAbortPrepared
}

func (t *Tree) commits() bool {
	op := t.rec.Info & xactOpMask
	return op == xactCommit || op == xactCommitPrepared
}

// Pages appends the pages that the record changes, as far as the next piece of main
// data tells. Each comes once, unless the xids are in an order in which no server
// writes them.
func (t *Tree) Pages(dst []Page, main []byte) []Page {
	for {
		xids, rest := t.read(main)
		if t.xid != 0 && !t.toppled {
			t.toppled = true
			dst = t.pages(dst, t.xid)
		}
		if xids == nil {
			return dst
		}
		for i := 0; i < len(xids); i += 4 {
			dst = t.pages(dst, wal.XID(le.Uint32(xids[i:])))
		}
		main = rest
	}
}

// pages appends the pages of one xid.
func (t *Tree) pages(dst []Page, xid wal.XID) []Page {
	if n := XactPage(xid); t.xact.add(n) {
		dst = append(dst, Page{Kind: Xact, Number: n})
	}
	if t.commits() && xid >= firstNormalXID {
		if n := CommitPage(xid); t.times.add(n) {
			dst = append(dst, Page{Kind: CommitTs, Number: n, Existing: true})
		}
	}
	return dst
}

// Skim is Pages for whoever does not want to know them.
func (t *Tree) Skim(main []byte) {
	for {
		xids, rest := t.read(main)
		if xids == nil {
			return
		}
		main = rest
	}
}

// Again begins anew with the first piece. It is an [*wal.Error] that the pieces so
// far were not all of the record.
func (t *Tree) Again() error {
	if t.part != partNone || t.bad {
		return wal.Errorf(t.rec.StartLSN, "could not redo %s %s at %s: the record's data is too short",
			t.rec.RmgrID, t.rec.Operation(), t.rec.StartLSN)
	}
	t.again = true
	t.begin()
	return nil
}

// Apply does to the page p what the next piece of main data says of it, and reports
// whether that was anything.
func (t *Tree) Apply(page []byte, p Page, main []byte) (changed bool) {
	if len(page) != wal.BlockSize || p.Kind != Xact && (p.Kind != CommitTs || !t.commits()) {
		return false
	}
	if t.part == partTime && t.n == 0 && t.xid != 0 {
		changed = t.set(page, p, t.xid)
	}
	for {
		xids, rest := t.read(main)
		if xids == nil {
			return changed
		}
		for i := 0; i < len(xids); i += 4 {
			if t.set(page, p, wal.XID(le.Uint32(xids[i:]))) {
				changed = true
			}
		}
		main = rest
	}
}

// set does it to one xid, if that is on the page.
func (t *Tree) set(page []byte, p Page, xid wal.XID) bool {
	switch {
	case p.Kind == Xact && XactPage(xid) == p.Number:
		status := Aborted
		if t.commits() {
			status = Committed
		}
		setXactStatus(page, xid, status)
		return true
	case p.Kind == CommitTs && CommitPage(xid) == p.Number && xid >= firstNormalXID:
		setCommitTime(page, xid, t.time, t.rec.Origin)
		return true
	}
	return false
}

// read goes through p up to the next run of subxacts, and answers it, 4 bytes each,
// and what follows it; nil where p has none any more.
func (t *Tree) read(p []byte) (xids, rest []byte) {
	for {
		if n := min(t.skip, uint64(len(p))); n > 0 {
			t.skip -= n
			p = p[n:]
		}
		switch {
		case t.skip > 0 || len(p) == 0 || t.part == partNone || t.bad:
			return nil, nil
		case t.part == partGID:
			i := bytes.IndexByte(p, 0)
			if i < 0 {
				return nil, nil
			}
			p = p[i+1:]
			t.next()
			continue
		case t.part == partSubxact && t.n == 0 && len(p) >= 4:
			n := 4 * int(min(uint64(len(p)/4), uint64(t.left)))
			t.took(uint32(n / 4))
			return p[:n], p[n:]
		}
		n := copy(t.buf[t.n:partSize[t.part]], p)
		t.n += n
		p = p[n:]
		if t.n < partSize[t.part] {
			return nil, nil
		}
		t.n = 0
		if t.part == partSubxact { // one that two pieces share
			t.took(1)
			return t.buf[:4], p
		}
		t.take()
	}
}

// took counts subxacts.
func (t *Tree) took(n uint32) {
	if t.left -= n; t.left == 0 {
		t.next()
	}
}

// take acts on the part in buf.
func (t *Tree) take() {
	switch t.part {
	case partTime:
		if !t.again { // else it is known, and may be that at the origin
			t.time = int64(le.Uint64(t.buf[:]))
		}
	case partXinfo:
		t.xinfo = le.Uint32(t.buf[:])
	case partSubxacts:
		t.left = t.count()
	case partRels:
		t.skip = 12 * uint64(t.count())
	case partStats:
		t.skip = t.statSize() * uint64(t.count())
	case partInvals:
		t.skip = 16 * uint64(t.count())
	case partTwoPhase:
		t.xid = wal.XID(le.Uint32(t.buf[:]))
	case partOrigin:
		t.time = int64(le.Uint64(t.buf[8:]))
	}
	t.next()
}

// count is the number in buf, which no server writes below 0.
func (t *Tree) count() uint32 {
	n := int32(le.Uint32(t.buf[:]))
	if n < 0 {
		t.bad = true
	}
	return uint32(max(n, 0))
}

// statSize is the size of an xl_xact_stats_item, whose id of an object has 64 bits
// since PG18.
func (t *Tree) statSize() uint64 {
	if t.rec.Version >= wal.PG18 {
		return 16
	}
	return 12
}

// next goes on to the next part that is there.
func (t *Tree) next() {
	for t.part++; t.part < partNone && !t.has(t.part); t.part++ {
	}
}

func (t *Tree) has(p part) bool {
	switch p {
	case partXinfo:
		return t.rec.Info&xactHasInfo != 0
	case partDB:
		return t.xinfo&xinfoDBInfo != 0
	case partSubxacts:
		return t.xinfo&xinfoSubxacts != 0
	case partSubxact:
		return t.left > 0
	case partRels:
		return t.xinfo&xinfoRelations != 0
	case partStats:
		return t.xinfo&xinfoDroppedStats != 0 && t.rec.Version >= wal.PG15
	case partInvals:
		return t.xinfo&xinfoInvals != 0 && t.commits()
	case partTwoPhase:
		return t.xinfo&xinfoTwoPhase != 0
	case partGID:
		return t.xinfo&xinfoTwoPhase != 0 && t.xinfo&xinfoGID != 0
	case partOrigin:
		return t.xinfo&xinfoOrigin != 0
	}
	return false
}
