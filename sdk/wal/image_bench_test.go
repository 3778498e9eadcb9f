package wal

import (
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// samplePage is a page as a heap's looks: pointers, a hole, tuples that
// resemble each other.
func samplePage(hole, holeEnd int) []byte {
	page := make([]byte, BlockSize)
	for i := 24; i+4 <= hole; i += 4 {
		binary.LittleEndian.PutUint32(page[i:], uint32(BlockSize-i*9))
	}
	for i := holeEnd; i < BlockSize; i++ {
		page[i] = byte(i%36*7) ^ byte(i/512)
	}
	return page
}

// sampleImage is samplePage as a record's image, in the versions since PG15,
// compressed with the method of bit: 0, or PGLZ 0x04, LZ4 0x08, Zstandard 0x10.
func sampleImage(tb testing.TB, bit uint8, hole, holeEnd int) (*Record, []byte) {
	tb.Helper()
	page := samplePage(hole, holeEnd)
	packed := append(append([]byte{}, page[:hole]...), page[holeEnd:]...)
	stored := packed
	switch bit {
	case 0x04:
		stored = compressPGLZ(packed)
	case 0x08:
		stored = make([]byte, lz4.CompressBlockBound(len(packed)))
		n, err := lz4.CompressBlock(packed, stored, nil)
		if err != nil || n == 0 {
			tb.Fatal(n, err)
		}
		stored = stored[:n]
	case 0x10:
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			tb.Fatal(err)
		}
		stored = w.EncodeAll(packed, nil)
	}
	b := block{rel: relA, image: stored, info: bit | 0x02}
	if hole < holeEnd {
		b.info |= 0x01
		b.hole, b.length = uint16(hole), uint16(holeEnd-hole)
	}
	r, err := decode(PG15, buildRecord(RmgrXLOG, 0xB0, 0, b.bytes(PG15)))
	if err != nil {
		tb.Fatal(err)
	}
	return r, page
}

func BenchmarkRestore(b *testing.B) {
	for name, bit := range map[string]uint8{"none": 0, "pglz": 0x04, "lz4": 0x08, "zstd": 0x10} {
		b.Run(name, func(b *testing.B) {
			r, _ := sampleImage(b, bit, 400, 2000)
			page := make([]byte, BlockSize)
			var images Images
			b.SetBytes(BlockSize)
			b.ReportAllocs()
			for b.Loop() {
				if err := images.Restore(page, r, &r.Blocks[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
