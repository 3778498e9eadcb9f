package stream

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
	"github.com/walplex/walplex/sdk/wire/ring"
)

// filterFunc is a filter that a test writes down.
type filterFunc func(rec *wal.Record) bool

func (f filterFunc) Match(rec *wal.Record) bool { return f(rec) }

// some keeps about a third of all records.
func some(rec *wal.Record) bool { return uint64(rec.StartLSN)*2654435761>>7%3 == 0 }

// expected is what a sink is to be handed of the WAL, computed without any block:
// records for which keep answers true, or all raw WAL.
func expected(t *testing.T, w *waltest.Writer, keep func(rec *wal.Record) bool) (g got) {
	t.Helper()
	if keep == nil {
		return got{Bytes: uint64(len(w.Bytes())), Sum: crc32.ChecksumIEEE(w.Bytes())}
	}
	o := w.Options()
	r := xlogreader.New(o.Start, xlogreader.Options{SystemID: o.SystemID, SegmentSize: o.SegmentSize, Timeline: o.Timeline, MaxWhole: 16 << 20})
	r.Feed(w.Bytes())
	var rec wal.Record
	for {
		switch st, err := r.Next(&rec); {
		case err != nil:
			t.Fatal(err)
		case st == xlogreader.NeedMore:
			return g
		}
		if keep(&rec) {
			g.add(&rec)
		}
	}
}

func every(*wal.Record) bool        { return true }
func never(int) bool                { return false }
func everyThird(piece int) bool     { return piece%3 == 0 }
func heapOnly(rec *wal.Record) bool { return rec.RmgrID == wal.RmgrHeap }

func (r *rig) mapsRing(i int) bool {
	r.t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", r.lives[i].proc.PID()))
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Contains(string(maps), "memfd:walplex-ring")
}

func (r *rig) wantUsed(want int64) {
	r.t.Helper()
	if _, used := r.s.pool.usage(); used != want {
		r.t.Errorf("%d bytes of the ring are in use, want %d", used, want)
	}
}

func (r *rig) free(s slot) bool {
	r.s.pool.mu.Lock()
	defer r.s.pool.mu.Unlock()
	return slices.Contains(r.s.pool.slots, s)
}

// Each sink gets what is its own, whatever the way: in the ring and around it, raw
// WAL and records, all, selected and filtered; and the ring is given to those
// alone who may see everything.
func TestTransports(t *testing.T) {
	sinks := []struct {
		rigSink
		transport string
		keep      func(rec *wal.Record) bool // nil: raw WAL
	}{
		{rigSink{act: "records"}, wire.TransportRing, every},
		{rigSink{act: "raw"}, wire.TransportRing, nil},
		{rigSink{act: "heap"}, wire.TransportRing, heapOnly},
		{rigSink{act: "records", filter: filterFunc(some)}, wire.TransportGRPC, some},
		{rigSink{act: "heap", filter: filterFunc(some)}, wire.TransportGRPC, func(rec *wal.Record) bool { return heapOnly(rec) && some(rec) }},
		{rigSink{act: "records", untrusted: true}, wire.TransportGRPC, every},
		{rigSink{act: "raw", untrusted: true}, wire.TransportGRPC, nil},
	}
	var list []rigSink
	for _, k := range sinks {
		list = append(list, k.rigSink)
	}
	for name, c := range map[string]struct {
		ring int64
		idle func(piece int) bool
	}{
		"ring":               {64 << 20, never},
		"ring, small blocks": {64 << 20, everyThird},
		"no ring":            {0, everyThird},
	} {
		t.Run(name, func(t *testing.T) {
			w := rigWAL(5, 8<<20)
			r := newRig(t, c.ring, w.Options().Start, list...)
			for i, k := range sinks {
				want := k.transport
				if c.ring == 0 {
					want = wire.TransportGRPC
				}
				if got := r.lives[i].transport; got != want || r.mapsRing(i) != (want == wire.TransportRing) {
					t.Errorf("sink %d has the transport %q, want %q, and has the ring mapped: %t", i, got, want, r.mapsRing(i))
				}
			}
			r.deliver(r.sourceOf(w, c.idle))
			r.finish()
			for i, k := range sinks {
				if got, want := r.result(i), expected(t, w, k.keep); got != want {
					t.Errorf("sink %d was handed %+v, want %+v", i, got, want)
				}
			}
			r.end()
			r.wantUsed(0)
		})
	}
}

