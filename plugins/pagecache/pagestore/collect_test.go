package pagestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

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
		if s.images.live[n] != bytes {
			return fmt.Errorf("file %d of images has %d bytes that are live, %d are counted", n, bytes, s.images.live[n])
		}
	}
	return nil
}
