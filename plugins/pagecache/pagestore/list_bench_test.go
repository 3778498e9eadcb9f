package pagestore

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// BenchmarkSizes asks for the size of one fork of 100,000, some of which have grown
// often, and for all.
func BenchmarkSizes(b *testing.B) {
	const relations, grown = 100_000, 30
	s, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer closeTest(b, s)
	w := waltest.New(waltest.Options{})
	start := w.Options().Start
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start); err != nil {
		b.Fatal(err)
	}
	rel := func(i int) wal.RelFileLocator {
		return wal.RelFileLocator{Spc: 1663, DB: 5, Rel: wal.OID(16384 + i)}
	}
	for i := range relations {
		if err := s.ImportFork(rel(i), wal.MainFork, 10); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.EndImport(b.Context(), start); err != nil {
		b.Fatal(err)
	}
	for i := range relations / 100 {
		for block := range wal.BlockNumber(grown) {
			w.Append(blocksRecord(PageID{Rel: rel(100 * i), Block: 10 + block}))
		}
	}
	fillFrom(b, s, w, nil)
	b.Run("RelSize", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, _, err := s.RelSize(b.Context(), rel(i*7919%relations), wal.MainFork, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("EachFork", func(b *testing.B) {
		for b.Loop() {
			n := 0
			if _, err := s.EachFork(b.Context(), 0, nil, func(RelFork) error { n++; return nil }); err != nil || n != relations {
				b.Fatal(n, err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/relations, "ns/fork")
	})
}
