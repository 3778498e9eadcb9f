package wire_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

// selectWAL is random WAL with records in fragments that span blocks.
func selectWAL(seed uint64) *waltest.Writer {
	versions := []wal.Version{wal.PG14, wal.PG15, wal.PG16, wal.PG17, wal.PG18}
	w := waltest.Random(seed, waltest.Options{Version: versions[seed%5]}, 1<<20)
	for range 3 {
		w.LogicalMessage("large", 3*wire.MaxWhole)
		w.LogicalMessage("small", 30)
	}
	return w
}

// selected reads the records of the blocks that a selector makes, entry by entry.
// firsts are where it is told to begin in each.
func selected(t *testing.T, s *wire.Selector, list [][]byte, first func(v *wire.View) int) (out []wal.Record) {
	t.Helper()
	for i, b := range list {
		v, err := wire.ParseBlock(b, false)
		if err != nil {
			t.Fatal(err)
		}
		made, err := s.Block(&v, first(&v))
		if err != nil {
			t.Fatal(err)
		}
		// Of its own, so that nothing read below lies in the original.
		made = bytes.Clone(made)
		p, err := wire.ParseBlock(made, false)
		if err != nil {
			t.Fatalf("block %d: %v", i, err)
		}
		if p.WALStart() != v.WALStart() || p.WALEnd() != v.WALEnd() || p.RecordsEnd() != v.RecordsEnd() || p.Timeline() != v.Timeline() ||
			p.Version() != v.Version() || p.ServerTime() != v.ServerTime() {
			t.Fatalf("block %d has another header", i)
		}
		if p.HasWAL() || !v.HasWAL() || len(p.WAL()) != 0 {
			t.Fatalf("block %d has %d bytes of raw WAL", i, len(p.WAL()))
		}
		if _, err := wire.ParseBlock(made, true); err == nil {
			t.Fatalf("block %d passes for raw WAL", i)
		}
		size := 96
		for k := range p.Len() {
			var rec wal.Record
			if err := p.Record(k, &rec); err != nil {
				t.Fatal(err)
			}
			out = append(out, copyOf(&rec))
			size += len(rec.Data) + 48 + 36*len(rec.Blocks)
		}
		if len(made) != size {
			t.Fatalf("block %d has %d bytes, its records need %d: something else is in it", i, len(made), size)
		}
	}
	return out
}

func all(*wire.View) int { return 0 }

func sameAll(t *testing.T, got, want []wal.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range got {
		if !same(&got[i], &want[i]) {
			got[i].Data = nil
			t.Fatalf("entry %d differs: %+v", i, got[i])
		}
	}
}

// A selector gives exactly the records that it is to keep: all, some, none; whole
// or in fragments; whatever the blocks.
func TestSelector(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := selectWAL(seed)
			want := alone(t, w)
			rng := rand.New(rand.NewPCG(seed, 0))
			list := blocks(t, w, func() int { return 1 + rng.IntN(128<<10) }, func() bool { return rng.IntN(3) == 0 })
			sameAll(t, selected(t, wire.NewSelector(nil, nil), list, all), want)
			sameAll(t, selected(t, wire.NewSelector(nil, func(*wal.Record) bool { return true }), list, all), want)
			if got := selected(t, wire.NewSelector(make([]byte, 32), nil), list, all); len(got) != 0 {
				t.Errorf("%d entries of no resource manager", len(got))
			}
			wanted := func(start wal.LSN) bool { return (uint64(start)*2654435761>>7+seed)%3 == 0 }
			asked := map[wal.LSN]int{}
			keep := func(rec *wal.Record) bool {
				asked[rec.StartLSN]++
				if rec.FragmentOffset != 0 {
					t.Errorf("asked of the fragment at %d of the record at %s", rec.FragmentOffset, rec.StartLSN)
				}
				return wanted(rec.StartLSN)
			}
			var mask [32]byte
			for _, id := range []wal.RmgrID{wal.RmgrHeap, wal.RmgrLogicalMessage, 200} {
				mask[id/8] |= 1 << (id % 8)
			}
			var subset, ofMask []wal.Record
			for _, r := range want {
				if wanted(r.StartLSN) {
					subset = append(subset, r)
					if mask[r.RmgrID/8]&(1<<(r.RmgrID%8)) != 0 {
						ofMask = append(ofMask, r)
					}
				}
			}
			if len(subset) == 0 || len(subset) == len(want) || len(ofMask) == 0 || len(ofMask) == len(subset) {
				t.Fatalf("%d and %d of %d entries: nothing is tested", len(subset), len(ofMask), len(want))
			}
			sameAll(t, selected(t, wire.NewSelector(nil, keep), list, all), subset)
			for lsn, n := range asked {
				if n != 1 {
					t.Errorf("asked %d times of the record at %s", n, lsn)
				}
			}
			sameAll(t, selected(t, wire.NewSelector(mask[:], keep), list, all), ofMask)
		})
	}
}

