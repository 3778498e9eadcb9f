package xlogreader_test

import (
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// BenchmarkReader reads 16 MiB segments in pieces of 128 KiB, as a walsender
// sends them.
func BenchmarkReader(b *testing.B) {
	const size = 32 << 20
	rel := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}
	when := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	tuple := make([]byte, 70)
	page := waltest.HeapPage(1000, 0x5A)
	for _, c := range []struct {
		name string
		fill func(w *waltest.Writer, i int)
	}{
		{"small", func(w *waltest.Writer, i int) {
			if i%4 == 3 {
				w.Append(waltest.Commit(wal.XID(700+i/4), when))
				return
			}
			w.Append(waltest.HeapInsert(wal.XID(700+i/4), rel, wal.BlockNumber(i/100), uint16(1+i%100), tuple))
		}},
		{"images", func(w *waltest.Writer, i int) { w.Append(waltest.FullPageImage(rel, wal.BlockNumber(i), page)) }},
		{"messages of 2 MiB", func(w *waltest.Writer, i int) { w.LogicalMessage("bench", 2<<20) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := waltest.New(waltest.Options{SegmentSize: wal.DefaultSegmentSize})
			for i := 0; len(w.Bytes()) < size; i++ {
				c.fill(w, i)
			}
			var rec wal.Record
			records := 0
			b.SetBytes(int64(len(w.Bytes())))
			b.ReportAllocs()
			for b.Loop() {
				r := xlogreader.New(w.Options().Start, options(w))
				for data := w.Bytes(); len(data) > 0; {
					n := min(128<<10, len(data))
					r.Feed(data[:n])
					data = data[n:]
					for {
						status, err := r.Next(&rec)
						if err != nil {
							b.Fatal(err)
						}
						if status == xlogreader.NeedMore {
							break
						}
						records++
					}
				}
			}
			b.ReportMetric(float64(records)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
		})
	}
}
