package tablerecover

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// states is a source of transactions' states alone.
type states map[slruKey][]byte

func (s states) Page(context.Context, wal.RelFileLocator, wal.ForkNumber, wal.BlockNumber) ([]byte, error) {
	return nil, fmt.Errorf("no page is asked for")
}
func (s states) Blocks(context.Context, wal.RelFileLocator, wal.ForkNumber) (wal.BlockNumber, error) {
	return 0, fmt.Errorf("no relation is asked for")
}
func (s states) RelMap(context.Context, wal.OID, wal.OID) ([]byte, error) {
	return nil, fmt.Errorf("no map is asked for")
}
func (s states) SLRUPage(_ context.Context, kind SLRU, page uint32) ([]byte, error) {
	if p := s[slruKey{kind, page}]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("page %d of %s: %w", page, kind, ErrNotThere)
}

func (s states) page(kind SLRU, page uint32) []byte {
	key := slruKey{kind, page}
	if s[key] == nil {
		s[key] = make([]byte, wal.BlockSize)
	}
	return s[key]
}

// xact sets a transaction's state: 1 committed, 2 aborted, 3 a committed
// subtransaction of one that has not ended.
func (s states) xact(xid uint32, state byte) {
	n := xid % xactsPerPage
	s.page(Xact, xid/xactsPerPage)[n/4] |= state << (n % 4 * 2)
}

// multi makes a multixact whose members begin at an offset.
func (s states) multi(multi, at uint32, members ...uint64) {
	binary.LittleEndian.PutUint32(s.page(MultiXactOffsets, multi/offsetsPerPage)[multi%offsetsPerPage*4:], at)
	for _, m := range members {
		if at == 0 {
			at = 1
		}
		group := s.page(MultiXactMembers, at/membersPerPage)[at%membersPerPage/membersInGroup*groupSize:]
		group[at%membersInGroup] = byte(m >> 32)
		binary.LittleEndian.PutUint32(group[membersInGroup+at%membersInGroup*4:], uint32(m))
		at++
	}
}

// member is a transaction in a multixact with what it does to the row.
func member(xid uint32, status byte) uint64 { return uint64(status)<<32 | uint64(xid) }

const (
	open      = 1000
	committed = 1001
	aborted   = 1002
	subOpen   = 1003
	far       = 4294967290
	keyShare  = 0
	forUpdate = 3
	update    = 5
)

func testStates() states {
	s := states{}
	s.xact(committed, 1)
	s.xact(aborted, 2)
	s.xact(subOpen, 3)
	s.xact(far, 1)
	s.xact(xactsPerPage-1, 1)
	s.multi(10, 5, member(committed, keyShare), member(committed, forUpdate))
	s.multi(11, 7, member(open, keyShare), member(committed, update))
	s.multi(12, 9, member(aborted, update), member(committed, keyShare))
	s.multi(13, 11, member(committed, keyShare)) // the last: what follows is not made yet
	// The members' offsets, and the multixacts' own numbers, go round past their end.
	s.multi(4294967294, 4294967295, member(open, keyShare), member(committed, update))
	s.multi(4294967295, 2, member(committed, keyShare))
	s.multi(1, 3, member(open, keyShare))
	// The last multixact ends with its page, and so do its members.
	s.multi(3*offsetsPerPage-1, 2*membersPerPage-2, member(open, keyShare), member(open, keyShare))
	return s
}

