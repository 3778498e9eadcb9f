package pagestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// fillFrom appends the records after the store's position, with a commit now and
// then, and at the end unless that is left open.
func fillFrom(t testing.TB, s *Store, w *waltest.Writer, rng *rand.Rand) {
	t.Helper()
	if s.New() {
		s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	}
	at := s.State().Position
	for _, rec := range records(t, w) {
		if rec.EndLSN <= at {
			continue
		}
		if err := s.Append(&rec); err != nil {
			t.Fatal(err)
		}
		if rng != nil && rng.IntN(500) == 0 {
			if err := s.Commit(t.Context(), Progress{Position: rec.EndLSN, LastValid: rec.EndLSN}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Commit(t.Context(), Progress{Position: w.End(), LastValid: w.End()}); err != nil {
		t.Fatal(err)
	}
}

// dump is all that a store holds: each key with its value, and each byte of the
// log that counts.
func dump(t testing.TB, s *Store) map[string]string {
	t.Helper()
	out := make(map[string]string)
	it, err := s.ix.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if k := it.Key(); k[0] != spaceState {
			out[fmt.Sprintf("key %c %x", k[0], k[1:])] = string(it.Value())
		}
	}
	st := s.visible.state()
	for n := uint32(1); n <= st.log.file; n++ {
		f, err := s.fs.Open(s.fs.PathJoin(s.log.dir, logName(n)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if n == st.log.file {
			b = b[:st.log.length]
		} else if key := fileKey(n); out[fmt.Sprintf("key %c %x", spaceFile, key[1:])] != "" {
			b = b[:le.Uint64([]byte(out[fmt.Sprintf("key %c %x", spaceFile, key[1:])])[16:])]
		}
		out["log "+logName(n)] = string(b)
	}
	st.Timeline = 0
	state := st.encode()
	out["state"] = fmt.Sprintf("%x", state)
	return out
}

// sameStore compares a store with one that only ever saw w.
func sameStore(t *testing.T, s *Store, w *waltest.Writer) {
	t.Helper()
	fresh := openTest(t, vfs.NewMem(), "/fresh")
	defer closeTest(t, fresh)
	fillFrom(t, fresh, w, nil)
	got, want := dump(t, s), dump(t, fresh)
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%s: %.100q, a store that only saw this history has %.100q", k, got[k], v)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Fatalf("%s: a store that only saw this history does not have it", k)
		}
	}
}

// TestRewind follows several switches in a row, at any record: what is held then
// is what a store holds that saw the surviving history alone, byte for byte.
func TestRewind(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0x726577))
			fs := vfs.NewMem()
			s := openTest(t, fs, "/d")
			w := waltest.Random(seed, waltest.Options{}, 300<<10)
			fillFrom(t, s, w, rng)
			for tli := wal.TimelineID(2); tli < 5; tli++ {
				recs := w.Records()
				lsn := recs[rng.IntN(len(recs))].End
				w = w.Branch(tli, lsn)
				if err := s.Rewind(t.Context(), tli, lsn); err != nil {
					t.Fatal(err)
				}
				if st := s.Visible(); st.Position != lsn || st.LastValid != lsn || st.Timeline != tli {
					t.Fatalf("rewound to %s: %+v", lsn, st)
				}
				sameStore(t, s, w)
				if rng.IntN(2) == 0 {
					closeTest(t, s)
					s = openTest(t, fs, "/d")
					sameStore(t, s, w)
				}
				w.AppendRandom(rng.Uint64(), rng.IntN(200<<10))
				fillFrom(t, s, w, rng)
				sameStore(t, s, w)
				// Read through files that stay open from one switch to the next.
				if n := checkEntries(t, s, records(t, w)); n == 0 {
					t.Fatal("no version was found")
				}
			}
			closeTest(t, s)
		})
	}
}

