package pagestore

import (
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// BenchmarkIngest appends and commits records: of tables that are updated in
// place, and of one that grows with every record.
func BenchmarkIngest(b *testing.B) {
	const tables, records = 100, 50_000
	for _, c := range []struct {
		name string
		add  func(w *waltest.Writer, i int)
	}{
		{"updates", func(w *waltest.Writer, i int) {
			rel := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: wal.OID(16384 + i*7919%tables)}
			w.Append(waltest.HeapInsert(700, rel, wal.BlockNumber(i*31%997), 2, []byte("a tuple of some thirty bytes..")))
			if i%5 == 4 {
				w.Append(waltest.Commit(700, time.Unix(0, 0)))
			}
		}},
		{"growth", func(w *waltest.Writer, i int) {
			rec := waltest.HeapInsert(700, testPage.Rel, wal.BlockNumber(i), 1, make([]byte, 7000))
			w.Append(rec)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := waltest.New(waltest.Options{})
			for i := range records {
				c.add(w, i)
			}
			benchIngest(b, w)
		})
	}
}

func benchIngest(b *testing.B, w *waltest.Writer) {
	recs := records(b, w)
	n, appending := 0, time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		s, err := Open(b.Context(), b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
		b.StartTimer()
		for from := 0; from < len(recs); from += 10_000 {
			start := time.Now()
			part := recs[from:min(from+10_000, len(recs))]
			for i := range part {
				if err := s.Append(&part[i]); err != nil {
					b.Fatal(err)
				}
			}
			appending += time.Since(start)
			end := part[len(part)-1].EndLSN
			if err := s.Commit(b.Context(), Progress{Position: end, LastValid: end}); err != nil {
				b.Fatal(err)
			}
		}
		n += len(recs)
		b.StopTimer()
		closeTest(b, s)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
	b.ReportMetric(float64(appending.Nanoseconds())/float64(n), "append-ns/record")
}
