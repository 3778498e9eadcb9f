package stream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

// step is one message of a connection that a test plays, and what Drained says
// once it was received.
type step struct {
	replication.Message
	drained bool
}

// played is a connection that gives what a test wrote down.
type played struct {
	steps []step
	last  step
}

var errPlayed = errors.New("all is played")

func (p *played) Receive(context.Context) (replication.Message, error) {
	if len(p.steps) == 0 {
		return replication.Message{}, errPlayed
	}
	p.last, p.steps = p.steps[0], p.steps[1:]
	return p.last.Message, nil
}

func (p *played) Drained() bool { return p.last.drained }

// someWAL is a segment's beginning with a few records.
func someWAL() *waltest.Writer {
	w := waltest.New(waltest.Options{Start: 1 << 20, SegmentSize: 1 << 20, SystemID: 7, Timeline: 1, Version: wal.PG15})
	for range 4 {
		w.LogicalMessage("test", 100)
	}
	return w
}

func data(w *waltest.Writer, from, to wal.LSN, drained bool) step {
	start := w.Options().Start
	return step{replication.Message{Kind: replication.XLogData, WALStart: from, ServerWALEnd: w.End(), ServerTime: time.Unix(1<<30, 0),
		Data: w.Bytes()[from-start : to-start]}, drained}
}

// arrivals runs a source over the steps.
func arrivals(t *testing.T, w *waltest.Writer, steps ...step) []arrival {
	t.Helper()
	o := w.Options()
	out := make(chan arrival, 100)
	sys := replication.System{SystemID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize}
	newSource(&played{steps: steps}, sys, o.Start, false, &pool{}, out).run(t.Context())
	close(out)
	var all []arrival
	for a := range out {
		all = append(all, a)
	}
	return all
}

// TestSourceSealsBeforeOtherMessages: a server that shuts down sends its last WAL
// and a keepalive in one go and then waits for the confirmation. The WAL must not
// wait for more WAL.
func TestSourceSealsBeforeOtherMessages(t *testing.T) {
	for _, kind := range []replication.Kind{replication.Keepalive, replication.End} {
		t.Run(kind.String(), func(t *testing.T) {
			w := someWAL()
			end := w.End()
			got := arrivals(t, w, data(w, w.Options().Start, end, false),
				step{replication.Message{Kind: kind, ServerWALEnd: end, ReplyRequested: kind == replication.Keepalive}, true})
			if len(got) < 2 || got[0].block == nil || got[0].block.view.WALEnd() != end {
				t.Fatalf("the WAL up to %s is not the first arrival of %d", end, len(got))
			}
			if got[1].block != nil || got[1].ended != (kind == replication.End) || got[1].reply != (kind == replication.Keepalive) {
				t.Errorf("the %s comes as %+v", kind, got[1])
			}
		})
	}
}

// TestSourceWaitsForMore: while more waits in the socket, blocks are filled; when
// nothing does, what is there leaves at once.
func TestSourceWaitsForMore(t *testing.T) {
	w := someWAL()
	start, end := w.Options().Start, w.End()
	mid := start + 77
	got := arrivals(t, w, data(w, start, mid, false), data(w, mid, end, true))
	if len(got) != 2 || got[0].block == nil || !got[0].drained || got[0].block.view.WALStart() != start || got[0].block.view.WALEnd() != end || got[0].records != 4 {
		t.Fatalf("arrivals %+v", got)
	}
	if !errors.Is(got[1].err, errPlayed) {
		t.Errorf("the last arrival has the error %v", got[1].err)
	}
}

// TestSourceBursts: while more is coming, full blocks leave several at a time, in
// order, and none is lost before an error.
func TestSourceBursts(t *testing.T) {
	w := someWAL()
	for w.End() < w.Options().Start+(burst+3)*wire.BlockWAL {
		w.LogicalMessage("test", 8000)
	}
	start, end := w.Options().Start, w.End()
	o := w.Options()
	out := make(chan arrival, 100)
	src := newSource(nil, replication.System{SystemID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize}, o.Start, false, &pool{}, out)
	whole := start + (burst+2)*wire.BlockWAL
	src.conn = &played{}
	for at := start; at < whole; at += wire.BlockWAL {
		if !src.take(t.Context(), data(w, at, at+wire.BlockWAL, false).Message) {
			t.Fatal("refused")
		}
		n := int(at-start)/wire.BlockWAL + 1
		if want := n / burst * burst; len(out) != want {
			t.Fatalf("after %d full blocks %d have left, want %d", n, len(out), want)
		}
	}
	src.letGo()
	if len(src.full) != 0 {
		t.Error("blocks are kept at the end")
	}
	for _, kind := range []replication.Kind{replication.Keepalive, replication.End, 0} {
		steps := []step{data(w, start, end, false)}
		if kind != 0 {
			steps = append(steps, step{replication.Message{Kind: kind, ServerWALEnd: end}, true})
		}
		at := start
		got := arrivals(t, w, steps...)
		for _, a := range got {
			if a.block != nil && a.block.view.WALStart() != at {
				t.Fatalf("%s: a block at %s, want %s", kind, a.block.view.WALStart(), at)
			} else if a.block != nil {
				at = a.block.view.WALEnd()
			}
		}
		// With nothing behind it, the last block is incomplete: it is read again.
		if want := map[bool]wal.LSN{true: end, false: start + (end-start)/wire.BlockWAL*wire.BlockWAL}[kind != 0]; at != want {
			t.Errorf("%s: blocks up to %s, want %s", kind, at, want)
		}
		if got[len(got)-1].block != nil {
			t.Errorf("%s: the last arrival is a block", kind)
		}
	}
}

// TestSourceRefuses: a hole in what the server sends, and corruption, are the last
// arrival; the block that holds them is not delivered.
func TestSourceRefuses(t *testing.T) {
	w := someWAL()
	start, end := w.Options().Start, w.End()
	got := arrivals(t, w, data(w, start, start+64, true), data(w, start+72, end, true))
	if len(got) != 2 || got[0].block == nil || got[1].err == nil {
		t.Errorf("a hole: arrivals %+v", got)
	}
	w.Flip(w.Records()[2].Start + 60)
	got = arrivals(t, w, data(w, start, end, true))
	var c *corruptError
	if len(got) != 1 || !errors.As(got[0].err, &c) || c.wal.LSN != w.Records()[2].Start {
		t.Errorf("corruption: arrivals %+v", got)
	}
}

// TestBlocksPinWhatTheyHold: without the ring, a block keeps little more memory than
// it is counted with, whatever it was built in.
func TestBlocksPinWhatTheyHold(t *testing.T) {
	w := someWAL()
	for w.End() < w.Options().Start+2*wire.BlockWAL {
		w.LogicalMessage("test", 5000)
	}
	var steps []step
	for at, n := w.Options().Start, wal.LSN(100); at < w.End(); n = n*2 + 100 {
		to := min(at+n, w.End())
		steps = append(steps, data(w, at, to, true))
		at = to
	}
	for _, a := range arrivals(t, w, steps...) {
		if b := a.block; b != nil && cap(b.data) > len(b.data)/3*4+1000 {
			t.Errorf("a block of %d bytes keeps %d", len(b.data), cap(b.data))
		}
	}
}
