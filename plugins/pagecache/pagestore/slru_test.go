package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/slru"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// slruFiles are the SLRUs of a server, in memory.
type slruFiles struct {
	pages    map[PageID][]byte
	tracking bool
	next     wal.XID
}

func newSLRUFiles() *slruFiles { return &slruFiles{pages: map[PageID][]byte{}} }

// apply is what recovery does.
func (f *slruFiles) apply(t testing.TB, rec *wal.Record) {
	t.Helper()
	pages := slru.Pages(rec, nil)
	if next, ok := slru.NextXID(rec); ok {
		f.next = next
	}
	if on, told := slru.Tracking(rec); told && rec.Operation() == "PARAMETER_CHANGE" {
		if on && !f.tracking {
			pages = append(pages, slru.TrackingBegins(f.next))
		}
		f.tracking = on
	}
	for _, p := range pages {
		id := SLRUPage(p.Kind, p.Number)
		if f.pages[id] == nil && p.Existing {
			continue
		}
		if f.pages[id] == nil {
			if !p.Init {
				t.Fatalf("%s at %s changes %s, which there is none of", rec.Operation(), rec.StartLSN, p)
			}
			f.pages[id] = make([]byte, wal.BlockSize)
		}
		if err := slru.Apply(f.pages[id], rec, p); err != nil {
			t.Fatal(err)
		}
	}
	for _, cut := range slru.Truncated(rec, nil) {
		for id := range f.pages {
			if slru.Kind(id.Rel.Rel) == cut.Kind && cut.Removes(uint32(id.Block)) {
				delete(f.pages, id)
			}
		}
	}
	if rec.XID != 0 && rec.XID >= f.next {
		f.next = rec.XID + 1
	}
}

// check compares all pages as of an LSN, and some that may not be there.
func (f *slruFiles) check(t testing.TB, s *Store, ids []PageID, lsn wal.LSN) {
	t.Helper()
	page := make([]byte, wal.BlockSize)
	for _, id := range ids {
		_, err := s.ReadPageInto(t.Context(), id, lsn, page)
		switch want := f.pages[id]; {
		case want == nil && !errors.Is(err, ErrNotFound):
			t.Fatalf("as of %s there is a %s: %v", lsn, id, err)
		case want != nil && err != nil:
			t.Fatal(err)
		case want != nil && !bytes.Equal(page, want):
			t.Fatalf("as of %s %s is another one", lsn, id)
		}
	}
}

func slruEnd(info uint8, xid wal.XID, at int64, sub ...uint32) waltest.Record {
	main := le.AppendUint64(nil, uint64(at))
	if len(sub) > 0 {
		info |= xactHasInfo
		main = append(main, words(xinfoHasSubxacts, uint32(len(sub)))...)
		main = append(main, words(sub...)...)
	}
	return waltest.Record{Rmgr: wal.RmgrTransaction, Info: info, XID: xid, Main: main}
}

func parameterChange(on bool) waltest.Record {
	main := make([]byte, 28)
	if on {
		main[25] = 1
	}
	return waltest.Record{Rmgr: wal.RmgrXLOG, Info: 0x60, Main: main}
}

func checkpointRecord(next wal.XID, tracks bool) waltest.Record {
	main := make([]byte, 88)
	le.PutUint32(main[24:], uint32(next))
	if tracks {
		le.PutUint32(main[72:], uint32(next))
	}
	return waltest.Record{Rmgr: wal.RmgrXLOG, Info: 0x00, Main: main}
}

// slruWriter writes what a server would, with few ids to a page's end.
type slruWriter struct {
	w        *waltest.Writer
	rng      *rand.Rand
	xid      wal.XID
	multi    uint32
	offset   uint32
	tracking bool
}

// assign takes the next xid, and makes the pages that it is the first of.
func (w *slruWriter) assign() wal.XID {
	x := w.xid
	w.xid++
	if uint32(x)%slru.XactsPerPage == 0 {
		w.w.Append(waltest.Record{Rmgr: wal.RmgrCLOG, Main: words(slru.XactPage(x))})
	}
	if w.tracking && uint32(x)%slru.CommitsPerPage == 0 {
		w.w.Append(waltest.Record{Rmgr: wal.RmgrCommitTs, Main: words(slru.CommitPage(x))})
	}
	return x
}

func (w *slruWriter) transaction(subs int) {
	x := w.assign()
	var sub []uint32
	for range subs {
		sub = append(sub, uint32(w.assign()))
	}
	w.w.Append(slruEnd([]uint8{xactCommit, xactCommit, xactAbort}[w.rng.IntN(3)], x, w.rng.Int64(), sub...))
}

