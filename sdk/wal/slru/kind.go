package slru

import (
	"encoding/binary"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

var le = binary.LittleEndian

// Kind is an SLRU of the server.
type Kind uint8

// The kinds. Their numbers may be stored: they will not change.
const (
	Xact             Kind = 1 // pg_xact (access/clog.h)
	MultiXactOffsets Kind = 2 // pg_multixact/offsets (access/multixact.h)
	MultiXactMembers Kind = 3 // pg_multixact/members (access/multixact.h)
	CommitTs         Kind = 4 // pg_commit_ts (access/commit_ts.h)
)

// Sizes of pages and files.
const (
	XactsPerPage    = wal.BlockSize * 4                             // CLOG_XACTS_PER_PAGE: xids
	OffsetsPerPage  = wal.BlockSize / 4                             // MULTIXACT_OFFSETS_PER_PAGE: multixacts
	MembersPerPage  = wal.BlockSize / memberGroup * membersPerGroup // MULTIXACT_MEMBERS_PER_PAGE: members
	CommitsPerPage  = wal.BlockSize / commitEntry                   // COMMIT_TS_XACTS_PER_PAGE: xids
	PagesPerSegment = 32                                            // SLRU_PAGES_PER_SEGMENT: pages of a file
	memberGroup     = membersPerGroup + membersPerGroup*4           // MULTIXACT_MEMBERGROUP_SIZE, bytes
	membersPerGroup = 4                                             // MULTIXACT_MEMBERS_PER_MEMBERGROUP
	commitEntry     = 8 + 2                                         // SizeOfCommitTimestampEntry, bytes
)

const (
	firstNormalXID   = 3 // FirstNormalTransactionId (access/transam.h)
	firstMultiXactID = 1 // FirstMultiXactId (access/multixact.h)
	maxID            = 1<<32 - 1
)

// perPage is how many entries a page has, 0 of an unknown kind.
func (k Kind) perPage() uint32 {
	switch k {
	case Xact:
		return XactsPerPage
	case MultiXactOffsets:
		return OffsetsPerPage
	case MultiXactMembers:
		return MembersPerPage
	case CommitTs:
		return CommitsPerPage
	}
	return 0
}

// Valid reports that there is such a kind.
func (k Kind) Valid() bool { return k.perPage() != 0 }

// LastPage is the greatest number that a page can have: after it comes page 0.
func (k Kind) LastPage() uint32 {
	if !k.Valid() {
		return 0
	}
	return maxID / k.perPage()
}

// Dir is where the files lie below the data directory.
func (k Kind) Dir() string {
	switch k {
	case Xact:
		return "pg_xact"
	case MultiXactOffsets:
		return "pg_multixact/offsets"
	case MultiXactMembers:
		return "pg_multixact/members"
	case CommitTs:
		return "pg_commit_ts"
	}
	return ""
}

// SegmentName is the name of the file that has the page, in Dir, of any supported
// major with the file names as they are by default (SlruFileName in slru.c). The
// page begins there at byte page % [PagesPerSegment] * [wal.BlockSize].
func SegmentName(page uint32) string { return fmt.Sprintf("%04X", page/PagesPerSegment) }

func (k Kind) String() string {
	if !k.Valid() {
		return fmt.Sprintf("SLRU %d", uint8(k))
	}
	return k.Dir()
}

// Page is a page that a record changes.
type Page struct {
	Kind   Kind
	Number uint32 // from 0, as the server numbers it
	// Init: the record makes the page anew, of zeros, whatever it was before.
	Init bool
	// Existing: the record changes the page only where there is one. Else a page
	// that is not there is an error, or not known to who began later.
	Existing bool
}

func (p Page) String() string { return fmt.Sprintf("page %d of %s", p.Number, p.Kind) }

// XactPage is the number of the page of [Xact] that has the xid.
func XactPage(xid wal.XID) uint32 { return uint32(xid) / XactsPerPage }

// OffsetPage is the number of the page of [MultiXactOffsets] that has the multixact.
func OffsetPage(multi uint32) uint32 { return multi / OffsetsPerPage }

// MemberPage is the number of the page of [MultiXactMembers] that has the member at
// the offset.
func MemberPage(offset uint32) uint32 { return offset / MembersPerPage }

// CommitPage is the number of the page of [CommitTs] that has the xid.
func CommitPage(xid wal.XID) uint32 { return uint32(xid) / CommitsPerPage }
