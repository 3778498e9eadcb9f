package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// life is one sink process from its Open to its end.
type life struct {
	id     chain.SinkID
	name   string
	log    *slog.Logger
	proc   *supervisor.Process
	opened opened
	wal    bool // it is sent raw WAL

	transport string                 // wire.TransportRing or wire.TransportGRPC
	shared    bool                   // its process was given the ring
	borrowed  borrowed               // what it reads in the ring
	selector  *wire.Selector         // the sender's; makes blocks of the records that it may see, nil: it may see all
	filtered  bool                   // it has a filter
	filter    atomic.Pointer[Filter] // the newest, nil: none
	using     Filter                 // the sender's

	backup *backup // that it began with, nil: none; set before its stream begins
	stream wire.Sink_StreamClient
	queue  chan outgoing // to the sender; it never fills up: see queueSize
	cancel context.CancelFunc
	ended  chan struct{}   // closed when sender and listener are gone
	err    error           // why they are, once ended is closed; nil: it was asked for
	done   <-chan struct{} // closed when the stream's loop is gone
	times  Times

	retained wal.Position                 // it was told to keep WAL from there on; the loop's
	metrics  atomic.Pointer[[]SinkMetric] // what it has told last

	words   atomic.Uint64 // how often the sink has said anything
	asked   time.Time     // since when a sign of life is awaited
	askedAt uint64        // words at that time
}

// outgoing is one message to a sink.
type outgoing struct {
	message *wire.HostMessage
	buffer  *buffer // to let go of once the message is sent
	selects bool    // the block's data is made of the buffer, from entry first on
	first   int
	last    bool    // close our side
	chunk   *backup // whose chunk it is
}

// queueSize is what can wait for a sender: all blocks that credit allows, one
// flush request, the start, heartbeats, and the end.
func queueSize(l chain.Limits) int { return l.Blocks + 64 }

// openLife starts the process and opens the sink. known is what an earlier life had
// flushed.
func (s *Stream) openLife(ctx context.Context, id chain.SinkID, cfg *SinkConfig, known wal.Position) (*life, error) {
	log := s.log.With("sink", cfg.Name)
	spec := cfg.Spec
	if cfg.maySeeAll() {
		if r := s.pool.share(s.cfg.Ring, s.log); r != nil {
			spec.Ring = r.File()
		}
	}
	proc, err := supervisor.Start(ctx, spec, log)
	if err != nil {
		return nil, err
	}
	l := &life{id: id, shared: spec.Ring != nil, name: cfg.Name, log: log, proc: proc, queue: make(chan outgoing, queueSize(s.cfg.Limits)), ended: make(chan struct{}), done: s.done, times: s.cfg.Times}
	if err := l.open(ctx, s, cfg, known); err != nil {
		proc.Kill()
		return nil, err
	}
	return l, nil
}

func (l *life) open(ctx context.Context, s *Stream, cfg *SinkConfig, known wal.Position) error {
	ctx, cancel := context.WithTimeout(ctx, l.times.Open)
	defer cancel()
	sys := s.system()
	res, err := l.proc.Client().Open(ctx, &wire.OpenRequest{
		Stream: s.cfg.Name, Sink: cfg.Name, ConfigJson: cfg.ConfigJSON, Transports: l.transports(), Filtered: cfg.Filter != nil,
		LockWaitMs: uint32(l.times.LockWait / time.Millisecond),
		System: &wire.System{SystemId: sys.SystemID, Timeline: uint32(sys.Timeline), SegmentSize: uint32(sys.SegmentSize),
			ServerVersion: uint32(sys.ServerVersion), WalBlockSize: wal.PageSize},
		HistoryFile:   s.historyFile(sys.Timeline).content,
		KnownTimeline: uint32(known.Timeline), KnownLsn: uint64(known.LSN),
	})
	if err != nil {
		return l.openError(err)
	}
	if err := l.choose(cfg, res); err != nil {
		return err
	}
	l.opened = opened{name: cfg.Name, required: cfg.Required, records: !l.wal, isNew: res.IsNew, wishes: res.IsNew && res.GetWishes().GetBaseBackup(), systemID: res.SystemId,
		position: wal.Position{Timeline: wal.TimelineID(res.Timeline), LSN: wal.LSN(res.Lsn)},
		applied:  l.can(wire.CapApplied), rewinds: l.can(wire.CapRewind)}
	return nil
}

