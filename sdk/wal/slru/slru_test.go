package slru

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// testRecord is a whole record with main data and nothing else.
func testRecord(v wal.Version, rmgr wal.RmgrID, info uint8, xid wal.XID, main ...any) *wal.Record {
	var b []byte
	for _, m := range main {
		b, _ = binary.Append(b, le, m)
	}
	return &wal.Record{Version: v, RmgrID: rmgr, Info: info, XID: xid, StartLSN: 0x1000028, EndLSN: 0x1000100,
		TotalLen: uint32(len(b)), MainDataLen: uint32(len(b)), Data: b}
}

// commit is the main data of a commit of subtransactions.
func commit(v wal.Version, info uint8, xid wal.XID, at int64, sub ...uint32) *wal.Record {
	return testRecord(v, wal.RmgrTransaction, info|xactHasInfo, xid, at, uint32(xinfoSubxacts), int32(len(sub)), sub)
}

func samePages(t *testing.T, rec *wal.Record, want ...Page) {
	t.Helper()
	if got := Pages(rec, nil); !slices.Equal(got, want) {
		t.Errorf("%s changes %v, want %v", rec.Operation(), got, want)
	}
}

// A transaction's tree is on the pages of all its xids; aborts have no times.
func TestTreePages(t *testing.T) {
	const per = XactsPerPage
	samePages(t, commit(wal.PG15, xactCommit, per-2, 7, per-1, per, per+1, 3*per),
		Page{Kind: Xact, Number: 0}, Page{Kind: CommitTs, Number: (per - 2) / 819, Existing: true},
		Page{Kind: Xact, Number: 1}, Page{Kind: Xact, Number: 3}, Page{Kind: CommitTs, Number: 3 * per / 819, Existing: true})
	samePages(t, commit(wal.PG15, xactAbort, per-2, 7, per), Page{Kind: Xact}, Page{Kind: Xact, Number: 1})
	samePages(t, testRecord(wal.PG15, wal.RmgrTransaction, xactCommit, 5, int64(7)),
		Page{Kind: Xact}, Page{Kind: CommitTs, Existing: true})
	// The xid of the bootstrap has no time.
	samePages(t, testRecord(wal.PG15, wal.RmgrTransaction, xactCommit, 1, int64(7)), Page{Kind: Xact})
	samePages(t, testRecord(wal.PG15, wal.RmgrTransaction, 0x10, 5, int64(7)))
	// Around the end: the last page, then the first.
	samePages(t, commit(wal.PG15, xactAbort, maxID, 7, 3, 4), Page{Kind: Xact, Number: 131071}, Page{Kind: Xact})
}

// everything is a commit with every part that can be: of a prepared transaction with xid
// 900, at an origin.
func everything(v wal.Version) *wal.Record {
	stat := make([]byte, 12)
	if v >= wal.PG18 {
		stat = make([]byte, 16)
	}
	info := uint32(xinfoDBInfo | xinfoSubxacts | xinfoRelations | xinfoInvals | xinfoTwoPhase | xinfoOrigin | xinfoGID)
	parts := []any{int64(1), info, [2]uint32{5, 1663}, int32(2), [2]uint32{901, 905}, int32(1), make([]byte, 12)}
	if v >= wal.PG15 {
		parts[1] = info | xinfoDroppedStats
		parts = append(parts, int32(2), stat, stat)
	}
	parts = append(parts, int32(1), make([]byte, 16), uint32(900), []byte("a name\x00"), uint64(77), int64(42))
	rec := testRecord(v, wal.RmgrTransaction, xactCommitPrepared|xactHasInfo, 0, parts...)
	rec.Origin = 3
	return rec
}

