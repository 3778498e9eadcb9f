package main

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

func start(t *testing.T, file string, w *waltest.Writer) *sinktest.Session {
	t.Helper()
	o := w.Options()
	sys := sdk.System{ID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize, ServerVersion: 150000}
	s, err := sinktest.Open(t.Context(), definition(), map[string]string{"file": file}, sys, sinktest.Options{Start: o.Start})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// deliver hands over the WAL from the session's place up to lsn.
func deliver(t *testing.T, s *sinktest.Session, w *waltest.Writer, lsn wal.LSN) {
	t.Helper()
	start := w.Options().Start
	must(t, s.Deliver(t.Context(), w.Bytes()[s.Next()-start:lsn-start]))
}

func flush(t *testing.T, s *sinktest.Session) wal.LSN {
	t.Helper()
	lsn, err := s.Flush(t.Context())
	must(t, err)
	return lsn
}

// holds compares the database with the WAL up to lsn.
func holds(t *testing.T, file string, w *waltest.Writer, lsn wal.LSN) {
	t.Helper()
	var got strings.Builder
	must(t, query(t.Context(), file, "SELECT lsn, end_lsn, xid, rmgr, operation, length, (SELECT count(*) FROM block b WHERE b.start_lsn = w.start_lsn) FROM wal w ORDER BY start_lsn", &got))
	_, rows, _ := strings.Cut(got.String(), "\n")
	var want strings.Builder
	for _, a := range w.Records() {
		if a.End > lsn {
			break
		}
		rec := wal.Record{Version: w.Options().Version}
		must(t, rec.Decode(a.Raw))
		fmt.Fprintf(&want, "%s\t%d\t%d\t%s\t%s\t%d\t%d\n", a.Start, a.End, rec.XID, rec.RmgrID, rec.Operation(), rec.TotalLen, len(rec.Blocks))
	}
	if g, w := strings.Split(rows, "\n"), strings.Split(want.String(), "\n"); !reflect.DeepEqual(g, w) {
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("row %d is %q, the record %q", i, g[i], w[i])
			}
		}
		t.Fatalf("%d rows, %d records", len(g), len(w))
	}
}

// What was not flushed is gone after an end of any kind, and comes again.
func TestResume(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 2<<20)
	file := filepath.Join(t.TempDir(), "a new directory", "wal %20.db")
	s := start(t, file, w)
	half := w.Options().Start + 1<<20
	deliver(t, s, w, half)
	flushed := flush(t, s)
	deliver(t, s, w, half+1<<19)
	must(t, s.Close(t.Context()))
	holds(t, file, w, flushed)

	s = start(t, file, w)
	if at := s.Result().Position.LSN; at != flushed {
		t.Fatalf("%s was flushed, the sink came back at %s", flushed, at)
	}
	deliver(t, s, w, w.End())
	flush(t, s)
	must(t, s.Close(t.Context()))
	holds(t, file, w, w.End())
}

// After a promotion the database has the WAL of the new timeline.
func TestRewind(t *testing.T) {
	w := waltest.Random(2, waltest.Options{}, 1<<20)
	list := w.Records()
	sw := list[len(list)/2].End
	b := w.Branch(2, sw)
	b.AppendRandom(3, 300<<10)
	file := filepath.Join(t.TempDir(), "wal.db")
	s := start(t, file, w)
	deliver(t, s, w, w.End())
	flush(t, s)
	for range 2 { // the answer may be lost
		at, err := s.Epoch(t.Context(), &sdk.Epoch{OldTimeline: 1, SwitchLSN: sw, NewTimeline: 2})
		must(t, err)
		if at != sw {
			t.Fatalf("the sink goes on at %s, the switch was at %s", at, sw)
		}
	}
	holds(t, file, w, sw)
	deliver(t, s, b, b.End())
	flush(t, s)
	must(t, s.Close(t.Context()))
	holds(t, file, b, b.End())
}

func TestNewerFormat(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 1<<10)
	file := filepath.Join(t.TempDir(), "wal.db")
	s := start(t, file, w)
	deliver(t, s, w, w.End())
	flush(t, s)
	must(t, s.Close(t.Context()))
	db, err := sql.Open("sqlite", file)
	must(t, err)
	_, err = db.ExecContext(t.Context(), "UPDATE position SET format = 2")
	must(t, err, db.Close())
	_, err = (&sink{file: file}).Open(t.Context(), &sdk.OpenRequest{})
	if !sdk.IsPermanent(err) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("opened with %v", err)
	}
}
