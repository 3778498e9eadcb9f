package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

// actEnv makes this test binary one of the sinks below instead.
const actEnv = "STREAM_TEST_ACT"

func TestMain(m *testing.M) {
	switch os.Getenv(actEnv) {
	case "records":
		sdk.Serve(sdk.Define("tested", newTestSink, sdk.Records()))
	case "heap":
		sdk.Serve(sdk.Define("tested", newTestSink, sdk.Records(wal.RmgrHeap)))
	case "raw":
		sdk.Serve(sdk.Define("tested", newTestSink, sdk.RawWAL()))
	case "null":
		sdk.Serve(sdk.Define("tested", func(*testSettings) sdk.Sink { return &nullSink{} }, sdk.Records()))
	}
	os.Exit(m.Run())
}

// testSettings tell a sink where its test reads what it got, and when it stops.
type testSettings struct {
	Result string `walplex:"result"`
	Hold   string `walplex:"hold"` // while this file exists, Write holds its batch
}

// got is what a sink was handed.
type got struct {
	Records uint64
	Bytes   uint64 // of raw WAL
	Sum     uint32 // over all of it
}

// add takes a record, with all that its decoding has found.
func (g *got) add(rec *wal.Record) {
	g.Records++
	g.Sum = crc32.Update(g.Sum, crc32.IEEETable, fmt.Appendf(nil, "%d %d %d %d %d %+v", rec.StartLSN, rec.EndLSN, rec.RmgrID, rec.XID, rec.MainDataOffset, rec.Blocks))
	g.Sum = crc32.Update(g.Sum, crc32.IEEETable, rec.Data)
}

// testSink sums up what it gets, which it reads a second time at the end of
// Write, after what it waited for: memory that was used again meanwhile shows.
type testSink struct {
	settings *testSettings
	got      got
	to       wal.LSN
}

func newTestSink(c *testSettings) sdk.Sink { return &testSink{settings: c} }

func (s *testSink) Open(context.Context, *sdk.OpenRequest) (sdk.OpenResult, error) {
	return sdk.OpenResult{New: true}, nil
}