func (w *slruWriter) multixact(members int) {
	if (w.multi+1)%slru.OffsetsPerPage == 0 {
		w.w.Append(waltest.Record{Rmgr: wal.RmgrMultiXact, Info: 0x00, Main: words(slru.OffsetPage(w.multi + 1))})
	}
	main := words(w.multi, w.offset, uint32(members))
	for range members {
		if w.offset%slru.MembersPerPage == 0 {
			w.w.Append(waltest.Record{Rmgr: wal.RmgrMultiXact, Info: 0x10, Main: words(slru.MemberPage(w.offset))})
		}
		main = append(main, words(w.rng.Uint32(), w.rng.Uint32N(6))...)
		w.offset++
	}
	w.multi++
	w.w.Append(waltest.Record{Rmgr: wal.RmgrMultiXact, Info: 0x20, XID: 700, Main: main})
}

// random writes one thing or another.
func (w *slruWriter) random() {
	switch n := w.rng.IntN(100); {
	case n < 40:
		w.transaction(0)
	case n < 48:
		w.transaction(w.rng.IntN(300))
	case n < 90:
		w.multixact(1 + w.rng.IntN(400))
	case n < 92:
		w.w.Append(waltest.Record{Rmgr: wal.RmgrMultiXact, Info: 0x30,
			Main: words(5, 1, w.multi, w.offset/2/(32*slru.MembersPerPage)*(32*slru.MembersPerPage), w.offset)})
	case n < 94:
		w.w.Append(waltest.Record{Rmgr: wal.RmgrCommitTs, Info: 0x10, Main: words(slru.CommitPage(w.xid), uint32(w.xid))})
	case n < 95:
		w.w.Append(waltest.Record{Rmgr: wal.RmgrCLOG, Info: 0x10, Main: words(slru.XactPage(w.xid), uint32(w.xid), 5)})
	case n < 96:
		w.w.Append(checkpointRecord(w.xid, w.tracking))
		w.tracking = !w.tracking
		w.w.Append(parameterChange(w.tracking))
	case n < 97:
		w.w.Append(checkpointRecord(w.xid, w.tracking))
		w.w.Append(parameterChange(w.tracking))
	default:
		w.w.Append(waltest.HeapInsert(w.xid-1, testPage.Rel, 0, 1, []byte("of no SLRU")))
	}
}

// TestSLRU reads all pages of SLRUs as of each record, of a store that began with a base
// backup, committed and opened now and then, with and without pages in memory.
func TestSLRU(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testSLRU(t, seed) })
	}
}

