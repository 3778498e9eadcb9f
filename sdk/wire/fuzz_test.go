package wire_test

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

// Whatever the bytes are: an error or a record that lies inside of them, never a
// panic, and never memory beyond what a record can need.
func FuzzBlock(f *testing.F) {
	for seed := range uint64(3) {
		w := waltest.Random(seed, waltest.Options{}, 2<<10)
		for _, b := range blocks(f, w, func() int { return 1 << 10 }, func() bool { return true }) {
			f.Add(b, false, uint64(w.Records()[1].Start))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, walOnly bool, at uint64) {
		v, err := wire.ParseBlock(b, walOnly)
		if err != nil {
			return
		}
		if n := len(v.WAL()); n > len(b) || v.HasWAL() != (v.WALEnd()-v.WALStart() == wal.LSN(n)) || !v.HasWAL() && (n > 0 || walOnly) || len(v.WALOnly()) > len(b) {
			t.Fatalf("a block of %d bytes has %d bytes of WAL from %s to %s", len(b), n, v.WALStart(), v.WALEnd())
		}
		if first := v.FirstRecord(wal.LSN(at), 0); first < 0 || first > v.Len() {
			t.Fatalf("the first of %d records is %d", v.Len(), first)
		}
		if selected, err := wire.NewSelector(nil, nil).Block(&v, 0); err == nil {
			if _, err := wire.ParseBlock(selected, false); err != nil {
				t.Fatalf("of its records there is no block: %v", err)
			}
		}
		var rec wal.Record
		for i := range v.Len() {
			if v.Record(i, &rec) != nil {
				continue
			}
			if len(rec.Data) > len(b) || uint64(rec.FragmentOffset)+uint64(len(rec.Data)) > uint64(rec.TotalLen) || cap(rec.Blocks) > wal.MaxBlockID+1 {
				rec.Data = nil
				t.Fatalf("record %d of a block of %d bytes: %+v", i, len(b), rec)
			}
			_, _ = rec.MainData(), rec.Operation()
			for k := range rec.Blocks {
				_, _ = rec.ImageData(&rec.Blocks[k]), rec.BlockData(&rec.Blocks[k])
			}
		}
	})
}
