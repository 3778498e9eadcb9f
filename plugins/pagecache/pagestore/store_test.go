package pagestore

import (
	"context"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// openTest opens a store that the test closes.
func openTest(t testing.TB, fs vfs.FS, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, Options{FS: fs, MaxLogFile: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeTest(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// records decodes what a test wrote.
func records(t testing.TB, w *waltest.Writer) []wal.Record {
	t.Helper()
	var out []wal.Record
	for _, a := range w.Records() {
		rec := wal.Record{StartLSN: a.Start, EndLSN: a.End, Version: w.Options().Version, Data: a.Raw}
		if err := rec.Decode(a.Raw); err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

// fill stores all of w in one commit.
func fill(t testing.TB, s *Store, w *waltest.Writer) {
	t.Helper()
	if s.New() {
		s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	}
	for _, rec := range records(t, w) {
		if err := s.Append(&rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(t.Context(), Progress{Position: w.End(), LastValid: w.End()}); err != nil {
		t.Fatal(err)
	}
}

var testPage = PageID{Rel: wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}}

// onePage is WAL of one image of testPage.
func onePage() *waltest.Writer {
	w := waltest.New(waltest.Options{})
	w.Append(waltest.FullPageImage(testPage.Rel, testPage.Block, waltest.HeapPage(100, 7)))
	return w
}

// overwrite changes a file behind the store's back.
func overwrite(t *testing.T, fs vfs.FS, name string, at int64, b []byte) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// create makes a file of these bytes.
func create(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		harm func(t *testing.T, fs vfs.FS)
		is   error
		says string
	}{
		{"newer format", func(t *testing.T, fs vfs.FS) { create(t, fs, "/d/page_cache.format", []byte("3\n")) },
			ErrFormat, "/d has format 3, this walplex knows format 2"},
		{"format that is no number", func(t *testing.T, fs vfs.FS) { create(t, fs, "/d/page_cache.format", []byte("one")) },
			ErrDamaged, "/d/page_cache.format is no format's number"},
		{"format file gone", func(t *testing.T, fs vfs.FS) { mustRemove(t, fs, "/d/page_cache.format") },
			ErrFormat, "but no page_cache.format"},
		{"index gone", func(t *testing.T, fs vfs.FS) {
			if err := fs.RemoveAll("/d/index"); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, "/d/values holds records, but /d/index no index to them"},
		{"log gone", func(t *testing.T, fs vfs.FS) { mustRemove(t, fs, "/d/values/0000000001") },
			ErrDamaged, "a file of its log cannot be found"},
		{"log too short", func(t *testing.T, fs vfs.FS) { create(t, fs, "/d/values/0000000001", make([]byte, 100)) },
			ErrDamaged, "has 100 bytes, but"},
		{"log of another system", func(t *testing.T, fs vfs.FS) {
			h := encodeLogHeader(1, 1)
			overwrite(t, fs, "/d/values/0000000001", 0, h[:])
		}, ErrDamaged, "it is file 1 of the cluster with system identifier 1"},
		{"log of another number", func(t *testing.T, fs vfs.FS) {
			h := encodeLogHeader(waltest.DefaultSystemID, 2)
			overwrite(t, fs, "/d/values/0000000001", 0, h[:])
		}, ErrDamaged, "it is file 2 of the cluster"},
		{"log without header", func(t *testing.T, fs vfs.FS) { overwrite(t, fs, "/d/values/0000000001", 0, make([]byte, 4)) },
			ErrDamaged, "no header of a log of values"},
		{"header damaged", func(t *testing.T, fs vfs.FS) { overwrite(t, fs, "/d/values/0000000001", 8, []byte{0xEE}) },
			ErrDamaged, "incorrect checksum in its header"},
		{"log of a newer format", func(t *testing.T, fs vfs.FS) {
			h := encodeLogHeader(waltest.DefaultSystemID, 1)
			le.PutUint32(h[4:], 2)
			le.PutUint32(h[60:], checksum(h[:60]))
			overwrite(t, fs, "/d/values/0000000001", 0, h[:])
		}, ErrFormat, "it has format 2, this walplex knows 1"},
		{"foreign file in the log", func(t *testing.T, fs vfs.FS) { create(t, fs, "/d/values/notes", nil) },
			ErrDamaged, "/d/values/notes is no file of the log of values"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openTest(t, fs, "/d")
			fill(t, s, onePage())
			closeTest(t, s)
			tt.harm(t, fs)
			s, err := Open(t.Context(), "/d", Options{FS: fs})
			if err == nil {
				closeTest(t, s)
				t.Fatal("it opened")
			}
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want %v that says %q", err, tt.is, tt.says)
			}
			lock, err := fs.Lock("/d/page_cache.lock")
			if err != nil {
				t.Fatalf("the lock was not released: %v", err)
			}
			lock.Close()
		})
	}
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func mustRemove(t *testing.T, fs vfs.FS, name string) {
	t.Helper()
	if err := fs.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesForeignDirectory(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/d", 0o700); err != nil {
		t.Fatal(err)
	}
	create(t, fs, "/d/precious", nil)
	_, err := Open(t.Context(), "/d", Options{FS: fs})
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), `/d holds "precious" but no page_cache.format`) {
		t.Fatalf("got %v", err)
	}
	if names, _ := fs.List("/d"); len(names) != 2 { // with the lock
		t.Fatalf("something was made: %v", names)
	}
	s, err := Open(t.Context(), "/d", Options{FS: fs, MayHold: []string{"precious"}})
	if err != nil {
		t.Fatal(err)
	}
	closeTest(t, s)
}

func TestDamagedRecord(t *testing.T) {
	for name, at := range map[string]int64{"entry's header": logHeaderSize + 2, "record": logHeaderSize + entryHeader + 100} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openTest(t, fs, "/d")
			defer closeTest(t, s)
			fill(t, s, onePage())
			if _, err := s.ReadPage(t.Context(), testPage, 0); err != nil {
				t.Fatal(err)
			}
			overwrite(t, fs, "/d/values/0000000001", at, []byte{0xEE})
			s.pages.clear()
			_, err := s.ReadPage(t.Context(), testPage, 0)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "/d/values/0000000001 at byte 64 does not hold the record that ends at") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// TestLog has records of every size at a file's end, over a restart.
func TestLog(t *testing.T) {
	fs := vfs.NewMem()
	w := waltest.Random(3, waltest.Options{}, 600<<10)
	s := openTest(t, fs, "/d")
	s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	recs := records(t, w)
	for i := range recs {
		if err := s.Append(&recs[i]); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			if err := s.Commit(t.Context(), Progress{Position: recs[i].EndLSN, LastValid: recs[i].EndLSN}); err != nil {
				t.Fatal(err)
			}
		}
		if i%200 == 0 {
			closeTest(t, s)
			s = openTest(t, fs, "/d")
			if got := s.State(); got.Position != recs[i].EndLSN || got.LastRecord != recs[i].EndLSN {
				t.Fatalf("state %+v after record %d, which ends at %s", got, i, recs[i].EndLSN)
			}
		}
	}
	if err := s.Commit(t.Context(), Progress{Position: w.End(), LastValid: w.End()}); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("/d/values")
	if err != nil || len(names) < 5 {
		t.Fatalf("files of the log: %v, %v", names, err)
	}
	checkFiles(t, s, names)
	n := checkEntries(t, s, recs)
	if n == 0 {
		t.Fatal("no version was found")
	}
	closeTest(t, s)
}

// checkFiles compares the index's list of complete files with the directory.
func checkFiles(t *testing.T, s *Store, names []string) {
	t.Helper()
	it, err := s.ix.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var listed []string
	var last uint64
	for ok := it.SeekGE([]byte{spaceFile}); ok && it.Key()[0] == spaceFile; ok = it.Next() {
		name := logName(be.Uint32(it.Key()[1:]))
		listed = append(listed, name)
		info, err := s.fs.Stat("/d/values/" + name)
		if err != nil {
			t.Fatal(err)
		}
		first, end, length := le.Uint64(it.Value()), le.Uint64(it.Value()[8:]), le.Uint64(it.Value()[16:])
		if int64(length) > info.Size() || first < last || end <= first {
			t.Fatalf("%s: from %X to %X, %d bytes, after %X; it has %d", name, first, end, length, last, info.Size())
		}
		last = end
	}
	slices.Sort(names)
	if want := names[:len(names)-1]; !slices.Equal(listed, want) {
		t.Fatalf("complete files %v, want %v", listed, want)
	}
}

// checkEntries reads the record of every page's version and of every record kept
// alone, and answers how many versions there are.
func checkEntries(t *testing.T, s *Store, recs []wal.Record) (versions int) {
	t.Helper()
	byEnd := make(map[wal.LSN]*wal.Record)
	for i := range recs {
		byEnd[recs[i].EndLSN] = &recs[i]
	}
	it, err := s.ix.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if k := it.Key()[0]; k != spacePage && k != spaceLSN {
			continue
		}
		p, err := parsePointer(it.Value())
		if err != nil {
			t.Fatal(err)
		}
		var rec wal.Record
		if err := s.reader.record(p, keyLSN(it.Key()), &rec); err != nil {
			t.Fatal(err)
		}
		want := byEnd[rec.EndLSN]
		if want == nil || string(want.Data) != string(rec.Data) || want.StartLSN != rec.StartLSN {
			t.Fatalf("another record than the one that ends at %s", rec.EndLSN)
		}
		versions++
	}
	return versions
}

func TestAppendAllocatesNothing(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "d"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, s)
	w := waltest.New(waltest.Options{})
	for i := range 64 {
		w.Append(waltest.HeapInsert(700, testPage.Rel, wal.BlockNumber(i), uint16(1+i), make([]byte, 100)))
		w.Append(waltest.Commit(700, time.Unix(0, 0)))
	}
	s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	recs := records(t, w)
	round := func() {
		for i := range recs {
			if err := s.Append(&recs[i]); err != nil {
				t.Fatal(err)
			}
		}
		s.pending.reset() // the arrays stay, as after a commit
	}
	round()
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Fatalf("%d records were appended with %v allocations", len(recs), n)
	}
}

