package redo

import (
	"errors"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// What the server's images cannot show, and what no server's record does: that is
// here. All else that the redo of B-tree and hash does, host/internal/consistency
// holds against real servers.

const (
	startLSN wal.LSN = 0x1000028
	endLSN   wal.LSN = 0x1000100
)

// testBlock is a block reference of a record to be.
type testBlock struct {
	id    uint8
	block wal.BlockNumber
	init  bool
	data  []byte
}

// testRecord is a record, decoded.
func testRecord(v wal.Version, rmgr wal.RmgrID, info uint8, main []byte, blocks ...testBlock) *wal.Record {
	rec := &wal.Record{StartLSN: startLSN, EndLSN: endLSN, Version: v, RmgrID: rmgr, Info: info}
	rec.Data = make([]byte, wal.RecordHeaderSize)
	for _, b := range blocks {
		ref := wal.BlockRef{ID: b.id, Block: b.block, DataOffset: uint32(len(rec.Data)), DataLen: uint16(len(b.data))}
		if b.init {
			ref.Flags |= wal.BlockWillInit
		}
		rec.Blocks = append(rec.Blocks, ref)
		rec.Data = append(rec.Data, b.data...)
	}
	rec.MainDataOffset, rec.MainDataLen = uint32(len(rec.Data)), uint32(len(main))
	rec.Data = append(rec.Data, main...)
	rec.TotalLen = uint32(len(rec.Data))
	return rec
}

// u16s, u32s and cat lay fields down one after another.
func u16s(v ...uint16) (b []byte) {
	for _, x := range v {
		b = le.AppendUint16(b, x)
	}
	return b
}

func u32s(v ...uint32) (b []byte) {
	for _, x := range v {
		b = le.AppendUint32(b, x)
	}
	return b
}

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// tids are heap TIDs on block 1, with these offset numbers.
func tids(offsets ...uint16) (b []byte) {
	for _, n := range offsets {
		b = append(b, u16s(0, 1, n)...)
	}
	return b
}

// leafTuple is a tuple with a key of 8 bytes, and a posting list if it has more
// than one TID.
func leafTuple(t testing.TB, key byte, offsets ...uint16) []byte {
	t.Helper()
	keys := cat(make([]byte, 6), u16s(16), []byte{key, 0, 0, 0, 0, 0, 0, 0})
	tuple, err := formPosting(new(page), keys, tids(offsets...))
	if err != nil {
		t.Fatal(err)
	}
	return tuple
}

// pageOf is an index's page with these items and flags, where B-tree and hash have
// theirs.
func pageOf(t testing.TB, flags uint16, items ...[]byte) *page {
	t.Helper()
	p := new(page)
	p.init(16)
	le.PutUint16(p[pageSize-4:], flags)
	for _, item := range items {
		if err := p.appendItem(item); err != nil {
			t.Fatal(err)
		}
	}
	p.setLSN(1)
	return p
}

// redoBlock redoes block reference i, and fails the test if that cannot be.
func redoBlock(t testing.TB, p *page, rec *wal.Record, i int) {
	t.Helper()
	if err := Apply(p[:], rec, i, new(wal.Images)); err != nil {
		t.Fatal(err)
	}
}

// refused checks that block reference 0 cannot be redone, for this reason, and
// that the page is left alone.
func refused(t *testing.T, p *page, rec *wal.Record, reason string) {
	t.Helper()
	before := *p
	err := Apply(p[:], rec, 0, new(wal.Images))
	var e *wal.Error
	switch {
	case !errors.As(err, &e) || e.LSN != startLSN:
		t.Errorf("error %v, want one at %s", err, startLSN)
	case !strings.Contains(err.Error(), reason):
		t.Errorf("error %q, want %q", err, reason)
	case *p != before:
		t.Error("the page has changed")
	}
}

// FuzzIndex redoes what is no record on what is no page.
func FuzzIndex(f *testing.F) {
	leaf := pageOf(f, btpLeaf, leafTuple(f, 1, 1), leafTuple(f, 1, 2), leafTuple(f, 2, 3, 5, 7), leafTuple(f, 3, 9))
	meta := new(page)
	redoBlock(f, meta, hashMetaRecord(wal.PG15, 100, 10), 0)
	for _, rec := range sampleRecords(f) {
		for i := range rec.Blocks {
			ref := &rec.Blocks[i]
			for _, p := range []*page{leaf, meta} {
				f.Add(p[:], rec.RmgrID == wal.RmgrHash, rec.Info, ref.ID, ref.WillInit(), rec.MainData(), rec.BlockData(ref), uint8(rec.Version))
			}
		}
	}
	f.Fuzz(func(t *testing.T, content []byte, hash bool, info, id uint8, init bool, main, data []byte, version uint8) {
		if len(data) > 65535 {
			return
		}
		rmgr := wal.RmgrBtree
		if hash {
			rmgr = wal.RmgrHash
		}
		rec := testRecord(wal.PG14+wal.Version(version%5), rmgr, info, main, testBlock{id, 7, init, data},
			testBlock{id: 0, block: 8}, testBlock{id: 1, block: 9}, testBlock{id: 2, block: 10})
		var around [pageSize + 64]byte
		copy(around[32:32+pageSize], content)
		before := around
		p := (*page)(around[32:])
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

// sampleRecords are records of every kind, on leaf and meta of FuzzIndex.
func sampleRecords(t testing.TB) []*wal.Record {
	tuple := leafTuple(t, 2, 6)
	var recs []*wal.Record
	for _, v := range []wal.Version{wal.PG14, wal.PG18} {
		for op := range uint8(16) {
			for _, rmgr := range []wal.RmgrID{wal.RmgrBtree, wal.RmgrHash} {
				recs = append(recs,
					testRecord(v, rmgr, op<<4, u16s(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
						testBlock{id: 0, block: 1, data: tuple}, testBlock{id: 1, block: 2, data: cat(u16s(1, 2), tuple, tuple)},
						testBlock{id: 2, block: 3, data: u16s(1, 2)}, testBlock{id: 3, init: true}, testBlock{id: 4, data: u32s(1, 2, 3, 4, 5, 6, 7)},
						testBlock{id: 5, data: u32s(9)}, testBlock{id: 6, data: u32s(9)}))
			}
		}
	}
	return append(recs,
		testRecord(wal.PG15, wal.RmgrBtree, 0x00, u16s(2), testBlock{data: tuple}),
		testRecord(wal.PG15, wal.RmgrBtree, 0x50, u16s(4), testBlock{data: cat(u16s(2), tuple)}),
		testRecord(wal.PG15, wal.RmgrBtree, 0x30, cat(u32s(0), u16s(3, 2, 0)), testBlock{data: cat(tuple, tuple)}, testBlock{id: 1, data: cat(tuple, tuple)}),
		testRecord(wal.PG15, wal.RmgrBtree, 0x60, u16s(1), testBlock{data: u16s(1, 2)}),
		testRecord(wal.PG15, wal.RmgrBtree, 0xC0, u16s(1, 1), testBlock{data: u16s(1, 3, 2, 0, 2)}),
		testRecord(wal.PG15, wal.RmgrHash, 0xC0, cat(u32s(3, 2), u16s(1, 2)), testBlock{}),
		testRecord(wal.PG15, wal.RmgrHash, 0x70, u16s(1, 0), testBlock{id: 1, data: cat(u16s(2), tuple)}),
	)
}