// All parts are passed over by their size in each version, whole and in pieces of any size.
func TestTreeParts(t *testing.T) {
	want := []Page{{Kind: Xact}, {Kind: CommitTs, Number: 1, Existing: true}}
	for v := wal.PG14; v <= wal.PG18; v++ {
		rec := everything(v)
		samePages(t, rec, want...)
		whole := applied(t, rec, want)
		for _, xid := range []wal.XID{900, 901, 905} {
			if s := XactStatus(whole[0], xid); s != Committed {
				t.Errorf("%s: xid %d is %s", v, xid, s)
			}
			if at, origin := CommitTime(whole[1], xid); at != 42 || origin != 3 {
				t.Errorf("%s: xid %d committed at %d, origin %d", v, xid, at, origin)
			}
		}
		for size := 1; size < len(rec.Data); size++ {
			pages, contents := inPieces(t, rec, size)
			if !slices.Equal(pages, want) || !slices.EqualFunc(contents, whole, bytes.Equal) {
				t.Errorf("%s: in pieces of %d bytes it changes %v otherwise", v, size, pages)
			}
		}
	}
}

func applied(t *testing.T, rec *wal.Record, pages []Page) (contents [][]byte) {
	t.Helper()
	for _, p := range pages {
		b := make([]byte, wal.BlockSize)
		if err := Apply(b, rec, p); err != nil {
			t.Fatal(err)
		}
		contents = append(contents, b)
	}
	return contents
}

// inPieces is what Pages and Apply do, of pieces of the main data.
func inPieces(t *testing.T, rec *wal.Record, size int) (pages []Page, contents [][]byte) {
	t.Helper()
	tree, ok := NewTree(rec)
	if !ok {
		t.Fatal("the record ends no transaction")
	}
	for p := range slices.Chunk(rec.MainData(), size) {
		pages = tree.Pages(pages, p)
	}
	for _, p := range pages {
		if err := tree.Again(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, wal.BlockSize)
		for piece := range slices.Chunk(rec.MainData(), size) {
			tree.Apply(b, p, piece)
		}
		contents = append(contents, b)
	}
	return pages, contents
}

// A multixact's members lie in groups, over pages and around the end of the offsets.
func TestMultiXact(t *testing.T) {
	members := func(n int) (m []uint32) {
		for i := range n {
			m = append(m, uint32(100+i), uint32(i%6))
		}
		return m
	}
	rec := testRecord(wal.PG15, wal.RmgrMultiXact, multiXactCreateID, 5, uint32(2047), uint32(1634), int32(4), members(4))
	samePages(t, rec, Page{Kind: MultiXactOffsets}, Page{Kind: MultiXactOffsets, Number: 1, Existing: true},
		Page{Kind: MultiXactMembers}, Page{Kind: MultiXactMembers, Number: 1})
	b := applied(t, rec, Pages(rec, nil))
	if this, next := MultiXactOffset(b[0], 2047), MultiXactOffset(b[1], 2048); this != 1634 || next != 1638 {
		t.Errorf("offsets %d, %d", this, next)
	}
	for i, page := range [][]byte{b[2], b[2], b[3], b[3]} {
		if xid, s := MultiXactMember(page, uint32(1634+i)); xid != wal.XID(100+i) || s != MemberStatus(i) {
			t.Errorf("member %d is xid %d, status %d", i, xid, s)
		}
	}
	if !bytes.Equal(b[3][:12], []byte{2, 3, 0, 0, 102, 0, 0, 0, 103, 0, 0, 0}) || !bytes.Equal(b[2][8160:8164], []byte{0, 0, 0, 1}) {
		t.Errorf("the second page of members begins %x", b[3][:12])
	}

	rec = testRecord(wal.PG17, wal.RmgrMultiXact, multiXactCreateID, 5, uint32(maxID), uint32(maxID), int32(3), members(3))
	samePages(t, rec, Page{Kind: MultiXactOffsets, Number: 2097151}, Page{Kind: MultiXactOffsets, Existing: true},
		Page{Kind: MultiXactMembers, Number: 2625285}, Page{Kind: MultiXactMembers})
	b = applied(t, rec, Pages(rec, nil))
	if next := MultiXactOffset(b[1], 1); next != 2 {
		t.Errorf("the next offset after the end is %d", next)
	}
	rec = testRecord(wal.PG17, wal.RmgrMultiXact, multiXactCreateID, 5, uint32(10), uint32(maxID-1), int32(2), members(2))
	if b = applied(t, rec, Pages(rec, nil)); MultiXactOffset(b[0], 11) != 1 {
		t.Errorf("the next offset is %d: 0 is none", MultiXactOffset(b[0], 11))
	}
}

