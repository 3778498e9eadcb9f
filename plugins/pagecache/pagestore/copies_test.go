package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/slru"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// copyRecord is CREATE DATABASE by copying files, or ALTER DATABASE SET
// TABLESPACE.
func copyRecord(to, from database) waltest.Record {
	return waltest.Record{Rmgr: wal.RmgrDatabase, Info: dbaseCreateFileCopy,
		Main: words(uint32(to.db), uint32(to.spc), uint32(from.db), uint32(from.spc))}
}

// TestCopies reads pages of databases that were made by copying files: what was
// copied, what they did to it themselves, and not what the source did later; also
// when the source is gone, and when the history is collected.
func TestCopies(t *testing.T) {
	for _, version := range []wal.Version{wal.PG14, wal.PG15, wal.PG18} {
		for _, backup := range []bool{false, true} {
			t.Run(fmt.Sprintf("version=%d,backup=%t", version, backup), func(t *testing.T) { testCopies(t, version, backup) })
		}
	}
}

func testCopies(t *testing.T, version wal.Version, backup bool) {
	w := waltest.New(waltest.Options{Version: version})
	source, first, moved := database{1663, 5}, database{1663, 6}, database{1700, 6}
	in := func(d database) wal.RelFileLocator { return wal.RelFileLocator{Spc: d.spc, DB: d.db, Rel: 16384} }
	w.Append(waltest.Record{Rmgr: wal.RmgrStorage, Info: smgrCreate, Main: words(1663, 5, 16384, 0)})
	w.Append(waltest.HeapInsert(700, in(source), 0, 1, []byte("one")))
	w.Append(waltest.HeapInsert(700, in(source), 1, 1, []byte("one")))
	_, copied := w.Append(copyRecord(first, source))
	w.Append(waltest.HeapInsert(700, in(source), 0, 2, []byte("of the source")))
	w.Append(waltest.HeapInsert(700, in(source), 2, 1, []byte("of the source")))
	w.Append(waltest.HeapInsert(700, in(first), 0, 2, []byte("of the copy")))
	_, changed := w.Append(waltest.HeapInsert(700, in(first), 3, 1, []byte("of the copy")))
	drop := waltest.Record{Rmgr: wal.RmgrDatabase, Info: dbaseDrop, Main: words(5, 1, 1663)}
	dropMoved := waltest.Record{Rmgr: wal.RmgrDatabase, Info: dbaseDrop, Main: words(6, 1, 1663)}
	if version < wal.PG15 {
		drop.Info, dropMoved.Info = dbaseDrop14, dbaseDrop14
	}
	w.Append(drop)
	_, movedAt := w.Append(copyRecord(moved, first))
	w.Append(dropMoved)
	_, last := w.Append(waltest.HeapInsert(700, in(moved), 0, 3, []byte("after the move")))

	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	beginAs(t, s, w, backup)
	appendAll(t, s, w)
	check := func(d database, block wal.BlockNumber, lsn wal.LSN, want string) {
		t.Helper()
		got := ""
		a, err := s.ReadPage(t.Context(), PageID{Rel: in(d), Block: block}, lsn)
		if err != nil {
			if !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			got = "nothing"
		}
		for _, part := range []string{"one", "of the source", "of the copy", "after the move"} {
			if err == nil && bytes.Contains(a.Page, []byte(part)) {
				got += part + "; "
			}
		}
		if got != want {
			t.Errorf("block %d of %v as of %s: %q, want %q", block, d, lsn, got, want)
		}
	}
	check(first, 0, copied, "one; ")
	check(first, 1, copied, "one; ")
	check(first, 2, copied, "nothing")
	check(first, 0, changed, "one; of the copy; ")
	check(source, 0, changed, "one; of the source; ")
	now := func() {
		t.Helper()
		check(first, 0, last, "nothing")
		check(source, 0, last, "nothing")
		check(moved, 0, last, "one; of the copy; after the move; ")
		check(moved, 1, last, "one; ")
		check(moved, 2, last, map[bool]string{false: "nothing", true: ""}[backup]) // all zero: block 3 is there
		check(moved, 3, last, "of the copy; ")
		check(moved, 4, last, "nothing")
	}
	now()
	check(moved, 0, movedAt, "one; of the copy; ")
	if backup {
		// It was extended by the record that made block 3.
		check(first, 2, changed-8, "nothing")
		check(first, 2, changed, "")
		check(first, 2, changed-8, "nothing")
	}
	done, err := s.Collect(t.Context(), CollectOptions{Retain: 1})
	if err != nil || done.Pages == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	s.pages.clear()
	now()
	if n := len(keysIn(t, s, spaceRelation)); backup && n > 8 {
		t.Errorf("%d changes of relations are left", n)
	}
}

