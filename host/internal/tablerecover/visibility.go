package tablerecover

import (
	"context"
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// The head of a tuple (access/htup_details.h).
const (
	tXmin      = 0
	tXmax      = 4
	tXvac      = 8 // t_field3, where one of the HEAP_MOVED flags is set
	tInfomask2 = 18
	tInfomask  = 20
	tHoff      = 22
	tBits      = 23

	heapHasNull       = 0x0001
	heapExclLock      = 0x0040
	heapLockMask      = 0x0010 | heapExclLock
	heapXmaxLockOnly  = 0x0080
	heapXminCommitted = 0x0100
	heapXminInvalid   = 0x0200
	heapXminFrozen    = heapXminCommitted | heapXminInvalid
	heapXmaxCommitted = 0x0400
	heapXmaxInvalid   = 0x0800
	heapXmaxIsMulti   = 0x1000
	heapMovedOff      = 0x4000
	heapMovedIn       = 0x8000
	heapNatts         = 0x07FF
)

// Transactions with a meaning of their own (access/transam.h).
const (
	invalidXID = 0
	frozenXID  = 2
)

// Layout of pg_xact and pg_multixact (access/clog.h, multixact.c), PG 14–18: 2 bits
// a transaction; 4 bytes of offset a multixact; groups of 4 flag bytes and 4
// members' transactions.
const (
	xactsPerPage   = wal.BlockSize * 4
	offsetsPerPage = wal.BlockSize / 4
	membersInGroup = 4
	groupSize      = membersInGroup + membersInGroup*4
	groupsPerPage  = wal.BlockSize / groupSize
	membersPerPage = groupsPerPage * membersInGroup

	xactCommitted = 1

	// Members of a higher status are updates and deletes (MultiXactStatusForUpdate).
	multiForUpdate = 3
	// maxMembers is the most transactions that one multixact is believed to have.
	maxMembers = 1 << 17
)

// How many pages of transactions' states, and how many multixacts, are kept.
const (
	cachedSLRU   = 1024
	cachedMultis = 1 << 16
)

type slruKey struct {
	kind SLRU
	page uint32
}

// snapshot sees what was committed at the source's LSN. Pages as of an LSN hold no
// hint bit of a later commit, since a hint is set after the commit's record.
type snapshot struct {
	src   Source
	pages map[slruKey][]byte
	multi map[uint32]uint32 // their updaters: many rows have the same
}

func (s *snapshot) page(ctx context.Context, kind SLRU, page uint32) ([]byte, error) {
	key := slruKey{kind, page}
	if p := s.pages[key]; p != nil {
		return p, nil
	}
	p, err := s.src.SLRUPage(ctx, kind, page)
	if err != nil {
		return nil, fmt.Errorf("read page %d of %s: %w", page, kind, err)
	}
	if len(p) != wal.BlockSize {
		return nil, fmt.Errorf("page %d of %s has %d bytes, want %d", page, kind, len(p), wal.BlockSize)
	}
	if len(s.pages) >= cachedSLRU || s.pages == nil {
		s.pages = map[slruKey][]byte{}
	}
	s.pages[key] = append([]byte(nil), p...)
	return s.pages[key], nil
}

// committed reports whether a transaction, or a subtransaction with its top one,
// had committed.
func (s *snapshot) committed(ctx context.Context, xid uint32) (bool, error) {
	if xid <= frozenXID {
		return xid != invalidXID, nil
	}
	p, err := s.page(ctx, Xact, xid/xactsPerPage)
	if err != nil {
		return false, err
	}
	n := xid % xactsPerPage
	return p[n/4]>>(n%4*2)&3 == xactCommitted, nil
}

// visible reports whether the snapshot sees the tuple (HeapTupleSatisfiesMVCC).
func (s *snapshot) visible(ctx context.Context, tup []byte) (bool, error) {
	if len(tup) < tBits {
		return false, fmt.Errorf("%w: a tuple has %d bytes", errPage, len(tup))
	}
	mask := le16(tup[tInfomask:])
	there, err := s.inserted(ctx, tup, mask)
	if err != nil || !there {
		return false, err
	}
	gone, err := s.deleted(ctx, tup, mask)
	return !gone, err
}

// inserted reports whether what made the tuple has committed.
func (s *snapshot) inserted(ctx context.Context, tup []byte, mask uint16) (bool, error) {
	switch {
	case mask&heapXminFrozen == heapXminFrozen:
		return true, nil
	case mask&heapXminInvalid != 0:
		return false, nil
	case mask&heapXminCommitted != 0:
		return true, nil
	case mask&heapMovedOff != 0: // VACUUM FULL of before PostgreSQL 9.0
		moved, err := s.committed(ctx, le32(tup[tXvac:]))
		return !moved, err
	case mask&heapMovedIn != 0:
		return s.committed(ctx, le32(tup[tXvac:]))
	}
	return s.committed(ctx, le32(tup[tXmin:]))
}

// deleted reports whether what removed or replaced the tuple has committed.
func (s *snapshot) deleted(ctx context.Context, tup []byte, mask uint16) (bool, error) {
	switch {
	case mask&heapXmaxInvalid != 0, mask&heapXmaxLockOnly != 0, mask&(heapXmaxIsMulti|heapLockMask) == heapExclLock:
		return false, nil
	case mask&heapXmaxIsMulti != 0:
		xid, err := s.updater(ctx, le32(tup[tXmax:]))
		if err != nil {
			return false, err
		}
		return s.committed(ctx, xid)
	case mask&heapXmaxCommitted != 0:
		return true, nil
	}
	return s.committed(ctx, le32(tup[tXmax:]))
}

// offset is where a multixact's members begin, 0 where it was not made yet.
func (s *snapshot) offset(ctx context.Context, multi uint32) (uint32, error) {
	p, err := s.page(ctx, MultiXactOffsets, multi/offsetsPerPage)
	if err != nil {
		return 0, err
	}
	return le32(p[multi%offsetsPerPage*4:]), nil
}

// updater is the member of a multixact that updates or deletes, 0 if none does.
func (s *snapshot) updater(ctx context.Context, multi uint32) (uint32, error) {
	if xid, ok := s.multi[multi]; ok {
		return xid, nil
	}
	xid, err := s.findUpdater(ctx, multi)
	if err != nil {
		return 0, err
	}
	if len(s.multi) >= cachedMultis || s.multi == nil {
		s.multi = map[uint32]uint32{}
	}
	s.multi[multi] = xid
	return xid, nil
}

func (s *snapshot) findUpdater(ctx context.Context, multi uint32) (uint32, error) {
	at, err := s.offset(ctx, multi)
	if err != nil {
		return 0, err
	}
	if at == 0 {
		return 0, fmt.Errorf("a row was locked or changed by multixact %d, which is not in pg_multixact", multi)
	}
	// The next one's members begin where these end; that of the last is not there
	// yet, and behind its members lie zeros.
	next := multi + 1
	if next == 0 {
		next = 1
	}
	end, err := s.offset(ctx, next)
	if next%offsetsPerPage == 0 && errors.Is(err, ErrNotThere) {
		end, err = 0, nil // its page is not there either
	}
	if err != nil {
		return 0, err
	}
	if end != 0 && end-at > maxMembers {
		return 0, fmt.Errorf("multixact %d seems to have %d members", multi, end-at)
	}
	for n := range uint32(maxMembers + 1) {
		member := at + n
		if member == 0 {
			continue // offset 0 is no member's
		}
		if end != 0 && member == end {
			return 0, nil
		}
		p, err := s.page(ctx, MultiXactMembers, member/membersPerPage)
		if end == 0 && n > 0 && member%membersPerPage == 0 && errors.Is(err, ErrNotThere) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		group := p[member%membersPerPage/membersInGroup*groupSize:]
		xid := le32(group[membersInGroup+member%membersInGroup*4:])
		if xid == invalidXID && end == 0 {
			return 0, nil
		}
		if group[member%membersInGroup] > multiForUpdate {
			return xid, nil
		}
	}
	return 0, fmt.Errorf("multixact %d has no end within %d members", multi, maxMembers)
}
