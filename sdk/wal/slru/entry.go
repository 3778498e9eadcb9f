package slru

import "github.com/walplex/walplex/sdk/wal"

// Status is the state of a transaction (access/clog.h).
type Status uint8

// The states. A page of zeros says InProgress: also of xids that were never used,
// and of those that a crash ended.
const (
	InProgress   Status = 0 // TRANSACTION_STATUS_IN_PROGRESS
	Committed    Status = 1 // TRANSACTION_STATUS_COMMITTED
	Aborted      Status = 2 // TRANSACTION_STATUS_ABORTED
	SubCommitted Status = 3 // TRANSACTION_STATUS_SUB_COMMITTED; only in a server's own pages
)

func (s Status) String() string {
	switch s {
	case InProgress:
		return "in progress"
	case Committed:
		return "committed"
	case Aborted:
		return "aborted"
	case SubCommitted:
		return "sub-committed"
	}
	return "invalid"
}

// MemberStatus is what a member of a multixact does to the row (MultiXactStatus in
// access/multixact.h).
type MemberStatus uint8

// What members do.
const (
	ForKeyShare     MemberStatus = 0
	ForShare        MemberStatus = 1
	ForNoKeyUpdate  MemberStatus = 2
	ForUpdate       MemberStatus = 3
	NoKeyUpdate     MemberStatus = 4 // updates the row, and not its key
	Update          MemberStatus = 5 // updates the row, or deletes it
	maxMemberStatus              = Update
)

// IsUpdate reports that the member changes the row, and not only locks it
// (ISUPDATE_from_mxstatus).
func (s MemberStatus) IsUpdate() bool { return s > ForUpdate }

// XactStatus is the state of the xid on page [XactPage](xid). It knows nothing of
// the xids that have a state by definition: 1 and 2 are committed
// (TransactionLogFetch). The page has [wal.BlockSize] bytes, as in all of these.
func XactStatus(page []byte, xid wal.XID) Status {
	i := uint32(xid) % XactsPerPage
	return Status(page[i/4] >> (i % 4 * 2) & 3)
}

func setXactStatus(page []byte, xid wal.XID, s Status) {
	i := uint32(xid) % XactsPerPage
	b, shift := &page[i/4], i%4*2
	*b = *b&^(3<<shift) | byte(s)<<shift
}

// MultiXactOffset is the offset of the first member of the multixact, on page
// [OffsetPage](multi); 0 where none is set. The members end where those of the next
// multixact begin: of the last one, with the next offset of the server
// (NextMultiOffset of pg_control). The id after 2^32-1 is 1. Offset 0 is never a
// member's: where the offsets wrap around, it is passed over.
func MultiXactOffset(page []byte, multi uint32) (offset uint32) {
	return le.Uint32(page[multi%OffsetsPerPage*4:])
}

func setMultiXactOffset(page []byte, multi, offset uint32) {
	le.PutUint32(page[multi%OffsetsPerPage*4:], offset)
}

// MultiXactMember is the member at the offset, on page [MemberPage](offset).
func MultiXactMember(page []byte, offset uint32) (wal.XID, MemberStatus) {
	status, xid := memberPlaces(offset)
	return wal.XID(le.Uint32(page[xid:])), MemberStatus(page[status])
}

func setMultiXactMember(page []byte, offset, xid uint32, s MemberStatus) {
	at, xidAt := memberPlaces(offset)
	page[at] = byte(s)
	le.PutUint32(page[xidAt:], xid)
}

// memberPlaces are where a member's status and xid lie on its page, in bytes.
func memberPlaces(offset uint32) (status, xid uint32) {
	i := offset % MembersPerPage
	group, n := i/membersPerGroup*memberGroup, i%membersPerGroup
	return group + n, group + membersPerGroup + 4*n
}

// CommitTime is when the xid committed, in microseconds since 2000-01-01 00:00 UTC,
// and its replication origin, 0 for none, on page [CommitPage](xid). An xid that did
// not commit while times were kept has time 0.
func CommitTime(page []byte, xid wal.XID) (micros int64, origin uint16) {
	e := page[uint32(xid)%CommitsPerPage*commitEntry:][:commitEntry]
	return int64(le.Uint64(e)), le.Uint16(e[8:])
}

func setCommitTime(page []byte, xid wal.XID, micros int64, origin uint16) {
	e := page[uint32(xid)%CommitsPerPage*commitEntry:][:commitEntry]
	le.PutUint64(e, uint64(micros))
	le.PutUint16(e[8:], origin)
}
