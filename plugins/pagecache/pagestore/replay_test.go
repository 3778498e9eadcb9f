package pagestore

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestReplay reads a page as of every record that changes it: from one that
// initialises it, and from an image in between.
func TestReplay(t *testing.T) {
	w := waltest.New(waltest.Options{})
	rel, image := testPage.Rel, waltest.HeapPage(4000, 0)
	for off := range uint16(50) {
		w.Append(waltest.HeapInsert(700, rel, 0, off+1, []byte("before")))
		w.Append(waltest.HeapInsert(700, rel, 1, off+1, []byte("another page")))
	}
	w.Append(waltest.FullPageImage(rel, 0, image))
	for off := range uint16(50) {
		w.Append(waltest.HeapInsert(700, rel, 0, off+9, []byte("after")))
	}
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fill(t, s, w)

	want, versions := make([]byte, wal.BlockSize), 0
	base, inBase := InitBase, 0
	var images wal.Images
	for _, rec := range records(t, w) {
		if rec.Blocks[0].Block == 0 {
			if inBase++; rec.Blocks[0].ApplyImage() {
				base, inBase = ImageBase, 1
			}
			if err := redo.Apply(want, &rec, 0, &images); err != nil {
				t.Fatal(err)
			}
			versions++
			if got := pageLSN(want); got != rec.EndLSN {
				t.Fatalf("pd_lsn is %s after %s", got, rec.EndLSN)
			}
		}
		a, err := s.ReadPage(t.Context(), testPage, rec.EndLSN)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Page, want) || a.Base != base || a.Records != inBase || a.LastLSN != pageLSN(want) || a.At != rec.EndLSN {
			t.Fatalf("as of %s: base %d and %d records up to %s, want base %d and %d up to %s; or another page",
				rec.EndLSN, a.Base, a.Records, a.LastLSN, base, inBase, pageLSN(want))
		}
	}
	if versions != 101 {
		t.Fatalf("%d versions", versions)
	}
}

// visibleRecord is Heap2/VISIBLE of a heap page: snapshotConflictHorizon, flags; the map
// is block 0, the heap page block 1.
func visibleRecord(rel wal.RelFileLocator, heap wal.BlockNumber) waltest.Record {
	return waltest.Record{Rmgr: wal.RmgrHeap2, Info: 0x40, Main: append(le.AppendUint32(nil, 700), 3), Blocks: []waltest.Block{
		{ID: 0, Rel: rel, Fork: wal.VisibilityMapFork}, {ID: 1, Rel: rel, Block: heap}}}
}

// TestReplayMap begins a page of a visibility map with nothing, sets bits, has
// others cleared by records that do not name it, and the rest by a truncation.
func TestReplayMap(t *testing.T) {
	w := waltest.New(waltest.Options{})
	rel := testPage.Rel
	main := func(words ...uint32) (b []byte) {
		for _, v := range words {
			b = le.AppendUint32(b, v)
		}
		return b
	}
	w.Append(waltest.Record{Rmgr: wal.RmgrStorage, Info: 0x10, Main: main(uint32(rel.Spc), uint32(rel.DB), uint32(rel.Rel), 0)})
	var ends []wal.LSN
	add := func(rec waltest.Record) {
		_, end := w.Append(rec)
		ends = append(ends, end)
	}
	for heap := range wal.BlockNumber(3) {
		add(visibleRecord(rel, heap))
	}
	insert := waltest.HeapInsert(700, rel, 1, 2, []byte("x"))
	insert.Main[2] = 1 // XLH_INSERT_ALL_VISIBLE_CLEARED
	add(insert)
	add(waltest.Record{Rmgr: wal.RmgrStorage, Info: 0x20, Main: main(2, uint32(rel.Spc), uint32(rel.DB), uint32(rel.Rel), 7)})
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fill(t, s, w)

	id := PageID{Rel: rel, Fork: wal.VisibilityMapFork}
	for i, bits := range []byte{0b11, 0b1111, 0b111111, 0b110011, 0b000011} {
		a, err := s.ReadPage(t.Context(), id, ends[i])
		if err != nil {
			t.Fatal(err)
		}
		rest := append([]byte(nil), a.Page[25:]...)
		if a.Page[24] != bits || bytes.Count(rest, []byte{0}) != len(rest) || pageLSN(a.Page) != ends[min(i, 2)] ||
			a.Base != ZeroBase || a.Records != i+1 || a.LastLSN != ends[i] {
			t.Errorf("after %d records: bits %06b, want %06b; pd_lsn %s, base %d, %d records to %s",
				i+1, a.Page[24], bits, pageLSN(a.Page), a.Base, a.Records, a.LastLSN)
		}
	}
}

// TestReplayRefuses has records that fit no page, and what does not follow.
func TestReplayRefuses(t *testing.T) {
	w := waltest.New(waltest.Options{})
	rel := testPage.Rel
	w.Append(waltest.HeapInsert(700, rel, 0, 1, []byte("x")))
	start, _ := w.Append(waltest.HeapInsert(700, rel, 0, 7, []byte("x"))) // there is no line pointer 6
	w.Append(waltest.HeapInsert(700, rel, 1, 2, []byte("x")))
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fill(t, s, w)
	_, err := s.ReadPage(t.Context(), testPage, 0)
	var bad *wal.Error
	if !errors.As(err, &bad) || bad.LSN != start || !strings.Contains(err.Error(), "could not redo Heap INSERT at "+start.String()+", relation 1663/5/16384, fork main, block 0") {
		t.Errorf("got %v", err)
	}
	_, err = s.ReadPage(t.Context(), PageID{Rel: rel, Block: 1}, 0)
	if !errors.Is(err, ErrNoBase) || !strings.Contains(err.Error(), "Heap INSERT from "+w.Records()[2].Start.String()) {
		t.Errorf("got %v", err)
	}
	// A read that nobody wants any more ends.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * ctxEvery {
		w.Append(waltest.HeapInsert(700, rel, 2, 2, []byte("x")))
	}
	many := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, many)
	fill(t, many, w)
	if _, err := many.ReadPage(ctx, PageID{Rel: rel, Block: 2}, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}

	// An index that leads a page to a record of another, and to one that the page
	// has already.
	recs := records(t, w)
	r := replay{id: PageID{Rel: rel, Block: 9}, page: make([]byte, wal.BlockSize)}
	if err := r.apply(&recs[0]); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "block 9") {
		t.Errorf("got %v", err)
	}
	r.id = testPage
	if err := r.apply(&recs[0]); err != nil {
		t.Fatal(err)
	}
	if err := r.apply(&recs[0]); !errors.As(err, &bad) || !strings.Contains(err.Error(), "the page has LSN "+recs[0].EndLSN.String()+" already") {
		t.Errorf("got %v", err)
	}
}