// A slot is not used again while any sink holds it: one that sits on its first
// block finds all that it was sent as it was, while another gets much more than
// the ring has room for, over gRPC where no slot is free.
func TestSlotsAreHeld(t *testing.T) {
	w := rigWAL(6, 24<<20)
	r := newRig(t, 1, w.Options().Start, rigSink{act: "records"}, rigSink{act: "raw", held: true}, rigSink{act: "records", held: true})
	size, _ := r.s.pool.usage()
	if size != ring.MinSlots*ring.SlotSize {
		t.Fatalf("a ring of %d bytes", size)
	}
	blocks := r.sourceOf(w, never)
	// Until the host can hold no more for those that take nothing.
	for r.act(); r.chain.CanReceive(); r.act() {
		r.add((<-blocks).block)
	}
	for r.chain.Positions(0).InFlight > 0 {
		r.hear()
	}
	r.wantUsed(size)
	heap := 0
	for _, b := range r.held {
		if b.slot == 0 {
			heap++
		}
	}
	if heap == 0 {
		t.Error("no block lies outside of the ring, which is full")
	}
	if n := len(r.s.pool.free); n > freeBuffers {
		t.Errorf("%d buffers are kept", n)
	}
	r.letGo(1)
	r.letGo(2)
	r.deliver(blocks)
	r.finish()
	for i, keep := range []func(*wal.Record) bool{every, nil, every} {
		if got, want := r.result(i), expected(t, w, keep); got != want {
			t.Errorf("sink %d was handed %+v, want %+v", i, got, want)
		}
	}
	r.wantUsed(0)
}

