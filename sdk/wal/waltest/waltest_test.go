package waltest_test

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// A record of a PostgreSQL 15 server, at 0/EDDEA58 of a throw-away cluster.
const (
	serverCommit       = "22000000cd540000d800b00e0000000000010000e2c1192cff0856adecf7dd030300"
	serverCommitPrev   = wal.LSN(0xEB000D8)
	serverCommitXID    = wal.XID(21709)
	serverCommitMicros = 1795361612270934 // since 1970
)

// The commit record is one that a PostgreSQL 15 server wrote, byte for byte.
func TestCommitAsServerWritesIt(t *testing.T) {
	w := waltest.New(waltest.Options{Start: 0x1000000, SegmentSize: wal.DefaultSegmentSize, Prev: serverCommitPrev})
	w.Append(waltest.Commit(serverCommitXID, time.UnixMicro(serverCommitMicros)))
	want, err := hex.DecodeString(serverCommit)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Records()[0].Raw; !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestPagesHoldRecords(t *testing.T) {
	for seed := range uint64(5) {
		w := waltest.Random(seed, waltest.Options{}, 3<<20)
		for _, r := range w.Records() {
			if r.Start%wal.MaxAlign != 0 || r.End%wal.MaxAlign != 0 {
				t.Fatalf("seed %d: record at %s ends at %s: not aligned", seed, r.Start, r.End)
			}
			if got := reassemble(w, r.Start, len(r.Raw)); !bytes.Equal(got, r.Raw) {
				t.Fatalf("seed %d: the pages do not hold the record at %s", seed, r.Start)
			}
		}
	}
}

// reassemble reads n record bytes from lsn on, leaving out page headers.
func reassemble(w *waltest.Writer, lsn wal.LSN, n int) []byte {
	o := w.Options()
	var rec []byte
	for ; len(rec) < n; lsn++ {
		if lsn%wal.PageSize == 0 {
			lsn += waltest.ShortHeaderSize
			if o.SegmentSize.Offset(lsn) == waltest.ShortHeaderSize {
				lsn += waltest.LongHeaderSize - waltest.ShortHeaderSize
			}
		}
		rec = append(rec, w.Bytes()[lsn-o.Start])
	}
	return rec
}

func TestFillTo(t *testing.T) {
	w := waltest.New(waltest.Options{})
	for room := 0; room <= wal.PageSize-waltest.LongHeaderSize-wal.RecordHeaderSize; room += wal.MaxAlign {
		_, end := w.FillTo(room)
		if got := int(-end) & (wal.PageSize - 1); got != room {
			t.Fatalf("FillTo(%d) ends at %s: %d bytes left", room, end, got)
		}
	}
	for _, room := range []int{0, 8, 16, 24, 4096} {
		w.FillToSegmentEnd(room)
		if got := int(-w.End()) & (wal.MinSegmentSize - 1); got != room {
			t.Errorf("FillToSegmentEnd(%d) ends at %s", room, w.End())
		}
	}
}

func TestSwitchEndsAtSegmentEnd(t *testing.T) {
	for name, change := range map[string]func(w *waltest.Writer) (start, end wal.LSN){
		"zeros": (*waltest.Writer).Switch, "pages": (*waltest.Writer).SwitchWithPages,
	} {
		w := waltest.New(waltest.Options{})
		w.LogicalMessage("m", 100)
		_, end := change(w)
		if end != 2*wal.MinSegmentSize || w.End() != end || w.Records()[1].End != end {
			t.Errorf("%s: the switch ends at %s, the WAL at %s", name, end, w.End())
		}
		w.FillToSegmentEnd(wal.RecordHeaderSize)
		if _, end = change(w); end != 3*wal.MinSegmentSize || w.End() != end {
			t.Errorf("%s: a switch that just fits ends at %s, the WAL at %s", name, end, w.End())
		}
	}
}

func TestRandomIsReproducible(t *testing.T) {
	a := waltest.Random(7, waltest.Options{Version: wal.PG17}, 1<<20)
	b := waltest.Random(7, waltest.Options{Version: wal.PG17}, 1<<20)
	c := waltest.Random(8, waltest.Options{Version: wal.PG17}, 1<<20)
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same seed gives other bytes")
	}
	if bytes.Equal(a.Bytes(), c.Bytes()) {
		t.Error("another seed gives the same bytes")
	}
}
