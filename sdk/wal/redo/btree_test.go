package redo

import (
	"bytes"
	"slices"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

func btreeRecord(info uint8, main []byte, blocks ...testBlock) *wal.Record {
	return testRecord(wal.PG15, wal.RmgrBtree, info, main, blocks...)
}

// BTP_HAS_GARBAGE goes with the dead items, and so does the vacuum cycle with a
// split: the server's check masks both.
func TestBtreeHiddenFlags(t *testing.T) {
	a, b, list := leafTuple(t, 1, 1), leafTuple(t, 1, 2), leafTuple(t, 2, 3, 5, 7)
	for _, rec := range []*wal.Record{
		btreeRecord(0x60, u16s(1), testBlock{data: u16s(1, 2)}),
		btreeRecord(0x70, cat(u32s(99), u16s(1, 0)), testBlock{data: u16s(1)}),
		btreeRecord(0xC0, u16s(1, 0), testBlock{data: u16s(1)}),
		btreeRecord(0xC0, u16s(0, 1), testBlock{data: u16s(3, 1, 0)}),
	} {
		p := pageOf(t, btpLeaf|btpHasGarbage, a, b, list)
		redoBlock(t, p, rec, 0)
		if o, err := p.btreeOpaque(); err != nil || o.flags() != btpLeaf || p.lsn() != endLSN {
			t.Errorf("%s: flags %#x, pd_lsn %s, %v", rec.Operation(), o.flags(), p.lsn(), err)
		}
	}
	p := pageOf(t, btpLeaf|btpHasGarbage, a, b, list)
	btreeOpaque(p[p.special():]).setCycleID(77)
	redoBlock(t, p, btreeRecord(0x40, cat(u32s(0), u16s(2, 3, 0)), testBlock{data: b}, testBlock{id: 1, block: 9, init: true}), 0)
	want := cat(u32s(0, 9, 0), u16s(btpLeaf|btpIncompleteSplit, 0))
	if got := p[p.special():]; !bytes.Equal(got, want) {
		t.Errorf("after a split the left page's special space is %x, want %x", got, want)
	}
}

// A posting list of which one TID is left becomes a plain tuple; one that grows by
// merging keeps the order; a TID in its midst pushes out the last.
func TestBtreePostingLists(t *testing.T) {
	items := [][]byte{leafTuple(t, 1, 1), leafTuple(t, 1, 2), leafTuple(t, 1, 3, 5, 7), leafTuple(t, 2, 9)}
	for _, test := range []struct {
		name string
		rec  *wal.Record
		want [][]byte
	}{
		{"merged", btreeRecord(0x60, u16s(1), testBlock{data: u16s(1, 3)}), [][]byte{leafTuple(t, 1, 1, 2, 3, 5, 7), items[3]}},
		{"merged in two", btreeRecord(0x60, u16s(2), testBlock{data: u16s(1, 2, 3, 2)}), [][]byte{leafTuple(t, 1, 1, 2), leafTuple(t, 1, 3, 5, 7, 9)}},
		{"two TIDs deleted", btreeRecord(0xC0, u16s(0, 1), testBlock{data: u16s(3, 2, 0, 2)}), [][]byte{items[0], items[1], leafTuple(t, 1, 5), items[3]}},
		{"one TID and two items deleted", btreeRecord(0xC0, u16s(2, 1), testBlock{data: u16s(1, 4, 3, 1, 1)}), [][]byte{items[1], leafTuple(t, 1, 3, 7)}},
		{"split", btreeRecord(0x50, u16s(4), testBlock{data: cat(u16s(1), leafTuple(t, 1, 4))}),
			[][]byte{items[0], items[1], leafTuple(t, 1, 3, 4, 5), leafTuple(t, 1, 7), items[3]}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := pageOf(t, btpLeaf, items...)
			redoBlock(t, p, test.rec, 0)
			var got [][]byte
			for n := 1; n <= p.maxOffset(); n++ {
				item, err := p.item(n)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, item)
			}
			if !slices.EqualFunc(got, test.want, bytes.Equal) {
				t.Errorf("items\n%x, want\n%x", got, test.want)
			}
		})
	}
}

