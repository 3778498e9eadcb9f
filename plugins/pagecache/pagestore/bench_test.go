package pagestore

import (
	"fmt"
	"testing"

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
