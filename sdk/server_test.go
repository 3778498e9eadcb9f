package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
	"github.com/walplex/walplex/sdk/wire/ring"
)

// patience bounds the wait for what has no reason to fail.
const patience = 20 * time.Second

type probeConfig struct {
	Name string `walplex:"name,required"`
}

func (c *probeConfig) Validate() []ConfigError {
	if c.Name == "" {
		return []ConfigError{{Path: []any{"name"}, Summary: "No name", Detail: "Write one."}}
	}
	return nil
}

// probe is a sink that writes down its calls and does what a test says.
type probe struct {
	onOpen  func(req *OpenRequest) (OpenResult, error)
	onWrite func(ctx context.Context, b *Batch) error
	onFlush func(ctx context.Context) error
	onRead  func(ctx context.Context, emit func(wal.LSN, []byte) error) error

	mu      sync.Mutex
	calls   []string
	to      wal.LSN
	applied wal.LSN
}

func (p *probe) call(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf(format, args...))
}

func (p *probe) list() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.calls, " ")
}

func (p *probe) Open(_ context.Context, req *OpenRequest) (OpenResult, error) {
	p.call("open")
	if p.onOpen != nil {
		return p.onOpen(req)
	}
	return OpenResult{New: true}, nil
}

func (p *probe) Write(ctx context.Context, b *Batch) error {
	p.call("write-%s", b.To())
	if p.onWrite != nil {
		if err := p.onWrite(ctx, b); err != nil {
			return err
		}
	}
	p.to, p.applied = b.To(), b.To()-8
	return nil
}

func (p *probe) Flush(ctx context.Context) (wal.LSN, error) {
	p.call("flush")
	if p.onFlush != nil {
		if err := p.onFlush(ctx); err != nil {
			return 0, err
		}
	}
	return p.to, nil
}

func (p *probe) Close(context.Context) error { p.call("close"); return nil }
func (p *probe) Applied() wal.LSN            { return p.applied }

// reader is a probe that gives WAL back.
type reader struct{ *probe }

func (r reader) ReadWAL(ctx context.Context, tli wal.TimelineID, from, to wal.LSN, emit func(wal.LSN, []byte) error) error {
	r.call("read-%d-%s-%s", tli, from, to)
	return r.onRead(ctx, emit)
}

// serve runs the sink's service, and answers the host's end.
func serve(t *testing.T, sink Sink, o ...Option) wire.SinkClient {
	t.Helper()
	s, err := newServer(Define("probe", func(*probeConfig) Sink { return sink }, append(o, Version("1.2"))...), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return serveServer(t, s)
}

func serveServer(t *testing.T, s *server) wire.SinkClient {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer(wire.ServerOptions()...)
	wire.RegisterSinkServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///sink", append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return wire.NewSinkClient(conn)
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func openRequest() *wire.OpenRequest {
	return &wire.OpenRequest{ConfigJson: []byte(`{"name":"n"}`), System: &wire.System{SystemId: 7, Timeline: 3, SegmentSize: 1 << 20, ServerVersion: 150018}}
}

func open(t *testing.T, c wire.SinkClient) *wire.OpenResponse {
	t.Helper()
	r, err := c.Open(within(t), openRequest())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wants checks an error's code and text.
func wants(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	if st := status.Convert(err); st.Code() != code || !strings.Contains(st.Message(), text) {
		t.Errorf("%v, want %s: %s", err, code, text)
	}
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		options []Option
		want    []string
	}{
		{[]Option{RawWAL()}, []string{"drain", "wal"}},
		{[]Option{Records(), ReportsApplied(), KeepsWAL()}, []string{"drain", "records", "applied", "read"}},
	} {
		d, err := serve(t, &probe{}, c.options...).Describe(within(t), &wire.DescribeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if d.Type != "probe" || d.Version != "1.2" || !slices.Equal(without(d.Capabilities, wire.CapRing), c.want) || slices.Contains(d.Capabilities, wire.CapRing) != ring.Supported || len(d.Schema.Attributes) != 1 || d.Schema.Attributes[0].Name != "name" {
			t.Errorf("%v", d)
		}
	}
}

func without(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == s })
}

func TestDefinitionsThatCannotBeServed(t *testing.T) {
	for _, c := range []struct {
		d      *Definition
		reason string
	}{
		{defined(), "subscribes to RawWAL or Records"},
		{defined(RawWAL(), Records()), "raw WAL or to records"},
		{Define("x", func(*int) Sink { return nil }, RawWAL()), "is a struct"},
	} {
		if _, err := newServer(c.d, nil); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%v, want %q", err, c.reason)
		}
	}
}

