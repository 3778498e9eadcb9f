package pagestore

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// xactEnd describes a commit or abort, all that can be in front of the number of a
// prepared transaction included.
type xactEnd struct {
	op       uint8
	header   wal.XID // xl_xid
	time     int64
	subs     []uint32
	rels     int
	stats    int
	invals   int
	prepared uint32 // 0: not prepared
	database bool
}

func (x *xactEnd) record(v wal.Version) waltest.Record {
	main := le.AppendUint64(nil, uint64(x.time))
	var xinfo uint32
	var rest []byte
	list := func(bit uint32, n, size int) {
		if n > 0 {
			xinfo |= bit
			rest = le.AppendUint32(rest, uint32(n))
			for range n * size {
				rest = append(rest, 0xEE)
			}
		}
	}
	if x.database {
		xinfo |= 1 << 0
		rest = append(rest, words(5, 1663)...)
	}
	if len(x.subs) > 0 {
		xinfo |= 1 << 1
		rest = append(le.AppendUint32(rest, uint32(len(x.subs))), words(x.subs...)...)
	}
	list(1<<2, x.rels, 12)
	if v >= wal.PG18 {
		list(1<<8, x.stats, 16)
	} else if v >= wal.PG15 {
		list(1<<8, x.stats, 12)
	}
	if x.op == xactCommit || x.op == xactCommitPrepared {
		list(1<<3, x.invals, 16)
	}
	if x.prepared != 0 {
		xinfo |= 1 << 4
		rest = le.AppendUint32(rest, x.prepared)
	}
	info := x.op
	if xinfo != 0 {
		info |= xactHasInfo
		main = append(le.AppendUint32(main, xinfo), rest...)
	}
	return waltest.Record{Rmgr: wal.RmgrTransaction, Info: info, XID: x.header, Main: main}
}

// randomEnd is a commit or abort that ends xids from next on.
func randomEnd(rng *rand.Rand, next uint32, time int64) (x xactEnd, xids []uint32) {
	some := func() int { return max(0, rng.IntN(6)-3) }
	x = xactEnd{time: time, rels: some(), stats: some(), invals: some(), database: rng.IntN(2) == 0}
	top := next
	xids = []uint32{top}
	for i := range uint32(some() * 3) {
		x.subs = append(x.subs, next+1+i)
	}
	xids = append(xids, x.subs...)
	x.op = []uint8{xactCommit, xactCommit, xactAbort, xactCommitPrepared, xactAbortPrepared}[rng.IntN(5)]
	if x.header = wal.XID(top); x.op == xactCommitPrepared || x.op == xactAbortPrepared {
		x.header, x.prepared = 0, top
	}
	return x, xids
}

// ended is what the model knows of a record.
type ended struct {
	Ending
	xids []uint32
}

// randomEndings writes commits and aborts and others, over a few stretches, with
// times that are now and then out of order, and answers what it wrote.
func randomEndings(rng *rand.Rand, w *waltest.Writer, n int, next *uint32, clock *int64) (list []ended) {
	for range n {
		*clock += rng.Int64N(1000)
		switch p := rng.IntN(20); {
		case p < 10:
			x, xids := randomEnd(rng, *next, *clock-rng.Int64N(5000))
			*next += uint32(len(xids))
			start, end := w.Append(x.record(w.Options().Version))
			list = append(list, ended{Ending{start, end, xids[0], x.op == xactAbort || x.op == xactAbortPrepared, x.time}, xids})
		case p < 12: // begins without an end, and what is no end
			w.Append(waltest.Record{Rmgr: wal.RmgrTransaction, Info: xactPrepare, XID: wal.XID(*next), Main: make([]byte, 100)})
			w.Append(waltest.Record{Rmgr: wal.RmgrTransaction, Info: 0x50, Main: words(*next, 0)})
			*next++
		case p < 13: // without a number
			start, end := w.Append((&xactEnd{time: *clock, invals: 1}).record(w.Options().Version))
			list = append(list, ended{Ending: Ending{start, end, 0, false, *clock}})
		case p < 19 || rng.IntN(3) > 0:
			w.Append(waltest.HeapInsert(wal.XID(*next), testPage.Rel, 0, 1, nil))
		default:
			w.LogicalMessage("far", 1<<20+rng.IntN(2<<20))
		}
	}
	return list
}

// checkEndings compares searches up to lsn with the model.
func checkEndings(t *testing.T, s *Store, rng *rand.Rand, list []ended, least, next uint32, lsn wal.LSN) {
	t.Helper()
	byXID := make(map[uint32]Ending)
	var times []int64
	for _, e := range list {
		if e.EndLSN <= lsn {
			for _, xid := range e.xids {
				byXID[xid] = e.Ending
			}
			times = append(times, e.Time)
		}
	}
	for range 40 {
		xid := least + uint32(rng.IntN(int(next-least)+2))
		want, ok := byXID[xid]
		got, err := s.LocateXID(t.Context(), xid, lsn)
		if ok && (err != nil || got != want) || !ok && !errors.Is(err, ErrNotFound) {
			t.Fatalf("transaction %d up to %s: %+v, %v; want %+v", xid, lsn, got, err, want)
		}
	}
	for range 20 {
		usec := int64(math.MinInt64)
		if len(times) > 0 && rng.IntN(10) > 0 {
			usec = times[rng.IntN(len(times))] + rng.Int64N(3) - 1
		}
		var want Ending
		for _, e := range list {
			if e.EndLSN <= lsn && !e.Aborted && e.Time >= usec {
				want = e.Ending
				break
			}
		}
		got, err := s.LocateTime(t.Context(), usec, lsn)
		if want.EndLSN != 0 && (err != nil || got != want) || want.EndLSN == 0 && !errors.Is(err, ErrNotFound) {
			t.Fatalf("time %d up to %s: %+v, %v; want %+v", usec, lsn, got, err, want)
		}
	}
}