// Page numbers have 64 bits since PG17; those that no page can have are none.
func TestZeroPage(t *testing.T) {
	for _, k := range []struct {
		kind Kind
		rmgr wal.RmgrID
		info uint8
	}{{Xact, wal.RmgrCLOG, 0}, {CommitTs, wal.RmgrCommitTs, 0}, {MultiXactOffsets, wal.RmgrMultiXact, 0}, {MultiXactMembers, wal.RmgrMultiXact, 0x10}} {
		last := k.kind.LastPage()
		want := Page{Kind: k.kind, Number: last, Init: true}
		samePages(t, testRecord(wal.PG16, k.rmgr, k.info, 5, last), want)
		samePages(t, testRecord(wal.PG17, k.rmgr, k.info, 5, uint64(last)), want)
		samePages(t, testRecord(wal.PG16, k.rmgr, k.info, 5, last+1))
		samePages(t, testRecord(wal.PG17, k.rmgr, k.info, 5, uint64(1)<<32))
		samePages(t, testRecord(wal.PG17, k.rmgr, k.info, 5, last))
		page := bytes.Repeat([]byte{1}, wal.BlockSize)
		rec := testRecord(wal.PG17, k.rmgr, k.info, 5, uint64(last))
		if err := Apply(page, rec, want); err != nil || !bytes.Equal(page, make([]byte, wal.BlockSize)) {
			t.Errorf("%s: %v", k.kind, err)
		}
	}
}

// Whole files go, those that precede the cutoff.
func TestTruncated(t *testing.T) {
	for _, test := range []struct {
		name       string
		rec        *wal.Record
		kind       Kind
		goes, left []uint32
	}{
		{"states", testRecord(wal.PG15, wal.RmgrCLOG, 0x10, 0, uint32(70), uint32(1), uint32(2)), Xact,
			[]uint32{0, 31, 32, 63, 131000}, []uint32{64, 69, 70, 71, 100, 65000}},
		{"states after the wraparound", testRecord(wal.PG17, wal.RmgrCLOG, 0x10, 0, uint64(1), uint32(1), uint32(2)), Xact,
			[]uint32{131040, 131071, 80000}, []uint32{0, 1, 31, 32, 60000}},
		{"times", testRecord(wal.PG18, wal.RmgrCommitTs, 0x10, 0, uint64(64), uint32(1)), CommitTs,
			[]uint32{0, 63}, []uint32{64, 65}},
		{"offsets", testRecord(wal.PG15, wal.RmgrMultiXact, 0x30, 0, uint32(5), uint32(1), uint32(64*2048+1), uint32(1), uint32(2)), MultiXactOffsets,
			[]uint32{0, 63}, []uint32{64, 65}},
		{"offsets, with the first of a page the oldest", testRecord(wal.PG15, wal.RmgrMultiXact, 0x30, 0, uint32(5), uint32(1), uint32(64*2048), uint32(1), uint32(2)), MultiXactOffsets,
			[]uint32{0, 31}, []uint32{32, 64, 65}},
		{"members", testRecord(wal.PG15, wal.RmgrMultiXact, 0x30, 0, uint32(5), uint32(1), uint32(2), uint32(32*1636), uint32(64*1636)), MultiXactMembers,
			[]uint32{32, 63}, []uint32{31, 64, 2625285}},
		{"members around the end", testRecord(wal.PG15, wal.RmgrMultiXact, 0x30, 0, uint32(5), uint32(1), uint32(2), uint32(maxID), uint32(32*1636)), MultiXactMembers,
			[]uint32{2625280, 2625285, 0, 31}, []uint32{32, 2625279}},
		{"times no longer kept", testRecord(wal.PG15, wal.RmgrXLOG, 0x60, 0, make([]byte, 28)), CommitTs, []uint32{0, 5, 5244160}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := slices.IndexFunc(Truncated(test.rec, nil), func(t Truncation) bool { return t.Kind == test.kind })
			if i < 0 {
				t.Fatal("nothing is removed")
			}
			cut := Truncated(test.rec, nil)[i]
			for _, p := range test.goes {
				if !cut.Removes(p) {
					t.Errorf("page %d stays", p)
				}
			}
			for _, p := range test.left {
				if cut.Removes(p) {
					t.Errorf("page %d goes", p)
				}
			}
		})
	}
}