func TestValidateCall(t *testing.T) {
	p := &probe{}
	c := serve(t, p, RawWAL())
	for config, summary := range map[string]string{`{"name":"n"}`: "", `{"name":""}`: "No name", `{"name":1}`: "Configuration cannot be read"} {
		r, err := c.Validate(within(t), &wire.ValidateRequest{ConfigJson: []byte(config)})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Diagnostics; summary == "" && len(got) > 0 || summary != "" && (len(got) != 1 || got[0].Summary != summary) {
			t.Errorf("%s: %v, want %q", config, got, summary)
		}
	}
	if p.list() != "" {
		t.Errorf("to check a configuration the sink was called: %s", p.list())
	}
}

func TestOpen(t *testing.T) {
	var req *OpenRequest
	p := &probe{onOpen: func(r *OpenRequest) (OpenResult, error) {
		req = r
		return OpenResult{SystemID: 99, Position: wal.Position{Timeline: 2, LSN: 0x1000}}, nil
	}}
	c := serve(t, p, Records(wal.RmgrHeap, 200))
	in := openRequest()
	in.Stream, in.Sink, in.LockWaitMs, in.Filtered, in.HistoryFile = "main", "s", 1500, true, []byte("2\t0/1000\n")
	r, err := c.Open(within(t), in)
	if err != nil {
		t.Fatal(err)
	}
	want := OpenRequest{Stream: "main", Sink: "s", System: System{ID: 7, Timeline: 3, SegmentSize: 1 << 20, ServerVersion: 150018}, LockWait: 1500 * time.Millisecond, Filtered: true, History: []byte("2\t0/1000\n"), Metrics: req.Metrics, Logger: req.Logger}
	if !reflect.DeepEqual(*req, want) || req.Logger == nil || req.Metrics == nil {
		t.Errorf("the sink is told %+v, want %+v", *req, want)
	}
	mask := make([]byte, 32)
	mask[10/8] |= 1 << (10 % 8)
	mask[200/8] |= 1 << (200 % 8)
	if r.IsNew || r.SystemId != 99 || r.Timeline != 2 || r.Lsn != 0x1000 || r.Transport != "grpc" ||
		r.Subscription.Wal || !r.Subscription.Records || !bytes.Equal(r.Subscription.RmgrMask, mask) {
		t.Errorf("the host is told %v", r)
	}
	_, err = c.Open(within(t), in)
	wants(t, err, codes.FailedPrecondition, "open already")
}

func TestOpenOfANewSink(t *testing.T) {
	r := open(t, serve(t, &probe{}, RawWAL()))
	if !r.IsNew || !r.Subscription.Wal || r.Subscription.Records || len(r.Subscription.RmgrMask) != 0 {
		t.Errorf("the host is told %v", r)
	}
}

func TestOpenErrors(t *testing.T) {
	var answer error
	p := &probe{onOpen: func(*OpenRequest) (OpenResult, error) { return OpenResult{New: true}, answer }}
	c := serve(t, p, RawWAL())
	bad := openRequest()
	bad.ConfigJson = []byte(`{"name":""}`)
	_, err := c.Open(within(t), bad)
	wants(t, err, codes.InvalidArgument, "No name: Write one.")
	answer = errors.New("the disk is full")
	_, err = c.Open(within(t), openRequest())
	wants(t, err, codes.Unavailable, "the disk is full")
	answer = fmt.Errorf("so: %w", Permanentf("format 9 is newer than this sink"))
	_, err = c.Open(within(t), openRequest())
	wants(t, err, codes.FailedPrecondition, "format 9 is newer")
	_, err = c.Drain(within(t), &wire.DrainRequest{})
	wants(t, err, codes.FailedPrecondition, "not open")
	answer = nil
	open(t, c)
}

// host is the host's end of a Stream.
type host struct {
	t *testing.T
	wire.Sink_StreamClient
}