// TestLocateModel compares searches in random WAL with the model, over commits,
// restarts and switches of timelines.
func TestLocateModel(t *testing.T) {
	for seed := range uint64(10) {
		version := wal.PG14 + wal.Version(seed%5)
		t.Run(fmt.Sprintf("seed=%d,version=%d", seed, version), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0x6c6f63))
			const least = 1000
			next, clock := uint32(least), int64(rng.IntN(3)-1)*1e15
			w := waltest.New(waltest.Options{Version: version, Start: 14 << 20}) // near a stretch's end
			list := randomEndings(rng, w, 200, &next, &clock)
			fs := vfs.NewMem()
			s := openTest(t, fs, "/d")
			for tli := wal.TimelineID(2); ; tli++ {
				fillOften(t, s, w, rng)
				if rng.IntN(2) == 0 {
					closeTest(t, s)
					s = openTest(t, fs, "/d")
				}
				recs := w.Records()
				for range 4 {
					checkEndings(t, s, rng, list, least, next, recs[rng.IntN(len(recs))].End)
				}
				checkEndings(t, s, rng, list, least, next, w.End())
				sameStore(t, s, w)
				if tli == 4 {
					break
				}
				lsn := recs[rng.IntN(len(recs))].End
				w = w.Branch(tli, lsn)
				if err := s.Rewind(t.Context(), tli, lsn); err != nil {
					t.Fatal(err)
				}
				sameStore(t, s, w)
				for i := range list {
					if list[i].EndLSN > lsn {
						list = list[:i]
						break
					}
				}
				list = append(list, randomEndings(rng, w, 100, &next, &clock)...)
			}
			closeTest(t, s)
		})
	}
}

// TestLocateFragments finds a transaction among many that are in fragments of
// every size.
func TestLocateFragments(t *testing.T) {
	x := xactEnd{op: xactCommitPrepared, time: 5, rels: 2, stats: 1, invals: 3, prepared: 700, database: true}
	for xid := range uint32(30) {
		x.subs = append(x.subs, 800+xid)
	}
	for _, version := range []wal.Version{wal.PG14, wal.PG15, wal.PG18} {
		w := waltest.New(waltest.Options{Version: version})
		_, before := w.Append((&xactEnd{header: 650, time: 4}).record(version))
		start, end := w.Append(x.record(version))
		w.Append((&xactEnd{header: 900, time: 6, op: xactAbort}).record(version))
		want := Ending{StartLSN: start, EndLSN: end, XID: 700, Time: 5}
		for size := wal.MaxHeaderSize; size > 0; size -= 7 {
			if size < 40 {
				size = 0 // whole
			}
			s := openTest(t, vfs.NewMem(), "/d")
			appendPieces(t, s, w, max(size, 40))
			if size == 0 {
				closeTest(t, s)
				s = openTest(t, vfs.NewMem(), "/d")
				fill(t, s, w)
			}
			for _, xid := range []uint32{700, 800, 829} {
				if got, err := s.LocateXID(t.Context(), xid, 0); err != nil || got != want {
					t.Fatalf("pieces of %d bytes: transaction %d: %+v, %v; want %+v", size, xid, got, err, want)
				}
			}
			if got, err := s.LocateTime(t.Context(), 5, 0); err != nil || got != want {
				t.Fatalf("pieces of %d bytes: %+v, %v; want %+v", size, got, err, want)
			}
			for _, xid := range []uint32{0, 799, 830, 650} {
				to := w.End()
				if xid == 650 {
					to = before - 1
				}
				if got, err := s.LocateXID(t.Context(), xid, to); !errors.Is(err, ErrNotFound) {
					t.Fatalf("pieces of %d bytes: transaction %d: %+v, %v", size, xid, got, err)
				}
			}
			if _, err := s.LocateTime(t.Context(), 6, 0); !errors.Is(err, ErrNotFound) {
				t.Fatalf("an abort counts as a commit: %v", err)
			}
			closeTest(t, s)
		}
	}
}

// TestLocateRefuses has commits that end early, and LSNs that cannot be searched
// up to.
func TestLocateRefuses(t *testing.T) {
	w := waltest.New(waltest.Options{})
	start, _ := w.Append(waltest.Record{Rmgr: wal.RmgrTransaction, Info: xactCommit | xactHasInfo, XID: 700, Main: words(1, 0, 1<<1, 1<<31, 8)})
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fill(t, s, w)
	var bad *wal.Error
	if _, err := s.LocateXID(t.Context(), 9, 0); !errors.As(err, &bad) || bad.LSN != start {
		t.Errorf("got %v", err)
	}
	if _, err := s.LocateTime(t.Context(), 0, 0); !errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
	if _, err := s.LocateXID(t.Context(), 700, w.End()+1); !errors.Is(err, ErrNotReached) {
		t.Errorf("got %v", err)
	}
	if _, err := s.LocateTime(t.Context(), 0, start-1000); !errors.Is(err, ErrBelowHorizon) {
		t.Errorf("got %v", err)
	}
}
