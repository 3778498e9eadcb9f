package redo

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// What the server's images cannot show of GIN, GiST, SP-GiST and BRIN, and what no
// server's record does: that is here and in the files of each. All else
// host/internal/consistency holds against real servers.

// indexTuple is a tuple of an index with that many bytes.
func indexTuple(block uint32, size int) []byte {
	t := make([]byte, size)
	putTID(t, block, 1)
	le.PutUint16(t[6:], uint16(size))
	for i := indexTupleSize; i < size; i++ {
		t[i] = byte(block)
	}
	return t
}

// initialised is a page after an initialisation, and with these items.
func initialised(t testing.TB, init func(*page), items ...[]byte) *page {
	t.Helper()
	p := new(page)
	init(p)
	for _, item := range items {
		if err := p.appendItem(item); err != nil {
			t.Fatal(err)
		}
	}
	p.setLSN(1)
	return p
}

// pagesOfTrees are pages of each kind.
func pagesOfTrees(t testing.TB) []*page {
	tuples := [][]byte{indexTuple(1, 16), indexTuple(2, 24), indexTuple(3, 16)}
	leaf := initialised(t, func(p *page) { p.ginInit(ginData | ginLeaf | ginCompressed) })
	list := append(postingList(t, 1<<11|1, 1<<11|5, 9<<11|1), postingList(t, 20<<11|1, 20<<11|2)...)
	copy(leaf[ginDataStart:], list)
	leaf.ginSetDataSize(len(list))
	inner := initialised(t, func(p *page) { p.ginInit(ginData).setMaxoff(2) })
	inner.ginSetDataSize(2 * ginPostingItemSize)
	oldLeaf := initialised(t, func(p *page) { p.ginInit(ginData | ginLeaf).setMaxoff(2) })
	copy(oldLeaf[ginDataStart:], tids(3, 9))
	meta := initialised(t, func(p *page) { p.brinInit(brinMetaPage) })
	meta.setLower(headerSize + brinMetaSize)
	return []*page{
		leaf, inner, oldLeaf, meta,
		initialised(t, func(p *page) { p.ginInit(ginLeaf) }, tuples...),
		initialised(t, func(p *page) { p.ginInit(ginList) }, tuples...),
		initialised(t, func(p *page) { p.gistInit(gistLeaf) }, tuples...),
		initialised(t, func(p *page) { p.gistInit(gistFollowRight) }),
		counted(initialised(t, func(p *page) { p.spgInit(spgLeaf) }, spgLeafTuple(1, 24), spgDeadItem(spgPlaceholder), spgDeadItem(spgRedirect), spgLeafTuple(2, 16)), 1, 1),
		counted(initialised(t, func(p *page) { p.spgInit(0) }, spgInnerTuple(2), spgDeadItem(spgPlaceholder), spgInnerTuple(1)), 0, 1),
		initialised(t, func(p *page) { p.brinInit(brinRevmapPage) }),
		initialised(t, func(p *page) { p.brinInit(brinRegularPage) }, tuples...),
	}
}

var treeRmgrs = [...]wal.RmgrID{wal.RmgrGin, wal.RmgrGist, wal.RmgrSPGist, wal.RmgrBRIN}

// FuzzTree redoes what is no record on what is no page.
func FuzzTree(f *testing.F) {
	pages := pagesOfTrees(f)
	for _, rec := range treeRecords(f) {
		for i := range rec.Blocks {
			ref := &rec.Blocks[i]
			for n, id := range treeRmgrs {
				if id == rec.RmgrID {
					f.Add(uint8(n), pages[(int(rec.Info>>4)+3*i)%len(pages)][:], rec.Info, ref.ID, ref.WillInit(), rec.MainData(), rec.BlockData(ref), uint8(rec.Version))
				}
			}
		}
	}
	for _, p := range pages {
		for op := range uint8(16) {
			for n := range treeRmgrs {
				f.Add(uint8(n), p[:], op<<4, uint8(n), false, u16s(1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1), u16s(1, 1, 1, 0, 0, 8, 1, 1), op)
			}
		}
	}
	f.Fuzz(func(t *testing.T, rmgr uint8, content []byte, info, id uint8, init bool, main, data []byte, version uint8) {
		if len(data) > 65535 {
			return
		}
		rec := testRecord(wal.PG14+wal.Version(version%5), treeRmgrs[int(rmgr)%len(treeRmgrs)], info, main, testBlock{id, 7, init, data},
			testBlock{id: 0, block: 8}, testBlock{id: 1, block: 9}, testBlock{id: 2, block: 10})
		var around [pageSize + 64]byte
		copy(around[32:32+pageSize], content)
		before := around
		p := (*page)(around[32 : 32+pageSize])
		err := Apply(p[:], rec, 0, new(wal.Images))
		switch {
		case err == nil && p.check() != nil && !p.isNew():
			t.Fatalf("it left behind %v", p.check())
		case err != nil && around != before:
			t.Fatalf("with %v it changed the page", err)
		case [32]byte(around[:]) != [32]byte{} || [32]byte(around[32+pageSize:]) != [32]byte{}:
			t.Fatal("it wrote beside the page")
		}
	})
}