func stream(t *testing.T, ctx context.Context, c wire.SinkClient, from wal.LSN) host {
	t.Helper()
	s, err := c.Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	h := host{t, s}
	h.send(&wire.HostMessage{Message: &wire.HostMessage_Start{Start: &wire.StreamStart{Timeline: 1, FromLsn: uint64(from)}}})
	return h
}

func (h host) send(m *wire.HostMessage) {
	h.t.Helper()
	// A sink that has given up shows why in what it sends.
	if err := h.Send(m); err != nil && !errors.Is(err, io.EOF) {
		h.t.Fatal(err)
	}
}

func (h host) block(b []byte) {
	h.t.Helper()
	h.send(&wire.HostMessage{Message: &wire.HostMessage_Block{Block: &wire.Block{Data: b}}})
}

func (h host) flush(n uint64) {
	h.t.Helper()
	h.send(&wire.HostMessage{Message: &wire.HostMessage_Flush{Flush: &wire.FlushRequest{Number: n}}})
}

func (h host) heartbeat(n uint64) {
	h.t.Helper()
	h.send(&wire.HostMessage{Message: &wire.HostMessage_Heartbeat{Heartbeat: &wire.Heartbeat{Number: n}}})
}

func (h host) recv() *wire.SinkMessage {
	h.t.Helper()
	m, err := h.Recv()
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// progress wants the next message to be this progress, but for such as tell of
// fewer blocks.
func (h host) progress(written, flushed, applied wal.LSN, number, released uint64) {
	h.t.Helper()
	p := h.recv().GetProgress()
	for p != nil && p.ReleasedBlocks < released && p.FlushNumber <= number {
		p = h.recv().GetProgress()
	}
	if p == nil || wal.LSN(p.WrittenLsn) != written || wal.LSN(p.FlushedLsn) != flushed || wal.LSN(p.AppliedLsn) != applied || p.FlushNumber != number || p.ReleasedBlocks != released {
		h.t.Errorf("progress %v, want written %d flushed %d applied %d, flush %d, %d blocks released", p, written, flushed, applied, number, released)
	}
}

// fault wants the stream to end with this fault.
func (h host) fault(kind wire.Fault_Kind, text string) {
	h.t.Helper()
	for {
		m := h.recv()
		if m.GetProgress() != nil || m.GetBackupDone() != nil {
			continue
		}
		if f := m.GetFault(); f == nil || f.Kind != kind || !strings.Contains(f.Reason, text) {
			h.t.Errorf("%v, want a fault %s: %s", m, kind, text)
		}
		break
	}
	h.end()
}

func (h host) end() {
	h.t.Helper()
	if m, err := h.Recv(); !errors.Is(err, io.EOF) {
		h.t.Errorf("the stream goes on with %v, %v", m, err)
	}
}

func (h host) closeSend() {
	h.t.Helper()
	if err := h.CloseSend(); err != nil {
		h.t.Fatal(err)
	}
}

// threeBlocks are blocks of 10 records each, with their ends.
func threeBlocks(t *testing.T) (w *waltest.Writer, list [][]byte, ends [3]wal.LSN) {
	t.Helper()
	w = messages(30)
	r := w.Records()
	ends = [3]wal.LSN{r[9].End, r[19].End, r[29].End}
	return w, cut(t, w, ends[0], ends[1]), ends
}

// Writes and flushes reach the sink in the order of the messages, and each is
// answered with all positions.
func TestStreamInOrder(t *testing.T) {
	for _, applied := range []bool{false, true} {
		p := &probe{}
		o := []Option{Records()}
		visible := func(lsn wal.LSN) wal.LSN { return 0 }
		if applied {
			o = append(o, ReportsApplied())
			visible = func(lsn wal.LSN) wal.LSN { return lsn - 8 }
		}
		c := serve(t, p, o...)
		open(t, c)
		w, b, e := threeBlocks(t)
		h := stream(t, within(t), c, w.Options().Start)
		h.block(b[0])
		h.block(b[1])
		h.flush(7)
		h.send(&wire.HostMessage{Message: &wire.HostMessage_RetainFrom{RetainFrom: &wire.RetainFrom{Lsn: 1}}}) // no concern of this sink's
		h.send(&wire.HostMessage{})                                                                            // of a newer host
		h.block(b[2])
		h.flush(8)
		h.progress(e[1], 0, visible(e[1]), 0, 2)
		h.progress(e[1], e[1], visible(e[1]), 7, 2)
		h.progress(e[2], e[1], visible(e[2]), 7, 3)
		h.progress(e[2], e[2], visible(e[2]), 8, 3)
		h.closeSend()
		h.end()
		r, err := c.Drain(within(t), &wire.DrainRequest{})
		if err != nil || wal.LSN(r.FlushedLsn) != e[2] {
			t.Errorf("%v, %v", r, err)
		}
		if want := fmt.Sprintf("open write-%s write-%s flush write-%s flush flush close", e[0], e[1], e[2]); p.list() != want {
			t.Errorf("calls: %s\nwant: %s", p.list(), want)
		}
		_, err = c.Drain(within(t), &wire.DrainRequest{})
		wants(t, err, codes.FailedPrecondition, "not open")
	}
}

// What was sent before the host closed its side is done, and answered.
func TestStreamFinishesWhatItGot(t *testing.T) {
	p := &probe{}
	c := serve(t, p, RawWAL())
	open(t, c)
	w, b, e := threeBlocks(t)
	h := stream(t, within(t), c, w.Options().Start)
	for _, block := range b {
		h.block(block)
	}
	h.closeSend()
	h.progress(e[2], 0, 0, 0, 3)
	h.end()
	// The process can serve another stream, whose counts begin anew.
	h = stream(t, within(t), c, e[0])
	h.block(b[1])
	h.progress(e[1], 0, 0, 0, 1)
	h.closeSend()
	h.end()
}

// While more is queued, blocks are told of together, but not too many of them, nor
// for too long; what comes before a flush is told before it begins.
func TestProgressIsCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ss := &session{queue: make(chan *wire.HostMessage, 1), reported: time.Now(), untold: 1}
		if !ss.due() {
			t.Error("the last block is kept back")
		}
		ss.queue <- nil
		if ss.due() {
			t.Error("a block is told alone while more is queued")
		}
		if ss.untold = reportBlocks; !ss.due() {
			t.Errorf("%d blocks are kept back", reportBlocks)
		}
		ss.untold = 1
		if <-time.After(reportAfter); !ss.due() {
			t.Errorf("a block is kept back for %s", reportAfter)
		}
	})
	queued, flush := make(chan struct{}), make(chan struct{})
	p := &probe{onWrite: func(context.Context, *Batch) error { <-queued; return nil }, onFlush: func(context.Context) error { <-flush; return nil }}
	c := serve(t, p, RawWAL())
	open(t, c)
	w, b, e := threeBlocks(t)
	h := stream(t, within(t), c, w.Options().Start)
	for _, block := range b {
		h.block(block)
	}
	h.flush(1)
	h.heartbeat(1)
	if hb := h.recv().GetHeartbeat(); hb.GetNumber() != 1 {
		t.Fatalf("the heartbeat is answered by %v", hb)
	}
	close(queued)
	h.progress(e[2], 0, 0, 0, 3)
	close(flush)
	h.progress(e[2], e[2], 0, 1, 3)
}

