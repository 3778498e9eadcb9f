package pagestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// stamped is an empty heap page whose pd_lsn is lsn.
func stamped(lsn wal.LSN, fill byte) []byte {
	page := waltest.HeapPage(4000, fill)
	le.PutUint32(page, uint32(lsn>>32))
	le.PutUint32(page[4:], uint32(lsn))
	return page
}

// importTest begins a store with a base backup from start to end of these pages
// of testPage's relation.
func importTest(t testing.TB, s *Store, start, end wal.LSN, pages ...[]byte) {
	t.Helper()
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start); err != nil {
		t.Fatal(err)
	}
	if err := s.ImportPages(testPage.Rel, wal.MainFork, 0, bytes.Join(pages, nil)); err != nil {
		t.Fatal(err)
	}
	if err := s.ImportFork(testPage.Rel, wal.MainFork, wal.BlockNumber(len(pages))); err != nil {
		t.Fatal(err)
	}
	if err := s.EndImport(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}

// appendAll appends what the store does not have, and commits.
func appendAll(t testing.TB, s *Store, w *waltest.Writer) {
	t.Helper()
	fillFrom(t, s, w, nil)
}

// TestImport reads pages of a base backup: as it has them, with records that came
// while it was made, and over a restart.
func TestImport(t *testing.T) {
	w := waltest.New(waltest.Options{})
	start := w.Options().Start
	_, first := w.Append(waltest.HeapInsert(700, testPage.Rel, 1, 9, []byte("the copy has it")))
	_, second := w.Append(waltest.HeapInsert(700, testPage.Rel, 1, 9, []byte("it does not have that")))
	_, third := w.Append(waltest.HeapInsert(700, testPage.Rel, 0, 9, []byte("after")))
	has := stamped(first, 7)

	fs := vfs.NewMem()
	s := openTest(t, fs, "/d")
	importTest(t, s, start, second, stamped(start-8, 5), has, make([]byte, wal.BlockSize), stamped(start-16, 6))
	st := s.Visible()
	if st.Horizon != second || st.Position != start || st.LastValid != start || st.BaseLSN != start || st.SystemID != waltest.DefaultSystemID || s.New() {
		t.Fatalf("%+v", st)
	}
	if _, err := s.ReadPage(t.Context(), testPage, 0); !errors.Is(err, ErrNotReached) || !strings.Contains(err.Error(), "ends at "+second.String()) {
		t.Errorf("before the backup is consistent: %v", err)
	}
	appendAll(t, s, w)
	for range 2 {
		a, err := s.ReadPage(t.Context(), PageID{Rel: testPage.Rel, Block: 3}, 0)
		if err != nil || !bytes.Equal(a.Page, stamped(start-16, 6)) || a.Base != MadeBase || a.Records != 0 || a.LastLSN != start-16 {
			t.Errorf("a page that nothing changed: %v, %s", err, a)
		}
		a, err = s.ReadPage(t.Context(), testPage, third)
		if err != nil || a.LastLSN != third || pageLSN(a.Page) != third || a.Records != 1 || !bytes.Contains(a.Page, []byte("after")) {
			t.Errorf("a page that a record changed: %v, %s", err, a)
		}
		if a, err = s.ReadPage(t.Context(), testPage, second); err != nil || pageLSN(a.Page) != start-8 {
			t.Errorf("before it changed: %v", err)
		}
		a, err = s.ReadPage(t.Context(), PageID{Rel: testPage.Rel, Block: 1}, 0)
		if err != nil || pageLSN(a.Page) != second || a.Records != 2 || bytes.Contains(a.Page, []byte("the copy has it")) || !bytes.Contains(a.Page, []byte("it does not have that")) {
			t.Errorf("a page that has one of two records: %v, %s", err, a)
		}
		a, err = s.ReadPage(t.Context(), PageID{Rel: testPage.Rel, Block: 2}, 0)
		if err != nil || !allZero(a.Page) || a.Base != ZeroBase || a.Records != 0 || a.LastLSN != 0 {
			t.Errorf("a page that is all zero: %v, %s", err, a)
		}
		if _, err := s.ReadPage(t.Context(), PageID{Rel: testPage.Rel, Block: 4}, 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("a page that the relation does not have: %v", err)
		}
		if _, err := s.ReadPage(t.Context(), testPage, second-1); !errors.Is(err, ErrBelowHorizon) {
			t.Errorf("before the end of the backup: %v", err)
		}
		closeTest(t, s)
		s = openTest(t, fs, "/d")
	}
	if size, err := s.Size(); err != nil || size.Images < 3*4000 || size.Images > 4*wal.BlockSize ||
		size.LiveImages == 0 || size.LiveImages >= size.Images {
		t.Errorf("%+v, %v", size, err)
	}
	closeTest(t, s)
}

