package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
)

// feeder serves one sink beside the live stream: it reads WAL that another sink
// keeps, or the server over a connection of its own, lays it out in blocks, and
// hands these to the loop one at a time. It reads no further than it is allowed,
// and ends a block exactly there.
//
// It holds one block, and one more that the loop has; the sink's credit bounds the
// rest.
type feeder struct {
	sink   chain.SinkID
	source supplier
	name   string // of the source
	upTo   atomic.Uint64
	more   chan struct{} // upTo has grown
	taken  chan struct{} // the loop has delivered what it was handed
	owed   bool          // the loop has a block of it; the loop's
	cancel context.CancelFunc
}

// feedSource gives WAL in order.
type feedSource interface {
	// next answers the WAL that follows, of which at least a byte lies before to,
	// and nothing at or after it. It is borrowed until the next call.
	next(ctx context.Context, to wal.LSN) ([]byte, error)
	close(ctx context.Context)
}

// startFeeder starts to serve a sink that is aside, after a delay.
func (s *Stream) startFeeder(ctx context.Context, id chain.SinkID, from supplier, delay time.Duration) {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	f := &feeder{sink: id, source: from, more: make(chan struct{}, 1), taken: make(chan struct{}, 1), cancel: cancel}
	var open func(ctx context.Context, start wal.LSN) (feedSource, error)
	tli := s.sinks[id].timeline
	switch {
	case from >= 0:
		f.name = "sink " + s.cfg.Sinks[from].Name
		open = s.sinks[from].life.openFeed(tli)
	case from == fromServer:
		f.name = "the server"
		open = s.serverFeed(tli, dialer(s.cfg.Server, s.cfg.Archive))
	default:
		b := &s.cfg.Fallbacks[fallbacks-from]
		f.name = b.name()
		var o *archive.Options
		if b.Archive != "" {
			o = &archive.Options{Directory: b.Archive, Timeline: tli, Whole: true}
		}
		open = s.serverFeed(tli, dialer(b.Server, o))
	}
	s.sinks[id].feed = f
	at, _ := s.chain.FeedFrom(id)
	sys, skip := s.system(), s.chain.Positions(id).Sent
	sys.Timeline = s.sinks[id].timeline
	s.opens.Go(func() {
		err := ctx.Err()
		if wait(ctx, delay) {
			err = f.run(ctx, s, sys, at, skip, open)
		}
		s.tell(ctx, happening{sink: id, feeder: f, err: err})
	})
	s.feedOn(outer)
}

// tell hands the loop a happening of a feeder, unless nobody waits for it any
// more.
func (s *Stream) tell(ctx context.Context, h happening) bool {
	select {
	case s.happened <- h:
		return true
	case <-ctx.Done():
	case <-s.done:
	}
	h.drop()
	return false
}

func (s *Stream) stopFeeder(id chain.SinkID) {
	f := s.sinks[id].feed
	if f == nil {
		return
	}
	f.cancel()
	s.sinks[id].feed = nil
	for block, b := range s.held {
		if b.feeder == f {
			s.letGo(block)
		}
	}
}

// stopFeeders serves nobody beside the stream any more. The chain forgets what was
// offered and not sent: its memory is given back here.
func (s *Stream) stopFeeders() {
	for i := range s.sinks {
		id := chain.SinkID(i)
		if s.sinks[i].feed != nil {
			s.chain.SetSource(id, chain.NoSink)
		}
		s.stopFeeder(id)
	}
}

