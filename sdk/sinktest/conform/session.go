package conform

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
)

// Limits of what a session has on its way.
const (
	creditBlocks = 4        // blocks that were sent and not given back
	maxPiece     = 64 << 10 // bytes of WAL in a block
)

// session is one life of the sink from its Open on, and the host's side of its
// Stream.
type session struct {
	*watch
	run      *run
	life     *Life
	w        *waltest.Writer
	timeline wal.TimelineID
	opened   *wire.OpenResponse
	at       wal.LSN // its position, or where a new one begins
	begin    wal.LSN // records that start before it are not a new sink's
	next     wal.LSN // first byte of WAL that is not in a block yet
	asm      *wire.Assembler
	stream   wire.Sink_StreamClient
	rnd      *rand.Rand
	leave    context.CancelFunc // ends the Stream as a host does that goes away
	hurried  bool               // do not wait for credit
}

// system is what the sink is told of the cluster.
func system(w *waltest.Writer, tli wal.TimelineID) *wire.System {
	o := w.Options()
	return &wire.System{SystemId: o.SystemID, Timeline: uint32(tli), SegmentSize: uint32(o.SegmentSize),
		ServerVersion: uint32(o.Version) * 10000, WalBlockSize: wal.PageSize}
}

// open starts the sink and opens it for this WAL.
func (r *run) open(w *waltest.Writer, tli wal.TimelineID, o StartOptions) (*session, error) {
	life, err := r.start(o)
	if err != nil {
		return nil, err
	}
	return r.openIn(life, w, tli)
}

// openIn calls Open in a life that has begun.
func (r *run) openIn(life *Life, w *waltest.Writer, tli wal.TimelineID) (*session, error) {
	req, err := r.openRequest(w, tli)
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.call()
	defer cancel()
	res, err := life.Client.Open(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("Open: %s", status.Convert(err).Message())
	}
	s := &session{run: r, life: life, w: w, timeline: tli, opened: res, at: wal.LSN(res.Lsn),
		rnd: r.rand()}
	r.mask = res.GetSubscription().GetRmgrMask()
	if res.IsNew {
		s.at = w.Options().Start
		if !r.raw {
			s.at = w.Records()[3].Start
		}
		s.begin = s.at
	}
	return s, r.checkOpened(s)
}

// rand is another generator for every life.
func (r *run) rand() *rand.Rand { return rand.New(rand.NewPCG(r.target.Seed, uint64(r.lives))) }

// checkOpened holds what Open answered to the contract.
func (r *run) checkOpened(s *session) error {
	o := s.opened
	sub := o.GetSubscription()
	if err := r.checkWish(o); err != nil {
		return err
	}
	switch {
	case sub.GetWal() == sub.GetRecords():
		return violation(RuleOpen, "the sink subscribes to raw WAL: %t, to records: %t; it is one of them", sub.GetWal(), sub.GetRecords())
	case sub.GetWal() != r.raw:
		return violation(RuleOpen, "the sink subscribes to something else than the capability that it has declared")
	case len(sub.GetRmgrMask()) != 0 && len(sub.GetRmgrMask()) != 32:
		return violation(RuleOpen, "the mask of resource managers has %d bytes, it has 32 or none", len(sub.GetRmgrMask()))
	case o.GetTransport() != "" && o.GetTransport() != wire.TransportGRPC:
		return violation(RuleOpen, "the sink chose the transport %q, which it was not offered", o.GetTransport())
	case o.IsNew && r.flushed > 0:
		return violation(RuleDurable, "the sink had flushed %s, and says that it is new", r.flushed)
	case o.IsNew:
		return nil
	case o.SystemId != s.w.Options().SystemID:
		return violation(RuleCluster, "what the sink holds is of the cluster %d, but it was given WAL of %d", o.SystemId, s.w.Options().SystemID)
	case o.Timeline != uint32(r.timeline):
		return violation(RuleOpen, "the sink says that its position is on timeline %d, but it was given WAL of timeline %d", o.Timeline, r.timeline)
	case s.at < r.needed(s.w):
		return violation(RuleDurable, "the sink had flushed %s, and is at %s when it is opened again", r.flushed, s.at)
	case s.at > r.sent && !r.zeros(s.w, s.at):
		return violation(RuleSent, "the sink is at %s when it is opened, but was sent WAL up to %s only", s.at, r.sent)
	}
	if err := newWatch(r.raw, s.w.Records(), 0).inside(s.at); err != nil {
		return err
	}
	return nil
}

