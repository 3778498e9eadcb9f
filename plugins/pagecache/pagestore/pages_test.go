package pagestore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
)

// TestPagesInMemory reads at any LSN while records come in, with few pages in
// memory and with many, and compares with a store that keeps none there.
func TestPagesInMemory(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0x6d656d))
			g := newGenerator(seed)
			bytes := int64(CacheBytes)
			if seed%2 == 0 {
				bytes = 2 * pageShards * wal.BlockSize
			}
			s, plain := openCache(t, bytes), openCache(t, -1)
			defer closeTest(t, s)
			defer closeTest(t, plain)
			beginAs(t, s, g.w, seed%3 == 0)
			beginAs(t, plain, g.w, seed%3 == 0)
			for range 10 {
				for range 60 {
					g.step()
				}
				appendAll(t, s, g.w)
				appendAll(t, plain, g.w)
				st := s.Visible()
				for range 5 {
					for id := range g.pages {
						lsn := st.LastValid
						if rng.IntN(2) == 0 {
							lsn = st.Horizon + wal.LSN(rng.Uint64N(uint64(lsn-st.Horizon)+1))
						}
						got, page := outcome(t.Context(), s, id, lsn)
						want, wantPage := outcome(t.Context(), plain, id, lsn)
						if got != want || string(page) != string(wantPage) {
							t.Fatalf("%s as of %s: %s, without memory %s", id, lsn, got, want)
						}
					}
				}
			}
		})
	}
}

func openCache(t *testing.T, bytes int64) *Store {
	t.Helper()
	s, err := Open(t.Context(), "/d", Options{FS: vfs.NewMem(), CacheBytes: bytes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
