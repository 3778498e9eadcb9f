package sinktest_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

type config struct {
	Name string `walplex:"name"`
}

func (c *config) Validate() []sdk.ConfigError {
	if c.Name == "bad" {
		return []sdk.ConfigError{{Summary: "Bad name", Detail: "Choose another."}}
	}
	return nil
}

// store is what a sink has made durable; it outlives the sink.
type store struct {
	system   uint64
	position wal.Position
	from     wal.LSN // of the first batch
	raw      []byte
	starts   []wal.LSN // of records
	calls    []string
}

// recorder keeps everything, and makes it durable in Flush.
type recorder struct {
	disk *store
	mem  store
	fail error
}

func definition(disk *store, o ...sdk.Option) *sdk.Definition {
	return sdk.Define("recorder", func(c *config) sdk.Sink { return &recorder{disk: disk} }, o...)
}

func (r *recorder) Open(_ context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	r.disk.calls = append(r.disk.calls, "open")
	if req.Logger == nil || req.LockWait != time.Second || req.System.ID == 0 {
		return sdk.OpenResult{}, errors.New("the request is incomplete")
	}
	r.mem = *r.disk
	r.mem.raw, r.mem.starts = bytes.Clone(r.disk.raw), slices.Clone(r.disk.starts)
	r.mem.system = req.System.ID
	if r.disk.position.LSN == 0 {
		return sdk.OpenResult{New: true}, nil
	}
	return sdk.OpenResult{SystemID: r.disk.system, Position: r.disk.position}, nil
}

func (r *recorder) Write(_ context.Context, b *sdk.Batch) error {
	if r.fail != nil {
		return r.fail
	}
	if r.mem.from == 0 {
		r.mem.from = b.From()
	}
	r.mem.raw = append(r.mem.raw, b.WAL()...)
	for rec := range b.Records() {
		r.mem.starts = append(r.mem.starts, rec.StartLSN)
	}
	r.mem.position = wal.Position{Timeline: b.Timeline(), LSN: b.To()}
	return nil
}

func (r *recorder) Flush(context.Context) (wal.LSN, error) {
	calls := r.disk.calls
	*r.disk = r.mem
	r.disk.raw, r.disk.starts = bytes.Clone(r.mem.raw), slices.Clone(r.mem.starts)
	r.disk.calls = append(calls, "flush")
	return r.mem.position.LSN, nil
}

func (r *recorder) Close(context.Context) error {
	r.disk.calls = append(r.disk.calls, "close")
	return nil
}

