package pagestore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/slru"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestSLRUCollect collects the history of pages of SLRUs, and bounds what their reads
// redo: what is left is as it was.
func TestSLRUCollect(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testSLRUCollect(t, seed) })
	}
}

func testSLRUCollect(t *testing.T, seed uint64) {
	const most = 10
	w := &slruWriter{w: waltest.New(waltest.Options{}), rng: rand.New(rand.NewPCG(seed, 9)), tracking: true,
		xid: 32*slru.XactsPerPage - 3000, multi: 32*slru.OffsetsPerPage - 100, offset: 32*slru.MembersPerPage - 9000}
	s, err := Open(t.Context(), "/d", Options{FS: vfs.NewMem(), MaxLogFile: 64 << 10, CacheBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, s)
	model := newSLRUFiles()
	start := w.w.Options().Start
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start); err != nil {
		t.Fatal(err)
	}
	for _, id := range []PageID{SLRUPage(slru.Xact, slru.XactPage(w.xid)), SLRUPage(slru.MultiXactOffsets, slru.OffsetPage(w.multi)),
		SLRUPage(slru.MultiXactMembers, slru.MemberPage(w.offset)), SLRUPage(slru.CommitTs, slru.CommitPage(w.xid))} {
		model.pages[id] = make([]byte, wal.BlockSize)
		if err := s.ImportPages(id.Rel, id.Fork, id.Block, model.pages[id]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.EndImport(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	model.tracking = true
	w.w.Append(checkpointRecord(w.xid, true))
	images := 0
	for round := range 6 {
		for range 100 {
			w.random()
		}
		fillFrom(t, s, w.w, nil)
		o := CollectOptions{MaxReplay: most}
		if round%2 == 1 {
			o.Retain = 20_000
		}
		done, err := s.Collect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		images += done.Images
	}
	horizon := s.Visible().Horizon
	if horizon <= start || images == 0 {
		t.Fatalf("the horizon is %s, and %d images were made", horizon, images)
	}
	ever := map[PageID]bool{}
	read := 0
	recs := records(t, w.w)
	for i := range recs {
		model.apply(t, &recs[i])
		for id := range model.pages {
			ever[id] = true
		}
		if recs[i].EndLSN < horizon || i%7 != 0 {
			continue
		}
		var ids []PageID
		for id := range ever {
			ids = append(ids, id)
		}
		model.check(t, s, ids, recs[i].EndLSN)
		read += len(ids)
	}
	if read < 50 {
		t.Errorf("only %d pages were read", read)
	}
	for id := range model.pages {
		if a, err := s.ReadPage(t.Context(), id, 0); err != nil || a.Records > most {
			t.Errorf("%s needs more than %d records: %v, %s", id, most, err, a)
		}
	}
}
