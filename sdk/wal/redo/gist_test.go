package redo

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// gistSplitMain is gistxlogPageSplit.
func gistSplitMain(rightlink uint32, nsn uint64, leaf bool, npage uint16, follow bool) []byte {
	b := cat(u32s(rightlink, 0), le.AppendUint64(nil, nsn), make([]byte, 8))
	if leaf {
		b[16] = 1
	}
	le.PutUint16(b[18:], npage)
	if follow {
		b[20] = 1
	}
	return b
}

// gistState is what masks hide.
type gistState struct {
	nsn       wal.LSN
	rightlink uint32
	flags     uint16
}

func stateOf(t *testing.T, p *page) gistState {
	t.Helper()
	o, err := p.gistOpaque()
	if err != nil {
		t.Fatal(err)
	}
	return gistState{wal.LSN(uint64(le.Uint32(o))<<32 | uint64(le.Uint32(o[4:]))), le.Uint32(o[8:]), o.flags()}
}

// All pages of a split get the page's NSN; all but the last are to be followed
// right until there are downlinks, unless the root was split.
func TestGistSplit(t *testing.T) {
	const nsn = 0x1_0000_0055
	data := cat(u32s(2), indexTuple(1, 16), indexTuple(2, 24))
	split := func(first wal.BlockNumber, leaf, follow bool) *wal.Record {
		return testRecord(wal.PG15, wal.RmgrGist, 0x30, gistSplitMain(99, nsn, leaf, 3, follow),
			testBlock{1, first, true, data}, testBlock{2, 41, true, data}, testBlock{3, 42, true, data})
	}
	for _, test := range []struct {
		name string
		rec  *wal.Record
		want [3]gistState
	}{
		{"leaf", split(40, true, true), [3]gistState{{nsn, 41, gistLeaf | gistFollowRight}, {nsn, 42, gistLeaf | gistFollowRight}, {nsn, 99, gistLeaf}}},
		{"inner page", split(40, false, true), [3]gistState{{nsn, 41, gistFollowRight}, {nsn, 42, gistFollowRight}, {nsn, 99, 0}}},
		{"not to be followed", split(40, true, false), [3]gistState{{nsn, 41, gistLeaf}, {nsn, 42, gistLeaf}, {nsn, 99, gistLeaf}}},
		{"root", split(gistRootBlock, true, true), [3]gistState{{nsn, invalidBlock, 0}, {nsn, 42, gistLeaf}, {nsn, 99, gistLeaf}}},
	} {
		for i := range 3 {
			p := new(page)
			redoBlock(t, p, test.rec, i)
			if got := stateOf(t, p); got != test.want[i] || p.maxOffset() != 2 {
				t.Errorf("%s, page %d: %+v with %d tuples, want %+v with 2", test.name, i+1, got, p.maxOffset(), test.want[i])
			}
		}
	}
}

// image puts an image of the page, which redo applies, into the record.
func image(rec *wal.Record, i int, p *page) *wal.Record {
	ref := &rec.Blocks[i]
	ref.Flags |= wal.BlockHasImage | wal.BlockImageApply
	ref.ImageOffset, ref.ImageLen = uint32(len(rec.Data)), pageSize
	rec.Data = append(rec.Data, p[:]...)
	rec.TotalLen = uint32(len(rec.Data))
	return rec
}

// A left child whose split is finished gets the record's end as its NSN, and is no
// longer to be followed right; also where it comes as an image, which is from
// before. Other pages are their images.
func TestGistLeftChild(t *testing.T) {
	child := initialised(t, func(p *page) { p.gistInit(gistLeaf | gistFollowRight).setNSN(7) }, indexTuple(1, 16))
	update := func() *wal.Record {
		return testRecord(wal.PG15, wal.RmgrGist, 0x00, u16s(0, 0), testBlock{}, testBlock{id: 1})
	}
	split := func() *wal.Record {
		return testRecord(wal.PG15, wal.RmgrGist, 0x30, gistSplitMain(9, 3, false, 2, true), testBlock{id: 0}, testBlock{id: 1, init: true})
	}
	want := gistState{endLSN, invalidBlock, gistLeaf}
	for _, test := range []struct {
		name string
		rec  *wal.Record
		i    int
		want gistState
	}{
		{"PAGE_UPDATE", update(), 1, want},
		{"PAGE_UPDATE, image", image(update(), 1, child), 1, want},
		{"PAGE_UPDATE, image of the parent", image(update(), 0, child), 0, stateOf(t, child)},
		{"PAGE_SPLIT", split(), 0, want},
		{"PAGE_SPLIT, image", image(split(), 0, child), 0, want},
		{"DELETE, image", image(testRecord(wal.PG15, wal.RmgrGist, 0x10, nil, testBlock{}), 0, child), 0, stateOf(t, child)},
		{"another's", image(testRecord(wal.PG15, wal.RmgrGin, 0x30, nil, testBlock{}), 0, child), 0, stateOf(t, child)},
	} {
		p := *child
		redoBlock(t, &p, test.rec, test.i)
		if got := stateOf(t, &p); got != test.want || p.lsn() != endLSN {
			t.Errorf("%s: %+v, pd_lsn %s, want %+v", test.name, got, p.lsn(), test.want)
		}
	}
	p := *child
	refused(t, &p, image(split(), 0, initialised(t, func(p *page) { p.init(0) })), "could not finish the split")
}