// TestRewindTakesNothing has switches at and behind what is held, and before all.
func TestRewindTakesNothing(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 100<<10)
	for _, c := range []struct {
		name       string
		lsn        wal.LSN
		position   wal.LSN
		valid      wal.LSN
		horizon    wal.LSN
		everything bool
	}{
		{"at the end", w.End(), w.End(), w.End(), w.Options().Start, true},
		{"behind it", w.End() + 100, w.End(), w.End() + 50, w.Options().Start, true},
		{"in what is incomplete", w.End() + 8, w.End(), w.End() + 8, w.Options().Start, true},
		{"before all", w.Options().Start - 100, w.Options().Start - 100, w.Options().Start - 100, w.Options().Start - 100, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openTest(t, vfs.NewMem(), "/d")
			defer closeTest(t, s)
			fillFrom(t, s, w, nil)
			if err := s.Commit(t.Context(), Progress{Position: w.End(), LastValid: w.End() + 50}); err != nil {
				t.Fatal(err)
			}
			before := dump(t, s)
			if err := s.Rewind(t.Context(), 2, c.lsn); err != nil {
				t.Fatal(err)
			}
			st := s.Visible()
			if st.Timeline != 2 || st.Position != c.position || st.LastValid != c.valid && c.valid < c.lsn || st.LastValid > c.lsn || st.Horizon != c.horizon {
				t.Errorf("%+v", st)
			}
			after := dump(t, s)
			if c.everything && len(after) != len(before) || !c.everything && len(after) != 1 {
				t.Errorf("%d keys and files, there were %d", len(after), len(before))
			}
		})
	}
}

// TestRewindUncommitted drops what was appended and is not committed, with files
// of the log that only that has.
func TestRewindUncommitted(t *testing.T) {
	w := waltest.Random(2, waltest.Options{}, 300<<10)
	recs := records(t, w)
	fs := vfs.NewMem()
	s := openTest(t, fs, "/d")
	s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	var at wal.LSN
	for i := range recs {
		if err := s.Append(&recs[i]); err != nil {
			t.Fatal(err)
		}
		if i == len(recs)/3 {
			at = recs[i].EndLSN
			if err := s.Commit(t.Context(), Progress{Position: at, LastValid: at}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Rewind(t.Context(), 2, at+1000); err != nil {
		t.Fatal(err)
	}
	b := w.Branch(2, at)
	sameStore(t, s, b)
	b.AppendRandom(3, 100<<10)
	fillFrom(t, s, b, nil)
	sameStore(t, s, b)
	closeTest(t, s)
}

// TestRewindInterrupted ends a rewind between its steps: the next Open ends the
// deletion, on the old timeline, and WAL of either can follow.
func TestRewindInterrupted(t *testing.T) {
	w := waltest.Random(4, waltest.Options{}, 300<<10)
	recs := w.Records()
	lsn := recs[len(recs)/3].End
	for _, tli := range []wal.TimelineID{1, 2} {
		fs := vfs.NewMem()
		s := openTest(t, fs, "/d")
		fillFrom(t, s, w, nil)
		st := s.visible.state()
		var err error
		if st.log, err = s.cutLog(t.Context(), st.log, lsn); err != nil {
			t.Fatal(err)
		}
		st.Position, st.LastRecord, st.LastValid = lsn, lsn, lsn
		if err := s.goBack(t.Context(), st, true); err != nil {
			t.Fatal(err)
		}
		if st := s.Visible(); st.Timeline != 1 || st.LastValid != lsn {
			t.Fatalf("readers see %+v", st)
		}
		closeTest(t, s)
		s = openTest(t, fs, "/d")
		if st := s.State(); st.Timeline != 1 || st.Position != lsn {
			t.Fatalf("opened at %+v", st)
		}
		b := w.Branch(tli, lsn)
		sameStore(t, s, b)
		if tli == 2 {
			if err := s.Rewind(t.Context(), tli, lsn); err != nil {
				t.Fatal(err)
			}
		}
		b.AppendRandom(5, 100<<10)
		fillFrom(t, s, b, nil)
		sameStore(t, s, b)
		closeTest(t, s)
	}
}

// TestRewindManyKeys deletes more than one commit takes, from tables too.
func TestRewindManyKeys(t *testing.T) {
	w := waltest.New(waltest.Options{})
	for i := range 3 * maxDeletes {
		w.Append(waltest.HeapInsert(700, testPage.Rel, wal.BlockNumber(i), 1, nil))
	}
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fillFrom(t, s, w, nil)
	if err := s.ix.db.Flush(); err != nil {
		t.Fatal(err)
	}
	at := w.Records()[maxDeletes/2]
	if err := s.Rewind(t.Context(), 2, at.End); err != nil {
		t.Fatal(err)
	}
	if n := len(dump(t, s)); n < maxDeletes || n > maxDeletes+1000 { // a page and a size each
		t.Errorf("%d keys are left", n)
	}
	sameStore(t, s, w.Branch(2, at.End))
}

// TestRewindReads has readers at any LSN while the store goes back and forth: each
// finds the page as it is in one of the histories, or that the LSN is not reached.
func TestRewindReads(t *testing.T) {
	w := waltest.New(waltest.Options{})
	var ends []wal.LSN
	for i := range 2000 {
		_, end := w.Append(waltest.FullPageImage(testPage.Rel, testPage.Block, waltest.HeapPage(8000, byte(i))))
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
				i := rng.IntN(len(ends))
				a, err := s.ReadPage(t.Context(), testPage, ends[i])
				if err == nil && (a.LastLSN != ends[i] || a.Page[wal.BlockSize-1] != byte(i)) {
					t.Errorf("as of %s: another page, of %s", ends[i], a.LastLSN)
					return
				}
				if err != nil && !errors.Is(err, ErrNotReached) {
					t.Error(err)
				}
			}
		})
	}
	for tli := wal.TimelineID(2); tli < 30; tli++ {
		if err := s.Rewind(t.Context(), tli, ends[int(tli)*7]); err != nil {
			t.Error(err)
			break
		}
		fillFrom(t, s, w, nil)
	}
	close(done)
	readers.Wait()
}