// treeRecords are records that can be redone on some of pagesOfTrees.
func treeRecords(t testing.TB) []*wal.Record {
	tuple := indexTuple(7, 16)
	list := postingList(t, 2<<11|1, 3<<11|1)
	add := cat(u16s(1), []byte{0, ginSegmentAddItems}, u16s(1), tids(7))
	return []*wal.Record{
		testRecord(wal.PG15, wal.RmgrGin, 0x10, cat(u32s(uint32(len(list))), list), testBlock{init: true}),
		testRecord(wal.PG15, wal.RmgrGin, 0x20, u16s(ginInsertIsLeaf), testBlock{data: cat(u16s(2, 1), tuple)}),
		testRecord(wal.PG15, wal.RmgrGin, 0x20, u16s(0, 0, 5, 0, 6), testBlock{data: cat(u16s(2, 0), tuple)}, testBlock{id: 1}),
		testRecord(wal.PG15, wal.RmgrGin, 0x20, u16s(ginInsertIsLeaf|ginInsertIsData), testBlock{data: add}),
		testRecord(wal.PG15, wal.RmgrGin, 0x20, u16s(ginInsertIsData, 0, 5, 0, 6), testBlock{data: cat(u16s(1, 0, 5), tids(3))}),
		testRecord(wal.PG15, wal.RmgrGin, 0x30, nil, testBlock{id: 3}),
		testRecord(wal.PG15, wal.RmgrGin, 0x50, u16s(1, 0, 9, 0, 77, 0), testBlock{}, testBlock{id: 1}, testBlock{id: 2}),
		testRecord(wal.PG15, wal.RmgrGin, 0x60, cat(make([]byte, 76), u32s(9, 1, 0)), testBlock{init: true}, testBlock{id: 1, data: tuple}),
		testRecord(wal.PG15, wal.RmgrGin, 0x70, u32s(invalidBlock, 1), testBlock{init: true, data: tuple}),
		testRecord(wal.PG15, wal.RmgrGin, 0x80, cat(make([]byte, ginMetaSize), u32s(1)), testBlock{init: true}, testBlock{id: 1, init: true}),
		testRecord(wal.PG15, wal.RmgrGin, 0x90, nil, testBlock{data: add}),
		testRecord(wal.PG15, wal.RmgrGist, 0x00, u16s(1, 2), testBlock{data: cat(u16s(2), tuple, tuple)}, testBlock{id: 1}),
		testRecord(wal.PG18, wal.RmgrGist, 0x10, cat(u32s(3), u16s(1, 0, 2)), testBlock{}),
		testRecord(wal.PG15, wal.RmgrGist, 0x30, gistSplitMain(9, 0x55, true, 2, true), testBlock{id: 0},
			testBlock{1, 4, true, cat(u32s(1), tuple)}, testBlock{2, 5, true, cat(u32s(1), tuple)}),
		testRecord(wal.PG15, wal.RmgrGist, 0x60, cat(u32s(700, 0), u16s(2)), testBlock{}, testBlock{id: 1}),
		testRecord(wal.PG15, wal.RmgrSPGist, 0x10, cat(u16s(0, 2, 1, 1, 0), spgLeafTuple(9, 16)), testBlock{}, testBlock{id: 1}),
		testRecord(wal.PG15, wal.RmgrSPGist, 0x20, cat(u16s(1, 0, 0, 1, 0, 0), u32s(9, 0), u16s(1, 2, 5), spgLeafTuple(8, 16), spgLeafTuple(9, 16)), testBlock{}, testBlock{id: 1}, testBlock{id: 2}),
		testRecord(wal.PG15, wal.RmgrSPGist, 0x30, cat(u16s(1, 2, 0xFF00, 1, 0, 0), u32s(9, 0), spgInnerTuple(3)), testBlock{}),
		testRecord(wal.PG15, wal.RmgrSPGist, 0x30, cat(u16s(1, 2, 0x0000, 3, 0, 0), u32s(9, 0), spgInnerTuple(3)), testBlock{}, testBlock{id: 1}),
		testRecord(wal.PG15, wal.RmgrSPGist, 0x40, cat(u16s(1, 2, 0x0100), spgInnerTuple(1), spgInnerTuple(2)), testBlock{}),
		spgPickSplitRecord(t, false),
		testRecord(wal.PG15, wal.RmgrSPGist, 0x60, cat(u16s(1, 1, 1, 1), u32s(9, 0), u16s(1, 2, 4, 1, 1, 4)), testBlock{}),
		testRecord(wal.PG15, wal.RmgrSPGist, 0x70, cat(u16s(1, 0), u32s(9, 0), u16s(1)), testBlock{}),
		testRecord(wal.PG18, wal.RmgrSPGist, 0x80, cat(u16s(1, 0), u32s(9), u16s(0, 3)), testBlock{}),
		testRecord(wal.PG15, wal.RmgrBRIN, 0x00, cat(u32s(128), u16s(1)), testBlock{init: true}),
		testRecord(wal.PG15, wal.RmgrBRIN, 0x90, cat(u32s(5, 1), u16s(1)), testBlock{init: true, data: tuple}, testBlock{id: 1}),
		testRecord(wal.PG15, wal.RmgrBRIN, 0x20, cat(u16s(1, 0), u32s(5, 1), u16s(4)), testBlock{data: tuple}, testBlock{id: 1}, testBlock{id: 2}),
		testRecord(wal.PG15, wal.RmgrBRIN, 0x30, u16s(2), testBlock{data: tuple}),
		testRecord(wal.PG15, wal.RmgrBRIN, 0x40, u32s(3), testBlock{}, testBlock{id: 1, init: true}),
		testRecord(wal.PG15, wal.RmgrBRIN, 0x50, cat(u32s(1, 5), u16s(2)), testBlock{}, testBlock{id: 1}),
	}
}