// Leaves remember that they lost tuples: by DELETE, whose offsets begin elsewhere
// since 16, and by what vacuum does, but not by the exchange of one.
func TestGistTuplesDeleted(t *testing.T) {
	leaf := func(flags uint16) *page {
		return initialised(t, func(p *page) { p.gistInit(flags) }, indexTuple(1, 16), indexTuple(2, 16), indexTuple(3, 24))
	}
	for _, test := range []struct {
		name string
		page *page
		rec  *wal.Record
		want uint16
		left int
	}{
		{"DELETE of 15", leaf(gistLeaf | gistHasGarbage), testRecord(wal.PG15, wal.RmgrGist, 0x10, cat(u32s(3), u16s(1, 2)), testBlock{}), gistLeaf | gistTuplesDeleted, 2},
		{"DELETE of 16", leaf(gistLeaf | gistHasGarbage), testRecord(wal.PG16, wal.RmgrGist, 0x10, cat(u32s(3), u16s(1, 1, 2)), testBlock{}), gistLeaf | gistTuplesDeleted, 2},
		{"vacuum", leaf(gistLeaf), testRecord(wal.PG15, wal.RmgrGist, 0x00, u16s(2, 0), testBlock{data: u16s(1, 3)}), gistLeaf | gistTuplesDeleted, 1},
		{"an inner page", leaf(0), testRecord(wal.PG15, wal.RmgrGist, 0x00, u16s(2, 1), testBlock{data: cat(u16s(1, 3), indexTuple(9, 16))}), 0, 2},
		{"one for one", leaf(gistLeaf), testRecord(wal.PG15, wal.RmgrGist, 0x00, u16s(1, 1), testBlock{data: cat(u16s(2), indexTuple(9, 24))}), gistLeaf, 3},
	} {
		redoBlock(t, test.page, test.rec, 0)
		if got := stateOf(t, test.page).flags; got != test.want || test.page.maxOffset() != test.left {
			t.Errorf("%s: flags %#x and %d tuples, want %#x and %d", test.name, got, test.page.maxOffset(), test.want, test.left)
		}
	}
}

// Records that do not fit their pages are refused.
func TestGistRefused(t *testing.T) {
	tuple := indexTuple(1, 16)
	leaf := initialised(t, func(p *page) { p.gistInit(gistLeaf) }, tuple, tuple)
	for _, test := range []struct {
		name, reason string
		rec          *wal.Record
	}{
		{"no such tuple", "", testRecord(wal.PG15, wal.RmgrGist, 0x00, u16s(1, 1), testBlock{data: cat(u16s(3), tuple)})},
		{"a tuple is missing", "an index tuple has 0 bytes", testRecord(wal.PG15, wal.RmgrGist, 0x00, u16s(0, 2), testBlock{data: tuple})},
		{"a tuple too many", "left over", testRecord(wal.PG15, wal.RmgrGist, 0x00, u16s(0, 1), testBlock{data: cat(tuple, tuple)})},
		{"a page of a split too many", "a split into 1 pages", testRecord(wal.PG15, wal.RmgrGist, 0x30, gistSplitMain(0, 0, true, 1, true), testBlock{2, 5, true, u32s(0)}, testBlock{id: 1})},
		{"the next page is not named", "names no page behind the 1th", testRecord(wal.PG15, wal.RmgrGist, 0x30, gistSplitMain(0, 0, true, 2, true), testBlock{1, 5, true, u32s(0)})},
		{"a page that has tuples is deleted", "a page with 2 items", testRecord(wal.PG15, wal.RmgrGist, 0x60, cat(u32s(1, 0), u16s(1)), testBlock{})},
	} {
		t.Run(test.name, func(t *testing.T) { refused(t, leaf, test.rec, test.reason) })
	}
}