// TestImportRefuses has calls out of order.
func TestImportRefuses(t *testing.T) {
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	w := onePage()
	rec := records(t, w)[0]
	if err := s.ImportPages(testPage.Rel, 0, 0, make([]byte, wal.BlockSize)); err == nil {
		t.Error("pages before BeginImport")
	}
	if err := s.EndImport(t.Context(), 1); err == nil {
		t.Error("EndImport before BeginImport")
	}
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start); err != nil {
		t.Fatal(err)
	}
	if !s.New() {
		t.Error("not new while a backup is imported")
	}
	if err := s.ImportPages(testPage.Rel, 0, 0, make([]byte, 100)); err == nil {
		t.Error("a part of a page")
	}
	if err := s.Append(&rec); !errors.Is(err, errImporting) {
		t.Errorf("a record while a backup is imported: %v", err)
	}
	if err := s.Commit(t.Context(), Progress{Position: w.End(), LastValid: w.End()}); !errors.Is(err, errImporting) {
		t.Errorf("a commit while a backup is imported: %v", err)
	}
	if err := s.EndImport(t.Context(), w.Options().Start-1); err == nil {
		t.Error("an end before the start")
	}
	if err := s.EndImport(t.Context(), w.Options().Start); err != nil {
		t.Fatal(err)
	}
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start); err == nil {
		t.Error("a second backup")
	}
}

