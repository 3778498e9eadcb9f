package redo

import (
	"bytes"
	"math"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

func hashRecord(info uint8, main []byte, blocks ...testBlock) *wal.Record {
	return testRecord(wal.PG15, wal.RmgrHash, info, main, blocks...)
}

// hashMetaRecord is an INIT_META_PAGE.
func hashMetaRecord(v wal.Version, tuples float64, fillFactor uint16) *wal.Record {
	main := cat(le.AppendUint64(nil, math.Float64bits(tuples)), u32s(400), u16s(fillFactor))
	return testRecord(v, wal.RmgrHash, 0x00, main, testBlock{init: true})
}

// newHashMeta is the metapage of an index that begins with two buckets.
func newHashMeta(t testing.TB) *page {
	t.Helper()
	p := new(page)
	redoBlock(t, p, hashMetaRecord(wal.PG15, 0, 100), 0)
	return p
}

func metaOf(t testing.TB, p *page) hashMeta {
	t.Helper()
	m, err := p.hashMeta()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// How many buckets an index begins with: powers of two up to 512, then in four
// steps to each next one.
func TestHashBuckets(t *testing.T) {
	for _, test := range []struct {
		tuples     float64
		fillFactor uint16
		buckets    uint32
		point      uint32
	}{
		{0, 100, 2, 1}, {200, 100, 2, 1}, {299, 100, 2, 1}, {300, 100, 4, 2}, {math.NaN(), 100, 2, 1}, {5, 0, 0x40000000, 93},
		{512, 1, 512, 9}, {513, 1, 640, 10}, {640, 1, 640, 10}, {641, 1, 768, 11}, {769, 1, 896, 12}, {1024, 1, 1024, 13},
		{1025, 1, 1280, 14}, {45000, 40, 1280, 14}, {60000, 40, 1536, 15}, {2049, 1, 2560, 18}, {1e300, 1, 0x40000000, 93},
	} {
		p := new(page)
		redoBlock(t, p, hashMetaRecord(wal.PG18, test.tuples, test.fillFactor), 0)
		m := metaOf(t, p)
		high := m.u32(hashmHighMask)
		if m.u32(hashmMaxBucket) != test.buckets-1 || m.u32(hashmOverflowPoint) != test.point || m.u32(hashmSpares+4*int(test.point)) != 1 {
			t.Errorf("%v tuples of %d a bucket: largest bucket %d, split point %d, want %d, %d",
				test.tuples, test.fillFactor, m.u32(hashmMaxBucket), m.u32(hashmOverflowPoint), test.buckets-1, test.point)
		}
		if high < test.buckets || high+1 > 2*test.buckets || high&(high+1) != 0 || m.u32(hashmLowMask) != high>>1 {
			t.Errorf("%d buckets: masks %#x, %#x", test.buckets, high, m.u32(hashmLowMask))
		}
	}
}

// An overflow page whose bit no bitmap page has yet comes with a new one: that
// takes 32768 overflow pages.
func TestHashNewBitmapPage(t *testing.T) {
	rec := hashRecord(0x30, cat(u16s(4096), []byte{0}),
		testBlock{id: 0, block: 500, init: true, data: u32s(3)}, testBlock{id: 1, block: 40},
		testBlock{id: 3, block: 501, init: true}, testBlock{id: 4, data: u32s(32769)})
	bitmap := new(page)
	redoBlock(t, bitmap, rec, 2)
	o, err := bitmap.hashOpaque()
	if err != nil || o.flags() != lhBitmapPage || bitmap.lower() != headerSize+4096 {
		t.Errorf("the bitmap page has flags %#x, pd_lower %d, %v", o.flags(), bitmap.lower(), err)
	}
	if want := bytes.Repeat([]byte{0xFF}, 4096); !bytes.Equal(bitmap[headerSize:headerSize+4096], want) || bitmap[headerSize+4096] != 0 {
		t.Error("not all of its bits are set")
	}
	meta := newHashMeta(t)
	redoBlock(t, meta, rec, 3)
	m := metaOf(t, meta)
	if m.u32(hashmBitmaps) != 1 || m.u32(hashmMap) != 501 || m.u32(hashmSpares+4) != 1+2 || m.u32(hashmFirstFree) != 32769 {
		t.Errorf("the metapage has %d bitmaps, the first %d, %d spare pages, first free bit %d",
			m.u32(hashmBitmaps), m.u32(hashmMap), m.u32(hashmSpares+4), m.u32(hashmFirstFree))
	}
}

// The page behind one that is freed gets a new link back. The server frees from
// the end of a chain only.
func TestHashSqueezeInMidst(t *testing.T) {
	p := pageOf(t, lhOverflowPage)
	redoBlock(t, p, hashRecord(0x80, cat(u32s(40, 60), u16s(0), []byte{0, 0}), testBlock{id: 4, block: 60}), 0)
	if o, err := p.hashOpaque(); err != nil || le.Uint32(o) != 40 {
		t.Errorf("hasho_prevblkno %d, %v", le.Uint32(o), err)
	}
}

// A page that is named only for the server to lock it keeps its LSN; one to which
// nothing is moved, since PG17.
func TestHashUntouched(t *testing.T) {
	squeeze := cat(u32s(40, 60), u16s(0), []byte{1, 0})
	for _, test := range []struct {
		rec     *wal.Record
		changed bool
	}{
		{hashRecord(0x70, cat(u16s(1), []byte{0}), testBlock{id: 0}), false},
		{hashRecord(0x80, squeeze, testBlock{id: 0}), false},
		{hashRecord(0x90, []byte{1, 0}, testBlock{id: 0}), false},
		{testRecord(wal.PG16, wal.RmgrHash, 0x80, squeeze, testBlock{id: 1}), true},
		{testRecord(wal.PG17, wal.RmgrHash, 0x80, squeeze, testBlock{id: 1}), false},
		{testRecord(wal.PG17, wal.RmgrHash, 0x80, cat(u32s(40, 60), u16s(0), []byte{1, 1}), testBlock{id: 1}), true},
	} {
		p := pageOf(t, lhOverflowPage)
		redoBlock(t, p, test.rec, 0)
		if got := p.lsn() == endLSN; got != test.changed {
			t.Errorf("%s of %s, block %d: pd_lsn is set: %t", test.rec.Operation(), test.rec.Version, test.rec.Blocks[0].ID, got)
		}
	}
}

// LH_PAGE_HAS_DEAD_TUPLES, which the server's check masks, goes with the dead.
func TestHashHiddenFlags(t *testing.T) {
	const bucket = 1 << 1 // LH_BUCKET_PAGE
	for _, test := range []struct {
		rec  *wal.Record
		want uint16
	}{
		{hashRecord(0x90, []byte{1, 0}, testBlock{id: 1, data: u16s(1)}), bucket},
		{hashRecord(0x90, []byte{0, 0}, testBlock{id: 1, data: u16s(1)}), bucket | lhPageHasDeadTuples},
		{hashRecord(0xC0, cat(u32s(9, 1), u16s(1)), testBlock{id: 0}), bucket},
		{testRecord(wal.PG16, wal.RmgrHash, 0xC0, cat(u32s(9), u16s(1), []byte{1, 0}, u16s(1)), testBlock{id: 0}), bucket},
	} {
		p := pageOf(t, bucket|lhPageHasDeadTuples, leafTuple(t, 1, 1), leafTuple(t, 2, 2))
		redoBlock(t, p, test.rec, 0)
		if o, err := p.hashOpaque(); err != nil || o.flags() != test.want || p.maxOffset() != 1 {
			t.Errorf("%s: flags %#x, want %#x, %d items, %v", test.rec.Operation(), o.flags(), test.want, p.maxOffset(), err)
		}
	}
	p := pageOf(t, bucket)
	redoBlock(t, p, hashRecord(0x80, cat(u32s(40, 60), u16s(0), []byte{0, 0}), testBlock{id: 2}), 0)
	want := cat(u32s(invalidBlock, invalidBlock, invalidBucket), u16s(lhUnusedPage, hashPageID))
	if got := p[p.special():]; !bytes.Equal(got, want) {
		t.Errorf("the special space of a freed page is %x, want %x", got, want)
	}
}

// What does not fit the page is refused.
func TestHashRefuses(t *testing.T) {
	tuple := leafTuple(t, 1, 1)
	full := newHashMeta(t)
	metaOf(t, full).setU32(hashmBitmaps, hashMaxBitmaps)
	astray := newHashMeta(t)
	metaOf(t, astray).setOverflowPoint(hashMaxSplitPoints)
	for _, test := range []struct {
		reason string
		page   *page
		rec    *wal.Record
	}{
		{"no hash index's metapage", pageOf(t, 0), hashRecord(0x20, u16s(1), testBlock{id: 1})},
		{"no hash index's metapage", pageOf(t, 0), hashRecord(0xB0, make([]byte, 8), testBlock{})},
		{"too short", new(page), hashRecord(0x00, make([]byte, 13), testBlock{init: true})},
		{"8192 bytes of bitmap", new(page), hashRecord(0x10, u16s(8192), testBlock{init: true})},
		{"1024 bitmap pages already", full, hashRecord(0x10, u16s(4096), testBlock{id: 1})},
		{"is missing", pageOf(t, 0), hashRecord(0x30, u16s(4096, 0), testBlock{id: 1})},
		{"no bit 65216", pageOf(t, 0), hashRecord(0x80, make([]byte, 12), testBlock{id: 5, data: u32s(65216)})},
		{"no split point 98", astray, hashRecord(0x30, u16s(4096, 0), testBlock{id: 4, data: u32s(1)}, testBlock{id: 0}, testBlock{id: 1})},
		{"no split point 98", newHashMeta(t), hashRecord(0x40, cat(u32s(3), u16s(0, 0), []byte{2}), testBlock{id: 2, data: u32s(98, 1)})},
		{"too short", newHashMeta(t), hashRecord(0x40, cat(u32s(3), u16s(0, 0), []byte{3}), testBlock{id: 2, data: u32s(1, 2)})},
		{"did not contain a full-page image", pageOf(t, 0), hashRecord(0x50, nil, testBlock{})},
		{"too short", pageOf(t, 0), hashRecord(0x70, u16s(2, 0), testBlock{id: 1, data: u16s(1)})},
		{"follow the 1 tuples", pageOf(t, 0), hashRecord(0x70, u16s(1, 0), testBlock{id: 1, data: cat(u16s(1), tuple, tuple)})},
		{"an index tuple has 0 bytes", pageOf(t, 0), hashRecord(0x70, u16s(2, 0), testBlock{id: 1, data: cat(u16s(1, 2), tuple)})},
		{"no line pointer 3", pageOf(t, 0, tuple), hashRecord(0x90, u16s(0), testBlock{id: 1, data: u16s(3)})},
		{"too short", pageOf(t, 0, tuple), hashRecord(0xC0, cat(u32s(1, 2), u16s(1)), testBlock{})},
		{"no block reference 7", pageOf(t, 0), hashRecord(0x80, make([]byte, 12), testBlock{id: 7})},
	} {
		refused(t, test.page, test.rec, test.reason)
	}
}
