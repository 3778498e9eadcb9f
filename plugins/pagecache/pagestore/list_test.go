package pagestore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestEachForkLong lists forks of which one has more sizes than are passed over
// one by one, as of every record.
func TestEachForkLong(t *testing.T) {
	w := waltest.New(waltest.Options{})
	long := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}
	after := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16385}
	for block := range wal.BlockNumber(5 * maxSteps) {
		w.Append(blocksRecord(PageID{Rel: long, Block: block}))
	}
	w.Append(blocksRecord(PageID{Rel: after, Block: 2}))
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fill(t, s, w)
	for i, rec := range w.Records() {
		want := []RelFork{{Rel: long, Blocks: wal.BlockNumber(min(i+1, 5*maxSteps))}}
		if i == 5*maxSteps {
			want = append(want, RelFork{Rel: after, Blocks: 3})
		}
		var got []RelFork
		if _, err := s.EachFork(t.Context(), rec.End, nil, func(f RelFork) error {
			got = append(got, f)
			return nil
		}); err != nil || !slices.Equal(got, want) {
			t.Fatalf("after %d records %v, %v; want %v", i+1, got, err, want)
		}
	}
	stop := errors.New("enough")
	if _, err := s.EachFork(t.Context(), 0, nil, func(RelFork) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("its error was not answered: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, lsn := range []wal.LSN{w.Options().Start - 1, w.End() + 1} {
		if _, err := s.EachFork(ctx, lsn, nil, nil); !errors.Is(err, ErrBelowHorizon) && !errors.Is(err, ErrNotReached) {
			t.Errorf("as of %s: %v", lsn, err)
		}
		if _, _, err := s.RelSize(ctx, long, wal.MainFork, lsn); !errors.Is(err, ErrBelowHorizon) && !errors.Is(err, ErrNotReached) {
			t.Errorf("as of %s: %v", lsn, err)
		}
	}
	if _, _, err := s.RelSize(t.Context(), long, wal.InitFork, 0); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "fork init of relation 1663/5/16384") {
		t.Errorf("a fork that does not exist: %v", err)
	}
}

// TestCopiesOfCopies has databases that are copies of each other: one more than
// are followed.
func TestCopiesOfCopies(t *testing.T) {
	w := waltest.New(waltest.Options{})
	rel := func(db uint32) wal.RelFileLocator { return wal.RelFileLocator{Spc: 1663, DB: wal.OID(db), Rel: 16384} }
	w.Append(blocksRecord(PageID{Rel: rel(100), Block: 6}))
	for db := range uint32(maxCopies + 1) {
		w.Append(copyDatabaseRecord(101+db, 1663, 100+db, 1663))
		w.Append(dropDatabaseRecord(wal.PG15, 100+db, 1663))
	}
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fill(t, s, w)
	ends := w.Records()
	for _, c := range []struct {
		copies uint32
		fine   bool
	}{{1, true}, {maxCopies, true}, {maxCopies + 1, false}} {
		db, lsn := 100+c.copies, ends[1+2*(c.copies-1)].End
		n, _, err := s.RelSize(t.Context(), rel(db), wal.MainFork, lsn)
		if c.fine && (err != nil || n != 7) || !c.fine && (err == nil || !strings.Contains(err.Error(), "made by copying each other's files")) {
			t.Errorf("copy %d has %d blocks, %v", c.copies, n, err)
		}
		oid := wal.OID(db)
		var got []RelFork
		if _, err = s.EachFork(t.Context(), lsn, &oid, func(f RelFork) error {
			got = append(got, f)
			return nil
		}); c.fine && (err != nil || !slices.Equal(got, []RelFork{{Rel: rel(db), Blocks: 7}})) || !c.fine && (err == nil || len(got) != 0) {
			t.Errorf("copy %d has %v, %v", c.copies, got, err)
		}
	}
}