// What does not fit the page is refused.
func TestBtreeRefuses(t *testing.T) {
	tuple, pivot := leafTuple(t, 1, 4), leafTuple(t, 1, 4)
	pivot[7] |= indexAltTID >> 8
	split := func(first, newItem, posting uint16, data ...[]byte) *wal.Record {
		return btreeRecord(0x30, cat(u32s(0), u16s(first, newItem, posting)), testBlock{data: cat(data...)}, testBlock{id: 1})
	}
	for _, test := range []struct {
		reason string
		rec    *wal.Record
	}{
		{"too short", btreeRecord(0x00, nil, testBlock{data: tuple})},
		{"no line pointer is named", btreeRecord(0x00, u16s(0), testBlock{data: tuple})},
		{"line pointer 6 is too large", btreeRecord(0x00, u16s(6), testBlock{data: tuple})},
		{"no block reference 1", btreeRecord(0x50, u16s(1), testBlock{id: 1})},
		{"cannot be split at offset 0", btreeRecord(0x50, u16s(4), testBlock{data: cat(u16s(0), tuple)})},
		{"cannot be split at offset 3", btreeRecord(0x50, u16s(4), testBlock{data: cat(u16s(3), tuple)})},
		{"no line pointer 0", btreeRecord(0x50, u16s(1), testBlock{data: cat(u16s(1), tuple)})},
		{"two pages is missing", btreeRecord(0x30, cat(u32s(0), u16s(2, 2, 0)), testBlock{})},
		{"an index tuple has 0 bytes", split(2, 2, 0, tuple)},
		{"follow the new high key", split(2, 2, 0, tuple, tuple, u16s(1))},
		{"no line pointer 5", split(9, 2, 0, tuple, tuple)},
		{"3 items from 3 on, of 4", btreeRecord(0x60, u16s(1), testBlock{data: u16s(3, 3)})},
		{"0 of 1 fit", btreeRecord(0x60, u16s(1), testBlock{data: u16s(7, 2)})},
		{"too short", btreeRecord(0x60, u16s(2), testBlock{data: u16s(1, 2)})},
		{"incorrect index offsets", btreeRecord(0xC0, u16s(3, 0), testBlock{data: u16s(1, 2, 8)})},
		{"only 1 are there", btreeRecord(0xC0, u16s(0, 1), testBlock{data: u16s(3, 2, 0, 4)})},
		{"0 TIDs", btreeRecord(0xC0, u16s(0, 1), testBlock{data: u16s(3, 3, 0, 1, 2)})},
		{"too short", btreeRecord(0xC0, u16s(0, 1), testBlock{data: u16s(3, 3, 0)})},
		{"names 0 as its size", btreeRecord(0xA0, u32s(1, 1), testBlock{init: true, data: make([]byte, 16)})},
		{"no line pointer 6", btreeRecord(0xB0, cat(u16s(5, 0), u32s(0, 0, 0, 0)), testBlock{id: 1})},
		{"too short", btreeRecord(0xE0, nil, testBlock{init: true, data: u32s(4, 1)})},
		{"too short", btreeRecord(0x80, u32s(1, 2, 3), testBlock{init: true})},
		{"nothing is known", btreeRecord(0xD0, nil, testBlock{})},
	} {
		p := pageOf(t, btpLeaf, leafTuple(t, 1, 1), leafTuple(t, 1, 2), leafTuple(t, 1, 3, 5, 7), leafTuple(t, 2, 9))
		if test.rec.Info == 0xB0 {
			p = pageOf(t, 0, tuple, tuple, tuple, tuple, tuple)
		}
		refused(t, p, test.rec, test.reason)
	}
	p := pageOf(t, btpLeaf, tuple, pivot)
	refused(t, p, btreeRecord(0x60, u16s(1), testBlock{data: u16s(1, 2)}), "a pivot tuple is on a leaf")
}

// The redo functions allocate nothing.
func TestIndexAllocatesNothing(t *testing.T) {
	leaf := pageOf(t, btpLeaf, leafTuple(t, 1, 1), leafTuple(t, 1, 2), leafTuple(t, 2, 3, 5, 7), leafTuple(t, 3, 9))
	measured := map[string]bool{}
	for _, rec := range sampleRecords(t) {
		redo := find(rec)
		if redo == nil || Apply(new(*leaf)[:], rec, 0, new(wal.Images)) != nil {
			continue
		}
		c, p := new(change), new(page)
		ref := &rec.Blocks[0]
		if n := testing.AllocsPerRun(10, func() {
			*p = *leaf
			*c = change{page: p, rec: rec, ref: ref, main: cursor{buf: rec.MainData()}, data: cursor{buf: rec.BlockData(ref)}}
			if err := redo(c); err != nil {
				t.Error(err)
			}
		}); n > 0 {
			t.Errorf("%s %s: %v allocations", rec.RmgrID, rec.Operation(), n)
		}
		measured[rec.RmgrID.String()+rec.Operation()] = true
	}
	if len(measured) < 20 {
		t.Errorf("only %d kinds of record were measured", len(measured))
	}
}
