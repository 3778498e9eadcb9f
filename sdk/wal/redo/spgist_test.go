package redo

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// spgLeafTuple is a leaf tuple of that many bytes.
func spgLeafTuple(tid uint16, size int) []byte {
	t := make([]byte, size)
	le.PutUint32(t, uint32(size)<<2)
	putTID(t[6:], 0, int(tid))
	return t
}

// spgInnerTuple is an inner tuple with that many nodes, and no prefix.
func spgInnerTuple(nodes int) []byte {
	t := make([]byte, spgInnerHeader)
	le.PutUint32(t, uint32(nodes)<<3)
	for range nodes {
		t = append(t, indexTuple(invalidBlock, 16)...)
	}
	le.PutUint16(t[4:], uint16(len(t)))
	return t
}

func spgDeadItem(state int) []byte {
	t := spgDeadTuple(spgState{xid: 3}, state, 5, 6)
	return t[:]
}

// counted sets a page's counters to what it holds.
func counted(p *page, redirections, placeholders int) *page {
	o, _ := p.spgOpaque()
	o.addRedirections(redirections)
	o.addPlaceholders(placeholders)
	return p
}

// spgPickSplitRecord is a PICKSPLIT: of tuples 1 and 4 of block 0, one stays there,
// one goes to block 1, below an inner tuple on block 2; block 3 leads to it.
func spgPickSplitRecord(t testing.TB, build bool) *wal.Record {
	t.Helper()
	b := byte(0)
	if build {
		b = 1
	}
	main := cat([]byte{0, 0}, u16s(2, 2), []byte{0, 0}, u16s(2), []byte{0, 0, 0, 0}, u16s(1, 1), u16s(0), u32s(77), []byte{b, 0, 0, 0},
		u16s(1, 4), u16s(5, 5), []byte{0, 1}, spgInnerTuple(2), spgLeafTuple(8, 16), spgLeafTuple(9, 24))
	return testRecord(wal.PG15, wal.RmgrSPGist, 0x50, main, testBlock{block: 20}, testBlock{id: 1, block: 21}, testBlock{id: 2, block: 22}, testBlock{id: 3, block: 23})
}

// While an index is built nobody needs redirections: there are placeholders. No
// server logs such records since 12, but the format has them.
func TestSPGistBuild(t *testing.T) {
	page4 := func() *page {
		return initialised(t, func(p *page) { p.spgInit(spgLeaf) }, spgLeafTuple(1, 16), spgLeafTuple(2, 16), spgLeafTuple(3, 16), spgLeafTuple(4, 16))
	}
	build := []byte{1, 0, 0, 0}
	for _, test := range []struct {
		name                       string
		rec                        *wal.Record
		redirections, placeholders int
	}{
		{"PICKSPLIT", spgPickSplitRecord(t, false), 1, 1},
		{"PICKSPLIT of a build", spgPickSplitRecord(t, true), 0, 2},
		{"MOVE_LEAFS of a build", testRecord(wal.PG15, wal.RmgrSPGist, 0x20, cat(u16s(2, 0, 0, 1, 0, 0), u32s(9), build, u16s(1, 3, 2, 3, 4)), testBlock{}, testBlock{id: 1}), 0, 2},
		{"ADD_NODE of a build", testRecord(wal.PG15, wal.RmgrSPGist, 0x30, cat(u16s(1, 2, 0x0200, 1, 0, 0), u32s(9), build, spgInnerTuple(1)), testBlock{}, testBlock{id: 1}), 0, 1},
	} {
		p := page4()
		redoBlock(t, p, test.rec, 0)
		if o, _ := p.spgOpaque(); o.redirections() != test.redirections || o.placeholders() != test.placeholders {
			t.Errorf("%s: %d redirections, %d placeholders, want %d and %d", test.name, o.redirections(), o.placeholders(), test.redirections, test.placeholders)
		}
	}
	// All tuples go: the page is made anew.
	rec := spgPickSplitRecord(t, true)
	rec.MainData()[6] = 1 // initSrc
	rec.Blocks[0].Flags |= wal.BlockWillInit
	copy(rec.MainData()[28+4:], u16s(1)) // the tuple that stays
	p := page4()
	redoBlock(t, p, rec, 0)
	if o, _ := p.spgOpaque(); o.placeholders() != 0 || p.maxOffset() != 1 || le.Uint16(o) != spgLeaf {
		t.Errorf("the page made anew has %d placeholders, %d tuples, flags %#x", o.placeholders(), p.maxOffset(), le.Uint16(o))
	}
}