// TestFull bounds what is pending.
func TestFull(t *testing.T) {
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	w := waltest.New(waltest.Options{})
	w.Append(waltest.HeapInsert(700, testPage.Rel, 0, 1, []byte("x")))
	s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	rec := records(t, w)[0]
	for i := range maxPendingKeys - 1 { // one is the relation's size
		if s.Full() {
			t.Fatalf("full after %d keys", i)
		}
		if err := s.Append(&rec); err != nil {
			t.Fatal(err)
		}
	}
	if !s.Full() {
		t.Fatal("never full")
	}
	if err := s.Commit(t.Context(), Progress{Position: w.End(), LastValid: w.End()}); err != nil {
		t.Fatal(err)
	}
	if s.Full() {
		t.Fatal("full after a commit")
	}
	s.pending.bytes = maxPendingBytes
	if !s.Full() {
		t.Fatal("bytes do not count")
	}
}

// TestDropScanner gives a commit's main data in every split in two, and in single
// bytes.
func TestDropScanner(t *testing.T) {
	var main []byte
	main = le.AppendUint64(main, 1)
	main = le.AppendUint32(main, 0x7)
	main = le.AppendUint32(le.AppendUint32(main, 5), 1663)
	main = le.AppendUint32(le.AppendUint32(le.AppendUint32(main, 2), 701), 702)
	main = le.AppendUint32(main, 2)
	for _, rel := range []uint32{16384, 16390} {
		main = le.AppendUint32(le.AppendUint32(le.AppendUint32(main, 1663), 5), rel)
	}
	main = append(main, "what follows"...)
	want := []change{
		{rel: wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}, kind: relationDropped, forks: allForks},
		{rel: wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16390}, kind: relationDropped, forks: allForks},
	}
	for cut := range main {
		s := newDropScanner(xactCommit | xactHasInfo)
		got := s.feed(s.feed(nil, main[:cut]), main[cut:])
		if !slices.Equal(got, want) {
			t.Fatalf("cut at %d: %v", cut, got)
		}
	}
	s := newDropScanner(xactAbortPrepared | xactHasInfo)
	var got []change
	for i := range main {
		got = s.feed(got, main[i:i+1])
	}
	if !slices.Equal(got, want) {
		t.Fatalf("byte by byte: %v", got)
	}
	for _, info := range []uint8{xactCommit, xactPrepare | xactHasInfo} {
		s := newDropScanner(info)
		if got := s.feed(nil, main); got != nil {
			t.Fatalf("info %02X: %v", info, got)
		}
	}
}

// TestPageOrder holds the order of entries against the order of their keys.
func TestPageOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() pageEntry {
		small := func() uint32 { return []uint32{0, 1, 255, 256, 1<<31 - 1, 1 << 31, 1<<32 - 1}[rnd.IntN(7)] }
		rel := wal.RelFileLocator{Spc: wal.OID(small()), DB: wal.OID(small()), Rel: wal.OID(small())}
		return makePageEntry(rel, wal.ForkNumber(rnd.IntN(4)), wal.BlockNumber(small()), wal.LSN(small())<<rnd.IntN(33), pointer{})
	}
	for range 10000 {
		a, b := random(), random()
		if rnd.IntN(2) == 0 {
			b.space, b.rel = a.space, a.rel
		}
		var ka, kb [pageKeySize]byte
		a.putKey(ka[:])
		b.putKey(kb[:])
		if got, want := comparePages(a, b), strings.Compare(string(ka[:]), string(kb[:])); got != want {
			t.Fatalf("%+v and %+v: %d, their keys %d", a, b, got, want)
		}
	}
}