// Records that the sink has already are not in its blocks; a record in fragments
// that it has no beginning of is not either.
func TestSelectorFirst(t *testing.T) {
	w := selectWAL(1)
	want := alone(t, w)
	list := blocks(t, w, whole, never)
	for _, i := range []int{1, len(want) / 2, len(want) - 2} {
		at := want[i].StartLSN
		var rest []wal.Record
		for _, r := range want {
			if r.StartLSN >= at {
				rest = append(rest, r)
			}
		}
		got := selected(t, wire.NewSelector(nil, func(*wal.Record) bool { return true }), list, func(v *wire.View) int { return v.FirstRecord(at, 0) })
		sameAll(t, got, rest)
	}
	var inside wal.Record
	for _, r := range want {
		if r.FragmentOffset > 0 {
			inside = r
		}
	}
	v, err := wire.ParseBlock(list[len(list)-1], false)
	if err != nil || inside.StartLSN == 0 {
		t.Fatal(err)
	}
	if got, err := wire.NewSelector(nil, nil).Block(&v, 0); err != nil || len(got) == 0 {
		t.Fatal(err)
	} else if p, err := wire.ParseBlock(got, false); err != nil || p.Len() >= v.Len() {
		t.Errorf("%d of %d entries, %v: the end of a record without its beginning is there", p.Len(), v.Len(), err)
	}
}

// A record that was under way when the source was restarted comes again from its
// start, and is decided on anew.
func TestSelectorAgain(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.LogicalMessage("large", 2*wire.MaxWhole)
	list := blocks(t, w, whole, never)
	keep := false
	s := wire.NewSelector(nil, func(*wal.Record) bool { return keep })
	if got := selected(t, s, list[:4], all); len(got) != 0 {
		t.Fatalf("%d entries", len(got))
	}
	keep = true
	sameAll(t, selected(t, s, list, all), alone(t, w))
}

// An index that points outside of its block is an error, not a panic.
func TestSelectorRefuses(t *testing.T) {
	good := blocks(t, waltest.Random(1, waltest.Options{}, 200<<10), whole, never)[0]
	for _, at := range []int{11, 15, 31} {
		b := bytes.Clone(good)
		index := int(b[64]) | int(b[65])<<8 | int(b[66])<<16
		b[index+3*48+at] = 0xFF
		v, err := wire.ParseBlock(b, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*wire.Selector{wire.NewSelector(nil, nil), wire.NewSelector(nil, func(*wal.Record) bool { return true })} {
			if _, err := s.Block(&v, 0); err == nil {
				t.Errorf("byte %d: %v", at, err)
			}
		}
	}
}

func TestSelectorNoAllocation(t *testing.T) {
	list := blocks(t, waltest.Random(3, waltest.Options{}, wire.BlockWAL), whole, never)
	s := wire.NewSelector(nil, func(r *wal.Record) bool { return r.XID%2 == 0 })
	run := func() {
		for _, b := range list {
			v, err := wire.ParseBlock(b, false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Block(&v, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	run()
	if got := testing.AllocsPerRun(10, run); got != 0 {
		t.Errorf("%v allocations for %d blocks", got, len(list))
	}
}

// Half of the records of 128 bytes are kept.
func BenchmarkSelector(b *testing.B) {
	w := benchmarkWAL(b)
	list := blocks(b, w, whole, never)
	n := 0
	s := wire.NewSelector(nil, func(*wal.Record) bool { n++; return n%2 == 0 })
	for b.Loop() {
		for _, block := range list {
			v, err := wire.ParseBlock(block, false)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Block(&v, 0); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(len(w.Records())*b.N), "ns/record")
}