// Records that do not fit their pages are refused.
func TestSPGistRefused(t *testing.T) {
	leaf := counted(initialised(t, func(p *page) { p.spgInit(spgLeaf) }, spgLeafTuple(1, 16), spgDeadItem(spgPlaceholder), spgDeadItem(spgRedirect)), 1, 0)
	inner := counted(initialised(t, func(p *page) { p.spgInit(0) }, spgInnerTuple(2)), 0, 0)
	add := func(n, head uint16) *wal.Record {
		return testRecord(wal.PG15, wal.RmgrSPGist, 0x10, cat(u16s(0, n, head, 0, 0), spgLeafTuple(9, 16)), testBlock{})
	}
	link := func(offset, node uint16) *wal.Record {
		return testRecord(wal.PG15, wal.RmgrSPGist, 0x20, cat(u16s(0, 0, 0, offset, node, 0), u32s(9, 0), u16s(1), spgLeafTuple(9, 16)), testBlock{id: 2}, testBlock{id: 1})
	}
	redirects := func(first uint16, ns ...uint16) *wal.Record {
		return testRecord(wal.PG15, wal.RmgrSPGist, 0x80, cat(u16s(uint16(len(ns)), first), u32s(9), u16s(ns...)), testBlock{})
	}
	for _, test := range []struct {
		name, reason string
		page         *page
		rec          *wal.Record
	}{
		{"a live tuple is replaced", "is not a placeholder, but of state 0", leaf, add(1, 0)},
		{"a redirection is replaced", "is not a placeholder, but of state 1", leaf, add(3, 0)},
		{"a placeholder is not counted", "a page without placeholders", leaf, add(2, 0)},
		{"far behind the last", "is too large", leaf, add(9, 0)},
		{"no number", "no line pointer 0", leaf, add(0, 1)},
		{"no such head", "no line pointer 7", leaf, add(4, 7)},
		{"no such node", "failed to find requested node 2", inner, link(1, 2)},
		{"no such inner tuple", "no line pointer 2", inner, link(2, 0)},
		{"nodes that are none", "names 0 as its size", leaf, link(1, 5)},
		{"no redirection", "is not a redirection, but of state 0", leaf, redirects(0, 1)},
		{"more redirections than counted", "2 redirections go", counted(initialised(t, func(p *page) { p.spgInit(spgLeaf) }, spgDeadItem(spgRedirect), spgDeadItem(spgRedirect)), 1, 0), redirects(0, 1, 2)},
		{"more placeholders than counted", "3 placeholders go", leaf, redirects(1)},
		{"no such placeholder", "-1 placeholders go", leaf, redirects(5)},
		{"a chain's link on nothing", "no line pointer 5", leaf, testRecord(wal.PG15, wal.RmgrSPGist, 0x60, cat(u16s(0, 0, 0, 1), u32s(9, 0), u16s(5, 1)), testBlock{})},
		{"a tuple twice", "incorrect index offsets", leaf, testRecord(wal.PG15, wal.RmgrSPGist, 0x60, cat(u16s(0, 3, 0, 0), u32s(9, 0), u16s(1, 1, 2)), testBlock{})},
		{"no page to move to", "has no block reference 1", leaf, testRecord(wal.PG15, wal.RmgrSPGist, 0x20, cat(u16s(0, 0, 0, 1, 0, 0), u32s(9, 0), u16s(1)), testBlock{})},
		{"another block", "unexpected block reference 5", leaf, testRecord(wal.PG15, wal.RmgrSPGist, 0x40, cat(u16s(1, 2, 0), spgInnerTuple(1), spgInnerTuple(1)), testBlock{id: 5})},
		{"a leaf tuple of no size", "too short", leaf, testRecord(wal.PG15, wal.RmgrSPGist, 0x10, cat(u16s(0, 4, 0, 0, 0), make([]byte, 16)), testBlock{})},
	} {
		t.Run(test.name, func(t *testing.T) { refused(t, test.page, test.rec, test.reason) })
	}
}
