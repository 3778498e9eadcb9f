package redo

import (
	"bytes"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// postingList is a list of TIDs, each given as block << 11 | offset.
func postingList(t testing.TB, tids ...uint64) []byte {
	t.Helper()
	var room [pageSize]byte
	w := ginWriter{dst: room[:]}
	e := ginEncoder{w: &w}
	for _, tid := range tids {
		if err := e.add(tid); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.end(); err != nil {
		t.Fatal(err)
	}
	return room[:w.n]
}

// The bytes of lists: differences of one byte up to seven, and padding.
func TestGinPostingList(t *testing.T) {
	for _, test := range []struct {
		tids []uint64
		want []byte
	}{
		{[]uint64{3<<11 | 7}, []byte{0, 0, 3, 0, 7, 0, 0, 0}},
		{[]uint64{1, 2}, []byte{0, 0, 0, 0, 1, 0, 1, 0, 1, 0}},
		{[]uint64{1, 128}, []byte{0, 0, 0, 0, 1, 0, 1, 0, 0x7F, 0}},
		{[]uint64{1, 129}, []byte{0, 0, 0, 0, 1, 0, 2, 0, 0x80, 0x01}},
		{[]uint64{1<<27 | 5, 1<<27 | 6, 2<<27 | 6}, []byte{1, 0, 0, 0, 5, 0, 5, 0, 1, 0x80, 0x80, 0x80, 0x40, 0}},
		{[]uint64{1, 1 << 42}, []byte{0, 0, 0, 0, 1, 0, 6, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}},
		{[]uint64{1, 1<<42 + 1}, []byte{0, 0, 0, 0, 1, 0, 7, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0}},
	} {
		got := postingList(t, test.tids...)
		if !bytes.Equal(got, test.want) {
			t.Errorf("%x is %x, want %x", test.tids, got, test.want)
		}
		d := ginDecoder{rest: got[8 : 8+int(le.Uint16(got[6:]))], tid: tidNumber(got)}
		for i, tid := range test.tids {
			if d.tid != tid {
				t.Errorf("item %d of %x is %x", i, test.tids, d.tid)
			}
			if more, err := d.next(); err != nil || more != (i+1 < len(test.tids)) {
				t.Errorf("item %d of %x: more %v, error %v", i, test.tids, more, err)
			}
		}
	}
}

// A leaf that an index from before 9.4 has kept becomes one of posting lists when it
// is changed first, an empty one too.
func TestGinUncompressed(t *testing.T) {
	insert := func(data []byte) *wal.Record {
		return testRecord(wal.PG15, wal.RmgrGin, 0x20, u16s(ginInsertIsLeaf|ginInsertIsData), testBlock{data: data})
	}
	p := initialised(t, func(p *page) { p.ginInit(ginData | ginLeaf).setMaxoff(3) })
	copy(p[ginDataStart:], tids(4, 8, 15))
	redoBlock(t, p, insert(cat(u16s(1), []byte{0, ginSegmentAddItems}, u16s(1), tids(9))), 0)
	want := postingList(t, 1<<11|4, 1<<11|8, 1<<11|9, 1<<11|15)
	if got := p[ginDataStart:p.lower()]; !bytes.Equal(got, want) {
		t.Errorf("the leaf holds %x, want %x", got, want)
	}
	o, _ := p.ginOpaque()
	if o.flags() != ginData|ginLeaf|ginCompressed || o.maxoff() != 0 {
		t.Errorf("flags %#x, maxoff %d", o.flags(), o.maxoff())
	}

	p = initialised(t, func(p *page) { p.ginInit(ginData | ginLeaf) })
	redoBlock(t, p, insert(cat(u16s(1), []byte{0, ginSegmentInsert}, want)), 0)
	if got := p[ginDataStart:p.lower()]; !bytes.Equal(got, want) {
		t.Errorf("the leaf that was empty holds %x, want %x", got, want)
	}

	p = initialised(t, func(p *page) { p.ginInit(ginData | ginLeaf).setMaxoff(2000) })
	refused(t, p, insert(u16s(0)), "a leaf cannot have 2000 items")
	p = initialised(t, func(p *page) { p.ginInit(ginData | ginLeaf).setMaxoff(2) })
	refused(t, p, insert(u16s(0)), "not in order")
}

// Leaves and records that do not fit each other are refused.
func TestGinRefused(t *testing.T) {
	lists := func(parts ...[]byte) *page {
		p := initialised(t, func(p *page) { p.ginInit(ginData | ginLeaf | ginCompressed) })
		n := copy(p[ginDataStart:], cat(parts...))
		p.ginSetDataSize(n)
		return p
	}
	vacuum := func(actions ...[]byte) *wal.Record {
		return testRecord(wal.PG15, wal.RmgrGin, 0x90, nil, testBlock{data: cat(u16s(uint16(len(actions))), cat(actions...))})
	}
	list := postingList(t, 5, 9)
	add := func(items ...uint16) []byte {
		return cat([]byte{0, ginSegmentAddItems}, u16s(uint16(len(items))), tids(items...))
	}
	broken := cat(list[:8], []byte{0x80, 0x80})
	le.PutUint16(broken[6:], 2)
	var many [][]byte
	for range 255 {
		many = append(many, cat([]byte{0, ginSegmentInsert}, postingList(t, 1, 2, 3, 4, 5)), cat([]byte{0, ginSegmentInsert}, postingList(t, 1, 1<<42, 2<<42, 3<<42)))
	}
	for _, test := range []struct {
		name, reason string
		page         *page
		rec          *wal.Record
	}{
		{"another kind of page", "GIN page with flags", initialised(t, func(p *page) { p.ginInit(ginLeaf) }), vacuum()},
		{"no such list", "a posting list has 0 bytes", lists(list), vacuum([]byte{1, ginSegmentDelete})},
		{"far from such a list", "a posting list has 0 bytes", lists(list), vacuum([]byte{9, ginSegmentDelete})},
		{"an unknown action", "unexpected GIN leaf action: 5", lists(list), vacuum([]byte{0, 5})},
		{"lists beyond the page", "no room for a posting list", lists(list), vacuum(many...)},
		{"a list that ends early", "names 510 as its size", lists([]byte{0, 0, 0, 0, 1, 0, 0xF5, 1, 1, 1}), vacuum([]byte{0, ginSegmentDelete})},
		{"an item that ends early", "ends within an item", lists(broken), vacuum(add(7))},
		{"an item twice", "not in order", lists(postingList(t, 1<<11|7)), vacuum(add(7))},
		{"items in no order", "not in order", lists(list), vacuum(add(7, 6))},
		{"items that are missing", "too short", lists(list), vacuum([]byte{0, ginSegmentAddItems, 200, 0})},
		{"actions that are missing", "too short", lists(list), testRecord(wal.PG15, wal.RmgrGin, 0x90, nil, testBlock{data: u16s(3)})},
		{"an entry page without an image", "did not restore the page", lists(list), testRecord(wal.PG15, wal.RmgrGin, 0x40, nil, testBlock{})},
		{"a split without an image", "full-page image", lists(list), testRecord(wal.PG15, wal.RmgrGin, 0x30, nil, testBlock{})},
		{"a posting tree too large", "do not fit on a page", new(page), testRecord(wal.PG15, wal.RmgrGin, 0x10, cat(u32s(8160), make([]byte, 8160)), testBlock{init: true})},
		{"no such posting item", "no posting item 3 among 2", initialised(t, func(p *page) { p.ginInit(ginData).setMaxoff(2) }),
			testRecord(wal.PG15, wal.RmgrGin, 0x20, u16s(ginInsertIsData, 0, 5, 0, 6), testBlock{data: cat(u16s(3, 0, 5), tids(3))})},
		{"posting items beyond the page", "no room for one posting item", initialised(t, func(p *page) { p.ginInit(ginData).setMaxoff(815) }),
			testRecord(wal.PG15, wal.RmgrGin, 0x20, u16s(ginInsertIsData, 0, 5, 0, 6), testBlock{data: cat(u16s(3, 0, 5), tids(3))})},
		{"tuples left over", "16 bytes are left over", new(page), testRecord(wal.PG15, wal.RmgrGin, 0x70, u32s(7, 1), testBlock{init: true, data: cat(indexTuple(1, 16), indexTuple(2, 16))})},
		{"a page beyond those deleted", "beyond those", new(page), testRecord(wal.PG15, wal.RmgrGin, 0x80, cat(make([]byte, ginMetaSize), u32s(1)), testBlock{id: 2, init: true})},
	} {
		t.Run(test.name, func(t *testing.T) { refused(t, test.page, test.rec, test.reason) })
	}
}

// A page that is deleted keeps what it holds, and names the XID until which it is
// looked at.
func TestGinDeleted(t *testing.T) {
	p := initialised(t, func(p *page) { p.ginInit(ginData | ginLeaf | ginCompressed) })
	redoBlock(t, p, testRecord(wal.PG15, wal.RmgrGin, 0x50, cat(u16s(1, 0), u32s(9, 4711)), testBlock{}), 0)
	if o, _ := p.ginOpaque(); p.pruneXID() != 4711 || o.flags() != ginData|ginLeaf|ginCompressed|ginDeleted {
		t.Errorf("XID %d, flags %#x", p.pruneXID(), o.flags())
	}
}
