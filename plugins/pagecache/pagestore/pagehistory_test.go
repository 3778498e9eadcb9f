package pagestore

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// fragments cuts a record into pieces of so many bytes, as a sink gets one that
// is too large for it.
func fragments(t testing.TB, rec *wal.Record, size int) (out []wal.Record) {
	t.Helper()
	for at := 0; at < len(rec.Data); at += size {
		f := *rec
		f.FragmentOffset, f.Data = uint32(at), rec.Data[at:min(at+size, len(rec.Data))]
		f.EndLSN = 0
		if f.Last() {
			f.EndLSN = rec.EndLSN
		}
		out = append(out, f)
	}
	return out
}

// appendPieces appends all of w, records of more than size bytes in fragments.
func appendPieces(t testing.TB, s *Store, w *waltest.Writer, size int) {
	t.Helper()
	s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	for _, rec := range records(t, w) {
		pieces := []wal.Record{rec}
		if len(rec.Data) > size {
			pieces = fragments(t, &rec, size)
		}
		for i := range pieces {
			if err := s.Append(&pieces[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Commit(t.Context(), Progress{Position: w.End(), LastValid: w.End()}); err != nil {
		t.Fatal(err)
	}
}

// touched is a record of a page's history, by number.
type touched struct {
	record  int
	flags   RecordFlags
	blockID uint8
}

func eachTouched(t *testing.T, s *Store, w *waltest.Writer, id PageID, from, to wal.LSN) (list []touched) {
	t.Helper()
	want := records(t, w)
	at, err := s.EachRecord(t.Context(), id, from, to, func(rec *wal.Record, flags RecordFlags, blockID uint8) error {
		i := slices.IndexFunc(want, func(r wal.Record) bool { return r.EndLSN == rec.EndLSN })
		if r := &want[i]; r.StartLSN != rec.StartLSN || r.RmgrID != rec.RmgrID || r.Info != rec.Info || r.XID != rec.XID || string(r.Data[:len(rec.Data)]) != string(rec.Data) {
			t.Errorf("another record than number %d", i)
		}
		list = append(list, touched{i, flags, blockID})
		return nil
	})
	if err != nil || to != 0 && at != to {
		t.Fatalf("history up to %s: %s, %v", to, at, err)
	}
	return list
}

// TestEachRecord has records that touch pages in every way there is.
func TestEachRecord(t *testing.T) {
	w := waltest.New(waltest.Options{})
	rel := testPage.Rel
	insert := waltest.HeapInsert(700, rel, 0, 2, []byte("it clears bits"))
	insert.Main[2] = 1 // XLH_INSERT_ALL_VISIBLE_CLEARED
	drop := dropRecord(xactCommit, rel)
	drop.Main = append(drop.Main, make([]byte, 3000)...)
	for _, rec := range []waltest.Record{
		smgrCreateRecord(rel, wal.MainFork),                     // 0
		waltest.HeapInsert(700, rel, 0, 1, []byte("it begins")), // 1
		visibleRecord(rel, 0),                                   // 2
		blocksRecord(PageID{Rel: rel, Block: 7}, testPage),      // 3
		insert, // 4
		waltest.FullPageImage(rel, 0, waltest.HeapPage(1000, 1)),  // 5
		smgrTruncateRecord(rel, 3, 7),                             // 6
		blocksRecord(PageID{Rel: wal.RelFileLocator{Rel: 1}}),     // 7
		blocksRecord(PageID{Rel: rel, Block: 7}),                  // 8
		drop,                                                      // 9
		smgrCreateRecord(rel, wal.InitFork),                       // 10
		dropDatabaseRecord(wal.PG15, uint32(rel.DB), 1663),        // 11
		copyDatabaseRecord(uint32(rel.DB), uint32(rel.Spc), 1, 1), // 12
	} {
		w.Append(rec)
	}
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	appendPieces(t, s, w, 1000)

	end := func(i int) wal.LSN { return w.Records()[i].End }
	const ends = RecordImplied | RecordEnds
	main := []touched{{0, ends, 0}, {1, RecordInit, 0}, {2, 0, 1}, {3, 0, 1}, {4, 0, 0}, {5, RecordImage, 0}, {9, ends, 0}, {11, ends, 0}, {12, ends, 0}}
	for _, c := range []struct {
		name     string
		id       PageID
		from, to wal.LSN
		want     []touched
	}{
		{"main", testPage, 0, 0, main},
		{"a part", testPage, end(1), end(5), main[2:6]},
		{"between records", testPage, end(1) + 8, end(5) - 1, main[2:5]},
		{"nothing", testPage, end(5), end(8), nil},
		{"the last block", PageID{Rel: rel, Block: 7}, end(0), end(9), []touched{{3, 0, 0}, {6, ends, 0}, {8, 0, 0}, {9, ends, 0}}},
		{"map", PageID{Rel: rel, Fork: wal.VisibilityMapFork}, 0, end(8), []touched{{0, ends, 0}, {2, 0, 0}, {4, RecordImplied, 0}, {6, RecordImplied, 0}}},
		{"init", PageID{Rel: rel, Fork: wal.InitFork}, 0, end(10), []touched{{9, ends, 0}, {10, ends, 0}}},
	} {
		if got := eachTouched(t, s, w, c.id, c.from, c.to); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}

	// The drop that came in fragments counts for sizes too.
	for i, want := range map[int]bool{8: true, 9: false} {
		if _, _, err := s.RelSize(t.Context(), rel, wal.MainFork, end(i)); (err == nil) != want {
			t.Errorf("after record %d the relation is there: %v", i, err)
		}
	}

	stop := errors.New("enough")
	if _, err := s.EachRecord(t.Context(), testPage, 0, 0, func(*wal.Record, RecordFlags, uint8) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("its error was not answered: %v", err)
	}
	start := w.Options().Start
	for _, c := range []struct {
		from, to wal.LSN
		err      error
	}{{start - 1, 0, ErrBelowHorizon}, {0, start - 1, ErrBelowHorizon}, {0, w.End() + 1, ErrNotReached}} {
		if _, err := s.EachRecord(t.Context(), testPage, c.from, c.to, nil); !errors.Is(err, c.err) {
			t.Errorf("from %s to %s: %v, want %v", c.from, c.to, err, c.err)
		}
	}
}

// TestEachRecordDamaged has fragments that are not those that were written, and a
// history that nobody wants any more.
func TestEachRecordDamaged(t *testing.T) {
	w := waltest.New(waltest.Options{})
	drop := dropRecord(xactCommit, testPage.Rel)
	drop.Main = append(drop.Main, make([]byte, 3000)...)
	w.Append(drop)
	for _, at := range []int64{logHeaderSize + 2, logHeaderSize + 12, logHeaderSize + 16, logHeaderSize + entryHeader + 9} {
		fs := vfs.NewMem()
		s := openTest(t, fs, "/d")
		appendPieces(t, s, w, 1000)
		overwrite(t, fs, "/d/values/0000000001", at, []byte{0xEE})
		if _, err := s.EachRecord(t.Context(), testPage, 0, 0, func(*wal.Record, RecordFlags, uint8) error { return nil }); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d: %v", at, err)
		}
		closeTest(t, s)
	}

	for range 2 * ctxEvery {
		w.Append(waltest.HeapInsert(700, testPage.Rel, 0, 2, nil))
	}
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fill(t, s, w)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.EachRecord(ctx, testPage, 0, 0, func(*wal.Record, RecordFlags, uint8) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestEachRecordImport passes over what is no record.
func TestEachRecordImport(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.Append(waltest.HeapInsert(700, testPage.Rel, 0, 2, nil))
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	importTest(t, s, w.Options().Start, w.Options().Start, stamped(8, 1))
	fillFrom(t, s, w, nil)
	if got := eachTouched(t, s, w, testPage, 0, 0); !slices.Equal(got, []touched{{0, 0, 0}}) {
		t.Errorf("%+v", got)
	}
}
