package wal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// recordedImage is a line of testdata/images.txt.
type recordedImage struct {
	name string
	sum  string // SHA-256 of the page, hexadecimal
	rec  []byte
}

func recordedImages(tb testing.TB) (all []recordedImage) {
	tb.Helper()
	data, err := os.ReadFile("testdata/images.txt")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var i recordedImage
		var lsn string
		if n, err := fmt.Sscanf(line, "%s %s %s %x", &i.name, &lsn, &i.sum, &i.rec); n != 4 {
			tb.Fatalf("%.40q: %v", line, err)
		}
		all = append(all, i)
	}
	if len(all) != 7 {
		tb.Fatalf("%d images recorded, want 7", len(all))
	}
	return all
}

// TestRestoreAsRecorded restores images that a real server wrote to what
// pg_waldump restored.
func TestRestoreAsRecorded(t *testing.T) {
	var images Images
	for _, i := range recordedImages(t) {
		t.Run(i.name, func(t *testing.T) {
			r, err := decode(PG15, i.rec)
			if err != nil {
				t.Fatal(err)
			}
			page := bytes.Repeat([]byte{0xEE}, BlockSize)
			if err := images.Restore(page, r, &r.Blocks[0]); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(page)); got != i.sum {
				t.Errorf("restored a page of hash %s, want %s", got, i.sum)
			}
		})
	}
}

// methods are the compression bits of bimg_info since PG15.
var methods = map[string]uint8{"uncompressed": 0, "pglz": 0x04, "lz4": 0x08, "zstd": 0x10}

func TestRestore(t *testing.T) {
	for name, bit := range methods {
		for _, hole := range [][2]int{{0, 0}, {24, 8192}, {24, 25}, {400, 2000}, {8191, 8192}} {
			t.Run(fmt.Sprintf("%s, hole %d to %d", name, hole[0], hole[1]), func(t *testing.T) {
				r, want := sampleImage(t, bit, hole[0], hole[1])
				page := bytes.Repeat([]byte{0xEE}, BlockSize)
				var images Images
				if err := images.Restore(page, r, &r.Blocks[0]); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(page, want) {
					t.Error("restored another page")
				}
			})
		}
	}
}

