package pagestore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// benchStore is a store of so many pages that so many records have changed since
// their bases.
func benchStore(b *testing.B, pages, records int, o Options) *Store {
	b.Helper()
	w := waltest.New(waltest.Options{})
	for off := range uint16(records) {
		for block := range wal.BlockNumber(pages) {
			w.Append(waltest.HeapInsert(700, testPage.Rel, block, off+1, []byte("a tuple of some thirty bytes..")))
		}
	}
	o.FS = vfs.Default
	s, err := Open(b.Context(), b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeTest(b, s) })
	fill(b, s, w)
	return s
}

// BenchmarkReadPage reads a page that so many records have changed since its base,
// by redo each time.
func BenchmarkReadPage(b *testing.B) {
	for _, n := range []int{1, 16, 100} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			s := benchStore(b, 1, n, Options{CacheBytes: -1})
			page := make([]byte, wal.BlockSize)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.ReadPageInto(b.Context(), testPage, 0, page); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadPageAgain reads pages that are in memory.
func BenchmarkReadPageAgain(b *testing.B) {
	const pages = 1000
	s := benchStore(b, pages, 10, Options{})
	page := make([]byte, wal.BlockSize)
	id := testPage
	b.ReportAllocs()
	for b.Loop() {
		id.Block = (id.Block + 1) % pages
		if _, err := s.ReadPageInto(b.Context(), id, 0, page); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadImage reads pages of a base backup.
func BenchmarkReadImage(b *testing.B) {
	const pages = 1000
	s, err := Open(b.Context(), b.TempDir(), Options{FS: vfs.Default, CacheBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer closeTest(b, s)
	list := make([][]byte, pages)
	for i := range list {
		list[i] = stamped(8, byte(i))
	}
	importTest(b, s, 8, 8, list...)
	page := make([]byte, wal.BlockSize)
	id := testPage
	b.ReportAllocs()
	for b.Loop() {
		id.Block = (id.Block + 1) % pages
		if _, err := s.ReadPageInto(b.Context(), id, 0, page); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkImport imports a base backup of 64 MiB.
func BenchmarkImport(b *testing.B) {
	const pages = 8192
	data := make([]byte, 0, pages*wal.BlockSize)
	for i := range pages {
		data = append(data, stamped(8, byte(i))...)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		b.StopTimer()
		s, err := Open(b.Context(), b.TempDir(), Options{FS: vfs.Default})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		importTest(b, s, 8, 8, data)
		b.StopTimer()
		closeTest(b, s)
		b.StartTimer()
	}
}

// BenchmarkCollect collects the history of pages of which each has so many
// records, with all but nothing to be kept; a page at a time.
func BenchmarkCollect(b *testing.B) {
	for _, n := range []int{4, 64} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			const pages = 5000
			for b.Loop() {
				b.StopTimer()
				s := benchStore(b, pages, n, Options{})
				b.StartTimer()
				done, err := s.Collect(b.Context(), CollectOptions{Retain: 1})
				if err != nil || done.Pages < pages-1 {
					b.Fatalf("%+v, %v", done, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/pages, "µs/page")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/pages/float64(n), "µs/record")
		})
	}
}

// BenchmarkReadBeside reads random pages with 16 records each, by redo each time,
// while records come in.
func BenchmarkReadBeside(b *testing.B) {
	const pages = 5000
	s := benchStore(b, pages, 16, Options{CacheBytes: -1})
	more := waltest.New(waltest.Options{})
	for i := range 20_000 {
		more.Append(waltest.HeapInsert(700, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 20000}, wal.BlockNumber(i), 1, make([]byte, 200)))
	}
	recs := records(b, more)
	done := make(chan struct{})
	var beside sync.WaitGroup
	var ingested atomic.Int64
	beside.Go(func() {
		for i := 0; !isClosed(done); i++ {
			rec := recs[i%len(recs)]
			shift := wal.LSN(i/len(recs)+1) * (more.End() - more.Options().Start)
			rec.StartLSN += shift
			rec.EndLSN += shift
			if err := s.Append(&rec); err != nil {
				b.Error(err)
				return
			}
			ingested.Add(int64(len(rec.Data)))
			if i%1000 == 0 {
				if err := s.Commit(b.Context(), Progress{Position: rec.EndLSN, LastValid: rec.EndLSN}); err != nil {
					b.Error(err)
					return
				}
			}
		}
	})
	rng := rand.New(rand.NewPCG(1, 1))
	page := make([]byte, wal.BlockSize)
	id := testPage
	var took []time.Duration
	for b.Loop() {
		id.Block = wal.BlockNumber(rng.IntN(pages))
		start := time.Now()
		if _, err := s.ReadPageInto(b.Context(), id, 0, page); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64(ingested.Load())/1e6/b.Elapsed().Seconds(), "ingested-MB/s")
	close(done)
	beside.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
