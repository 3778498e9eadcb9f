package redo

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// Records that do not fit their pages are refused.
func TestBRINRefused(t *testing.T) {
	tuple := indexTuple(1, 16)
	regular := initialised(t, func(p *page) { p.brinInit(brinRegularPage) }, tuple)
	revmap := initialised(t, func(p *page) { p.brinInit(brinRevmapPage) })
	insert := cat(u32s(5, 1), u16s(2))
	for _, test := range []struct {
		name, reason string
		page         *page
		rec          *wal.Record
	}{
		{"a tuple on the range map", "BRIN page of type 0xf092, want 0xf093", revmap, testRecord(wal.PG15, wal.RmgrBRIN, 0x10, insert, testBlock{data: tuple})},
		{"a range on a regular page", "BRIN page of type 0xf093, want 0xf092", regular, testRecord(wal.PG15, wal.RmgrBRIN, 0x10, insert, testBlock{id: 1}, testBlock{id: 0})},
		{"a range on no page", "does not name the tuple's page", revmap, testRecord(wal.PG15, wal.RmgrBRIN, 0x10, insert, testBlock{id: 1})},
		{"a range of no pages", "a range of no pages", revmap, testRecord(wal.PG15, wal.RmgrBRIN, 0x50, cat(u32s(0, 5), u16s(1)), testBlock{})},
		{"a used line pointer", "will not overwrite", regular, testRecord(wal.PG15, wal.RmgrBRIN, 0x10, cat(u32s(5, 1), u16s(1)), testBlock{data: tuple})},
		{"the metapage is none", "want 0xf091", regular, testRecord(wal.PG15, wal.RmgrBRIN, 0x40, u32s(3), testBlock{})},
		{"no tuple", "no room", regular, testRecord(wal.PG15, wal.RmgrBRIN, 0x30, u16s(1), testBlock{})},
		{"no such tuple", "no line pointer 7", regular, testRecord(wal.PG15, wal.RmgrBRIN, 0x50, cat(u32s(1, 5), u16s(7)), testBlock{id: 1})},
		{"a block too many", "unexpected block reference 2", regular, testRecord(wal.PG15, wal.RmgrBRIN, 0x10, insert, testBlock{id: 2})},
	} {
		t.Run(test.name, func(t *testing.T) { refused(t, test.page, test.rec, test.reason) })
	}
}

// A range's place on its page of the map: they go round every 1,360 ranges.
func TestBRINRange(t *testing.T) {
	for _, test := range []struct{ pagesPerRange, heapBlock, at uint32 }{
		{1, 0, 0}, {1, 1359, 1359}, {1, 1360, 0}, {128, 127, 0}, {128, 128, 1}, {4, 4 * 1361, 1}, {1, 0xFFFFFFFF, 0xFFFFFFFF % 1360},
	} {
		p := initialised(t, func(p *page) { p.brinInit(brinRevmapPage) })
		redoBlock(t, p, testRecord(wal.PG15, wal.RmgrBRIN, 0x10, cat(u32s(test.heapBlock, test.pagesPerRange), u16s(3)), testBlock{id: 1}, testBlock{id: 0, block: 0x10002}), 0)
		at := headerSize + int(test.at)*tidSize
		if got := [6]byte(p[at:]); got != [6]byte{1, 0, 2, 0, 3, 0} {
			t.Errorf("page %d in ranges of %d: entry %d is %x", test.heapBlock, test.pagesPerRange, test.at, got)
		}
	}
}