func TestHeartbeatsWhileWriting(t *testing.T) {
	writing, release := make(chan struct{}), make(chan struct{})
	p := &probe{onWrite: func(context.Context, *Batch) error {
		close(writing)
		<-release
		return nil
	}}
	c := serve(t, p, RawWAL())
	open(t, c)
	w, b, e := threeBlocks(t)
	h := stream(t, within(t), c, w.Options().Start)
	h.block(b[0])
	<-writing
	for n := range uint64(3) {
		h.heartbeat(100 + n)
		if hb := h.recv().GetHeartbeat(); hb.GetNumber() != 100+n {
			t.Errorf("heartbeat %d is answered by %v", 100+n, hb)
		}
	}
	close(release)
	h.progress(e[0], 0, 0, 0, 1)
}

func TestFaults(t *testing.T) {
	ordinary := errors.New("input/output error")
	for _, c := range []struct {
		name  string
		write error
		flush error
		send  func(h host, b [][]byte)
		kind  wire.Fault_Kind
		text  string
		calls string // after open
	}{
		{"write", ordinary, nil, func(h host, b [][]byte) { h.block(b[0]); h.block(b[1]) }, wire.Fault_RETRYABLE, "input/output error", "write"},
		{"write, permanent", fmt.Errorf("so: %w", Permanent(ordinary)), nil, func(h host, b [][]byte) { h.block(b[0]) }, wire.Fault_PERMANENT, "so: input/output error", "write"},
		{"flush", nil, ordinary, func(h host, b [][]byte) { h.block(b[0]); h.flush(1); h.block(b[1]); h.flush(2) }, wire.Fault_RETRYABLE, "input/output error", "write flush"},
		{"flush, permanent", nil, Permanent(ordinary), func(h host, b [][]byte) { h.block(b[0]); h.flush(1) }, wire.Fault_PERMANENT, "input/output error", "write flush"},
		{"gap", nil, nil, func(h host, b [][]byte) { h.block(b[0]); h.block(b[2]) }, wire.Fault_RETRYABLE, "gap in the stream", "write"},
		{"no block", nil, nil, func(h host, b [][]byte) { h.block([]byte("nonsense")) }, wire.Fault_RETRYABLE, "not a block of WAL", ""},
		{"epoch", nil, nil, func(h host, b [][]byte) {
			h.block(b[0])
			h.send(&wire.HostMessage{Message: &wire.HostMessage_Epoch{Epoch: &wire.Epoch{OldTimeline: 1, SwitchLsn: 0x1_00000010, NewTimeline: 2}}})
		}, wire.Fault_PERMANENT, "timeline 1 ended at 1/10 and timeline 2 begins", "write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &probe{onWrite: func(context.Context, *Batch) error { return c.write }, onFlush: func(context.Context) error { return c.flush }}
			client := serve(t, p, RawWAL())
			open(t, client)
			w, b, e := threeBlocks(t)
			h := stream(t, within(t), client, w.Options().Start)
			c.send(h, b)
			h.fault(c.kind, c.text)
			want := "open"
			if c.calls != "" {
				want += " " + strings.Replace(c.calls, "write", "write-"+e[0].String(), 1)
			}
			if got := p.list(); got != want {
				t.Errorf("calls: %s\nwant: %s", got, want)
			}
		})
	}
}