// TestRewindWaits goes on waiting on the new timeline.
func TestRewindWaits(t *testing.T) {
	w := waltest.Random(6, waltest.Options{}, 100<<10)
	lsn := w.Records()[50].End
	b := w.Branch(2, lsn)
	b.AppendRandom(7, 200<<10)
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fillFrom(t, s, w, nil)
	got := make(chan State, 1)
	go func() {
		st, err := s.Wait(t.Context(), w.End()+8)
		if err != nil {
			t.Error(err)
		}
		got <- st
	}()
	if err := s.Rewind(t.Context(), 2, lsn); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Wait(ctx, w.End()); !errors.Is(err, ErrNotReached) || !strings.Contains(err.Error(), lsn.String()+" on timeline 2") {
		t.Errorf("an LSN that was taken back: %v", err)
	}
	fillFrom(t, s, b, nil)
	if st := <-got; st.Timeline != 2 || st.LastValid != b.End() {
		t.Errorf("the wait ended at %+v", st)
	}
}

// TestLSNFilter reads less than all to find what is beyond an LSN.
func TestLSNFilter(t *testing.T) {
	w := waltest.New(waltest.Options{})
	for i := range 50_000 {
		w.Append(waltest.HeapInsert(700, testPage.Rel, wal.BlockNumber(i), 1, nil))
	}
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fillFrom(t, s, w, nil)
	if err := s.ix.db.Flush(); err != nil {
		t.Fatal(err)
	}
	lsn := w.Records()[49_990].End
	it, err := s.ix.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spacePage}, UpperBound: []byte{spacePage + 1}, PointKeyFilters: []pebble.BlockPropertyFilter{lsnsAbove(lsn)}})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	keys, beyond := 0, 0
	for ok := it.First(); ok; ok = it.Next() {
		keys++
		if keyLSN(it.Key()) > lsn {
			beyond++
		}
	}
	if beyond != 9 || keys > 5000 {
		t.Errorf("%d keys are read to find %d", keys, beyond)
	}
}

// TestRewindDamaged has a log that ends early, and an index that does not know its
// files.
func TestRewindDamaged(t *testing.T) {
	w := waltest.Random(8, waltest.Options{}, 300<<10)
	for _, c := range []struct {
		name   string
		lsn    wal.LSN
		damage func(s *Store, fs vfs.FS)
	}{
		{"a file is cut", w.Records()[3].End, func(s *Store, fs vfs.FS) { create(t, fs, "/d/values/0000000001", bytes.Repeat([]byte{0}, 70)) }},
		{"a file is gone", w.Records()[3].End, func(s *Store, fs vfs.FS) { mustRemove(t, fs, "/d/values/0000000001") }},
		{"the index does not know a file", w.Records()[3].End, func(s *Store, fs vfs.FS) {
			key := fileKey(1)
			if err := s.ix.db.Delete(key[:], nil); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openTest(t, fs, "/d")
			fillFrom(t, s, w, nil)
			c.damage(s, fs)
			if err := s.Rewind(t.Context(), 2, c.lsn); err == nil {
				t.Error("it was rewound")
			}
			if err := s.Commit(t.Context(), Progress{Position: w.End(), LastValid: w.End()}); err == nil {
				t.Error("it goes on")
			}
			closeTest(t, s)
		})
	}
}
