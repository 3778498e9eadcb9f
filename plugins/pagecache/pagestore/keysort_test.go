package pagestore

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// Entries in the order of LSNs come out as comparing orders them: few and many, of
// few and many forks, of small and of the largest blocks, time after time.
func TestPageSorter(t *testing.T) {
	var s pageSorter
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		n := r.IntN(4 * fewEntries)
		forks, blocks := 1+r.Uint32N(1<<r.Uint32N(11)), 1+r.Uint64N(1<<(1+r.Uint32N(32)))
		var list []pageEntry
		for i := range n {
			rel := wal.RelFileLocator{Spc: 1663 + wal.OID(r.Uint32N(2)), DB: wal.OID(r.Uint32N(2)), Rel: wal.OID(r.Uint32N(forks) * 0x10001)}
			// Unlike LSNs, so that there is one order only.
			list = append(list, makePageEntry(rel, wal.ForkNumber(r.Uint32N(4)), wal.BlockNumber(r.Uint64N(blocks)), wal.LSN(i+1), pointer{length: uint32(i)}))
		}
		want := slices.Clone(list)
		slices.SortFunc(want, comparePages)
		if got := s.sort(list); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %d entries of %d forks and %d blocks are out of order", seed, n, forks, blocks)
		}
	}
}

// BenchmarkSortPages sorts as many entries as a commit has at most.
func BenchmarkSortPages(b *testing.B) {
	var s pageSorter
	r := rand.New(rand.NewPCG(1, 2))
	list := make([]pageEntry, maxPendingKeys)
	for i := range list {
		rel := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384 + wal.OID(r.Uint32N(12))}
		list[i] = makePageEntry(rel, 0, wal.BlockNumber(r.Uint32N(80_000)), wal.LSN(i), pointer{})
	}
	b.Run("digits", func(b *testing.B) {
		for b.Loop() {
			s.sort(slices.Clone(list))
		}
	})
	b.Run("comparing", func(b *testing.B) {
		for b.Loop() {
			slices.SortFunc(slices.Clone(list), comparePages)
		}
	})
}