// openError carries the sink's own words; FailedPrecondition and
// InvalidArgument are what a restart does not cure.
func (l *life) openError(err error) error {
	st := status.Convert(err)
	switch st.Code() {
	case codes.FailedPrecondition, codes.InvalidArgument, codes.Unimplemented:
		return &Fault{Reason: fmt.Sprintf("sink %q cannot be opened: %s", l.name, st.Message()), cause: err}
	}
	return l.died(fmt.Errorf("sink %q cannot be opened: %s", l.name, st.Message()))
}

// died adds the process's last words to an error.
func (l *life) died(err error) error {
	for _, line := range l.proc.LastLines() {
		err = fmt.Errorf("%w\n  | %s", err, line)
	}
	return err
}

// begin opens the Stream call and starts sender and listener. ctx bounds the
// life.
func (l *life) begin(ctx context.Context, tli wal.TimelineID, from wal.LSN, out chan<- happening) error {
	ctx, l.cancel = context.WithCancel(ctx)
	st, err := l.proc.Client().Stream(ctx)
	if err != nil {
		l.cancel()
		close(l.ended)
		return l.died(fmt.Errorf("sink %q: %w", l.name, err))
	}
	l.stream = st
	l.push(outgoing{message: &wire.HostMessage{Message: &wire.HostMessage_Start{
		Start: &wire.StreamStart{Timeline: uint32(tli), FromLsn: uint64(from)}}}})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		l.send(ctx)
	}()
	go func() {
		l.err = l.listen(ctx, out)
		l.cancel()
		<-sent
		close(l.ended)
		select {
		case out <- happening{sink: l.id, life: l, ended: true, err: l.err}:
		case <-l.done:
		}
	}()
	return nil
}

// push queues a message. Only a sink that gives blocks back before it was sent
// them can fill the queue: its life ends.
func (l *life) push(o outgoing) {
	select {
	case l.queue <- o:
	default:
		l.log.Warn("the sink gives back more than it can have been sent; ending it")
		l.cancel()
		if o.buffer != nil {
			o.buffer.release()
		}
	}
}

// send sends what the loop queued, and lets go of blocks.
func (l *life) send(ctx context.Context) {
	for {
		select {
		case o := <-l.queue:
			if o.last {
				_ = l.stream.CloseSend()
				continue
			}
			l.sendOne(&o)
			if o.chunk != nil {
				o.chunk.wasSent(o.message.GetBackup())
			}
			if o.buffer != nil {
				o.buffer.release()
			}
		case <-ctx.Done():
			l.empty()
			return
		}
	}
}

// sendOne sends a message. An error of the connection shows in the listener, with
// the reason; here the queue only has to be emptied.
func (l *life) sendOne(o *outgoing) {
	if o.selects {
		if err := l.selectRecords(o); err != nil {
			l.log.Error("a block cannot be filtered; ending the sink, which is started again", "error", err)
			l.cancel()
			return
		}
	}
	_ = l.stream.Send(o.message)
}

func (l *life) empty() {
	for {
		select {
		case o := <-l.queue:
			if o.buffer != nil {
				o.buffer.release()
			}
		default:
			return
		}
	}
}

// listen hears what the sink says until its end, and answers why it ended; nil
// is the end that was asked for.
func (l *life) listen(ctx context.Context, out chan<- happening) error {
	for {
		m, err := l.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return l.died(fmt.Errorf("sink %q ended: %s", l.name, status.Convert(err).Message()))
		}
		l.words.Add(1)
		switch x := m.Message.(type) {
		case *wire.SinkMessage_Progress:
			l.borrowed.giveBack(x.Progress.ReleasedBlocks)
			if l.backup != nil {
				if err := l.backup.tookChunks(x.Progress.BackupChunks); err != nil {
					return err
				}
			}
			select {
			case out <- happening{sink: l.id, life: l, progress: x.Progress}:
			case <-ctx.Done():
				return ctx.Err()
			}
		case *wire.SinkMessage_EpochDone:
			select {
			case out <- happening{sink: l.id, life: l, switched: x.EpochDone}:
			case <-ctx.Done():
				return ctx.Err()
			}
		case *wire.SinkMessage_BackupDone:
			select {
			case out <- happening{sink: l.id, life: l, backedUp: x.BackupDone}:
			case <-ctx.Done():
				return ctx.Err()
			}
		case *wire.SinkMessage_Metrics:
			list := sinkMetrics(x.Metrics)
			l.metrics.Store(&list)
		case *wire.SinkMessage_Fault:
			if x.Fault.Kind == wire.Fault_PERMANENT {
				return &Fault{Reason: fmt.Sprintf("sink %q gave up: %s", l.name, x.Fault.Reason)}
			}
			return fmt.Errorf("sink %q failed: %s", l.name, x.Fault.Reason)
		}
	}
}