// keysIn is the keys of a space.
func keysIn(t *testing.T, s *Store, space byte) (list []string) {
	t.Helper()
	it, err := s.ix.db.NewIter(spaceBounds(space))
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		list = append(list, fmt.Sprintf("%x", it.Key()))
	}
	if err := closed(nil, it); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestTooManyCopies ends a read of a copy of a copy of a copy.
func TestTooManyCopies(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.Append(waltest.HeapInsert(700, wal.RelFileLocator{Spc: 1663, DB: 10, Rel: 16384}, 0, 1, []byte("x")))
	for i := range wal.OID(maxCopies + 1) {
		w.Append(copyRecord(database{1663, 11 + i}, database{1663, 10 + i}))
	}
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	beginAs(t, s, w, true)
	appendAll(t, s, w)
	page := PageID{Rel: wal.RelFileLocator{Spc: 1663, DB: 10 + maxCopies, Rel: 16384}}
	if _, err := s.ReadPage(t.Context(), page, 0); err != nil {
		t.Error(err)
	}
	page.Rel.DB++
	s.pages.clear()
	if _, err := s.ReadPage(t.Context(), page, 0); err == nil || !strings.Contains(err.Error(), "more than 256") {
		t.Errorf("got %v", err)
	}
}

// TestCollectSLRU collects the history of SLRU pages.
func TestCollectSLRU(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	w := &slruWriter{w: waltest.New(waltest.Options{}), rng: rng, tracking: true,
		xid: 32*slru.XactsPerPage - 1000, multi: 32*slru.OffsetsPerPage - 100, offset: 32*slru.MembersPerPage - 3000}
	first := []PageID{SLRUPage(slru.Xact, slru.XactPage(w.xid)), SLRUPage(slru.MultiXactOffsets, slru.OffsetPage(w.multi)),
		SLRUPage(slru.MultiXactMembers, slru.MemberPage(w.offset)), SLRUPage(slru.CommitTs, slru.CommitPage(w.xid))}
	begin := func(s *Store) {
		t.Helper()
		if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.w.Options().Start); err != nil {
			t.Fatal(err)
		}
		for _, id := range first {
			if err := s.ImportPages(id.Rel, id.Fork, id.Block, make([]byte, wal.BlockSize)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.EndImport(t.Context(), w.w.Options().Start); err != nil {
			t.Fatal(err)
		}
	}
	s, all := openTest(t, vfs.NewMem(), "/d"), openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	defer closeTest(t, all)
	begin(s)
	begin(all)
	pages := make(map[PageID]bool)
	w.w.Append(checkpointRecord(w.xid, true))
	for round := range 8 {
		for range 80 {
			w.random()
		}
		recs := records(t, w.w)
		for i := range recs {
			for _, p := range slru.Pages(&recs[i], nil) {
				pages[SLRUPage(p.Kind, p.Number)] = true
			}
		}
		appendAll(t, s, w.w)
		appendAll(t, all, w.w)
		done, err := s.Collect(t.Context(), CollectOptions{Retain: 5000, MaxReplay: 7})
		if err != nil || done.Lost > 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		st := s.Visible()
		for _, lsn := range []wal.LSN{st.Horizon, (st.Horizon + st.LastValid) / 2, st.LastValid} {
			if err := sameReads(t.Context(), s, all, pages, lsn); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
	if err := checkImages(s); err != nil {
		t.Error(err)
	}
}