// Each sample record can be redone, block by block, on some page: so the fuzzer
// begins with what goes through.
func TestTreeSamples(t *testing.T) {
	pages := pagesOfTrees(t)
	for n, rec := range treeRecords(t) {
		for i := range rec.Blocks {
			done := 0
			var last error
			for _, p := range pages {
				q := *p
				if last = Apply(q[:], rec, i, new(wal.Images)); last == nil {
					done++
					if q.lsn() != endLSN {
						t.Errorf("record %d, %s %s: pd_lsn is %s", n, rec.RmgrID, rec.Operation(), q.lsn())
					}
				}
			}
			if done == 0 {
				t.Errorf("record %d, %s %s, block %d can be redone on no page: %v", n, rec.RmgrID, rec.Operation(), i, last)
			}
		}
	}
}

// What is cut short anywhere is an error or, where only data for another block is
// missing, right; the page is whole in either case.
func TestTreeCutShort(t *testing.T) {
	for n, rec := range treeRecords(t) {
		for i := range rec.Blocks {
			for _, p := range pagesOfTrees(t) {
				for cut := range uint32(len(rec.MainData())) {
					short := *rec
					short.MainDataLen = cut
					short.Data = rec.Data[:rec.MainDataOffset+cut]
					short.TotalLen = uint32(len(short.Data))
					q := *p
					if err := Apply(q[:], &short, i, new(wal.Images)); err != nil && q != *p {
						t.Fatalf("record %d, %s %s, cut to %d: with %v the page has changed", n, rec.RmgrID, rec.Operation(), cut, err)
					}
					if q.check() != nil {
						t.Fatalf("record %d, %s %s, cut to %d: %v", n, rec.RmgrID, rec.Operation(), cut, q.check())
					}
				}
			}
		}
	}
}

// The redo functions allocate nothing.
func TestTreeAllocations(t *testing.T) {
	pages := pagesOfTrees(t)
	for n, rec := range treeRecords(t) {
		for i := range rec.Blocks {
			ref := &rec.Blocks[i]
			var c change
			redone := 0
			for _, p := range pages {
				q := *p
				if Apply(q[:], rec, i, new(wal.Images)) != nil {
					continue
				}
				redone++
				if got := testing.AllocsPerRun(5, func() {
					q = *p
					c = change{page: &q, rec: rec, ref: ref, main: cursor{buf: rec.MainData()}, data: cursor{buf: rec.BlockData(ref)}}
					if err := find(rec)(&c); err != nil {
						t.Error(err)
					}
				}); got != 0 {
					t.Errorf("record %d, %s %s, block %d: %v allocations", n, rec.RmgrID, rec.Operation(), i, got)
				}
			}
			if redone == 0 {
				t.Errorf("record %d, %s %s, block %d was redone on no page", n, rec.RmgrID, rec.Operation(), i)
			}
		}
	}
}
