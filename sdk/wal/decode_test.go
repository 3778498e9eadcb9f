package wal

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const testStart = LSN(0x1_01000028)

var (
	relA = RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}
	relB = RelFileLocator{Spc: 1664, DB: 0, Rel: 1262}
)

func seq(n int, from byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

func decode(v Version, rec []byte) (*Record, error) {
	r := &Record{Version: v, StartLSN: testStart, Data: rec}
	return r, r.Decode(rec)
}

func TestDecodeEverything(t *testing.T) {
	plain := block{id: 0, rel: relA, blkno: 7, data: seq(5, 1), bits: bkpWillInit}
	image := block{id: 1, same: true, fork: 2, blkno: 8, image: seq(100, 2), info: 0x03, hole: 40}
	packed := block{id: 4, rel: relB, blkno: 9, image: seq(200, 3), info: 0x0D, hole: 24, length: 8000, data: seq(6, 9)}
	full := block{id: 5, same: true, fork: 1, blkno: 0xFFFFFFFE, image: make([]byte, BlockSize), info: 0x02}
	main := mainData(seq(300, 77))
	rec := buildRecord(RmgrHeap, 0x80, 700,
		plain.bytes(PG15), image.bytes(PG15), packed.bytes(PG15), full.bytes(PG15),
		raw(blockIDOrigin, 0x34, 0x12), raw(blockIDTopLevelXID, 1, 2, 3, 4), main)
	binary.LittleEndian.PutUint32(rec[20:], 0xCAFE)
	r, err := decode(PG15, rec)
	if err != nil {
		t.Fatal(err)
	}
	at := uint32(len(rec) - 300 - BlockSize - 206 - 100 - 5)
	want := &Record{
		StartLSN: testStart, PrevLSN: 0x1000000, Version: PG15, RmgrID: RmgrHeap, Info: 0x80, XID: 700,
		TopLevelXID: 0x04030201, Origin: 0x1234, TotalLen: uint32(len(rec)), CRC: 0xCAFE,
		MainDataOffset: uint32(len(rec) - 300), MainDataLen: 300, Data: rec,
		Blocks: []BlockRef{
			{Rel: relA, Block: 7, ID: 0, Flags: BlockWillInit | BlockHasData, ImageOffset: at, DataOffset: at, DataLen: 5},
			{Rel: relA, Block: 8, ID: 1, Fork: VisibilityMapFork, Flags: BlockSameRel | BlockHasImage | BlockImageHole | BlockImageApply,
				ImageOffset: at + 5, ImageLen: 100, HoleOffset: 40, HoleLen: 8092, DataOffset: at + 105},
			{Rel: relB, Block: 9, ID: 4, Flags: BlockHasImage | BlockHasData | BlockImageHole | BlockImagePGLZ | BlockImageLZ4,
				ImageOffset: at + 105, ImageLen: 200, HoleOffset: 24, HoleLen: 8000, DataOffset: at + 305, DataLen: 6},
			{Rel: relB, Block: 0xFFFFFFFE, ID: 5, Fork: FSMFork, Flags: BlockSameRel | BlockHasImage | BlockImageApply,
				ImageOffset: at + 311, ImageLen: BlockSize, DataOffset: at + 311 + BlockSize},
		},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("decoded\n%+v, want\n%+v", r, want)
	}
	for i, b := range []block{plain, image, packed, full} {
		if got := r.BlockData(&r.Blocks[i]); !slices.Equal(got, b.data) {
			t.Errorf("block %d: data %x, want %x", b.id, got, b.data)
		}
		if got := r.ImageData(&r.Blocks[i]); !slices.Equal(got, b.image) {
			t.Errorf("block %d: another image", b.id)
		}
	}
	if !slices.Equal(r.MainData(), main.payload) {
		t.Error("another main data")
	}
}

// The bits of bimg_info moved in PG15.
func TestDecodeImageBits(t *testing.T) {
	for _, c := range []struct {
		v    Version
		info uint8
		want BlockFlags
	}{
		{PG14, 0x01, BlockImageHole},
		{PG14, 0x05, BlockImageHole | BlockImageApply},
		{PG14, 0x03, BlockImageHole | BlockImagePGLZ},
		{PG14, 0xF8 | 0x07, BlockImageHole | BlockImagePGLZ | BlockImageApply},
		{PG15, 0x01, BlockImageHole},
		{PG15, 0x03, BlockImageHole | BlockImageApply},
		{PG15, 0x05, BlockImageHole | BlockImagePGLZ},
		{PG15, 0x0B, BlockImageHole | BlockImageApply | BlockImageLZ4},
		{PG18, 0x13, BlockImageHole | BlockImageApply | BlockImageZSTD},
		{PG18, 0xE3, BlockImageHole | BlockImageApply},
	} {
		b := block{rel: relA, image: seq(100, 1), info: c.info, hole: 24, length: 8000}
		r, err := decode(c.v, buildRecord(RmgrXLOG, 0xB0, 0, b.bytes(c.v)))
		if err != nil {
			t.Errorf("%s, %02X: %v", c.v, c.info, err)
		} else if got := r.Blocks[0].Flags &^ BlockHasImage; got != c.want {
			t.Errorf("%s: bimg_info %02X is flags %b, want %b", c.v, c.info, got, c.want)
		}
	}
}

// A compressed image without a hole has no hole length in its header.
func TestDecodeCompressedWithoutHole(t *testing.T) {
	b := block{rel: relA, blkno: 3, image: seq(100, 1), info: 0x06}
	r, err := decode(PG16, buildRecord(RmgrXLOG, 0xB0, 0, b.bytes(PG16)))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Blocks[0]; got.HoleLen != 0 || got.HoleOffset != 0 || got.Block != 3 {
		t.Errorf("decoded %+v", got)
	}
}

func TestDecodeNothing(t *testing.T) {
	r, err := decode(PG15, buildRecord(RmgrXLOG, 0x40, 0)) // a segment switch
	if err != nil {
		t.Fatal(err)
	}
	if r.TotalLen != RecordHeaderSize || r.MainDataOffset != RecordHeaderSize || r.MainDataLen != 0 || len(r.Blocks) != 0 {
		t.Errorf("decoded %+v", r)
	}
}

// A record may be longer than what Decode is given of it, and may be shorter.
func TestDecodeHead(t *testing.T) {
	parts := []part{}
	for id := range uint8(MaxBlockID + 1) {
		b := block{id: id, rel: relA, blkno: BlockNumber(id), image: seq(500, id), info: 0x0B, hole: 24, length: 7000, data: seq(400, id)}
		p := b.bytes(PG15)
		parts = append(parts, p)
	}
	parts = append(parts, raw(blockIDOrigin, 1, 0), raw(blockIDTopLevelXID, 1, 0, 0, 0), mainData(make([]byte, 1000)))
	rec := buildRecord(RmgrGeneric, 0, 700, parts...)
	for _, head := range [][]byte{rec, rec[:MaxHeaderSize], append(slices.Clone(rec), 1, 2, 3)} {
		r, err := decode(PG15, head)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Blocks) != MaxBlockID+1 || r.MainDataOffset != uint32(len(rec)-1000) || r.Origin != 1 || r.TopLevelXID != 1 {
			t.Errorf("of %d bytes: %d blocks, main data at %d, origin %d, top-level xid %d",
				len(head), len(r.Blocks), r.MainDataOffset, r.Origin, r.TopLevelXID)
		}
	}
	if _, err := decode(PG15, rec[:MaxHeaderSize-1]); err == nil {
		t.Error("a head that is one byte short was decoded")
	}
}