// What a sink holds is free when its process is dead, and not when only its stream
// has ended.
func TestSlotsOfTheDead(t *testing.T) {
	w := rigWAL(7, 4<<20)
	r := newRig(t, 32<<20, w.Options().Start, rigSink{act: "records", held: true})
	r.deliver(r.sourceOf(w, never))
	_, used := r.s.pool.usage()
	if used < 4*ring.SlotSize {
		t.Fatalf("%d bytes of the ring are in use", used)
	}
	l := r.lives[0]
	if err := syscall.Kill(l.proc.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l.cancel()
	select {
	case <-l.ended:
	case <-time.After(rigPatience):
		t.Fatal("the stream does not end")
	}
	r.wantUsed(used)
	r.end()
	r.wantUsed(0)
	r.s.pool.close()
	if size, _ := r.s.pool.usage(); size != 0 {
		t.Error("the ring is still there")
	}
}

// The ring goes when its last slot is free, not before.
func TestPoolClose(t *testing.T) {
	p := &pool{}
	if p.share(1, slog.New(slog.DiscardHandler)) == nil {
		t.Fatal("no ring")
	}
	m := p.get()
	p.close()
	m.bytes = append(m.bytes, "still there"...)
	if other := p.get(); other.slot != 0 {
		t.Error("a slot of a ring that is closed")
	}
	if size, used := p.usage(); size == 0 || used != ring.SlotSize || string(m.bytes) != "still there" {
		t.Errorf("%d of %d bytes", used, size)
	}
	p.put(m)
	if size, _ := p.usage(); size != 0 {
		t.Error("the ring is still there")
	}
}

// A stream that has ended has given its ring back, unless somebody holds a slot.
func TestEndClosesTheRing(t *testing.T) {
	s := testStream()
	s.pool.share(1, s.log)
	m := s.pool.get()
	s.endAll(func() {})
	if size, _ := s.pool.usage(); size == 0 {
		t.Error("the ring is gone while a slot is held")
	}
	s.pool.put(m)
	if size, _ := s.pool.usage(); size != 0 {
		t.Error("the ring is still there")
	}
}

// Blocks beside the live stream leave half of the ring to those of the live one.
func TestGetAside(t *testing.T) {
	p := &pool{}
	if m := p.getAside(); m.slot != 0 {
		t.Error("a slot without a ring")
	}
	p.share(1, slog.New(slog.DiscardHandler))
	for p.getAside().slot != 0 {
		if _, used := p.usage(); used > ring.MinSlots/2*ring.SlotSize {
			t.Fatalf("%d bytes are taken", used)
		}
	}
	if _, used := p.usage(); used != ring.MinSlots/2*ring.SlotSize {
		t.Errorf("%d bytes are taken", used)
	}
	for range ring.MinSlots / 2 {
		if p.get().slot == 0 {
			t.Error("the live stream gets no slot")
		}
	}
}

// Blocks are built in slots; what is small, or has outgrown its slot, is not, and
// the slot is free. A source that ends gives back the slot that it builds in.
func TestSourceBuildsInTheRing(t *testing.T) {
	w := rigWAL(8, 6<<20)
	r := &rig{t: t, s: testStream()}
	r.s.pool.share(64<<20, slog.New(slog.DiscardHandler))
	var inRing, small, outgrown int
	for a := range r.sourceOf(w, everyThird) {
		b := a.block
		switch {
		case b == nil:
			if !errors.Is(a.err, errPlayed) {
				t.Fatal(a.err)
			}
			continue
		case b.slot != 0:
			inRing++
			if slot := r.s.pool.ring.Slot(int(b.slot) - 1)[:1]; &slot[0] != &b.data[0] || cap(b.data) > ring.SlotSize {
				t.Errorf("the block at %s does not lie in its slot", b.view.WALStart())
			}
		case len(b.data) <= smallBlock:
			small++
		case len(b.data) > ring.SlotSize:
			outgrown++
		default:
			t.Errorf("the block at %s of %d bytes is not in the ring", b.view.WALStart(), len(b.data))
		}
		if b.slot != 0 && r.free(b.slot) {
			t.Errorf("the slot of the block at %s is free", b.view.WALStart())
		}
		b.release()
	}
	if inRing < 10 || small == 0 || outgrown == 0 {
		t.Errorf("%d blocks in the ring, %d small, %d outgrown", inRing, small, outgrown)
	}
	r.wantUsed(0)
	// Ended in the middle of a block, and with one that nobody takes.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := w.Options()
	for _, drained := range []bool{false, true} {
		conn := &played{steps: []step{data(w, o.Start, o.Start+100_000, drained)}}
		sys := replication.System{SystemID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize}
		newSource(conn, sys, o.Start, false, r.s.pool, make(chan arrival)).run(ctx)
		r.wantUsed(0)
	}
}

// A new filter holds for the blocks that are built from then on, and is not asked
// about the rest of a record that is under way.
func TestSetFilter(t *testing.T) {
	w := rigWAL(9, 3<<20)
	first, second := filterFunc(func(rec *wal.Record) bool { return !heapOnly(rec) }), filterFunc(heapOnly)
	r := newRig(t, 64<<20, w.Options().Start, rigSink{act: "records", filter: first}, rigSink{act: "records"}, rigSink{act: "records", untrusted: true})
	var at wal.LSN
	for a := range r.sourceOf(w, never) {
		if a.block == nil {
			continue
		}
		r.add(a.block)
		r.act()
		for r.chain.Positions(0).InFlight > 0 {
			r.hear()
		}
		if at == 0 && a.block.view.WALEnd() > w.Options().Start+5<<19 {
			at = a.block.view.WALEnd()
			if !r.lives[0].setFilter(second) {
				t.Fatal("the filter is not taken")
			}
		}
	}
	r.finish()
	// A record that was in pieces when the filter changed stays what it was; one that
	// was not indexed yet is judged by the new one.
	pieces := 0
	want := expected(t, w, func(rec *wal.Record) bool {
		underWay := rec.TotalLen > wire.MaxWhole && rec.StartLSN < at
		if rec.EndLSN <= at || underWay {
			if rec.EndLSN > at {
				pieces++
			}
			return first(rec)
		}
		return second(rec)
	})
	if pieces != 1 {
		t.Fatalf("%d records were in pieces when the filter changed", pieces)
	}
	if got := r.result(0); got != want {
		t.Errorf("handed over %+v, want %+v", got, want)
	}
	for i, l := range r.lives {
		if l.setFilter(nil) || i > 0 && l.setFilter(second) {
			t.Errorf("sink %d was told something else at Open", i)
		}
	}
}

// What a sink may answer to Open.
func TestChoose(t *testing.T) {
	raw, records := &wire.Subscription{Wal: true}, &wire.Subscription{Records: true}
	for _, c := range []struct {
		cfg    SinkConfig
		shared bool
		res    *wire.OpenResponse
		want   string // transport, or a part of the fault
	}{
		{SinkConfig{}, true, &wire.OpenResponse{Subscription: raw, Transport: "ring"}, "ring"},
		{SinkConfig{}, true, &wire.OpenResponse{Subscription: records, Transport: "grpc"}, "grpc"},
		{SinkConfig{}, true, &wire.OpenResponse{Subscription: records}, "grpc"},
		{SinkConfig{}, false, &wire.OpenResponse{Subscription: records, Transport: "ring"}, `the transport "ring", which it was not offered`},
		{SinkConfig{}, true, &wire.OpenResponse{Subscription: records, Transport: "carrier pigeon"}, "not offered"},
		{SinkConfig{}, true, &wire.OpenResponse{}, "must be one of them"},
		{SinkConfig{Untrusted: true}, false, &wire.OpenResponse{Subscription: raw}, "grpc"},
		{SinkConfig{Filter: filterFunc(some)}, false, &wire.OpenResponse{Subscription: raw}, "cannot have a filter"},
	} {
		l := &life{name: "s", shared: c.shared}
		switch err := l.choose(&c.cfg, c.res); {
		case err != nil && (!permanent(err) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %s", c, err, c.want)
		case err == nil && l.transport != c.want:
			t.Errorf("%+v: %s, want %s", c, l.transport, c.want)
		}
	}
}

// A sink that gives back too much, too little, or backwards releases nothing twice.
func TestBorrowed(t *testing.T) {
	var q borrowed
	b := &buffer{pool: &pool{}}
	b.hold()
	q.add(b)
	q.add(nil)
	q.add(b)
	for _, step := range []struct {
		n    uint64
		want int32
	}{{0, 3}, {1, 2}, {1, 2}, {0, 2}, {2, 2}, {1 << 63, 1}, {1 << 63, 1}} {
		if q.giveBack(step.n); b.holders.Load() != step.want {
			t.Errorf("after %d: %d holders, want %d", step.n, b.holders.Load(), step.want)
		}
	}
	q.add(b)
	if q.bury(); b.holders.Load() != 1 {
		t.Errorf("%d holders after the sink's death", b.holders.Load())
	}
	if q.add(b); b.holders.Load() != 1 {
		t.Errorf("a dead sink holds a block")
	}
}