// deliver queues a part of a block, the way that the sink may have it.
func (l *life) deliver(b *buffer, a chain.Action) {
	m, data := &wire.Block{}, b.data
	o := outgoing{message: &wire.HostMessage{Message: &wire.HostMessage_Block{Block: m}}, buffer: b}
	if a.WALFrom > b.view.WALStart() {
		m.WalFrom = uint64(a.WALFrom)
	}
	if l.wal {
		data = b.view.WALOnly()
	} else {
		o.first = b.view.FirstRecord(a.RecordsFrom, a.Begin)
	}
	switch {
	case l.selector != nil:
		o.selects = true // its first entry is the first that is new to the sink
	case l.transport == wire.TransportRing && b.slot != 0:
		m.RingOffset, m.RingLength, m.RingSlot = b.pool.offset(b.slot), uint64(len(data)), uint64(b.slot-1)
		m.RecordFrom = uint32(o.first)
		l.borrowed.add(b)
		o.buffer = nil
	default:
		m.Data, m.RecordFrom = data, uint32(o.first)
	}
	if o.buffer != nil {
		b.hold()
		l.borrowed.add(nil)
	}
	l.push(o)
}

func (l *life) flush(number uint64) {
	l.push(outgoing{message: &wire.HostMessage{Message: &wire.HostMessage_Flush{Flush: &wire.FlushRequest{Number: number}}}})
}

// heartbeat asks for a sign of life, and answers how long the sink has owed one.
// Time in which nobody asked does not count: while there is no connection,
// nobody does.
func (l *life) heartbeat(now time.Time) (silence time.Duration) {
	words := l.words.Load()
	if !l.asked.IsZero() && words == l.askedAt {
		return now.Sub(l.asked)
	}
	l.asked, l.askedAt = now, words
	// With much in the queue the sink has enough to answer.
	if len(l.queue) < cap(l.queue)/2 {
		l.push(outgoing{message: &wire.HostMessage{Message: &wire.HostMessage_Heartbeat{Heartbeat: &wire.Heartbeat{Number: uint64(now.UnixNano())}}}})
	}
	return 0
}

// drain ends the life in order: the sink has everything, makes it durable and
// lets go of what it owns.
func (l *life) drain(ctx context.Context, stop wal.LSN) error {
	l.push(outgoing{last: true})
	select {
	case <-l.ended:
	case <-ctx.Done():
		return fmt.Errorf("sink %q did not end its stream in time", l.name)
	}
	if l.err != nil {
		return l.err
	}
	_, err := l.proc.Client().Drain(ctx, &wire.DrainRequest{StopLsn: uint64(stop), DeadlineMs: uint32(l.times.Drain / time.Millisecond)})
	if err != nil {
		return l.died(fmt.Errorf("sink %q: drain: %s", l.name, status.Convert(err).Message()))
	}
	return nil
}

// end kills the process and waits for its goroutines.
func (l *life) end() {
	if l.cancel != nil {
		l.cancel()
	}
	l.proc.Kill()
	if l.stream != nil {
		<-l.ended
	}
	l.empty() // of what was queued after the sender's end
	if l.proc.Dead() {
		l.borrowed.bury()
		return
	}
	// It was killed in a system call that does not end, and may yet read the ring.
	l.log.Warn("the process does not end; what it holds of the shared ring is not used again until it does", "pid", l.proc.PID())
	go func() {
		l.proc.AwaitDeath()
		l.borrowed.bury()
	}()
}