// needed is the least position that the sink may be opened at. Of raw WAL that
// ends inside a record, nobody can tell how far it is valid: a sink that finds its
// position from the WAL itself answers where that record begins.
func (r *run) needed(w *waltest.Writer) wal.LSN {
	if !r.raw {
		return r.flushed
	}
	end := w.Options().Start
	for _, a := range w.Records() {
		if a.End <= r.flushed {
			end = a.End
		}
	}
	return min(end, r.flushed)
}

// zeros reports that what the sink was not sent of the WAL before lsn is zeros: a
// file of raw WAL that was preallocated holds them without having been sent them.
func (r *run) zeros(w *waltest.Writer, lsn wal.LSN) bool {
	start := w.Options().Start
	if !r.raw || lsn > w.End() {
		return false
	}
	for _, b := range w.Bytes()[r.sent-start : lsn-start] {
		if b != 0 {
			return false
		}
	}
	r.sent = lsn
	return true
}

func (r *run) openRequest(w *waltest.Writer, tli wal.TimelineID) (*wire.OpenRequest, error) {
	config, err := r.target.Config(r.dir)
	if err != nil {
		return nil, err
	}
	req := &wire.OpenRequest{Stream: "test", Sink: "test", ConfigJson: config, System: system(w, tli),
		Transports: []string{wire.TransportGRPC}, LockWaitMs: uint32(r.patience() / time.Millisecond)}
	if tli > 1 {
		req.HistoryFile = history(tli, r.switchLSN)
	}
	return req, nil
}

func history(tli wal.TimelineID, at wal.LSN) []byte {
	return fmt.Appendf(nil, "%d\t%s\tno recovery target specified\n", tli-1, at)
}

// begins opens the Stream at the sink's position, where it wishes with a base backup.
func (s *session) begins() error {
	if s.wishes() {
		return s.backUp()
	}
	ctx, cancel := context.WithCancel(s.run.ctx)
	st, err := s.life.Client.Stream(ctx)
	if err != nil {
		cancel()
		return err
	}
	s.leave = cancel
	s.stream = st
	s.watch = newWatch(s.run.raw, s.w.Records(), s.at)
	go s.listen(st)
	s.restart(s.at)
	return s.send(&wire.HostMessage{Message: &wire.HostMessage_Start{Start: &wire.StreamStart{Timeline: uint32(s.timeline), FromLsn: uint64(s.at)}}})
}

// restart reads WAL from the start of the segment of at on.
func (s *session) restart(at wal.LSN) {
	o := s.w.Options()
	s.next = o.SegmentSize.Start(at)
	reader := xlogreader.New(s.next, xlogreader.Options{SystemID: o.SystemID, SegmentSize: o.SegmentSize, Timeline: s.timeline, MaxWhole: wire.MaxWhole})
	s.asm = wire.NewAssembler(reader, s.timeline, s.next)
}

// send sends a message. That the sink has gone shows in what it says, or in its end.
func (s *session) send(m *wire.HostMessage) error {
	_ = s.stream.Send(m)
	return nil
}

// deliver sends the WAL up to an LSN in blocks of seeded sizes, never more than
// credit allows.
func (s *session) deliver(to wal.LSN) error {
	for s.next < to {
		n := min(wal.LSN(1+s.rnd.IntN(maxPiece)), to-s.next)
		if err := s.deliverBlock(s.next + n); err != nil {
			return err
		}
	}
	return nil
}

// deliverBlock sends the WAL up to an LSN, as one block unless it is too much.
func (s *session) deliverBlock(to wal.LSN) error {
	o := s.w.Options()
	for s.next < to {
		if s.asm.NeedsBuffer() {
			s.asm.SetBuffer(nil)
		}
		n, err := s.asm.Append(s.w.Bytes()[s.next-o.Start:to-o.Start], 0)
		if err != nil {
			return fmt.Errorf("the check's own WAL: %w", err)
		}
		s.next += wal.LSN(n)
		if s.next < to && !s.asm.Full() {
			continue
		}
		if err := s.block(s.asm.Seal()); err != nil {
			return err
		}
	}
	return nil
}

// block sends one block, less what the sink has already.
func (s *session) block(data []byte) error {
	v, err := wire.ParseBlock(data, false)
	if err != nil {
		return fmt.Errorf("the check's own block: %w", err)
	}
	if v.WALEnd() <= s.at {
		return nil
	}
	m := &wire.Block{Data: data}
	to := v.WALEnd()
	if s.run.raw {
		m.Data = v.WALOnly()
	} else {
		m.RecordFrom, to = uint32(v.FirstRecord(s.at, s.begin)), max(v.RecordsEnd(), s.at)
	}
	if s.at > v.WALStart() {
		m.WalFrom = uint64(s.at)
	}
	if err := s.await(s.run.patience(), "that blocks are given back", func() bool { return s.hurried || s.blocks-s.progress.ReleasedBlocks < creditBlocks }); err != nil {
		return err
	}
	s.sending(to)
	return s.send(&wire.HostMessage{Message: &wire.HostMessage_Block{Block: m}})
}