// TestVisible: what a snapshot sees, also of what today's servers do not write.
func TestVisible(t *testing.T) {
	for _, tt := range []struct {
		name             string
		xmin, xmax, mask uint32
		xvac             uint32
		want             bool
	}{
		{name: "committed", xmin: committed, mask: heapXmaxInvalid, want: true},
		{name: "in progress", xmin: open, mask: heapXmaxInvalid},
		{name: "aborted", xmin: aborted, mask: heapXmaxInvalid},
		{name: "a subtransaction of one in progress", xmin: subOpen, mask: heapXmaxInvalid},
		{name: "the last of a page", xmin: xactsPerPage - 1, mask: heapXmaxInvalid, want: true},
		{name: "the last of all pages", xmin: far, mask: heapXmaxInvalid, want: true},
		{name: "no transaction, as an insertion that lost a conflict leaves", xmin: 0, mask: heapXmaxInvalid},
		{name: "initdb's", xmin: 1, mask: heapXmaxInvalid, want: true},
		{name: "frozen as before 9.4", xmin: 2, mask: heapXmaxInvalid, want: true},
		{name: "frozen", xmin: aborted, mask: heapXminFrozen | heapXmaxInvalid, want: true},
		{name: "hinted committed", xmin: open, mask: heapXminCommitted | heapXmaxInvalid, want: true},
		{name: "hinted aborted", xmin: committed, mask: heapXminInvalid | heapXmaxInvalid},
		{name: "moved away by a VACUUM that committed", xmin: committed, xvac: committed, mask: heapMovedOff | heapXmaxInvalid},
		{name: "moved away by one that did not", xmin: committed, xvac: aborted, mask: heapMovedOff | heapXmaxInvalid, want: true},
		{name: "moved here by a VACUUM that committed", xmin: committed, xvac: committed, mask: heapMovedIn | heapXmaxInvalid, want: true},
		{name: "moved here by one that did not", xmin: committed, xvac: open, mask: heapMovedIn | heapXmaxInvalid},

		{name: "deleted", xmin: committed, xmax: committed},
		{name: "being deleted", xmin: committed, xmax: open, want: true},
		{name: "deleted in vain", xmin: committed, xmax: aborted, want: true},
		{name: "not deleted", xmin: committed, xmax: 0, want: true},
		{name: "hinted deleted", xmin: committed, xmax: open, mask: heapXmaxCommitted},
		{name: "locked", xmin: committed, xmax: committed, mask: heapXmaxLockOnly | heapExclLock, want: true},
		{name: "locked as before 9.3", xmin: committed, xmax: committed, mask: heapExclLock, want: true},
		{name: "locked by several", xmin: committed, xmax: 99, mask: heapXmaxIsMulti | heapXmaxLockOnly, want: true},
		{name: "locked by several, told by the members", xmin: committed, xmax: 10, mask: heapXmaxIsMulti, want: true},
		{name: "updated beside a lock", xmin: committed, xmax: 11, mask: heapXmaxIsMulti},
		{name: "updated in vain beside a lock", xmin: committed, xmax: 12, mask: heapXmaxIsMulti, want: true},
		{name: "the last multixact", xmin: committed, xmax: 13, mask: heapXmaxIsMulti, want: true},
		{name: "members past the end of their numbers", xmin: committed, xmax: 4294967294, mask: heapXmaxIsMulti},
		{name: "the last number of a multixact", xmin: committed, xmax: 4294967295, mask: heapXmaxIsMulti, want: true},
		{name: "the last multixact of a page, members too", xmin: committed, xmax: 3*offsetsPerPage - 1, mask: heapXmaxIsMulti, want: true},
	} {
		tup := make([]byte, 24)
		binary.LittleEndian.PutUint32(tup[tXmin:], tt.xmin)
		binary.LittleEndian.PutUint32(tup[tXmax:], tt.xmax)
		binary.LittleEndian.PutUint32(tup[tXvac:], tt.xvac)
		binary.LittleEndian.PutUint16(tup[tInfomask:], uint16(tt.mask))
		snap := &snapshot{src: testStates()}
		for range 2 { // from the cache, too
			got, err := snap.visible(t.Context(), tup)
			if err != nil || got != tt.want {
				t.Errorf("%s: %t, %v, want %t", tt.name, got, err, tt.want)
			}
		}
	}
}

// TestUnknownState: a state that is not there is an error, not a guess.
func TestUnknownState(t *testing.T) {
	for _, tt := range []struct{ xmin, xmax, mask uint32 }{
		{xmin: 40 * xactsPerPage, mask: heapXmaxInvalid},
		{xmin: committed, xmax: 40 * xactsPerPage},
		{xmin: committed, xmax: 14, mask: heapXmaxIsMulti},                  // not made yet
		{xmin: committed, xmax: 40 * offsetsPerPage, mask: heapXmaxIsMulti}, // no such page
	} {
		tup := make([]byte, 24)
		binary.LittleEndian.PutUint32(tup[tXmin:], tt.xmin)
		binary.LittleEndian.PutUint32(tup[tXmax:], tt.xmax)
		binary.LittleEndian.PutUint16(tup[tInfomask:], uint16(tt.mask))
		if seen, err := (&snapshot{src: testStates()}).visible(t.Context(), tup); err == nil {
			t.Errorf("%+v: %t", tt, seen)
		}
	}
	if _, err := (&snapshot{}).visible(t.Context(), make([]byte, 22)); err == nil {
		t.Error("a tuple without a head is taken")
	}
}
