package pagecache

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestHistory asks for a page's records: all, in more than one answer, and from one
// LSN to another.
func TestHistory(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, imaged := w.Append(waltest.FullPageImage(testRel, 7, waltest.HeapPage(100, 1)))
	ends := []wal.LSN{imaged}
	for i := range 2*historyRecords + 3 {
		w.Append(waltest.HeapInsert(700, testRel, 8, uint16(1+i%200), []byte("other")))
		_, end := w.Append(waltest.HeapInsert(wal.XID(700+i), testRel, 7, uint16(1+i%200), []byte("x")))
		ends = append(ends, end)
	}
	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	l.all()
	c := l.client()
	page := pageclient.PageName{Rel: testRel, Block: 7}
	ask := func(r pageclient.HistoryRequest) (out []*pagepb.HistoryRecord) {
		t.Helper()
		r.Page = page
		err := c.History(t.Context(), r, func(h *pagepb.HistoryRecord) error {
			out = append(out, h)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := ask(pageclient.HistoryRequest{})
	if len(all) != len(ends) {
		t.Fatalf("%d records, want %d", len(all), len(ends))
	}
	for i, h := range all {
		if wal.LSN(h.EndLsn) != ends[i] || len(h.Record) > 0 {
			t.Fatalf("record %d ends at %s, want %s", i, wal.LSN(h.EndLsn), ends[i])
		}
	}
	if h := all[0]; !h.Image || h.Init || h.RmgrName != "XLOG" || h.Operation != "FPI" {
		t.Errorf("the first: %v", h)
	}
	if h := all[5]; h.Image || h.Init || h.Implied || h.RmgrName != "Heap" || h.Operation != "INSERT" || h.Xid != 704 || !strings.HasPrefix(h.Description, "off 5 ") || h.Version != 15 {
		t.Errorf("the sixth: %v", h)
	}
	some := ask(pageclient.HistoryRequest{From: ends[3], To: pageclient.AsOf{LSN: ends[10]}, Records: true})
	if len(some) != 7 || wal.LSN(some[0].EndLsn) != ends[4] || wal.LSN(some[6].EndLsn) != ends[10] {
		t.Errorf("%d records: %v", len(some), some)
	}
	for _, h := range some {
		rec := wal.Record{StartLSN: wal.LSN(h.StartLsn), EndLSN: wal.LSN(h.EndLsn), Version: wal.Version(h.Version)}
		if err := rec.Decode(h.Record); err != nil || len(h.Record) != int(h.Length) || uint32(rec.XID) != h.Xid {
			t.Errorf("%v: %v", h, err)
		}
	}
	err := c.History(t.Context(), pageclient.HistoryRequest{Page: page, From: ends[4], To: pageclient.AsOf{LSN: ends[3]}}, nil)
	wantCode(t, err, codes.InvalidArgument, "there can be none")
	page.Block = 9
	if none := ask(pageclient.HistoryRequest{}); len(none) > 0 {
		t.Errorf("of a page that nobody touched: %v", none)
	}
}

// TestLocate looks for transactions.
func TestLocate(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7000, time.UTC)
	w := waltest.New(waltest.Options{})
	w.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(100, 1)))
	start, end := w.Append(waltest.Commit(700, at))
	_, last := w.Append(waltest.Commit(701, at.Add(time.Second)))
	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	l.all()
	c := l.client()
	check := func(res *pagepb.LocateResponse, err error) {
		t.Helper()
		if err != nil || wal.LSN(res.StartLsn) != start || wal.LSN(res.EndLsn) != end || res.Xid != 700 || res.Aborted {
			t.Errorf("%v, %v", res, err)
		}
	}
	check(c.LocateXID(t.Context(), 700, 0))
	check(c.LocateTime(t.Context(), at.Add(-time.Hour), 0))
	check(c.LocateTime(t.Context(), at, 0))
	if res, err := c.LocateTime(t.Context(), at.Add(time.Microsecond), 0); err != nil || res.Xid != 701 || wal.LSN(res.EndLsn) != last {
		t.Errorf("a microsecond later: %v, %v", res, err)
	}
	_, err := c.LocateXID(t.Context(), 701, end)
	wantCode(t, err, codes.NotFound, "701")
	_, err = c.LocateTime(t.Context(), at.Add(time.Hour), 0)
	wantCode(t, err, codes.NotFound, "")
	if _, err := l.sink.service.Locate(t.Context(), &pagepb.LocateRequest{}); err == nil || !strings.Contains(err.Error(), "neither a transaction nor a time") {
		t.Errorf("of nothing: %v", err)
	}
}

// TestSLRUs reads pages that nobody has, and asks for what is none.
func TestSLRUs(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.Append(waltest.Commit(700, time.Unix(0, 0)))
	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	l.all()
	c := l.client()
	for _, slru := range []pagepb.SLRU{0, 5} {
		_, err := c.SLRUPage(t.Context(), slru, 0, pageclient.AsOf{})
		wantCode(t, err, codes.InvalidArgument, "there is no SLRU")
	}
	for _, of := range [][2]wal.OID{{0, 5}, {1664, 5}, {1663, 0}} {
		_, err := c.RelMap(t.Context(), of[0], of[1], pageclient.AsOf{})
		wantCode(t, err, codes.InvalidArgument, "has no relation map")
	}
	if res, err := c.SLRUPage(t.Context(), pagepb.SLRU_SLRU_XACT, 77, pageclient.AsOf{}); err == nil || !bytes.Equal(res.GetImage().GetPage(), nil) {
		t.Errorf("a page that was never made: %v", res)
	}
}