// What a record does not change is not changed, and said.
func TestRefused(t *testing.T) {
	short := func(r *wal.Record) *wal.Record {
		r.Data = r.Data[:len(r.Data)-1]
		r.TotalLen--
		r.MainDataLen--
		return r
	}
	part := everything(wal.PG15)
	part.TotalLen++
	for name, test := range map[string]struct {
		rec *wal.Record
		p   Page
	}{
		"a page without the xids":   {commit(wal.PG15, xactCommit, 5, 7, 6), Page{Kind: Xact, Number: 9}},
		"times of an abort":         {commit(wal.PG15, xactAbort, 5, 7, 6), Page{Kind: CommitTs}},
		"a commit's multixacts":     {commit(wal.PG15, xactCommit, 5, 7, 6), Page{Kind: MultiXactOffsets}},
		"a commit that ends early":  {short(commit(wal.PG15, xactCommit, 5, 7, 6)), Page{Kind: Xact}},
		"fewer than no xids":        {testRecord(wal.PG15, wal.RmgrTransaction, xactHasInfo, 5, int64(7), uint32(xinfoSubxacts), int32(-1)), Page{Kind: Xact}},
		"an invalid status":         {testRecord(wal.PG15, wal.RmgrMultiXact, 0x20, 5, uint32(1), uint32(1), int32(1), uint32(9), uint32(6)), Page{Kind: MultiXactMembers}},
		"fewer than no members":     {testRecord(wal.PG15, wal.RmgrMultiXact, 0x20, 5, uint32(1), uint32(1), int32(-1)), Page{Kind: MultiXactOffsets}},
		"members that are missing":  {short(testRecord(wal.PG15, wal.RmgrMultiXact, 0x20, 5, uint32(1), uint32(1), int32(1), uint32(9), uint32(1))), Page{Kind: MultiXactMembers}},
		"another page's multixact":  {testRecord(wal.PG15, wal.RmgrMultiXact, 0x20, 5, uint32(1), uint32(1), int32(0)), Page{Kind: MultiXactOffsets, Number: 1}},
		"another page that is made": {testRecord(wal.PG15, wal.RmgrCLOG, 0, 5, uint32(1)), Page{Kind: Xact}},
		"a heap's record":           {testRecord(wal.PG15, wal.RmgrHeap, 0, 5, uint32(1)), Page{Kind: Xact}},
		"a part":                    {part, Page{Kind: Xact}},
	} {
		t.Run(name, func(t *testing.T) {
			page := bytes.Repeat([]byte{0xA5}, wal.BlockSize)
			var werr *wal.Error
			if err := Apply(page, test.rec, test.p); !errors.As(err, &werr) || werr.LSN != test.rec.StartLSN {
				t.Errorf("error %v", err)
			}
			if !bytes.Equal(page, bytes.Repeat([]byte{0xA5}, wal.BlockSize)) {
				t.Error("the page is changed")
			}
		})
	}
}

// PARAMETER_CHANGE and checkpoints say whether times are kept.
func TestTracking(t *testing.T) {
	change := make([]byte, 28)
	change[changeTracks] = 1
	point := make([]byte, 88)
	le.PutUint32(point[checkPointNextXID:], 1234)
	if on, told := Tracking(testRecord(wal.PG15, wal.RmgrXLOG, 0x60, 0, change)); !on || !told {
		t.Error("not on after a change to it")
	}
	rec := testRecord(wal.PG15, wal.RmgrXLOG, 0x10, 0, point)
	if on, told := Tracking(rec); on || !told {
		t.Error("on though the checkpoint has no oldest xid with a time")
	}
	if next, ok := NextXID(rec); !ok || next != 1234 {
		t.Errorf("next xid %d", next)
	}
	if _, told := Tracking(testRecord(wal.PG15, wal.RmgrXLOG, 0x10, 0, point[:70])); told {
		t.Error("a short checkpoint says something")
	}
	rec = testRecord(wal.PG15, wal.RmgrXLOG, 0x60, 0, change)
	page := bytes.Repeat([]byte{1}, wal.BlockSize)
	if err := Apply(page, rec, TrackingBegins(820)); err != nil || page[0] != 0 || TrackingBegins(820).Number != 1 {
		t.Errorf("the first page of times: %v", err)
	}
}