func (s *testSink) Write(ctx context.Context, b *sdk.Batch) error {
	before := crc32.ChecksumIEEE(b.WAL())
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.settings.Hold != "" {
		if _, err := os.Stat(s.settings.Hold); err != nil {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if crc32.ChecksumIEEE(b.WAL()) != before {
		return sdk.Permanentf("the WAL from %s to %s has changed while it was borrowed", b.WALStart(), b.WALEnd())
	}
	for rec := range b.Records() {
		s.got.add(rec)
	}
	s.got.Bytes += uint64(len(b.WAL()))
	s.got.Sum = crc32.Update(s.got.Sum, crc32.IEEETable, b.WAL())
	s.to = b.To()
	return nil
}

func (s *testSink) Flush(context.Context) (wal.LSN, error) {
	if s.settings.Result == "" {
		return s.to, nil
	}
	content, err := json.Marshal(s.got)
	if err == nil {
		err = os.WriteFile(s.settings.Result, content, 0o600)
	}
	return s.to, err
}

func (s *testSink) Close(context.Context) error { return nil }

// nullSink reads every record's header and forgets it.
type nullSink struct {
	to  wal.LSN
	sum uint64
}

func (s *nullSink) Open(context.Context, *sdk.OpenRequest) (sdk.OpenResult, error) {
	return sdk.OpenResult{New: true}, nil
}

func (s *nullSink) Write(_ context.Context, b *sdk.Batch) error {
	for rec := range b.Records() {
		s.sum += uint64(rec.StartLSN) ^ uint64(rec.XID) ^ uint64(rec.RmgrID)
	}
	s.to = b.To()
	return nil
}

func (s *nullSink) Flush(context.Context) (wal.LSN, error) { return s.to, nil }
func (s *nullSink) Close(context.Context) error            { return nil }

// rig delivers blocks to real sink processes as the loop does, without a server.
type rig struct {
	t        testing.TB
	s        *Stream
	lives    []*life
	chain    *chain.Chain
	happened chan happening
	held     map[chain.BlockID]*buffer
	actions  []chain.Action
	results  []string
	holds    []string
}

// rigSink is a sink of a rig: one of the programs above.
type rigSink struct {
	act       string
	filter    Filter
	untrusted bool
	held      bool // its Writes wait until it is let go
}

const rigSegment = wal.SegmentSize(1 << 20)

func newRig(t testing.TB, ringBytes int64, start wal.LSN, sinks ...rigSink) *rig {
	t.Helper()
	r := &rig{t: t, happened: make(chan happening, 256), held: map[chain.BlockID]*buffer{}}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "rig")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	cfg := Config{Name: "rig", Ring: ringBytes}
	var shapes []chain.Sink
	for i, k := range sinks {
		name := fmt.Sprintf("sink%d", i)
		settings := testSettings{Result: filepath.Join(t.TempDir(), name)}
		if k.held {
			settings.Hold = settings.Result + ".hold"
			if err := os.WriteFile(settings.Hold, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r.results, r.holds = append(r.results, settings.Result), append(r.holds, settings.Hold)
		cfg.Sinks = append(cfg.Sinks, SinkConfig{Name: name, Required: true, Filter: k.filter, Untrusted: k.untrusted,
			ConfigJSON: fmt.Appendf(nil, `{"result":%q,"hold":%q}`, settings.Result, settings.Hold),
			Spec:       supervisor.Spec{Type: "tested", Path: self, Env: []string{actEnv + "=" + k.act}, AutoMTLS: true, SocketDir: sockets}})
		shapes = append(shapes, chain.Sink{Name: name, Required: true})
	}
	r.s = New(cfg, slog.New(slog.DiscardHandler))
	r.s.sys = replication.System{SystemID: 7, Timeline: 1, SegmentSize: rigSegment}
	r.chain = chain.New(shapes, rigSegment, false, r.s.cfg.Limits)
	for i := range sinks {
		l, err := r.s.openLife(t.Context(), chain.SinkID(i), &r.s.cfg.Sinks[i], wal.Position{})
		if err != nil {
			t.Fatal(err)
		}
		r.lives = append(r.lives, l)
	}
	t.Cleanup(r.end)
	for i, l := range r.lives {
		// Not the test's context, which ends before its cleanups.
		if err := l.begin(context.WithoutCancel(t.Context()), 1, start, r.happened); err != nil {
			t.Fatal(err)
		}
		r.chain.Subscribe(chain.SinkID(i), l.opened.records, false)
		r.chain.Attach(chain.SinkID(i), start, true)
	}
	r.chain.Restart(start)
	return r
}

// end kills what is left.
func (r *rig) end() {
	for i := range r.lives {
		r.endLife(i)
	}
}

func (r *rig) endLife(i int) {
	if l := r.lives[i]; l != nil {
		r.chain.Detach(l.id)
		r.lives[i] = nil
		var ended sync.WaitGroup
		ended.Go(l.end)
		done := make(chan struct{})
		go func() { ended.Wait(); close(done) }()
		for {
			select {
			case <-r.happened: // its last words
			case <-done:
				return
			}
		}
	}
}

func (r *rig) letGo(i int) {
	if err := os.Remove(r.holds[i]); err != nil {
		r.t.Fatal(err)
	}
}

// add gives the chain a block.
func (r *rig) add(b *buffer) {
	r.t.Helper()
	v := &b.view
	id, err := r.chain.Add(chain.Block{Start: v.WALStart(), End: v.WALEnd(), RecordsEnd: v.RecordsEnd(), Size: int64(len(b.data))})
	if err != nil {
		r.t.Fatal(err)
	}
	b.id = id
	r.held[id] = b
}

// act does what the chain says.
func (r *rig) act() {
	r.actions = r.chain.Next(r.actions[:0])
	for _, a := range r.actions {
		switch a.Kind {
		case chain.Deliver:
			r.lives[a.Sink].deliver(r.held[a.Block], a)
		case chain.Flush:
			r.lives[a.Sink].flush(a.Number)
		case chain.Release:
			r.held[a.Block].release()
			delete(r.held, a.Block)
		}
	}
}

// hear waits for a sink.
func (r *rig) hear() {
	r.t.Helper()
	select {
	case h := <-r.happened:
		switch {
		case h.life != r.lives[h.sink]:
		case h.ended:
			r.t.Fatalf("sink %d ended: %v", h.sink, h.err)
		default:
			p := h.progress
			if err := r.chain.Progress(h.sink, chain.Progress{Written: wal.LSN(p.WrittenLsn), Flushed: wal.LSN(p.FlushedLsn),
				FlushNumber: p.FlushNumber, ReleasedBlocks: p.ReleasedBlocks}); err != nil {
				r.t.Fatal(err)
			}
		}
	case <-time.After(rigPatience):
		r.t.Fatalf("no sink has said anything for %s", rigPatience)
	}
}

const rigPatience = 60 * time.Second

// deliver gives the sinks all blocks of a source, as far as they take them.
func (r *rig) deliver(blocks <-chan arrival) {
	r.t.Helper()
	for a := range blocks {
		for r.act(); !r.chain.CanReceive(); r.act() {
			r.hear()
		}
		if a.block == nil {
			continue
		}
		r.add(a.block)
	}
	r.act()
}

// finish has everything flushed, and ends the sinks in order.
func (r *rig) finish() {
	r.t.Helper()
	r.chain.Finish()
	for r.act(); !r.chain.AllFlushed(); r.act() {
		r.hear()
	}
}

// result is what a sink was handed up to its last flush.
func (r *rig) result(i int) (g got) {
	r.t.Helper()
	content, err := os.ReadFile(r.results[i])
	if err == nil {
		err = json.Unmarshal(content, &g)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

// sourceOf plays WAL to a source that uses the stream's pool. Every piece that
// idle names is the last one that is there for the moment.
func (r *rig) sourceOf(w *waltest.Writer, idle func(piece int) bool) <-chan arrival {
	o, conn := w.Options(), &played{}
	const piece = 90_000 // three of them are a block and a little
	for at, i := 0, 0; at < len(w.Bytes()); at, i = at+piece, i+1 {
		from, to := o.Start+wal.LSN(at), min(o.Start+wal.LSN(at+piece), w.End())
		conn.steps = append(conn.steps, data(w, from, to, to == w.End() || idle(i)))
	}
	out := make(chan arrival)
	sys := replication.System{SystemID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize}
	go func() {
		defer close(out)
		newSource(conn, sys, o.Start, false, r.s.pool, out).run(r.t.Context())
	}()
	return out
}

// rigWAL is WAL of all kinds of records, fragments and images among them.
func rigWAL(seed uint64, n int) *waltest.Writer {
	o := waltest.Options{Start: 4 << 20, SegmentSize: rigSegment, SystemID: 7, Timeline: 1, Version: wal.PG17}
	w := waltest.Random(seed, o, n/2)
	w.LogicalMessage("large", 3<<20)
	w.LogicalMessage("more than a slot", wire.MaxWhole-100)
	for len(w.Bytes()) < n {
		w.Append(waltest.HeapInsert(700, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}, 7, 3, bytes.Repeat([]byte{byte(len(w.Bytes()))}, 60)))
	}
	return w
}