// An entry that is wrong is found only while the sink iterates; what it wrote
// then is not called written.
func TestFaultInTheIndex(t *testing.T) {
	p := &probe{onWrite: func(_ context.Context, b *Batch) error {
		for range b.Records() {
		}
		return nil
	}}
	c := serve(t, p, Records())
	open(t, c)
	w, b, _ := threeBlocks(t)
	index := int(b[0][64]) | int(b[0][65])<<8 | int(b[0][66])<<16
	b[0][index+15] = 0xFF
	h := stream(t, within(t), c, w.Options().Start)
	h.block(b[0])
	if f := h.recv().GetFault(); f.GetKind() != wire.Fault_RETRYABLE || !strings.Contains(f.GetReason(), "entry 0") {
		t.Errorf("%v", f)
	}
	h.end()
}

func TestStreamRefuses(t *testing.T) {
	c := serve(t, &probe{}, RawWAL())
	h := stream(t, within(t), c, 0)
	_, err := h.Recv()
	wants(t, err, codes.FailedPrecondition, "not open")
	open(t, c)
	s, err := c.Stream(within(t))
	if err != nil {
		t.Fatal(err)
	}
	h = host{t, s}
	h.flush(1)
	_, err = h.Recv()
	wants(t, err, codes.InvalidArgument, "does not begin with its start")
}

// When the host goes away the sink is told by its context. It lets go of what it
// owns, and does not flush what a Write has left half done.
func TestHostGoesAway(t *testing.T) {
	writing := make(chan struct{})
	p := &probe{onWrite: func(ctx context.Context, _ *Batch) error {
		close(writing)
		<-ctx.Done()
		return ctx.Err()
	}}
	c := serve(t, p, RawWAL())
	open(t, c)
	w, b, e := threeBlocks(t)
	ctx, cancel := context.WithCancel(within(t))
	h := stream(t, ctx, c, w.Options().Start)
	h.block(b[0])
	h.block(b[1])
	<-writing
	cancel()
	_, err := h.Recv()
	wants(t, err, codes.Canceled, "")
	_, err = c.Drain(within(t), &wire.DrainRequest{})
	wants(t, err, codes.Unavailable, "context canceled")
	if want := "open write-" + e[0].String() + " close"; p.list() != want {
		t.Errorf("calls: %s\nwant: %s", p.list(), want)
	}
}

