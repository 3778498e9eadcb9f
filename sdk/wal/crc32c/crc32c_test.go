package crc32c

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// want is hash/crc32's answer, the reference.
func want(crc uint32, p []byte) uint32 {
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), p)
}

func wantRecord(rec []byte) uint32 { return want(want(0, rec[headerSize:]), rec[:crcOffset]) }

func random(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// TestKnown has the check value of the CRC catalogue, and RFC 3720's (B.4).
func TestKnown(t *testing.T) {
	for text, crc := range map[string]uint32{"": 0, "123456789": 0xE3069283, string(make([]byte, 32)): 0x8A9136AA} {
		if got := Update(0, []byte(text)); got != crc {
			t.Errorf("%q: %08X, want %08X", text, got, crc)
		}
	}
}

// TestEveryLengthAndAlignment compares with hash/crc32 over every length in which
// something changes, from every alignment, and from different CRCs.
func TestEveryLengthAndAlignment(t *testing.T) {
	const most = 64 + 3*512
	data := random(64 + most)
	for at := range 64 {
		for n := range most {
			p := data[at : at+n]
			crc := uint32(0)
			if n%3 == 1 {
				crc = uint32(n) * 0x9E3779B9
			}
			if got, want := Update(crc, p), want(crc, p); got != want {
				t.Fatalf("%d bytes at alignment %d: %08X, want %08X", n, at, got, want)
			}
			if n < headerSize {
				continue
			}
			if got, want := Record(p), wantRecord(p); got != want {
				t.Fatalf("record of %d bytes at alignment %d: %08X, want %08X", n, at, got, want)
			}
		}
	}
}

// TestHolds: a record whose xl_crc is right, and each bit of which is not.
func TestHolds(t *testing.T) {
	for _, n := range []int{24, 25, 31, 54, 300, 1000, 8250} {
		rec := random(n)
		binary.LittleEndian.PutUint32(rec[crcOffset:], wantRecord(rec))
		if !Holds(rec) {
			t.Errorf("the checksum of %d bytes does not hold", n)
		}
		for bit := range 8 * min(n, 400) {
			rec[bit/8] ^= 1 << (bit % 8)
			if Holds(rec) {
				t.Errorf("%d bytes: bit %d was changed unnoticed", n, bit)
			}
			rec[bit/8] ^= 1 << (bit % 8)
		}
	}
	if Holds(nil) || Holds(make([]byte, headerSize-1)) || Record(nil) != 0 {
		t.Error("less than a header has a checksum")
	}
}

// FuzzUpdate compares with hash/crc32, also in two parts.
func FuzzUpdate(f *testing.F) {
	for _, n := range []int{0, 1, 7, 8, 9, 24, 63, 64, 65, 191, 192, 193, 511, 512, 513, 767, 768, 1024} {
		f.Add(uint32(n), n/3, random(n))
	}
	f.Fuzz(func(t *testing.T, crc uint32, cut int, p []byte) {
		all := want(crc, p)
		if got := Update(crc, p); got != all {
			t.Fatalf("%08X, want %08X", got, all)
		}
		cut = min(max(cut, 0), len(p))
		if got := Update(Update(crc, p[:cut]), p[cut:]); got != all {
			t.Fatalf("in parts of %d and %d bytes %08X, want %08X", cut, len(p)-cut, got, all)
		}
		if len(p) >= headerSize && Record(p) != wantRecord(p) {
			t.Fatalf("record: %08X, want %08X", Record(p), wantRecord(p))
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	for _, n := range []int{34, 54, 76, 128, 192, 256, 512, 1024, 8192} {
		rec := random(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				Record(rec)
			}
		})
		b.Run(fmt.Sprint(n, " by hash crc32"), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				wantRecord(rec)
			}
		})
	}
}
