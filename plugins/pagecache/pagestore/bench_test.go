package pagestore

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal/waltest"
)

// BenchmarkReadPage reads a page that so many records have changed since its base.
func BenchmarkReadPage(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			w := waltest.New(waltest.Options{})
			for off := range uint16(n) {
				w.Append(waltest.HeapInsert(700, testPage.Rel, 0, off+1, []byte("a tuple of some thirty bytes..")))
			}
			s, err := Open(b.Context(), b.TempDir(), Options{FS: vfs.Default})
			if err != nil {
				b.Fatal(err)
			}
			defer closeTest(b, s)
			fill(b, s, w)
			for b.Loop() {
				if _, err := s.ReadPage(b.Context(), testPage, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