// feedOn tells every feeder how far it may read, and that its block was delivered.
func (s *Stream) feedOn(ctx context.Context) {
	for i := range s.sinks {
		f, id := s.sinks[i].feed, chain.SinkID(i)
		if f == nil || s.limitAside(id) {
			continue
		}
		if f.source >= 0 && !s.canSupply(chain.SinkID(f.source)) {
			s.stopFeeder(id)
			from := s.sourceFor(id, s.sinks[i].aside.tried)
			s.chain.SetSource(id, from.sink())
			s.startFeeder(ctx, id, from, 0)
			continue
		}
		if _, to := s.chain.FeedFrom(id); uint64(to) > f.upTo.Load() {
			f.upTo.Store(uint64(to))
			signal(f.more)
		}
		if f.owed && s.chain.CanOffer(id) {
			f.owed = false
			signal(f.taken)
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fed takes in what a feeder tells.
func (s *Stream) fed(ctx context.Context, h happening) error {
	k := &s.sinks[h.sink]
	if k.feed != h.feeder {
		h.drop() // it was stopped
		return nil
	}
	if h.block == nil {
		s.stopFeeder(h.sink)
		return s.unfed(ctx, h.sink, h.feeder, h.err)
	}
	b := h.block
	v := &b.view
	id, err := s.chain.Offer(h.sink, chain.Block{Start: v.WALStart(), End: v.WALEnd(), RecordsEnd: v.RecordsEnd(), Size: int64(len(b.data))})
	if err != nil {
		b.release()
		return err
	}
	b.id, b.feeder = id, h.feeder
	s.held[id] = b
	h.feeder.owed = true
	k.aside.err = nil
	k.aside.backoff.reset()
	return nil
}

// errNotHeld says that a source does not have the WAL that is needed.
var errNotHeld = errors.New("it does not have this WAL")

// unfed goes on with another source, or tries again, or gives the sink up when
// nobody has what it needs.
func (s *Stream) unfed(ctx context.Context, id chain.SinkID, f *feeder, err error) error {
	k, cfg := &s.sinks[id], &s.cfg.Sinks[id]
	if ctx.Err() != nil || !s.chain.Positions(id).Aside {
		return ctx.Err()
	}
	var corrupt *corruptError
	// A fallback is asked once: it is no part of the stream.
	missing := errors.Is(err, errNotHeld) || isGap(err) || errors.As(err, &corrupt) || f.source <= fallbacks
	k.aside.err = fmt.Errorf("%s: %w", f.name, err)
	lsn, _ := s.chain.FeedFrom(id)
	s.log.Warn("the sink cannot be served beside the stream from this source", "sink", cfg.Name, "source", f.name, "lsn", lsn, "error", err)
	if missing {
		k.aside.tried[f.source] = true
	}
	from := s.sourceFor(id, k.aside.tried)
	if from == none {
		s.giveUp(id)
		return s.lost(ctx, id, &Fault{Gap: true, cause: err, Reason: fmt.Sprintf(
			"sink %q needs WAL from %s on, which neither the server nor a sink of this stream has, nor a fallback: %v. Nothing was skipped. "+
				"Name a directory or a server that has it in a fallback block and reload; or put the missing segments back into the server's pg_wal; or give the sink a new directory to begin anew", cfg.Name, lsn, err)})
	}
	delay := time.Duration(0)
	if !missing || from == f.source {
		delay = k.aside.backoff.delay()
	}
	s.chain.SetSource(id, from.sink())
	s.startFeeder(ctx, id, from, delay)
	return nil
}

// run reads until ctx ends or something fails. The sink lacks WAL from at on, for
// which reading begins at the segment's start; what ends before or at skip it has.
func (f *feeder) run(ctx context.Context, s *Stream, sys replication.System, at, skip wal.LSN, open func(context.Context, wal.LSN) (feedSource, error)) error {
	start := sys.SegmentSize.Start(at)
	if err := f.allowed(ctx, start); err != nil {
		return err
	}
	src, err := open(ctx, start)
	if err != nil {
		return err
	}
	defer src.close(context.WithoutCancel(ctx))
	reader := xlogreader.New(start, xlogreader.Options{SystemID: sys.SystemID, SegmentSize: sys.SegmentSize, Timeline: sys.Timeline, MaxWhole: wire.MaxWhole})
	asm := wire.NewAssembler(reader, sys.Timeline, start)
	var mem memory
	defer func() { s.pool.put(mem) }()
	for {
		if err := f.allowed(ctx, asm.End()); err != nil {
			return err
		}
		p, err := src.next(ctx, wal.LSN(f.upTo.Load()))
		if err != nil {
			return err
		}
		for len(p) > 0 {
			if asm.NeedsBuffer() {
				mem = s.pool.getAside()
				asm.SetBuffer(mem.bytes)
			}
			n, err := asm.Append(p, 0)
			if err != nil {
				return corrupt(err)
			}
			if p = p[n:]; !asm.Full() && (len(p) > 0 || asm.End() < wal.LSN(f.upTo.Load())) {
				continue
			}
			b, err := sealBlock(asm, false, s.pool, mem)
			mem = memory{}
			if err != nil {
				return err
			}
			if err := f.hand(ctx, s, b, skip); err != nil {
				return err
			}
		}
	}
}

// allowed waits until WAL behind pos may be read.
func (f *feeder) allowed(ctx context.Context, pos wal.LSN) error {
	for wal.LSN(f.upTo.Load()) <= pos {
		select {
		case <-f.more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// hand gives the loop a block, and waits until it was delivered.
func (f *feeder) hand(ctx context.Context, s *Stream, b *buffer, skip wal.LSN) error {
	if b.view.WALEnd() <= skip {
		b.release()
		return nil
	}
	if !s.tell(ctx, happening{sink: f.sink, feeder: f, block: b}) {
		return ctx.Err()
	}
	select {
	case <-f.taken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sinkFeed is what a sink gives back of the WAL that it keeps.
type sinkFeed struct {
	client   wire.SinkClient
	timeline wal.TimelineID
	pos      wal.LSN
	stream   wire.Sink_ReadClient
	cancel   context.CancelFunc
	to       wal.LSN // of the running call
	started  bool
}

// openFeed answers how the life's sink is read from.
func (l *life) openFeed(tli wal.TimelineID) func(context.Context, wal.LSN) (feedSource, error) {
	client := l.proc.Client()
	return func(_ context.Context, start wal.LSN) (feedSource, error) {
		return &sinkFeed{client: client, timeline: tli, pos: start}, nil
	}
}

func (f *sinkFeed) next(ctx context.Context, to wal.LSN) ([]byte, error) {
	for {
		if f.stream == nil {
			var call context.Context
			call, f.cancel = context.WithCancel(ctx)
			st, err := f.client.Read(call, &wire.ReadRequest{Timeline: uint32(f.timeline), FromLsn: uint64(f.pos), ToLsn: uint64(to)})
			if err != nil {
				f.close(ctx)
				return nil, readError(err)
			}
			f.stream, f.to = st, to
		}
		m, err := f.stream.Recv()
		if errors.Is(err, io.EOF) && f.pos == f.to && f.pos < to {
			f.close(ctx)
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: it gives WAL only up to %s, and had flushed it up to %s", errNotHeld, f.pos, f.to)
		}
		if err != nil {
			return nil, readError(err)
		}
		if wal.LSN(m.Lsn) != f.pos || len(m.Data) == 0 || f.pos+wal.LSN(len(m.Data)) > f.to {
			return nil, fmt.Errorf("%w: it gives %d bytes of WAL at %s where WAL from %s to %s was asked for; this is a fault of the sink's program", errNotHeld, len(m.Data), wal.LSN(m.Lsn), f.pos, f.to)
		}
		f.pos += wal.LSN(len(m.Data))
		return m.Data, nil
	}
}

func (f *sinkFeed) close(context.Context) {
	if f.cancel != nil {
		f.cancel()
	}
	f.stream = nil
}

func readError(err error) error {
	st := status.Convert(err)
	if c := st.Code(); c == codes.NotFound || c == codes.Unimplemented || c == codes.FailedPrecondition {
		return fmt.Errorf("%w: %s", errNotHeld, st.Message())
	}
	return errors.New(st.Message())
}

// serverFeed is a second connection to the server, without a slot: the slot keeps
// what is needed as long as a required sink does. What it is told confirms
// nothing.
type serverFeed struct {
	conn    origin
	pending []byte
	pos     wal.LSN // of pending's first byte
}

func (s *Stream) serverFeed(tli wal.TimelineID, dial func(context.Context) (origin, error)) func(context.Context, wal.LSN) (feedSource, error) {
	want := s.system()
	return func(ctx context.Context, start wal.LSN) (feedSource, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return openServerFeed(ctx, conn, want.SystemID, tli, start)
	}
}

func openServerFeed(ctx context.Context, conn origin, systemID uint64, tli wal.TimelineID, start wal.LSN) (feedSource, error) {
	f := &serverFeed{conn: conn, pos: start}
	sys, err := conn.IdentifySystem(ctx)
	if err == nil && (sys.SystemID != systemID || sys.Timeline < tli) {
		err = fmt.Errorf("it has WAL of cluster %d up to timeline %d, WAL of cluster %d on timeline %d is needed", sys.SystemID, sys.Timeline, systemID, tli)
	}
	if err == nil {
		var sw *replication.TimelineSwitch
		sw, err = conn.StartPhysical(ctx, replication.StartOptions{LSN: start, Timeline: tli})
		if err == nil && sw != nil {
			err = fmt.Errorf("timeline %d has ended at %s, before WAL that is needed from %s on", tli, sw.SwitchLSN, start)
		}
	}
	if err != nil {
		f.close(ctx)
		return nil, err
	}
	return f, nil
}

// dialer connects beside the live stream.
func dialer(server replication.Config, from *archive.Options) func(context.Context) (origin, error) {
	return func(ctx context.Context) (origin, error) {
		if from != nil {
			return archive.Open(*from)
		}
		return replication.Connect(ctx, server)
	}
}

func (f *serverFeed) next(ctx context.Context, to wal.LSN) ([]byte, error) {
	for len(f.pending) == 0 {
		m, err := f.conn.Receive(ctx)
		switch {
		case err != nil:
			return nil, err
		case m.Kind == replication.End:
			return nil, errors.New("the server has ended the stream")
		case m.ReplyRequested:
			if err := f.conn.SendStatus(ctx, replication.Status{}); err != nil {
				return nil, err
			}
		}
		if m.Kind != replication.XLogData {
			continue
		}
		if m.WALStart != f.pos {
			return nil, fmt.Errorf("the server sent WAL from %s where %s was to follow", m.WALStart, f.pos)
		}
		f.pending = m.Data
	}
	p := f.pending[:min(len(f.pending), int(to-f.pos))]
	f.pending, f.pos = f.pending[len(p):], f.pos+wal.LSN(len(p))
	return p, nil
}

func (f *serverFeed) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = f.conn.Close(ctx)
}

// sealBlock completes the assembler's block, which was built in mem.
func sealBlock(asm *wire.Assembler, raw bool, p *pool, mem memory) (*buffer, error) {
	m := p.built(mem, asm.Seal())
	if len(m.bytes) <= smallBlock || m.slot == 0 && len(m.bytes) < cap(m.bytes)/4*3 {
		small := append(make([]byte, 0, len(m.bytes)), m.bytes...)
		p.put(m)
		m = memory{bytes: small}
	}
	b := &buffer{data: m.bytes, slot: m.slot, pool: p}
	b.hold()
	view, err := wire.ParseBlock(b.data, raw)
	if err != nil {
		b.release()
		return nil, err
	}
	b.view = view
	return b, nil
}