func testSLRU(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	// Segments are ended and begun: all ids stand short of one.
	w := &slruWriter{w: waltest.New(waltest.Options{}), rng: rng, tracking: seed != 1,
		xid: 32*slru.XactsPerPage - 3000, multi: 32*slru.OffsetsPerPage - 100, offset: 32*slru.MembersPerPage - 9000}
	model := newSLRUFiles()
	fs := vfs.NewMem()
	s, err := Open(t.Context(), "/d", Options{FS: fs, MaxLogFile: 256 << 10, CacheBytes: []int64{-1, 0, 1 << 16}[seed]})
	if err != nil {
		t.Fatal(err)
	}
	start := w.w.Options().Start
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start); err != nil {
		t.Fatal(err)
	}
	add := func(id PageID) {
		page := bytes.Repeat([]byte{byte(rng.Uint32()) & 0x11}, wal.BlockSize)
		if rng.IntN(2) == 0 {
			clear(page)
		}
		if err := s.ImportPages(id.Rel, id.Fork, id.Block, page); err != nil {
			t.Fatal(err)
		}
		model.pages[id] = page
	}
	for n := range uint32(3) {
		add(SLRUPage(slru.Xact, slru.XactPage(w.xid)-n))
		add(SLRUPage(slru.MultiXactOffsets, slru.OffsetPage(w.multi)-n))
		add(SLRUPage(slru.MultiXactMembers, slru.MemberPage(w.offset)-n))
		if w.tracking {
			add(SLRUPage(slru.CommitTs, slru.CommitPage(w.xid)-n))
		}
	}
	if err := s.EndImport(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	model.tracking = w.tracking
	w.w.Append(checkpointRecord(w.xid, w.tracking))
	for range 400 {
		w.random()
	}
	fillFrom(t, s, w.w, nil)
	if seed == 2 {
		closeTest(t, s)
		s = openTest(t, fs, "/d")
	}
	defer func() { closeTest(t, s) }()

	// All pages that ever are.
	ever := map[PageID]bool{}
	recs := records(t, w.w)
	for i := range recs {
		for _, p := range slru.Pages(&recs[i], nil) {
			ever[SLRUPage(p.Kind, p.Number)] = true
		}
	}
	var ids []PageID
	for id := range ever {
		ids = append(ids, id)
	}
	for id := range model.pages {
		if !ever[id] {
			ids = append(ids, id)
		}
	}
	removed := 0
	for i := range recs {
		before := len(model.pages)
		model.apply(t, &recs[i])
		removed += max(before-len(model.pages), 0)
		few := ids
		if i%20 != 0 {
			few = nil
			for _, p := range slru.Pages(&recs[i], nil) {
				few = append(few, SLRUPage(p.Kind, p.Number))
			}
			few = append(few, ids[rng.IntN(len(ids))])
		}
		model.check(t, s, few, recs[i].EndLSN)
	}
	model.check(t, s, ids, 0)
	if removed < 10 || len(ids) < 30 {
		t.Errorf("%d pages, of which %d were removed", len(ids), removed)
	}
	if _, err := s.EachFork(t.Context(), 0, nil, func(f RelFork) error {
		if f.Rel.Spc == 0 {
			return fmt.Errorf("%v is listed", f)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestSLRUWithoutBackup begins in the midst: what was before is not known, and pages
// that are made later are.
func TestSLRUWithoutBackup(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, first := w.Append(slruEnd(xactCommit, 32767, 7))
	_, made := w.Append(waltest.Record{Rmgr: wal.RmgrCLOG, Main: words(1)})
	_, second := w.Append(slruEnd(xactCommit, 32768, 7))
	w.Append(checkpointRecord(32769, false))
	w.Append(slruEnd(xactCommit, 40000, 7))
	_, cut := w.Append(waltest.Record{Rmgr: wal.RmgrCLOG, Info: 0x10, Main: words(64, 1, 5)})
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fill(t, s, w)
	for _, id := range []PageID{SLRUPage(slru.Xact, 0), SLRUPage(slru.CommitTs, 32768/819)} {
		if _, err := s.ReadPage(t.Context(), id, second); !errors.Is(err, ErrNoBase) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := s.ReadPage(t.Context(), SLRUPage(slru.Xact, 1), first); !errors.Is(err, ErrNotFound) {
		t.Errorf("before it is made: %v", err)
	}
	if a, err := s.ReadPage(t.Context(), SLRUPage(slru.Xact, 1), made); err != nil || !allZero(a.Page) || a.Base != InitBase {
		t.Errorf("when it is made: %v, %s", err, a)
	}
	a, err := s.ReadPage(t.Context(), SLRUPage(slru.Xact, 1), second)
	if err != nil || slru.XactStatus(a.Page, 32768) != slru.Committed || a.Records != 2 || a.LastLSN != second {
		t.Errorf("after a commit: %v, %s", err, a)
	}
	// Times are not kept, which the checkpoint has told.
	if _, err := s.ReadPage(t.Context(), SLRUPage(slru.CommitTs, 40000/819), 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("times that are not kept: %v", err)
	}
	for _, id := range []PageID{SLRUPage(slru.Xact, 0), SLRUPage(slru.Xact, 1)} {
		if _, err := s.ReadPage(t.Context(), id, cut); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s after it was removed: %v", id, err)
		}
	}
	var flags []RecordFlags
	if _, err := s.EachRecord(t.Context(), SLRUPage(slru.Xact, 1), 0, 0, func(rec *wal.Record, f RecordFlags, _ uint8) error {
		flags = append(flags, f)
		return nil
	}); err != nil || !slices.Equal(flags, []RecordFlags{RecordInit | RecordImplied, RecordImplied, RecordImplied, RecordImplied | RecordEnds}) {
		t.Errorf("history %v, %v", flags, err)
	}
}

// TestSLRUFragments has a commit that is held in fragments, over many pages, with
// fragments that end anywhere.
func TestSLRUFragments(t *testing.T) {
	w := &slruWriter{w: waltest.New(waltest.Options{}), rng: rand.New(rand.NewPCG(1, 1)), xid: 32767, tracking: true}
	w.w.Append(checkpointRecord(w.xid, false))
	w.w.Append(parameterChange(true))
	w.w.Append(waltest.Record{Rmgr: wal.RmgrCLOG, Main: words(0)})
	w.xid++ // 32767 is the transaction's
	var sub []uint32
	for range 70_000 {
		sub = append(sub, uint32(w.assign()))
	}
	_, end := w.w.Append(slruEnd(xactCommit, 32767, 7, sub...))
	for _, size := range []int{999, 1000, 4097, 100_000} {
		s := openTest(t, vfs.NewMem(), "/d")
		appendPieces(t, s, w.w, size)
		for _, x := range []wal.XID{32767, 32768, 65536, 102767} {
			a, err := s.ReadPage(t.Context(), SLRUPage(slru.Xact, slru.XactPage(x)), end)
			if err != nil || slru.XactStatus(a.Page, x) != slru.Committed || a.LastLSN != end {
				t.Errorf("%d bytes, state of %d: %v, %s", size, x, err, a)
			}
			a, err = s.ReadPage(t.Context(), SLRUPage(slru.CommitTs, slru.CommitPage(x)), end)
			if err != nil {
				t.Fatal(err)
			}
			if at, _ := slru.CommitTime(a.Page, x); at != 7 {
				t.Errorf("%d bytes, time of %d: %d", size, x, at)
			}
		}
		a, err := s.ReadPage(t.Context(), SLRUPage(slru.Xact, 1), end)
		if err != nil || !bytes.Equal(a.Page, bytes.Repeat([]byte{0x55}, wal.BlockSize)) {
			t.Errorf("not all of page 1 is committed: %v", err)
		}
		closeTest(t, s)
	}
}

// TestSLRURewind goes back before a removal and a change of what is kept, and over
// to other records.
func TestSLRURewind(t *testing.T) {
	old := &slruWriter{w: waltest.New(waltest.Options{}), rng: rand.New(rand.NewPCG(1, 2)), xid: 32768}
	old.w.Append(checkpointRecord(old.xid, false))
	for range 20 {
		old.transaction(0)
	}
	branch := old.w.End()
	common := len(old.w.Records())
	_, beyond := old.w.Append(parameterChange(true))
	old.tracking = true
	old.w.Append(waltest.Record{Rmgr: wal.RmgrCLOG, Info: 0x10, Main: words(64, 1, 5)})
	fs := vfs.NewMem()
	s := openTest(t, fs, "/d")
	fill(t, s, old.w)
	one, times := SLRUPage(slru.Xact, 1), SLRUPage(slru.CommitTs, slru.CommitPage(32788))
	if _, err := s.ReadPage(t.Context(), one, 0); !errors.Is(err, ErrNotFound) {
		t.Fatalf("after it was removed: %v", err)
	}
	if _, err := s.ReadPage(t.Context(), times, beyond); err != nil {
		t.Fatalf("when times are kept: %v", err)
	}
	if err := s.Rewind(t.Context(), 2, branch); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a, err := s.ReadPage(t.Context(), one, 0)
		if err != nil {
			t.Fatal(err)
		}
		model := newSLRUFiles()
		recs := records(t, old.w)
		for i := range recs[:common] {
			model.apply(t, &recs[i])
		}
		if !bytes.Equal(a.Page, model.pages[one]) {
			t.Error("the page is another one")
		}
		if _, err := s.ReadPage(t.Context(), times, 0); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNoBase) {
			t.Errorf("before times are kept: %v", err)
		}
		if s.slru.slruState != (slruState{}) {
			t.Errorf("%+v is known of what is gone", s.slru.slruState)
		}
		closeTest(t, s)
		s = openTest(t, fs, "/d")
	}
	closeTest(t, s)
}

// TestSLRUDamaged has an index that leads to another record.
func TestSLRUDamaged(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.Append(slruEnd(xactCommit, 5, 7))
	recs := records(t, w)
	r := replay{id: SLRUPage(slru.Xact, 9), page: make([]byte, wal.BlockSize)}
	var werr *wal.Error
	if err := r.apply(&recs[0]); !errors.As(err, &werr) {
		t.Errorf("a record of another page: %v", err)
	}
	if got := SLRUPage(slru.MultiXactMembers, 9).String(); got != "page 9 of pg_multixact/members" {
		t.Error(got)
	}
}

// BenchmarkIngestCommits appends and commits nothing but ends of transactions, while
// times of commits are kept, and while not.
func BenchmarkIngestCommits(b *testing.B) {
	for _, tracks := range []bool{false, true} {
		b.Run(fmt.Sprintf("tracks=%v", tracks), func(b *testing.B) {
			w := waltest.New(waltest.Options{})
			w.Append(checkpointRecord(700, tracks))
			for i := range 50_000 {
				w.Append(waltest.Commit(wal.XID(700+i), time.Unix(0, 0)))
			}
			benchIngest(b, w)
		})
	}
}

// BenchmarkReadSLRU reads a page of states that has had as many changes as it can.
func BenchmarkReadSLRU(b *testing.B) {
	w := waltest.New(waltest.Options{})
	w.Append(checkpointRecord(32768, false))
	w.Append(waltest.Record{Rmgr: wal.RmgrCLOG, Main: words(1)})
	for i := range wal.XID(slru.XactsPerPage) {
		w.Append(waltest.Commit(slru.XactsPerPage+i, time.Unix(0, 0)))
	}
	s, err := Open(b.Context(), b.TempDir(), Options{CacheBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer closeTest(b, s)
	fill(b, s, w)
	page := make([]byte, wal.BlockSize)
	for b.Loop() {
		if _, err := s.ReadPageInto(b.Context(), SLRUPage(slru.Xact, 1), 0, page); err != nil {
			b.Fatal(err)
		}
	}
}
