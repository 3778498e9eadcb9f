package pagestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// outcome is what a read of a page ends with.
func outcome(ctx context.Context, s *Store, id PageID, lsn wal.LSN) (string, []byte) {
	a, err := s.ReadPage(ctx, id, lsn)
	if err != nil {
		for _, known := range []error{ErrNotFound, ErrNoBase, ErrNotReached, ErrBelowHorizon} {
			if errors.Is(err, known) {
				return known.Error(), nil
			}
		}
		return err.Error(), nil
	}
	return fmt.Sprintf("page up to %s", a.LastLSN), a.Page
}

// sameReads compares all that can be read of two stores as of an LSN.
func sameReads(ctx context.Context, got, want *Store, pages map[PageID]bool, lsn wal.LSN) error {
	for id := range pages {
		how, page := outcome(ctx, got, id, lsn)
		wantHow, wantPage := outcome(ctx, want, id, lsn)
		if how != wantHow || !bytes.Equal(page, wantPage) {
			return fmt.Errorf("%s as of %s: %s, a store that keeps all has %s", id, lsn, how, wantHow)
		}
	}
	forks, err := forksOf(ctx, got, lsn)
	if err != nil {
		return err
	}
	wantForks, err := forksOf(ctx, want, lsn)
	if err != nil {
		return err
	}
	if forks != wantForks {
		return fmt.Errorf("as of %s there is\n%s, in a store that keeps all\n%s", lsn, forks, wantForks)
	}
	return nil
}

func forksOf(ctx context.Context, s *Store, lsn wal.LSN) (list string, err error) {
	_, err = s.EachFork(ctx, lsn, nil, func(f RelFork) error {
		list += fmt.Sprintf("%s %s %d\n", f.Rel, f.Fork, f.Blocks)
		return nil
	})
	return list, err
}

// beginAs begins a store without a base backup, or with an empty one.
func beginAs(t testing.TB, s *Store, w *waltest.Writer, backup bool) {
	t.Helper()
	if !backup {
		s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
		return
	}
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start); err != nil {
		t.Fatal(err)
	}
	if err := s.EndImport(t.Context(), w.Options().Start); err != nil {
		t.Fatal(err)
	}
}

// TestCollect collects again and again, and compares all reads with those of a
// store that keeps everything.
func TestCollect(t *testing.T) {
	for seed := range uint64(5) {
		for _, backup := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed=%d,backup=%t", seed, backup), func(t *testing.T) { collects(t, seed, backup) })
		}
	}
}