func open(t *testing.T, d *sdk.Definition, w *waltest.Writer, start wal.LSN) *sinktest.Session {
	t.Helper()
	o := w.Options()
	s, err := sinktest.Open(t.Context(), d, map[string]string{"name": "n"},
		sdk.System{ID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize, ServerVersion: 150000}, sinktest.Options{Start: start})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func deliver(t *testing.T, s *sinktest.Session, w *waltest.Writer, to wal.LSN) {
	t.Helper()
	if err := s.Deliver(t.Context(), w.Bytes()[s.Next()-w.Options().Start:to-w.Options().Start]); err != nil {
		t.Fatal(err)
	}
	if s.Next() != to {
		t.Errorf("after delivery up to %s the next byte is %s", to, s.Next())
	}
}

func flush(t *testing.T, s *sinktest.Session) wal.LSN {
	t.Helper()
	lsn, err := s.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// starts are the records of the WAL from start on, as a new sink gets them.
func starts(w *waltest.Writer, start wal.LSN) (out []wal.LSN) {
	for _, r := range w.Records() {
		if r.Start >= start {
			out = append(out, r.Start)
		}
	}
	return out
}

// A new sink begins where it is told: one of records with the first that starts
// there or later, one of raw WAL with the segment's first byte.
func TestNewSink(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 3<<20)
	r := w.Records()
	inSecond := slices.IndexFunc(r, func(a waltest.Appended) bool { return a.Start > 2<<20+100<<10 })
	for _, start := range []wal.LSN{w.Options().Start, r[5].Start, r[5].Start + 8, r[inSecond].Start} {
		var disk store
		s := open(t, definition(&disk, sdk.Records()), w, start)
		if !s.Result().New || s.Next() != w.Options().SegmentSize.Start(start) {
			t.Errorf("new is %t, the next byte %s", s.Result().New, s.Next())
		}
		deliver(t, s, w, w.End())
		if got := flush(t, s); got != w.End() {
			t.Errorf("started at %s, flushed %s of %s", start, got, w.End())
		}
		if want := starts(w, start); !slices.Equal(disk.starts, want) || disk.raw != nil {
			t.Errorf("started at %s: %d records, want %d", start, len(disk.starts), len(want))
		}
		if disk.from != start {
			t.Errorf("started at %s, the first batch is from %s", start, disk.from)
		}

		disk = store{}
		s = open(t, definition(&disk, sdk.RawWAL()), w, start)
		deliver(t, s, w, w.End())
		flush(t, s)
		segment := w.Options().SegmentSize.Start(start)
		if !bytes.Equal(disk.raw, w.Bytes()[segment-w.Options().Start:]) || disk.starts != nil || disk.from != segment {
			t.Errorf("started at %s: %d bytes from %s", start, len(disk.raw), disk.from)
		}
	}
}

// Whenever a sink is killed, its next life gets what it had not flushed: all of
// it, and nothing twice.
func TestKillAndResume(t *testing.T) {
	w := waltest.Random(2, waltest.Options{}, 3<<20)
	for name, o := range map[string]sdk.Option{"raw": sdk.RawWAL(), "records": sdk.Records()} {
		var disk store
		d := definition(&disk, o)
		lives := 0
		for flushed := wal.LSN(0); flushed < w.End(); lives++ {
			s := open(t, d, w, w.Options().Start)
			if s.Result().New != (flushed == 0) || s.Result().Position.LSN != flushed {
				t.Fatalf("%s: life %d begins with %+v after %s", name, lives, s.Result(), flushed)
			}
			deliver(t, s, w, min(s.Next()+1_234_567, w.End()))
			flushed = flush(t, s)
			deliver(t, s, w, min(s.Next()+77_777, w.End())) // lost
			s.Kill()
		}
		if name == "raw" && !bytes.Equal(disk.raw, w.Bytes()) {
			t.Errorf("%d bytes of %d", len(disk.raw), len(w.Bytes()))
		}
		if name == "records" && !slices.Equal(disk.starts, starts(w, 0)) {
			t.Errorf("%d records of %d", len(disk.starts), len(w.Records()))
		}
		if lives < 3 || slices.Contains(disk.calls, "close") {
			t.Errorf("%s: %d lives: %v", name, lives, disk.calls)
		}
	}
}

func TestErrors(t *testing.T) {
	w := waltest.Random(3, waltest.Options{}, 100<<10)
	var disk store
	d := definition(&disk, sdk.Records())
	o := w.Options()
	sys := sdk.System{ID: o.SystemID, Timeline: 1, SegmentSize: o.SegmentSize}
	for _, c := range []any{map[string]string{"name": "bad"}, []byte(`{"name":"bad"}`)} {
		if _, err := sinktest.Open(t.Context(), d, c, sys, sinktest.Options{}); err == nil || !strings.Contains(err.Error(), "Bad name") {
			t.Errorf("%v", err)
		}
	}
	if _, err := sinktest.Open(t.Context(), d, func() {}, sys, sinktest.Options{}); err == nil {
		t.Error("a function is a configuration")
	}
	if _, err := sinktest.Open(t.Context(), d, []byte(`{}`), sdk.System{SegmentSize: o.SegmentSize}, sinktest.Options{}); err == nil || !strings.Contains(err.Error(), "incomplete") {
		t.Errorf("the sink's error became %v", err)
	}

	sink := &recorder{disk: &disk}
	s, err := sinktest.OpenSink(t.Context(), d, sink, sys, sinktest.Options{Start: o.Start})
	if err != nil {
		t.Fatal(err)
	}
	sink.fail = errors.New("no space left")
	if err := s.Deliver(t.Context(), w.Bytes()); !errors.Is(err, sink.fail) {
		t.Errorf("the sink's error became %v", err)
	}
	if err := s.Close(t.Context()); err != nil || disk.calls[len(disk.calls)-1] != "close" {
		t.Errorf("%v, %v", disk.calls, err)
	}

	// What comes before a fault in the WAL is delivered.
	bad := w.Records()[20].Start
	w.Flip(bad + 17)
	s = open(t, d, w, o.Start)
	var fault *wal.Error
	if err := s.Deliver(t.Context(), w.Bytes()); !errors.As(err, &fault) || fault.LSN != bad {
		t.Errorf("%v, want a fault at %s", err, bad)
	}
	if flush(t, s) != bad || len(disk.starts) != 20 {
		t.Errorf("%d records up to %s", len(disk.starts), disk.position)
	}
}

// A record that is larger than a block's share of memory reaches the sink whole,
// or in pieces if it asked for that.
func TestLargeRecords(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.LogicalMessage("m", 10)
	w.LogicalMessage("m", 2*wire.MaxWhole)
	w.LogicalMessage("m", 10)
	for limit, whole := range map[int]bool{sdk.DefaultMaxRecord: true, 0: false} {
		var disk store
		s := open(t, definition(&disk, sdk.Records(), sdk.MaxRecord(limit)), w, w.Options().Start)
		deliver(t, s, w, w.End())
		flush(t, s)
		if got := len(disk.starts); (got == 3) != whole {
			t.Errorf("limit %d: the sink got %d records and pieces", limit, got)
		}
	}
}

// rewinder is a recorder that follows a switch of timelines to where its disk
// ends, at most to the switch point.
type rewinder struct {
	*recorder
	told *sdk.Epoch
}

func (r *rewinder) Rewind(_ context.Context, e *sdk.Epoch) (wal.LSN, error) {
	r.told = e
	return e.SwitchLSN, nil
}

func TestEpoch(t *testing.T) {
	w := waltest.Random(3, waltest.Options{}, 100<<10)
	o := w.Options()
	var disk store
	d := definition(&disk, sdk.Records(), sdk.Rewinds())
	sys := sdk.System{ID: o.SystemID, Timeline: 1, SegmentSize: o.SegmentSize}
	sink := &rewinder{recorder: &recorder{disk: &disk}}
	s, err := sinktest.OpenSink(t.Context(), d, sink, sys, sinktest.Options{Start: o.Start})
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, s, w, w.End())
	all := len(sink.mem.starts)
	at := len(w.Records()) / 2
	b := w.Branch(2, w.Records()[at-1].End)
	b.AppendRandom(4, 50<<10)
	e := &sdk.Epoch{OldTimeline: 1, SwitchLSN: w.Records()[at-1].End, NewTimeline: 2}
	if lsn, err := s.Epoch(t.Context(), e); err != nil || lsn != e.SwitchLSN || sink.told != e {
		t.Fatalf("%s, %v", lsn, err)
	}
	deliver(t, s, b, b.End())
	if got := len(sink.mem.starts); got != all+len(b.Records())-at {
		t.Errorf("%d records on both timelines, want %d", got, all+len(b.Records())-at)
	}
	s = open(t, definition(&store{}, sdk.Records()), w, o.Start)
	if _, err := s.Epoch(t.Context(), e); err == nil {
		t.Error("a sink that cannot rewind did")
	}
}
