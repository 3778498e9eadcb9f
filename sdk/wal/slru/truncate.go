package slru

import "github.com/walplex/walplex/sdk/wal"

// Truncation is what a record removes of an SLRU: whole files.
type Truncation struct {
	Kind Kind
	// Cutoff is the first page that stays for sure, of all kinds but MultiXactMembers:
	// files whose pages all precede it go, by the order of ids that wrap around.
	Cutoff uint32
	// From and To are of MultiXactMembers: the files with the numbers from From on, and
	// not To, go, around the end where To is the lesser. They are [PagesPerSegment]
	// pages each.
	From, To uint32
	// All: every page of the kind goes.
	All bool
}

// Truncated appends to dst what rec removes: of CLOG's and CommitTs' TRUNCATE one kind's
// pages, of MultiXact's TRUNCATE_ID offsets and members, and of a PARAMETER_CHANGE that
// says that times of commits are not kept all of these.
func Truncated(rec *wal.Record, dst []Truncation) []Truncation {
	c := cursor{buf: rec.MainData()}
	op := rec.Info & infoMask
	switch {
	case rec.RmgrID == wal.RmgrCLOG && op == clogTruncate: // xl_clog_truncate
		if cutoff := c.page(rec.Version, Xact); !c.short {
			dst = append(dst, Truncation{Kind: Xact, Cutoff: cutoff})
		}
	case rec.RmgrID == wal.RmgrCommitTs && op == commitTsTruncate: // xl_commit_ts_truncate
		if cutoff := c.page(rec.Version, CommitTs); !c.short {
			dst = append(dst, Truncation{Kind: CommitTs, Cutoff: cutoff})
		}
	case rec.RmgrID == wal.RmgrMultiXact && op == multiXactTruncateID: // xl_multixact_truncate
		c.skip(4 + 4) // oldestMultiDB, startTruncOff
		end := c.u32()
		from, to := c.u32(), c.u32()
		if c.short {
			break
		}
		// As in PerformOffsetsTruncation: the page of the oldest one that stays may
		// not be there yet.
		if end--; end < firstMultiXactID {
			end = maxID
		}
		dst = append(dst, Truncation{Kind: MultiXactOffsets, Cutoff: OffsetPage(end)},
			Truncation{Kind: MultiXactMembers, From: MemberPage(from) / PagesPerSegment, To: MemberPage(to) / PagesPerSegment})
	default:
		if on, changes, told := tracking(rec); told && changes && !on {
			dst = append(dst, Truncation{Kind: CommitTs, All: true})
		}
	}
	return dst
}

// Removes reports that a page of its kind goes, if there is one.
func (t *Truncation) Removes(page uint32) bool {
	segment := page / PagesPerSegment
	switch {
	case t.All:
		return true
	case t.Kind != MultiXactMembers: // SlruMayDeleteSegment in slru.c
		first := segment * PagesPerSegment
		return precedes(t.Kind, first, t.Cutoff) && precedes(t.Kind, first+PagesPerSegment-1, t.Cutoff)
	case t.From <= t.To:
		return t.From <= segment && segment < t.To
	}
	return segment >= t.From || segment < t.To
}

// precedes is the order of pages (CLOGPagePrecedes, CommitTsPagePrecedes,
// MultiXactOffsetPagePrecedes): all that a has is before all that b has, 2^31 ids being
// before an id.
func precedes(k Kind, a, b uint32) bool {
	n := k.perPage()
	before, first := xidPrecedes, uint32(firstNormalXID)
	if k == MultiXactOffsets {
		before, first = multiPrecedes, firstMultiXactID
	}
	idA, idB := a*n+first+1, b*n+first+1
	return before(idA, idB) && before(idA, idB+n-1)
}

// xidPrecedes is TransactionIdPrecedes (transam.c).
func xidPrecedes(a, b uint32) bool {
	if a < firstNormalXID || b < firstNormalXID {
		return a < b
	}
	return int32(a-b) < 0
}

// multiPrecedes is MultiXactIdPrecedes (multixact.c).
func multiPrecedes(a, b uint32) bool { return int32(a-b) < 0 }
