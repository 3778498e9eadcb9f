package pagestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
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

// TestSizesBeside has readers at any LSN while the store goes on, back and forth:
// each finds what is so in every one of the histories, or that the LSN is not
// reached.
func TestSizesBeside(t *testing.T) {
	w := waltest.New(waltest.Options{})
	var ends []wal.LSN
	for i := range 400 {
		w.Append(blocksRecord(PageID{Rel: testPage.Rel, Block: wal.BlockNumber(i)}))
		_, end := w.Append((&xactEnd{header: wal.XID(700 + i), time: int64(i)}).record(wal.PG15))
		ends = append(ends, end)
	}
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fillFrom(t, s, w, nil)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for r := range 3 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 0))
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := readBeside(t.Context(), s, ends, rng.IntN(len(ends))); err != nil && !errors.Is(err, ErrNotReached) {
					t.Error(err)
					return
				}
			}
		})
	}
	for tli := wal.TimelineID(2); tli < 12; tli++ {
		if err := s.Rewind(t.Context(), tli, ends[int(tli)*7]); err != nil {
			t.Error(err)
			break
		}
		fillFrom(t, s, w, rand.New(rand.NewPCG(uint64(tli), 0)))
	}
	close(done)
	readers.Wait()
}

// readBeside asks for all that is known as of the end of transaction i.
func readBeside(ctx context.Context, s *Store, ends []wal.LSN, i int) error {
	want := wal.BlockNumber(i + 1)
	n, at, err := s.RelSize(ctx, testPage.Rel, wal.MainFork, ends[i])
	if err == nil && (n != want || at != ends[i]) {
		err = fmt.Errorf("as of %s %d blocks, want %d", at, n, want)
	}
	if err == nil {
		_, err = s.EachFork(ctx, ends[i], nil, func(f RelFork) error {
			if f != (RelFork{Rel: testPage.Rel, Blocks: want}) {
				return fmt.Errorf("as of %s there is %v, want %d blocks", ends[i], f, want)
			}
			return nil
		})
	}
	if err == nil {
		e, found := s.LocateXID(ctx, uint32(700+i), ends[i])
		if err = found; err == nil && e.EndLSN != ends[i] {
			err = fmt.Errorf("transaction %d ends at %s, want %s", 700+i, e.EndLSN, ends[i])
		}
	}
	records := 0
	if err == nil {
		_, err = s.EachRecord(ctx, PageID{Rel: testPage.Rel, Block: want - 1}, 0, ends[i], func(*wal.Record, RecordFlags, uint8) error {
			records++
			return nil
		})
	}
	if err == nil && records != 1 {
		err = fmt.Errorf("%d records have touched block %d as of %s", records, want-1, ends[i])
	}
	return err
}