// TestImportAgain drops what an import left that was not ended: by another in the
// same process, and by Open.
func TestImportAgain(t *testing.T) {
	fs := vfs.NewMem()
	w := waltest.New(waltest.Options{})
	start := w.Options().Start
	s := openTest(t, fs, "/d")
	for life := range 3 {
		for range 2 {
			if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start); err != nil {
				t.Fatal(err)
			}
			for block := range wal.BlockNumber(40) {
				if err := s.ImportPages(wal.RelFileLocator{Spc: 1663, DB: 5, Rel: wal.OID(20000 + life)}, 0, block, stamped(1, 1)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.flushImport(nil); err != nil {
				t.Fatal(err)
			}
		}
		closeTest(t, s)
		s = openTest(t, fs, "/d")
		if !s.New() {
			t.Fatal("an import that was not ended is there")
		}
		if n := len(dump(t, s)); n != 1 { // the state, which is no key
			t.Fatalf("%d keys and files are left: %v", n, dump(t, s))
		}
		if names, err := fs.List("/d/images"); err != nil || len(names) > 0 {
			t.Fatalf("images are left: %v, %v", names, err)
		}
	}
	importTest(t, s, start, start, stamped(start-8, 3))
	closeTest(t, s)
	s = openTest(t, fs, "/d")
	defer closeTest(t, s)
	a, err := s.ReadPage(t.Context(), testPage, 0)
	if err != nil || !bytes.Equal(a.Page, stamped(start-8, 3)) {
		t.Errorf("%v, %s", err, a)
	}
}

// TestImagesCutBack drops images that were written and whose keys were not
// committed.
func TestImagesCutBack(t *testing.T) {
	fs := vfs.NewMem()
	s := openTest(t, fs, "/d")
	w := waltest.New(waltest.Options{})
	start := w.Options().Start
	importTest(t, s, start, start, stamped(start-8, 3))
	at := s.images.log.at
	for range 20 {
		if _, err := s.images.append(testPage, start, bytes.Repeat([]byte{1}, wal.BlockSize)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.images.log.sync(); err != nil {
		t.Fatal(err)
	}
	if s.images.log.at.file == at.file {
		t.Fatal("not enough for another file")
	}
	closeTest(t, s)
	s = openTest(t, fs, "/d")
	defer closeTest(t, s)
	if got := s.images.log.at; got.file != at.file || got.length != at.length {
		t.Errorf("the log of images ends at %+v, want %+v", got, at)
	}
	if names, err := fs.List("/d/images"); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
	if a, err := s.ReadPage(t.Context(), testPage, 0); err != nil || !bytes.Equal(a.Page, stamped(start-8, 3)) {
		t.Errorf("%v, %s", err, a)
	}
}

// TestDamagedImage reads an image whose bytes were changed, and one of another
// page.
func TestDamagedImage(t *testing.T) {
	fs := vfs.NewMem()
	s := openTest(t, fs, "/d")
	defer closeTest(t, s)
	importTest(t, s, 8, 8, stamped(8, 3))
	overwrite(t, fs, "/d/images/0000000001", logHeaderSize+entryHeader+imageHeader+20, []byte{0xEE})
	if _, err := s.ReadPage(t.Context(), testPage, 0); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "/d/images/0000000001 at byte 64") {
		t.Errorf("got %v", err)
	}
}

// TestPackImage packs pages with holes of every kind.
func TestPackImage(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		page := make([]byte, wal.BlockSize)
		id := PageID{Rel: wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 9}, Fork: wal.ForkNumber(i % 4), Block: wal.BlockNumber(rnd.Uint32())}
		switch i % 5 {
		case 0:
			id.Rel.Spc = 0
		case 1:
			id.Rel.Spc = 0
			page[rnd.IntN(len(page))] = 1
		default:
			for j := range page {
				page[j] = byte(rnd.Uint32())
			}
			lower, upper := rnd.IntN(wal.BlockSize+2), rnd.IntN(wal.BlockSize+2)
			le.PutUint16(page[12:], uint16(lower))
			le.PutUint16(page[14:], uint16(upper))
			if lower >= 24 && lower < upper && upper <= wal.BlockSize && i%5 > 2 {
				clear(page[lower:upper])
			}
		}
		var b [imageHeader + wal.BlockSize]byte
		n := packImage(b[:], id, page)
		got := bytes.Repeat([]byte{0xEE}, wal.BlockSize)
		if !unpackImage(got, id, b[:n]) || !bytes.Equal(got, page) {
			t.Fatalf("page %d is another one after it was packed into %d bytes", i, n)
		}
		if unpackImage(got, id, b[:n-1]) || unpackImage(got, PageID{Rel: id.Rel, Fork: id.Fork, Block: id.Block + 1}, b[:n]) {
			t.Fatal("it was taken for what it is not")
		}
	}
}

// TestImportRewind takes back records of a store that began with a backup.
func TestImportRewind(t *testing.T) {
	w := waltest.New(waltest.Options{})
	start := w.Options().Start
	_, first := w.Append(waltest.HeapInsert(700, testPage.Rel, 0, 9, []byte("stays")))
	w.Append(waltest.HeapInsert(700, testPage.Rel, 0, 10, []byte("goes")))
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	importTest(t, s, start, first, stamped(start-8, 5))
	appendAll(t, s, w)
	if err := s.Rewind(t.Context(), 2, first); err != nil {
		t.Fatal(err)
	}
	a, err := s.ReadPage(context.Background(), testPage, 0)
	if err != nil || pageLSN(a.Page) != first || !bytes.Contains(a.Page, []byte("stays")) {
		t.Errorf("%v, %s", err, a)
	}
	// Before the backup was consistent, there is nothing to go back to.
	if err := s.Rewind(t.Context(), 3, first-8); !errors.Is(err, ErrBelowHorizon) {
		t.Errorf("got %v", err)
	}
}

// String leaves the bytes of the page out.
func (a *Answer) String() string {
	if a == nil {
		return "no answer"
	}
	return fmt.Sprintf("base %d, %d records up to %s, as of %s", a.Base, a.Records, a.LastLSN, a.At)
}
