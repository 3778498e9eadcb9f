package waltest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// Branch is WAL that shares with w the records that end at or before lsn, which
// is where a record ends, and goes on on timeline tli: what a standby writes
// that was promoted there. As the server's, the page in which it begins keeps its
// xlp_tli.
func (w *Writer) Branch(tli wal.TimelineID, lsn wal.LSN) *Writer {
	b := &Writer{opts: w.opts, prev: w.opts.Prev}
	for _, a := range w.records {
		if a.End <= lsn {
			b.records = append(b.records, a)
			b.prev = a.Start
		}
	}
	if n := len(b.records); n > 0 && b.records[n-1].End != lsn || n == 0 && lsn != w.opts.Start {
		panic(fmt.Sprintf("waltest: no record ends at %s", lsn))
	}
	b.data = append(b.data, w.data[:lsn-w.opts.Start]...)
	b.opts.Timeline = tli
	return b
}

// AppendRandom appends at least n bytes of the workload of [Random].
func (w *Writer) AppendRandom(seed uint64, n int) {
	g := generator{Writer: w, rnd: rand.New(rand.NewPCG(seed, 0x77616c)), clock: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), xid: 700}
	for limit := len(w.data) + n; len(w.data) < limit; {
		g.step(limit)
	}
}