func TestAllocations(t *testing.T) {
	rec, page := everything(wal.PG17), make([]byte, wal.BlockSize)
	pages := make([]Page, 0, 16)
	if n := testing.AllocsPerRun(100, func() {
		pages = Pages(rec, pages[:0])
		for _, p := range pages {
			if err := Apply(page, rec, p); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// No record panics; of one that is refused the page is unchanged; doing it again changes
// nothing, and pieces do what the whole does.
func FuzzApply(f *testing.F) {
	for v := wal.PG14; v <= wal.PG18; v++ {
		f.Add(uint8(v), uint8(wal.RmgrTransaction), uint8(xactCommitPrepared|xactHasInfo), uint32(0), everything(v).Data, uint8(9))
		f.Add(uint8(v), uint8(wal.RmgrCLOG), uint8(0), uint32(5), []byte{1, 0, 0, 0, 0, 0, 0, 0}, uint8(1))
	}
	f.Add(uint8(15), uint8(wal.RmgrMultiXact), uint8(0x20), uint32(5),
		testRecord(wal.PG15, wal.RmgrMultiXact, 0x20, 5, uint32(2047), uint32(1635), int32(2), [4]uint32{9, 1, 10, 5}).Data, uint8(3))
	f.Add(uint8(15), uint8(wal.RmgrTransaction), uint8(xactAbort|xactHasInfo), uint32(32767), commit(wal.PG15, xactAbort, 32767, 7, 32768, 32769).Data, uint8(3))
	f.Fuzz(func(t *testing.T, version, rmgr, info uint8, xid uint32, main []byte, size uint8) {
		rec := testRecord(wal.Version(version), wal.RmgrID(rmgr), info, wal.XID(xid), main)
		for _, cut := range Truncated(rec, nil) {
			cut.Removes(xid)
		}
		pages := Pages(rec, nil)
		if len(pages) > 64 {
			pages = pages[:64]
		}
		for _, p := range append(pages, Page{Kind: CommitTs, Number: xid % 3}) {
			if p.Number > p.Kind.LastPage() {
				t.Fatalf("there is no %s", p)
			}
			page := bytes.Repeat([]byte{0x24}, wal.BlockSize)
			before := bytes.Clone(page)
			if err := Apply(page, rec, p); err != nil {
				if !bytes.Equal(page, before) {
					t.Fatalf("%s was changed in spite of %v", p, err)
				}
				continue
			}
			once := bytes.Clone(page)
			if err := Apply(page, rec, p); err != nil || !bytes.Equal(page, once) {
				t.Fatalf("%s is another one the second time: %v", p, err)
			}
			tree, ok := NewTree(rec)
			if !ok {
				continue
			}
			for piece := range slices.Chunk(main, int(size)+1) {
				tree.Pages(nil, piece)
			}
			if err := tree.Again(); err != nil {
				t.Fatal(err)
			}
			for piece := range slices.Chunk(main, int(size)+1) {
				tree.Apply(before, p, piece)
			}
			if !bytes.Equal(before, once) {
				t.Fatalf("%s is another one in pieces", p)
			}
		}
	})
}

func BenchmarkPages(b *testing.B) {
	plain := testRecord(wal.PG15, wal.RmgrTransaction, xactCommit, 5, int64(7))
	pages := make([]Page, 0, 16)
	b.Run("commit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pages = Pages(plain, pages[:0])
		}
	})
	full := everything(wal.PG15)
	b.Run("with every part", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pages = Pages(full, pages[:0])
		}
	})
}

func BenchmarkApply(b *testing.B) {
	rec, page := commit(wal.PG15, xactCommit, 900, 7, 901, 902), make([]byte, wal.BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		if err := Apply(page, rec, Page{Kind: Xact}); err != nil {
			b.Fatal(err)
		}
	}
}