func TestRestoreAllocatesNothing(t *testing.T) {
	for name, bit := range methods {
		r, _ := sampleImage(t, bit, 400, 2000)
		page := make([]byte, BlockSize)
		var images Images
		if n := testing.AllocsPerRun(100, func() {
			if err := images.Restore(page, r, &r.Blocks[0]); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func TestRestoreRejects(t *testing.T) {
	const broken = "could not decompress image at 1/1000028, block 0"
	change := func(f func(r *Record, b *BlockRef)) func(*Record) { return func(r *Record) { f(r, &r.Blocks[0]) } }
	cutOff := change(func(r *Record, b *BlockRef) { b.ImageLen-- })
	trailing := change(func(r *Record, b *BlockRef) { b.ImageLen++; r.Data = append(r.Data, 0) })
	lessHole := change(func(r *Record, b *BlockRef) { b.HoleLen-- })
	moreHole := change(func(r *Record, b *BlockRef) { b.HoleLen += 600 }) // pglz cuts off a last copy
	empty := change(func(r *Record, b *BlockRef) { b.ImageLen = 0 })
	for _, c := range []struct {
		name   string
		method string
		change func(*Record)
		want   string
	}{
		{"no image", "pglz", change(func(r *Record, b *BlockRef) { b.Flags &^= BlockHasImage }), "could not restore image at 1/1000028 with invalid state, block 0"},
		{"hole beyond the page", "pglz", change(func(r *Record, b *BlockRef) { b.HoleOffset = 7000 }), "could not restore image at 1/1000028 with hole offset 7000 length 1600, block 0"},
		{"hole of the greatest numbers", "uncompressed", change(func(r *Record, b *BlockRef) { b.HoleOffset, b.HoleLen = 65535, 65535 }), "could not restore image at 1/1000028 with hole offset 65535 length 65535, block 0"},
		{"first fragment", "uncompressed", func(r *Record) { r.Data = r.Data[:1000] }, "could not restore image at 1/1000028 of which only 951 of 6592 bytes are given, block 0"},
		{"later fragment", "uncompressed", func(r *Record) { r.FragmentOffset, r.Data = 6000, r.Data[6000:] }, "could not restore image at 1/1000028 of which only 641 of 6592 bytes are given, block 0"},

		{"cut off", "uncompressed", cutOff, broken},
		{"cut off", "pglz", cutOff, broken},
		{"cut off", "lz4", cutOff, broken},
		{"cut off", "zstd", cutOff, broken},
		{"trailing byte", "uncompressed", trailing, broken},
		{"trailing byte", "pglz", trailing, broken},
		{"trailing byte", "lz4", trailing, broken},
		{"trailing byte", "zstd", trailing, broken},
		{"page larger than the image", "uncompressed", lessHole, broken},
		{"page larger than the image", "pglz", lessHole, broken},
		{"page larger than the image", "lz4", lessHole, broken},
		{"page larger than the image", "zstd", lessHole, broken},
		{"page smaller than the image", "uncompressed", moreHole, broken},
		{"page smaller than the image", "pglz", moreHole, broken},
		{"page smaller than the image", "lz4", moreHole, broken},
		{"page smaller than the image", "zstd", moreHole, broken},
		{"empty", "pglz", empty, broken},
		{"empty", "lz4", empty, broken},
		{"empty", "zstd", empty, broken},
	} {
		t.Run(c.method+", "+c.name, func(t *testing.T) {
			r, _ := sampleImage(t, methods[c.method], 400, 2000)
			c.change(r)
			var images Images
			err := images.Restore(make([]byte, BlockSize), r, &r.Blocks[0])
			var wrong *Error
			if !errors.As(err, &wrong) {
				t.Fatalf("error %v", err)
			}
			if wrong.Reason != c.want || wrong.LSN != testStart {
				t.Errorf("at %s %q, want %q", wrong.LSN, wrong.Reason, c.want)
			}
		})
	}
}

func TestRestoreIntoWrongSize(t *testing.T) {
	r, _ := sampleImage(t, 0, 400, 2000)
	var images Images
	err := images.Restore(make([]byte, 4096), r, &r.Blocks[0])
	if err == nil || err.Error() != "could not restore image at 1/1000028 into 4096 bytes, want 8192, block 0" {
		t.Errorf("error %v", err)
	}
}

// A frame that claims or holds far more than a page costs no memory.
func TestRestoreBomb(t *testing.T) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	sized := w.EncodeAll(make([]byte, 16<<20), nil)
	var unsized bytes.Buffer
	w.Reset(&unsized)
	for range 16 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, frame := range map[string][]byte{"size in the header": sized, "size not in the header": unsized.Bytes()} {
		b := block{rel: relA, image: frame, info: 0x12}
		if len(frame) >= BlockSize {
			t.Fatalf("%s: the frame has %d bytes", name, len(frame))
		}
		r, err := decode(PG15, buildRecord(RmgrXLOG, 0xB0, 0, b.bytes(PG15)))
		if err != nil {
			t.Fatal(err)
		}
		page := make([]byte, BlockSize)
		var images Images
		good, _ := sampleImage(t, 0x10, 400, 2000)
		if err := images.Restore(page, good, &good.Blocks[0]); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = images.Restore(page, r, &r.Blocks[0])
		runtime.ReadMemStats(&after)
		if err == nil || err.Error() != "could not decompress image at 1/1000028, block 0" {
			t.Errorf("%s: error %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 256<<10 {
			t.Errorf("%s: allocated %d bytes", name, n)
		}
	}
}

// FuzzImage checks that no image, however broken, does more than fail, and that
// restoring it again makes the same page with a hole of zeros.
func FuzzImage(f *testing.F) {
	for _, bit := range methods {
		for _, hole := range [][2]int{{0, 0}, {400, 7800}} {
			r, _ := sampleImage(f, bit, hole[0], hole[1])
			b := &r.Blocks[0]
			f.Add(uint16(b.Flags), b.HoleOffset, b.HoleLen, r.ImageData(b))
		}
	}
	for _, i := range recordedImages(f) {
		r, err := decode(PG15, i.rec)
		if err != nil {
			f.Fatal(err)
		}
		b := &r.Blocks[0]
		f.Add(uint16(b.Flags), b.HoleOffset, b.HoleLen, r.ImageData(b))
	}
	var images Images
	f.Fuzz(func(t *testing.T, flags, hole, length uint16, stored []byte) {
		if len(stored) > 0xFFFF {
			return
		}
		b := BlockRef{Flags: BlockFlags(flags) | BlockHasImage, HoleOffset: hole, HoleLen: length, ImageLen: uint16(len(stored))}
		r := Record{StartLSN: testStart, TotalLen: uint32(len(stored)), Data: stored}
		around := bytes.Repeat([]byte{0xEE}, BlockSize+16)
		page := around[8 : 8+BlockSize]
		if err := images.Restore(page, &r, &b); err != nil {
			var wrong *Error
			if !errors.As(err, &wrong) {
				t.Fatal(err)
			}
			page = nil
		}
		for _, i := range []int{0, 7, 8 + BlockSize, 15 + BlockSize} {
			if around[i] != 0xEE {
				t.Fatalf("byte %d beside the page was written", i-8)
			}
		}
		if page == nil {
			return
		}
		if bytes.ContainsFunc(page[hole:int(hole)+int(length)], func(c rune) bool { return c != 0 }) {
			t.Fatal("the hole is not zero")
		}
		again := make([]byte, BlockSize)
		if err := images.Restore(again, &r, &b); err != nil || !bytes.Equal(page, again) {
			t.Fatalf("restored another page again, error %v", err)
		}
	})
}