// What an earlier record left behind is not in the next.
func TestDecodeAgain(t *testing.T) {
	first := buildRecord(RmgrHeap, 0, 700, block{rel: relA, data: seq(5, 1), image: seq(100, 1), info: 0x0F, hole: 24, length: 99}.bytes(PG15),
		raw(blockIDOrigin, 1, 0), raw(blockIDTopLevelXID, 1, 0, 0, 0), mainData(seq(9, 1)))
	second := buildRecord(RmgrHeap, 0, 701, block{id: 3, rel: relB}.bytes(PG15))
	r, err := decode(PG15, first)
	if err != nil {
		t.Fatal(err)
	}
	r.Data = second
	if err := r.Decode(second); err != nil {
		t.Fatal(err)
	}
	want, err := decode(PG15, second)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("decoded\n%+v, want\n%+v", r, want)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	rec := buildRecord(RmgrHeap, 0, 700, block{rel: relA, data: seq(5, 1)}.bytes(PG15), block{id: 1, same: true, blkno: 1}.bytes(PG15), mainData(seq(3, 1)))
	r, err := decode(PG15, rec)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Decode(rec); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// with replaces record bytes.
func with(rec []byte, at int, b ...byte) []byte {
	rec = slices.Clone(rec)
	copy(rec[at:], b)
	return rec
}

// rejection is a record that Decode refuses.
type rejection struct {
	name string
	v    Version
	rec  []byte
	want string
}

func rejections() []rejection {
	data := block{rel: relA, data: seq(5, 1)}
	hole := block{rel: relA, image: seq(100, 1), info: 0x03, hole: 40}
	packed := block{rel: relA, image: seq(100, 1), info: 0x07, hole: 40, length: 99}
	full := block{rel: relA, image: make([]byte, BlockSize), info: 0x02}
	record := func(parts ...part) []byte { return buildRecord(RmgrHeap, 0, 700, parts...) }
	longer := func(rec []byte) []byte { return with(rec, 0, byte(len(rec)+1), byte((len(rec)+1)>>8)) }

	// Offsets into a record whose first header is a block's: id 24, fork_flags
	// 25, data_length 26, then bimg_len 28, hole offset 30, bimg_info 32, hole
	// length 33.
	return []rejection{
		{"no header", PG15, make([]byte, 23), "record header at 1/1000028 needs 24 bytes, but 23 were given"},
		{"length below the header's", PG15, with(record(), 0, 23), "invalid record length at 1/1000028: expected at least 24, got 23"},
		{"length 0", PG15, make([]byte, 24), "invalid record length at 1/1000028: expected at least 24, got 0"},

		{"unknown id", PG15, record(raw(33, 0, 0, 0)), "invalid block_id 33 at 1/1000028"},
		{"last unknown id", PG15, record(raw(251)), "invalid block_id 251 at 1/1000028"},
		{"same id again", PG15, record(data.bytes(PG15), data.bytes(PG15)), "out-of-order block_id 0 at 1/1000028"},
		{"descending ids", PG15, record(block{id: 2, rel: relA}.bytes(PG15), block{id: 1, rel: relA}.bytes(PG15)), "out-of-order block_id 1 at 1/1000028"},
		{"no relation before", PG15, record(block{same: true}.bytes(PG15)), "BKPBLOCK_SAME_REL set but no previous rel at 1/1000028"},

		{"data flag without data", PG15, with(record(data.bytes(PG15)), 26, 0, 0), "BKPBLOCK_HAS_DATA set, but no data included at 1/1000028"},
		{"data without flag", PG15, with(record(data.bytes(PG15)), 25, 0), "BKPBLOCK_HAS_DATA not set, but data length is 5 at 1/1000028"},

		{"hole at 0", PG15, with(record(hole.bytes(PG15)), 30, 0), "BKPIMAGE_HAS_HOLE set, but hole offset 0 length 8092 block image length 100 at 1/1000028"},
		{"hole in a full image", PG15, with(record(full.bytes(PG15)), 30, 40, 0, 0x03), "BKPIMAGE_HAS_HOLE set, but hole offset 40 length 0 block image length 8192 at 1/1000028"},
		{"compressed hole of nothing", PG15, with(record(packed.bytes(PG15)), 33, 0), "BKPIMAGE_HAS_HOLE set, but hole offset 40 length 0 block image length 100 at 1/1000028"},
		{"compressed hole, full image", PG15, with(record(packed.bytes(PG15)), 28, 0, 0x20), "BKPIMAGE_HAS_HOLE set, but hole offset 40 length 99 block image length 8192 at 1/1000028"},
		{"offset without hole", PG15, with(record(full.bytes(PG15)), 30, 1), "BKPIMAGE_HAS_HOLE not set, but hole offset 1 length 0 at 1/1000028"},
		{"length without hole", PG15, with(record(full.bytes(PG15)), 28, 0xFF, 0x1F), "BKPIMAGE_HAS_HOLE not set, but hole offset 0 length 1 at 1/1000028"},
		{"image beyond a page", PG15, with(record(full.bytes(PG15)), 28, 1, 0x20), "BKPIMAGE_HAS_HOLE not set, but hole offset 0 length 65535 at 1/1000028"},
		{"compressed, offset without hole", PG15, with(record(packed.bytes(PG15)), 32, 0x06), "BKPIMAGE_HAS_HOLE not set, but hole offset 40 length 0 at 1/1000028"},
		{"compressed to a page", PG15, with(record(full.bytes(PG15)), 32, 0x08), "BKPIMAGE_COMPRESSED set, but block image length 8192 at 1/1000028"},
		{"compressed to a page in 14", PG14, with(record(full.bytes(PG14)), 32, 0x02), "BKPIMAGE_IS_COMPRESSED set, but block image length 8192 at 1/1000028"},

		{"data shorter than announced", PG15, with(record(mainData(seq(9, 1))), 25, 10), "record with invalid length at 1/1000028"},
		{"data longer than announced", PG15, with(record(mainData(seq(9, 1))), 25, 8), "record with invalid length at 1/1000028"},
		{"block data longer than the record", PG15, with(record(data.bytes(PG15)), 27, 1), "record with invalid length at 1/1000028"},
		{"lengths that overflow", PG15, with(record(data.bytes(PG15), part{[]byte{blockIDDataLong, 0xFB, 0xFF, 0xFF, 0xFF}, nil}), 26, 5), "record with invalid length at 1/1000028"},
		{"header cut off in the data length", PG15, record(raw(0, bkpHasData, 1)), "record with invalid length at 1/1000028"},
		{"header cut off in the image", PG15, record(raw(0, bkpHasImage, 0, 0, 100, 0, 40)), "record with invalid length at 1/1000028"},
		{"header cut off in the hole length", PG15, record(raw(0, bkpHasImage, 0, 0, 100, 0, 40, 0, 0x07, 9)), "record with invalid length at 1/1000028"},
		{"header cut off in the relation", PG15, record(raw(0, 0, 0, 0, 1, 2, 3)), "record with invalid length at 1/1000028"},
		{"header cut off in the block number", PG15, record(data.bytes(PG15), raw(1, bkpSameRel, 0, 0, 1)), "record with invalid length at 1/1000028"},
		{"header cut off after its id", PG15, record(raw(0)), "record with invalid length at 1/1000028"},
		{"origin cut off", PG15, record(raw(blockIDOrigin, 1)), "record with invalid length at 1/1000028"},
		{"top-level xid cut off", PG15, record(raw(blockIDTopLevelXID, 1, 2, 3)), "record with invalid length at 1/1000028"},
		{"short data header cut off", PG15, record(raw(blockIDDataShort)), "record with invalid length at 1/1000028"},
		{"long data header cut off", PG15, record(raw(blockIDDataLong, 1, 2, 3)), "record with invalid length at 1/1000028"},
		{"headers beyond the head", PG15, longer(record(raw(blockIDOrigin, 1, 0))), "record headers exceed the 27 bytes given at 1/1000028"},
	}
}

func TestDecodeRejects(t *testing.T) {
	for _, c := range rejections() {
		t.Run(c.name, func(t *testing.T) {
			r, err := decode(c.v, c.rec)
			var wrong *Error
			if !errors.As(err, &wrong) {
				t.Fatalf("decoded %+v, error %v", r, err)
			}
			if wrong.Reason != c.want || wrong.LSN != testStart {
				t.Errorf("at %s %q, want %q", wrong.LSN, wrong.Reason, c.want)
			}
		})
	}
}

// TestDecodeRejectsAsInstalled has the installed pg_waldump read the same
// records, with right checksums, and compares the reasons that it gives. It
// names the LSN of the record before, and so LSNs are left out.
func TestDecodeRejectsAsInstalled(t *testing.T) {
	tool, v := pgWaldump(t)
	n := 0
	for _, c := range rejections() {
		if len(c.rec) < RecordHeaderSize || binary.LittleEndian.Uint32(c.rec) != uint32(len(c.rec)) || (c.v == PG14) != (v == PG14) {
			continue // is no record of its length; is another format
		}
		n++
		t.Run(c.name, func(t *testing.T) {
			w := walWriter{version: v}
			w.append(buildRecord(RmgrXLOG, 0x20, 0)) // NOOP
			w.append(c.rec)
			want, _, _ := strings.Cut(c.want, " at 1/1000028")
			if got := waldumpReason(t, tool, w.file(t)); got != want {
				t.Errorf("refused for %q, %s says %q", want, tool, got)
			}
		})
	}
	if n == 0 {
		t.Errorf("no record was given to %s", tool)
	}
}

// FuzzDecode checks that any bytes are refused with their place, or decode to
// parts that cover the record.
func FuzzDecode(f *testing.F) {
	for _, v := range []Version{PG14, PG15, PG18} {
		f.Add(uint8(v), buildRecord(RmgrHeap, 0x80, 700,
			block{rel: relA, data: seq(5, 1), bits: bkpWillInit}.bytes(v),
			block{id: 1, same: true, image: seq(100, 2), info: 0x01, hole: 40}.bytes(v),
			block{id: 4, rel: relB, image: seq(100, 2), info: 0x07, hole: 40, length: 300}.bytes(v),
			raw(blockIDOrigin, 1, 0), raw(blockIDTopLevelXID, 1, 2, 3, 4), mainData(seq(9, 1))))
		f.Add(uint8(v), buildRecord(RmgrTransaction, 0, 700, mainData(seq(300, 1))))
	}
	for _, i := range recordedImages(f) {
		f.Add(uint8(PG15), i.rec)
	}
	f.Fuzz(func(t *testing.T, v uint8, rec []byte) {
		r, err := decode(Version(v), rec)
		checkImageBytes(t, Version(v), rec, r, err)
		if err != nil {
			var wrong *Error
			if !errors.As(err, &wrong) || wrong.LSN != testStart || !strings.Contains(wrong.Reason, "at 1/1000028") {
				t.Fatalf("error %#v", err)
			}
			return
		}
		checkLayout(t, r)
		head := rec[:min(len(rec), MaxHeaderSize)]
		again, err := decode(Version(v), head)
		checkImageBytes(t, Version(v), head, again, err)
		if err != nil {
			if len(head) == len(rec) || !strings.Contains(err.Error(), "headers exceed") {
				t.Fatalf("its head alone: %v", err)
			}
			return // an origin many times over, which PostgreSQL never writes
		}
		again.Data = r.Data
		if !reflect.DeepEqual(r, again) {
			t.Fatalf("its head alone decodes to %+v, all of it to %+v", again, r)
		}
		var images Images
		page := make([]byte, BlockSize)
		for i := range r.Blocks {
			_ = images.Restore(page, r, &r.Blocks[i]) // must not panic, whatever it answers
		}
		_, _ = r.XactTime()
		_ = r.Operation()
	})
}

// checkImageBytes compares ImageBytes with what Decode answered of the same bytes.
func checkImageBytes(t *testing.T, v Version, rec []byte, r *Record, err error) {
	t.Helper()
	n, ok := ImageBytes(v, rec)
	if ok != (err == nil) {
		t.Fatalf("image bytes: %d, %v; Decode answers %v", n, ok, err)
	}
	if !ok {
		return
	}
	want := uint32(0)
	for i := range r.Blocks {
		want += uint32(r.Blocks[i].ImageLen)
	}
	if n != want {
		t.Fatalf("%d bytes of images, want %d: %+v", n, want, r)
	}
}

// checkLayout checks that images and data follow the headers without gap or
// overlap, up to the record's end.
func checkLayout(t *testing.T, r *Record) {
	t.Helper()
	if len(r.Blocks) > MaxBlockID+1 {
		t.Fatalf("%d blocks", len(r.Blocks))
	}
	end := r.MainDataOffset
	if len(r.Blocks) > 0 {
		end = r.Blocks[0].ImageOffset
	}
	if end < RecordHeaderSize {
		t.Fatalf("data begins at %d", end)
	}
	id := -1
	for _, b := range r.Blocks {
		if int(b.ID) <= id || b.ID > MaxBlockID || b.ImageOffset != end || b.DataOffset != end+uint32(b.ImageLen) {
			t.Fatalf("block %d after %d, %d: %+v", b.ID, id, end, b)
		}
		id, end = int(b.ID), b.DataOffset+uint32(b.DataLen)
	}
	if end != r.MainDataOffset || uint64(end)+uint64(r.MainDataLen) != uint64(r.TotalLen) {
		t.Fatalf("data ends at %d, main data at %d of %d bytes, record of %d", end, r.MainDataOffset, r.MainDataLen, r.TotalLen)
	}
}
