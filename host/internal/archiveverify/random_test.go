package archiveverify_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/walplex/walplex/host/internal/archiveverify"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// randomSeeds is how many archives are damaged.
const randomSeeds = 30

// TestRandomDamage: whatever is done to an archive, every cut of it into parts
// finds the same holes and agrees on whether it is whole, and on the first fault.
func TestRandomDamage(t *testing.T) {
	damaged := 0
	for seed := range uint64(randomSeeds) {
		rnd := rand.New(rand.NewPCG(seed, 99))
		f := files{}.add(waltest.Random(seed, waltest.Options{}, 4<<20+rnd.IntN(2<<20)), 1, 0)
		for range 1 + rnd.IntN(3) {
			names := slices.Sorted(maps.Keys(f))
			name := names[rnd.IntN(len(names))]
			b := bytes.Clone(f[name])
			at := rnd.IntN(len(b))
			switch rnd.IntN(6) {
			case 0:
				b[at] ^= 1 << rnd.IntN(8)
			case 1:
				clear(b[at:min(len(b), at+rnd.IntN(50_000))])
			case 2:
				b = b[:at]
			case 3:
				b = nil
			case 4:
				copy(b[at&^8191:], b[rnd.IntN(len(b))&^8191:])
			case 5:
				for i := at; i < min(len(b), at+5000); i++ {
					b[i] = byte(rnd.Uint32())
				}
			}
			f = f.with(files{name: b})
			if len(b) == 0 || len(f) < 2 {
				break
			}
		}
		dir := f.write(t)
		var first *archiveverify.Report
		for _, n := range partSizes {
			r, err := archiveverify.Verify(t.Context(), dir, archiveverify.Options{PartSize: n, Jobs: 2})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			switch {
			case first == nil:
				first = r
			case r.Whole != first.Whole || r.Holes != first.Holes || len(r.Faults) > 0 != (len(first.Faults) > 0),
				len(r.Faults) > 0 && (r.Faults[0].LSN != first.Faults[0].LSN || r.Faults[0].File != first.Faults[0].File),
				r.Timelines[0].To != first.Timelines[0].To, r.Timelines[0].Records != first.Timelines[0].Records:
				t.Errorf("seed %d: parts of %d bytes say\n%sparts of %d say\n%s", seed, n, text(t, r), partSizes[0], text(t, first))
			}
		}
		if !first.Whole {
			damaged++
		}
	}
	// Some damage hits what holds no WAL, or makes the archive shorter.
	if damaged < randomSeeds/2 {
		t.Errorf("of %d archives %d were found damaged", randomSeeds, damaged)
	}
}