func collects(t *testing.T, seed uint64, backup bool) {
	rng := rand.New(rand.NewPCG(seed, 0x6763))
	g := newGenerator(seed)
	fs := vfs.NewMem()
	s, all := openTest(t, fs, "/d"), openTest(t, vfs.NewMem(), "/d")
	defer func() { closeTest(t, s) }()
	defer closeTest(t, all)
	beginAs(t, s, g.w, backup)
	beginAs(t, all, g.w, backup)
	var sum Collected
	for range 15 {
		for range 1 + rng.IntN(150) {
			g.step()
		}
		appendAll(t, s, g.w)
		appendAll(t, all, g.w)
		o := CollectOptions{MaxReplay: 1 + rng.IntN(20)}
		if rng.IntN(3) > 0 {
			o.Retain = uint64(1 + rng.IntN(20_000))
		}
		done, err := s.Collect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		sum.Pages += done.Pages
		sum.Images += done.Images
		sum.Keys += done.Keys
		sum.Lost += done.Lost
		sum.Moved += done.Moved
		sum.ValueFiles += done.ValueFiles
		sum.ImageFiles += done.ImageFiles
		if rng.IntN(4) == 0 {
			closeTest(t, s)
			s = openTest(t, fs, "/d")
		}
		st := s.Visible()
		for range 4 {
			lsn := st.Horizon + wal.LSN(rng.Uint64N(uint64(st.LastValid-st.Horizon)+1))
			if err := sameReads(t.Context(), s, all, g.pages, lsn); err != nil {
				t.Fatal(err)
			}
		}
		for _, lsn := range []wal.LSN{st.Horizon, st.LastValid} {
			if err := sameReads(t.Context(), s, all, g.pages, lsn); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkImages(s); err != nil {
			t.Fatal(err)
		}
	}
	if sum.Lost > 0 || sum.Pages == 0 || sum.Images == 0 || sum.Keys == 0 {
		t.Errorf("%+v", sum)
	}
	t.Logf("%+v", sum)
}

// checkImages compares what is counted of the images' files with the keys, and
// that no key at or before what was swept needs a record.
func checkImages(s *Store) error {
	it, err := s.ix.db.NewIter(spaceBounds(spacePage))
	if err != nil {
		return err
	}
	defer it.Close()
	live := make(map[uint32]int64)
	for ok := it.First(); ok; ok = it.Next() {
		rec, image, err := parsePage(it.Value())
		if err != nil {
			return err
		}
		if image.length > 0 {
			live[image.file] += entrySize(image)
		}
		if lsn := keyLSN(it.Key()); lsn <= s.images.state.swept && rec.flags&flagNoRecord == 0 {
			return fmt.Errorf("%s as of %s, before %s, needs a record", keyPage(it.Key()), lsn, s.images.state.swept)
		}
	}
	if len(live) != len(s.images.live) {
		return fmt.Errorf("%d files of images have live ones, %d are counted", len(live), len(s.images.live))
	}
	for n, bytes := range live {
		if s.images.live[n].bytes != bytes {
			return fmt.Errorf("file %d of images has %d bytes that are live, %d are counted", n, bytes, s.images.live[n].bytes)
		}
	}
	return nil
}

// TestCollectBeside collects while records come in, pages are read and the store
// is rewound: each read is that of a store that keeps everything, or is told that
// there is nothing any more, or not yet.
func TestCollectBeside(t *testing.T) {
	g := newGenerator(1)
	for range 3000 {
		g.step()
	}
	recs := records(t, g.w)
	s, all := openTest(t, vfs.NewMem(), "/d"), openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	defer closeTest(t, all)
	beginAs(t, s, g.w, true)
	beginAs(t, all, g.w, true)
	appendAll(t, all, g.w)
	var ids []PageID
	for id := range g.pages {
		ids = append(ids, id)
	}

	done := make(chan struct{})
	var beside sync.WaitGroup
	for r := range 3 {
		beside.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 1))
			for !isClosed(done) {
				st := s.Visible()
				lsn := st.Horizon + wal.LSN(rng.Uint64N(uint64(st.LastValid-st.Horizon)+1))
				id := ids[rng.IntN(len(ids))]
				got, page := outcome(t.Context(), s, id, lsn)
				if got == ErrBelowHorizon.Error() || got == ErrNotReached.Error() {
					continue
				}
				if want, wantPage := outcome(t.Context(), all, id, lsn); got != want || !bytes.Equal(page, wantPage) {
					t.Errorf("%s as of %s: %s, want %s", id, lsn, got, want)
					return
				}
			}
		})
	}
	beside.Go(func() {
		rng := rand.New(rand.NewPCG(7, 1))
		for !isClosed(done) {
			if _, err := s.Collect(t.Context(), CollectOptions{Retain: 20_000, MaxReplay: 1 + rng.IntN(20)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	rng := rand.New(rand.NewPCG(8, 1))
	tli := wal.TimelineID(1)
	for i := 0; i < len(recs); i++ {
		if err := s.Append(&recs[i]); err != nil {
			t.Error(err)
			break
		}
		if rng.IntN(30) > 0 && i < len(recs)-1 {
			continue
		}
		end := recs[i].EndLSN
		if err := s.Commit(t.Context(), Progress{Position: end, LastValid: end}); err != nil {
			t.Error(err)
			break
		}
		if rng.IntN(10) > 0 || i == len(recs)-1 {
			continue
		}
		back := max(0, i-rng.IntN(100))
		tli++
		switch err := s.Rewind(t.Context(), tli, recs[back].EndLSN); {
		case err == nil:
			i = back
		case !errors.Is(err, ErrBelowHorizon):
			t.Error(err)
		}
	}
	close(done)
	beside.Wait()
	if tli < 5 || s.Visible().Horizon == g.w.Options().Start {
		t.Errorf("timeline %d, horizon %s", tli, s.Visible().Horizon)
	}
	if err := sameReads(t.Context(), s, all, g.pages, 0); err != nil {
		t.Error(err)
	}
	if err := checkImages(s); err != nil {
		t.Error(err)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestCollectClose closes a store at which a Collect is at work, and one after it.
func TestCollectClose(t *testing.T) {
	g := newGenerator(2)
	for range 2000 {
		g.step()
	}
	s := openTest(t, vfs.NewMem(), "/d")
	beginAs(t, s, g.w, false)
	appendAll(t, s, g.w)
	var beside sync.WaitGroup
	begun := make(chan struct{})
	beside.Go(func() {
		close(begun)
		if _, err := s.Collect(t.Context(), CollectOptions{Retain: 1}); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	<-begun
	closeTest(t, s)
	beside.Wait()
	if _, err := s.Collect(t.Context(), CollectOptions{Retain: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestCollectTarget moves the horizon by distance and by age, when it is worth it.
func TestCollectTarget(t *testing.T) {
	w := waltest.New(waltest.Options{})
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var ends []wal.LSN
	for minute := range 100 {
		_, end := w.Append(waltest.Commit(700, begin.Add(time.Duration(minute)*time.Minute)))
		ends = append(ends, end)
	}
	for _, c := range []struct {
		name string
		o    CollectOptions
		want wal.LSN
	}{
		{"nothing", CollectOptions{}, w.Options().Start},
		{"by distance", CollectOptions{Retain: 1000}, w.End() - 1000},
		{"not worth it", CollectOptions{Retain: uint64(w.End()-w.Options().Start) * 9 / 10}, w.Options().Start},
		{"more than there is", CollectOptions{Retain: 1 << 62}, w.Options().Start},
		{"by age", CollectOptions{RetainAge: 30 * time.Minute, Now: begin.Add(100*time.Minute + time.Second)}, ends[70]},
		{"by the age of all", CollectOptions{RetainAge: time.Hour * 24, Now: begin.Add(100 * time.Minute)}, w.Options().Start},
		{"by both", CollectOptions{RetainAge: 30 * time.Minute, Now: begin.Add(100*time.Minute + time.Second), Retain: 1}, ends[70]},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openTest(t, vfs.NewMem(), "/d")
			defer closeTest(t, s)
			fill(t, s, w)
			done, err := s.Collect(t.Context(), c.o)
			if err != nil || done.Horizon != c.want || s.Visible().Horizon != c.want || s.State().Horizon != c.want {
				t.Errorf("horizon %s, want %s, %v", done.Horizon, c.want, err)
			}
			if _, err := s.ReadPage(t.Context(), testPage, c.want-1); c.want > w.Options().Start && !errors.Is(err, ErrBelowHorizon) {
				t.Errorf("before the horizon: %v", err)
			}
		})
	}
}

// TestCollectFrees removes files of values and of images.
func TestCollectFrees(t *testing.T) {
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	w := waltest.New(waltest.Options{})
	s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	var sum Collected
	for round := range 20 {
		for i := range 600 {
			w.Append(waltest.HeapInsert(700, testPage.Rel, wal.BlockNumber(i%20), uint16(i/20+1), []byte("some content that takes room..............")))
		}
		appendAll(t, s, w)
		done, err := s.Collect(t.Context(), CollectOptions{Retain: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		sum.ValueFiles += done.ValueFiles
		sum.ImageFiles += done.ImageFiles
		sum.Moved += done.Moved
		sum.Freed += done.Freed
		size, err := s.Size()
		if err != nil {
			t.Fatal(err)
		}
		// A file and what is retained; the pages twice over, and a file.
		if size.Values > 3*64<<10 || size.Images > 2*20*wal.BlockSize+2*64<<10 || size.LiveImages == 0 || size.LiveImages > 20*wal.BlockSize+20*imageBuffer {
			t.Errorf("after round %d: %+v", round, size)
		}
	}
	if sum.ValueFiles < 10 || sum.ImageFiles < 10 || sum.Freed < 20*64<<10 {
		t.Errorf("%+v", sum)
	}
	t.Logf("%+v", sum)
}

// TestShorten has reads do a bounded number of records.
func TestShorten(t *testing.T) {
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	w := waltest.New(waltest.Options{})
	for off := range uint16(150) {
		w.Append(waltest.HeapInsert(700, testPage.Rel, 0, off+1, []byte("x")))
	}
	fill(t, s, w)
	want := make(map[wal.LSN][]byte)
	for _, r := range w.Records() {
		a, err := s.ReadPage(t.Context(), testPage, r.End)
		if err != nil {
			t.Fatal(err)
		}
		want[r.End] = a.Page
	}
	done, err := s.Collect(t.Context(), CollectOptions{MaxReplay: 10})
	if err != nil || done.Images != 15 || done.Horizon != w.Options().Start {
		t.Fatalf("%+v, %v", done, err)
	}
	if done, err = s.Collect(t.Context(), CollectOptions{MaxReplay: 10}); err != nil || done.Images != 0 {
		t.Errorf("again: %+v, %v", done, err)
	}
	s.pages.clear()
	for lsn, page := range want {
		s.pages.clear()
		a, err := s.ReadPage(t.Context(), testPage, lsn)
		if err != nil || !bytes.Equal(a.Page, page) || a.Records > 10 {
			t.Errorf("as of %s: %s, %v", lsn, a, err)
		}
	}
}