// The directory is let go of even when what was written cannot be made durable.
func TestDrainFails(t *testing.T) {
	p := &probe{onFlush: func(context.Context) error { return errors.New("no space left") }}
	c := serve(t, p, RawWAL())
	open(t, c)
	_, err := c.Drain(within(t), &wire.DrainRequest{})
	wants(t, err, codes.Unavailable, "no space left")
	if want := "open flush close"; p.list() != want {
		t.Errorf("calls: %s, want: %s", p.list(), want)
	}
}

func readAll(t *testing.T, c wire.SinkClient) (list []*wire.ReadResponse, err error) {
	t.Helper()
	r, err := c.Read(within(t), &wire.ReadRequest{Timeline: 3, FromLsn: 0x10, ToLsn: 0x30})
	for err == nil {
		var m *wire.ReadResponse
		if m, err = r.Recv(); err == nil {
			list = append(list, m)
		}
	}
	return list, err
}

func TestRead(t *testing.T) {
	var answer error
	p := &probe{onRead: func(_ context.Context, emit func(wal.LSN, []byte) error) error {
		p := []byte("first piece")
		if err := emit(0x10, p); err != nil {
			return err
		}
		copy(p, "second")
		return errors.Join(emit(0x20, p[:6]), answer)
	}}
	c := serve(t, reader{p}, RawWAL(), KeepsWAL())
	_, err := readAll(t, c)
	wants(t, err, codes.FailedPrecondition, "not open")
	open(t, c)
	list, err := readAll(t, c)
	if !errors.Is(err, io.EOF) || len(list) != 2 || string(list[0].Data) != "first piece" || string(list[1].Data) != "second" ||
		list[0].Lsn != 0x10 || list[1].Lsn != 0x20 || list[0].Timeline != 3 {
		t.Errorf("%v, %v", list, err)
	}
	if want := "open read-3-0/10-0/30"; p.list() != want {
		t.Errorf("calls: %s, want: %s", p.list(), want)
	}
	for _, e := range []struct {
		err  error
		code codes.Code
	}{
		{fmt.Errorf("segment 5: %w", ErrNotHeld), codes.NotFound},
		{Permanentf("segment 5 is damaged"), codes.FailedPrecondition},
		{errors.New("segment 5: input/output error"), codes.Unavailable},
	} {
		answer = e.err
		_, err := readAll(t, c)
		wants(t, err, e.code, "segment 5")
	}
	without := serve(t, &probe{}, RawWAL())
	open(t, without)
	_, err = readAll(t, without)
	wants(t, err, codes.Unimplemented, "gives no WAL back")
}

// WAL is read back while the stream goes on, and a read that does not end does
// not hold the sink's end back.
func TestReadBesideStream(t *testing.T) {
	reading := make(chan struct{})
	p := &probe{onRead: func(ctx context.Context, emit func(wal.LSN, []byte) error) error {
		if err := emit(0x10, []byte("piece")); err != nil {
			return err
		}
		close(reading)
		<-ctx.Done()
		return ctx.Err()
	}}
	c := serve(t, reader{p}, RawWAL(), KeepsWAL())
	open(t, c)
	w, b, e := threeBlocks(t)
	h := stream(t, within(t), c, w.Options().Start)
	h.block(b[0])
	h.progress(e[0], 0, 0, 0, 1)
	r, err := c.Read(within(t), &wire.ReadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := r.Recv(); err != nil || string(m.Data) != "piece" {
		t.Fatalf("%v, %v", m, err)
	}
	<-reading
	h.block(b[1])
	h.progress(e[1], 0, 0, 0, 2)
	h.closeSend()
	h.end()
	if _, err := c.Drain(within(t), &wire.DrainRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := r.Recv(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the read ended with %v", err)
	}
	if !strings.HasSuffix(p.list(), "flush close") {
		t.Errorf("calls: %s", p.list())
	}
}

// The largest block passes both sides' limits.
func TestLargestMessage(t *testing.T) {
	p := &probe{}
	c := serve(t, p, RawWAL())
	open(t, c)
	w, b, e := threeBlocks(t)
	large := append(bytes.Clone(b[0]), make([]byte, wire.MaxBlock-len(b[0]))...)
	h := stream(t, within(t), c, w.Options().Start)
	h.block(large)
	h.progress(e[0], 0, 0, 0, 1)
}
