package slru

import (
	"math/rand/v2"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

type testPages map[Page][wal.BlockSize]byte

// apply does what recovery does: pages are named by kind and number.
func (p testPages) apply(t *testing.T, rec *wal.Record) {
	t.Helper()
	for _, c := range Pages(rec, nil) {
		id := Page{Kind: c.Kind, Number: c.Number}
		page, there := p[id]
		if !there && c.Existing {
			continue
		}
		if !there && !c.Init {
			t.Fatalf("%s changes %s, which there is none of", rec.Operation(), c)
		}
		if err := Apply(page[:], rec, c); err != nil {
			t.Fatal(err)
		}
		p[id] = page
	}
}

// randomRecords is what a server might write from some ids on, that are short of the ends
// of pages. Multixacts come in another order than their ids, and where old, as older
// minor versions make the page of the next offset.
func randomRecords(rng *rand.Rand, old bool) (recs []*wal.Record) {
	xid, multi, offset := uint32(XactsPerPage-100), uint32(OffsetsPerPage-40), uint32(MembersPerPage-90)
	assign := func() uint32 {
		if xid%XactsPerPage == 0 {
			recs = append(recs, testRecord(wal.PG16, wal.RmgrCLOG, 0, 0, XactPage(wal.XID(xid))))
		}
		if xid%CommitsPerPage == 0 {
			recs = append(recs, testRecord(wal.PG16, wal.RmgrCommitTs, 0, 0, CommitPage(wal.XID(xid))))
		}
		xid++
		return xid - 1
	}
	for range 100 {
		x := assign()
		var sub []uint32
		for range rng.IntN(20) {
			sub = append(sub, assign())
		}
		recs = append(recs, commit(wal.PG16, []uint8{xactCommit, xactAbort}[rng.IntN(2)], wal.XID(x), rng.Int64(), sub...))
	}
	for range 50 {
		var some []*wal.Record
		for range 1 + rng.IntN(3) {
			first := multi + 1
			if old {
				first = multi
			}
			if first%OffsetsPerPage == 0 {
				recs = append(recs, testRecord(wal.PG16, wal.RmgrMultiXact, 0, 0, OffsetPage(first)))
			}
			n, from := 1+rng.Uint32N(9), offset
			var members []uint32
			for range n {
				if offset%MembersPerPage == 0 {
					recs = append(recs, testRecord(wal.PG16, wal.RmgrMultiXact, 0x10, 0, MemberPage(offset)))
				}
				members = append(members, rng.Uint32(), rng.Uint32N(6))
				offset++
			}
			some = append(some, testRecord(wal.PG16, wal.RmgrMultiXact, 0x20, 5, multi, from, n, members))
			multi++
		}
		rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		recs = append(recs, some...)
	}
	return recs
}

func firstPages() testPages {
	return testPages{{Kind: Xact}: {}, {Kind: MultiXactOffsets}: {}, {Kind: MultiXactMembers}: {},
		{Kind: CommitTs, Number: (XactsPerPage - 100) / CommitsPerPage}: {}}
}

// Redoing all of it again, from pages that were copied at any time while it was done,
// comes to the same pages.
func TestAgain(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 5))
		recs := randomRecords(rng, seed%2 == 1)
		want, copied := firstPages(), testPages{}
		at := map[Page]int{}
		for i, rec := range recs {
			want.apply(t, rec)
			for id, page := range want {
				if _, known := at[id]; !known {
					at[id] = rng.IntN(len(recs))
				}
				if i <= at[id] { // copied before the record after that
					copied[id] = page
				}
			}
		}
		for _, rec := range recs {
			copied.apply(t, rec)
		}
		if len(want) < 8 {
			t.Fatalf("only %d pages", len(want))
		}
		for id, page := range want {
			if copied[id] != page {
				t.Errorf("seed %d: %s is another one", seed, id)
			}
		}
	}
}

// Every offset is set and right, in whatever order the records come, and from WAL of
// older servers too, which makes the next one's page after it is known.
func TestOffsets(t *testing.T) {
	for _, old := range []bool{false, true} {
		recs := randomRecords(rand.New(rand.NewPCG(7, 7)), old)
		pages := firstPages()
		ends := map[uint32]uint32{}
		for _, rec := range recs {
			pages.apply(t, rec)
			if m, err := readMultiXact(rec); err == nil && rec.RmgrID == wal.RmgrMultiXact && rec.Info == 0x20 {
				ends[m.id], ends[m.next()] = m.offset, m.end()
			}
		}
		for id, want := range ends {
			page := pages[Page{Kind: MultiXactOffsets, Number: OffsetPage(id)}]
			if got := MultiXactOffset(page[:], id); got != want {
				t.Errorf("old %v: multixact %d begins at %d, want %d", old, id, got, want)
			}
		}
		if len(ends) < 60 || pages[Page{Kind: MultiXactOffsets, Number: 1}] == [wal.BlockSize]byte{} {
			t.Errorf("old %v: %d multixacts, all on one page", old, len(ends))
		}
	}
}
