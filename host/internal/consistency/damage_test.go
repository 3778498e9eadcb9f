package consistency

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
)

// damageSeed is that of what is damaged: a run is like the one before, but for
// the server's WAL.
const damageSeed = 7

// damager puts in front of each redo the same of damaged pages and records.
type damager struct {
	t       *testing.T
	random  *rand.Rand
	images  wal.Images
	refused int
	done    int
}

// damages redoes every record of the WAL with random damage to the page, to the
// record, and to both: that is an error with LSN and reason, and then the page is
// as it was, or it goes unnoticed. Nothing panics.
func damages(t *testing.T, w *WAL) {
	d := &damager{t: t, random: rand.New(rand.NewPCG(damageSeed, 0))}
	r := Ours()
	r.Apply = func(page []byte, rec *wal.Record, i int, images *wal.Images) error {
		d.apply(page, rec, i, d.random.IntN(3))
		return redo.Apply(page, rec, i, images)
	}
	if _, err := Check(w, r); err != nil {
		t.Fatal(err)
	}
	t.Logf("of %d damaged pages and records %d were refused", d.done, d.refused)
	if d.refused == 0 || d.done == 0 {
		t.Error("nothing was damaged")
	}
}

// apply redoes with damage to what: 0 the page, 1 the record, 2 both.
func (d *damager) apply(page []byte, rec *wal.Record, i, what int) {
	const margin = 64
	around := make([]byte, wal.BlockSize+2*margin)
	copy(around[margin:], page)
	damaged := *rec
	if what != 1 {
		d.flip(around[margin:margin+wal.BlockSize], 24) // its header and first line pointers
		d.flip(around[margin:margin+wal.BlockSize], wal.BlockSize)
	}
	if what != 0 && len(rec.Data) > wal.RecordHeaderSize {
		damaged.Data = slices.Clone(rec.Data)
		ref := &rec.Blocks[i]
		d.flip(damaged.MainData(), 16)
		d.flip(damaged.BlockData(ref), 16)
		if d.random.IntN(4) == 0 { // the data end early
			damaged.Blocks = slices.Clone(rec.Blocks)
			damaged.Blocks[i].DataLen = uint16(d.random.IntN(int(ref.DataLen) + 1))
		}
	}
	before := slices.Clone(around)
	err := redo.Apply(around[margin:margin+wal.BlockSize], &damaged, i, &d.images)
	d.done++
	if err == nil {
		copy(before[margin:margin+wal.BlockSize], around[margin:])
	} else {
		d.refused++
		var e *wal.Error
		if !errors.As(err, &e) || e.LSN != rec.StartLSN || e.Reason == "" {
			d.t.Errorf("%s %s at %s: %v has no LSN and reason", rec.RmgrID, rec.Operation(), rec.StartLSN, err)
		}
	}
	if !slices.Equal(around, before) {
		d.t.Errorf("%s %s at %s, with %v: bytes have changed that may not", rec.RmgrID, rec.Operation(), rec.StartLSN, err)
	}
}

// flip damages up to three of the first n bytes.
func (d *damager) flip(b []byte, n int) {
	n = min(n, len(b))
	for range d.random.IntN(4) {
		if n > 0 {
			b[d.random.IntN(n)] = byte(d.random.Uint32())
		}
	}
}
