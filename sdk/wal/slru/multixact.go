package slru

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// multiXact is an xl_multixact_create (access/multixact.h): mid, moff u32, nmembers
// i32, then xid u32 and status u32 of each member.
type multiXact struct {
	id, offset uint32
	members    []byte // 8 each
}

func readMultiXact(rec *wal.Record) (m multiXact, err error) {
	c := cursor{buf: rec.MainData()}
	m.id, m.offset = c.u32(), c.u32()
	n := int32(c.u32())
	if c.short || n < 0 || int64(len(c.buf)) < 8*int64(n) {
		return multiXact{}, errShort
	}
	m.members = c.buf[:8*int(n)]
	return m, nil
}

// next is the multixact after it.
func (m *multiXact) next() uint32 { return max(m.id+1, firstMultiXactID) }

// end is the offset after its members; 0 is passed over.
func (m *multiXact) end() uint32 { return max(m.offset+uint32(len(m.members)/8), 1) }

// pages appends the pages that it is on: its offset's, the next one's, its members'.
func (m *multiXact) pages(dst []Page) []Page {
	n := OffsetPage(m.id)
	dst = append(dst, Page{Kind: MultiXactOffsets, Number: n})
	if next := OffsetPage(m.next()); next != n {
		dst = append(dst, Page{Kind: MultiXactOffsets, Number: next, Existing: true})
	}
	offset := m.offset
	for left := uint32(len(m.members) / 8); left > 0; {
		n := MemberPage(offset)
		dst = append(dst, Page{Kind: MultiXactMembers, Number: n})
		on := min(left, onPage(offset))
		left -= on
		offset += on
	}
	return dst
}

// onPage is how many members the page with the offset has from it on. The last page
// is cut off by the wraparound.
func onPage(offset uint32) uint32 {
	return uint32(min(MembersPerPage-uint64(offset%MembersPerPage), maxID-uint64(offset)+1))
}

// apply does it to one of these pages.
func (m *multiXact) apply(page []byte, p Page) error {
	switch p.Kind {
	case MultiXactOffsets:
		return m.applyOffsets(page, p.Number)
	case MultiXactMembers:
		return m.applyMembers(page, p.Number)
	}
	return errNoChange
}

func (m *multiXact) applyOffsets(page []byte, number uint32) error {
	here, next := OffsetPage(m.id) == number, OffsetPage(m.next()) == number
	if here {
		setMultiXactOffset(page, m.id, m.offset)
	}
	if next {
		setMultiXactOffset(page, m.next(), m.end())
	}
	if !here && !next {
		return errNoChange
	}
	return nil
}

func (m *multiXact) applyMembers(page []byte, number uint32) error {
	for i := 0; i < len(m.members); i += 8 {
		if s := le.Uint32(m.members[i+4:]); s > uint32(maxMemberStatus) {
			return fmt.Errorf("member %d has the invalid status %d", i/8, s)
		}
	}
	changed := false
	offset := m.offset
	for i := 0; i < len(m.members); i += 8 {
		if MemberPage(offset) == number {
			setMultiXactMember(page, offset, le.Uint32(m.members[i:]), MemberStatus(m.members[i+4]))
			changed = true
		}
		offset++
	}
	if !changed {
		return errNoChange
	}
	return nil
}
