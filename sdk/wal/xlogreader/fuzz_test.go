package xlogreader_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// fuzzBases are WAL of Options zero that FuzzReader spoils: it gets further
// into the Reader than arbitrary bytes would.
func fuzzBases() [][]byte {
	mixed := waltest.Random(1, waltest.Options{}, 3*wal.PageSize)
	crashed := waltest.New(waltest.Options{})
	crashed.FillTo(8)
	crashed.Abandon(waltest.LogicalMessage("m", 20_000), 9000)
	crashed.LogicalMessage("m", 18_000)
	crashed.FillTo(16)
	crashed.LogicalMessage("m", 10)
	return [][]byte{nil, mixed.Bytes(), crashed.Bytes()}
}

// FuzzReader reads spoilt WAL: it never panics, never keeps more than was fed
// or MaxWhole allows, and any split ends the same way. Each four bytes of
// changes overwrite one byte of a base, at an offset of three bytes; without a
// base they are the WAL. flags choose the base, the options and the start.
func FuzzReader(f *testing.F) {
	bases := fuzzBases()
	f.Add([]byte(nil), uint64(1), uint8(1))
	f.Add([]byte{0x02, 0x20, 0, 0}, uint64(2), uint8(2))
	f.Add(waltest.PageHeader(wal.PG15.Magic(), 0, 1, segment+wal.PageSize, 0), uint64(3), uint8(0x30))

	f.Fuzz(func(t *testing.T, changes []byte, seed uint64, flags uint8) {
		data := changes
		if base := bases[int(flags&3)%len(bases)]; base != nil {
			data = bytes.Clone(base)
			for c := changes; len(c) >= 4; c = c[4:] {
				data[(int(c[0])|int(c[1])<<8|int(c[2])<<16)%len(data)] = c[3]
			}
		}
		skip := min(wal.PageSize*int(flags>>4&3), len(data)&^(wal.PageSize-1))
		if flags&3 == 0 {
			skip = 0
		}
		start := wal.LSN(segment + wal.PageSize*int(flags>>4&3))
		o := xlogreader.Options{SegmentSize: segment, File: flags&4 != 0}
		if flags&8 != 0 {
			o.MaxWhole = xlogreader.MinMaxWhole
		}
		rnd := rand.New(rand.NewPCG(seed, 2))
		var results [2]result
		for i, split := range []func(int) int{all, func(left int) int { return min(1+rnd.IntN(3000), left) }} {
			r := xlogreader.New(start, o)
			results[i] = read(t, r, data[skip:], split)
			if r.BufferCap() > max(xlogreader.MinMaxWhole, 2*len(data)) || o.MaxWhole != 0 && r.BufferCap() > o.MaxWhole {
				t.Errorf("the buffer grew to %d bytes for %d bytes of WAL", r.BufferCap(), len(data))
			}
		}
		if !same(results[0], results[1]) {
			t.Errorf("in one piece: %+v\nin parts: %+v", results[0], results[1])
		}
	})
}

// FuzzRecords reads records of any content in a correct frame, so that the
// fuzzer gets past the checksum: each byte of cuts is the length of one record's
// body in units of 16 bytes.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{255, 3, 1, 2, 3}, []byte{0, 1, 200}, uint64(1))
	f.Add([]byte{0, 0x20, 4, 0, 1, 2, 3, 4}, []byte{255, 255, 255}, uint64(2))
	f.Fuzz(func(t *testing.T, body, cuts []byte, seed uint64) {
		w := waltest.New(waltest.Options{})
		for i, c := range cuts[:min(len(cuts), 100)] {
			b := make([]byte, 16*int(c))
			copy(b, body)
			body = body[min(len(body), len(b)):]
			w.AppendRaw(wal.RmgrID(i%22), 0, 700, b)
		}
		o := options(w)
		whole := read(t, xlogreader.New(segment, o), w.Bytes(), all)
		rnd := rand.New(rand.NewPCG(seed, 3))
		parts := read(t, xlogreader.New(segment, o), w.Bytes(), func(left int) int { return min(1+rnd.IntN(3000), left) })
		if !same(whole, parts) {
			t.Errorf("in one piece: %+v\nin parts: %+v", whole, parts)
		}
		if whole.err == nil {
			compare(t, w, 0, whole.records)
		}
	})
}

// same compares two results, whose errors are equal if their texts are.
func same(a, b result) bool {
	if (a.err == nil) != (b.err == nil) || a.err != nil && a.err.Error() != b.err.Error() {
		return false
	}
	a.err, b.err = nil, nil
	return reflect.DeepEqual(a, b)
}