// sending notes that WAL up to an LSN is the sink's to acknowledge.
func (s *session) sending(to wal.LSN) {
	s.note(func() {
		s.blocks++
		s.sentTo = max(s.sentTo, to)
		s.ends = append(s.ends, s.sentTo)
	})
	s.run.sent = max(s.run.sent, to)
}

// taken waits until the sink has taken all that was sent.
func (s *session) taken() error {
	return s.await(s.run.patience(), "that the sink takes all blocks", func() bool { return s.progress.ReleasedBlocks == s.blocks })
}

// ask sends a flush request.
func (s *session) ask() error {
	s.note(func() { s.asked++ })
	return s.send(&wire.HostMessage{Message: &wire.HostMessage_Flush{Flush: &wire.FlushRequest{Number: s.asked}}})
}

// flush asks for a flush of everything and waits for it.
func (s *session) flush() error {
	if err := s.ask(); err != nil {
		return err
	}
	if err := s.await(s.run.patience(), fmt.Sprintf("the answer to flush request %d", s.asked), func() bool { return s.progress.FlushNumber == s.asked }); err != nil {
		return err
	}
	s.remember()
	if got := s.flushedLSN(); got < s.sentTo {
		return violation(RuleFlush, "the flush answers %s, but everything up to %s was written before it was asked for", got, s.sentTo)
	}
	return nil
}

// flushedLSN is what the sink has called durable in this life.
func (s *session) flushedLSN() wal.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wal.LSN(s.progress.FlushedLsn)
}

// remember keeps what the sink has called durable, for its next life.
func (s *session) remember() {
	s.run.flushed = max(s.run.flushed, s.flushedLSN())
}

// drain ends the sink in order.
func (s *session) drain() error {
	if s.stream != nil {
		if err := s.stream.CloseSend(); err != nil {
			return err
		}
		if err := s.await(s.run.patience(), "the end of the stream, once the host has closed its side", func() bool { return s.ended }); err != nil {
			return err
		}
		if s.endErr != nil {
			return fmt.Errorf("the stream ended with %s", status.Convert(s.endErr).Message())
		}
	}
	ctx, cancel := s.run.call()
	defer cancel()
	res, err := s.life.Client.Drain(ctx, &wire.DrainRequest{StopLsn: uint64(s.next), DeadlineMs: uint32(s.run.patience() / time.Millisecond)})
	if late(ctx, err) {
		return violation(RuleStop, "Drain was not answered within %s", s.run.patience())
	}
	if err != nil {
		return fmt.Errorf("Drain: %s", status.Convert(err).Message())
	}
	if s.stream != nil {
		s.remember()
		if got := wal.LSN(res.FlushedLsn); got < s.sentTo {
			return violation(RuleFlush, "Drain answers %s, but the sink was given everything up to %s", got, s.sentTo)
		} else if got > s.sentTo {
			return violation(RuleSent, "Drain answers %s, but the sink was sent WAL up to %s only", got, s.sentTo)
		}
		s.run.flushed = max(s.run.flushed, wal.LSN(res.FlushedLsn))
	}
	if s.leave != nil {
		s.leave()
	}
	s.life.Kill()
	return nil
}

// kill ends the sink without a word.
func (s *session) kill() {
	if s.leave != nil && !s.run.target.Process {
		s.leave()
	}
	s.life.Kill()
	if s.watch != nil {
		// What it has said before it died, it has said.
		_ = s.await(s.run.patience(), "the end of a killed process", func() bool { return s.ended })
		s.remember()
	}
}

// switches tells the sink of a switch of timelines.
func (s *session) switches(sw wal.LSN, next wal.TimelineID) error {
	return s.send(&wire.HostMessage{Message: &wire.HostMessage_Epoch{Epoch: &wire.Epoch{OldTimeline: uint32(s.timeline), SwitchLsn: uint64(sw),
		NewTimeline: uint32(next), HistoryFileName: fmt.Sprintf("%08X.history", uint32(next)), HistoryFile: history(next, sw)}}})
}

// call bounds one call.
func (r *run) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.ctx, r.patience())
}

// late reports that a call was not answered in time; who notices first, this side
// or the other, is chance.
func late(ctx context.Context, err error) bool {
	return ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded || status.Code(err) == codes.Canceled
}
