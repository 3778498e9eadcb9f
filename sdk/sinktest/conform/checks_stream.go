package conform

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

func checkDeliver(r *run) error {
	for v := wal.PG14; v <= wal.PG18; v++ {
		if err := r.fresh(); err != nil {
			return err
		}
		w := r.workload(v, 1<<20+200<<10)
		s, err := r.live(w)
		if err != nil {
			return fmt.Errorf("%s: %w", v, err)
		}
		if !s.opened.IsNew {
			return violation(RuleOpen, "the sink holds nothing, and does not say that it is new: it is at %s", s.at)
		}
		middle := w.Options().Start + wal.LSN(len(w.Bytes())/2)
		if err := firstOf(s.deliver(middle), s.flush(), s.drain()); err != nil {
			return fmt.Errorf("%s: %w", v, err)
		}
		if err := r.finish(w); err != nil {
			return fmt.Errorf("%s, after a restart: %w", v, err)
		}
	}
	return nil
}

// checkProgress flushes after every few blocks; the rules are watch's.
func checkProgress(r *run) error {
	w := r.workload(wal.PG15, 512<<10)
	s, err := r.live(w)
	if err != nil {
		return err
	}
	for at := w.Options().Start; at < w.End(); {
		at = min(at+40_000, w.End())
		if err := firstOf(s.deliver(at), s.flush()); err != nil {
			return err
		}
	}
	// Flushed twice without WAL in between is flushed once.
	if err := firstOf(s.flush(), s.drain()); err != nil {
		return err
	}
	return r.holds(w)
}

func checkLarge(r *run) error {
	w := waltest.New(waltest.Options{Version: wal.PG16})
	for _, n := range []int{10, 100, 1000, 10, 2*wire.MaxWhole + 77, 10, 5, 40 << 10, 3} {
		w.LogicalMessage("conform", n)
	}
	s, err := r.live(w)
	if err != nil {
		return err
	}
	for s.next < w.End() {
		if err := firstOf(s.deliver(min(s.next+300_000, w.End())), s.flush()); err != nil {
			return err
		}
	}
	if err := s.drain(); err != nil {
		return err
	}
	return r.holds(w)
}

// checkCredit relies on deliver, which has no more than creditBlocks on the way.
func checkCredit(r *run) error {
	w := r.workload(wal.PG18, 1<<20)
	s, err := r.live(w)
	if err != nil {
		return err
	}
	return firstOf(s.deliver(w.End()), s.taken(), s.drain())
}

func checkHeartbeat(r *run) error {
	w := r.workload(wal.PG16, 256<<10)
	s, err := r.live(w)
	if err != nil {
		return err
	}
	for n := uint64(1); s.next < w.End(); n++ {
		if err := s.deliver(min(s.next+50_000, w.End())); err != nil {
			return err
		}
		if err := s.beats(n); err != nil {
			return err
		}
	}
	return s.drain()
}

// beats asks for a sign of life and waits for it.
func (s *session) beats(n uint64) error {
	if err := s.send(&wire.HostMessage{Message: &wire.HostMessage_Heartbeat{Heartbeat: &wire.Heartbeat{Number: n}}}); err != nil {
		return err
	}
	return s.await(s.run.patience(), fmt.Sprintf("the answer to heartbeat %d", n), func() bool { return s.beat == n })
}

func checkNewerHost(r *run) error {
	w := r.workload(wal.PG16, 64<<10)
	s, err := r.live(w)
	if err != nil {
		return err
	}
	unknown := &wire.HostMessage{}
	unknown.ProtoReflect().SetUnknown([]byte{0xFA, 0x7F, 1, 'x'}) // field 2047, a string
	retain := &wire.HostMessage{Message: &wire.HostMessage_RetainFrom{RetainFrom: &wire.RetainFrom{Timeline: 1, Lsn: uint64(w.Options().Start)}}}
	for _, m := range []*wire.HostMessage{unknown, retain, proto.CloneOf(unknown)} {
		if err := firstOf(s.send(m), s.deliver(min(s.next+20_000, w.End()))); err != nil {
			return err
		}
	}
	if err := firstOf(s.deliver(w.End()), s.flush()); err != nil {
		return violation(RuleIgnore, "after a message that nobody knows: %v", err)
	}
	return s.drain()
}

// refuses wants the sink to end the stream, and to acknowledge nothing beyond
// limit.
func (s *session) refuses(rule, what string, limit wal.LSN) error {
	// Were it taken, it would be given back.
	err := s.await(s.run.patience(), "the refusal of "+what, func() bool { return s.progress.ReleasedBlocks == s.blocks })
	var gave *gaveUp
	switch {
	case err == nil:
		return violation(rule, "%s was taken as if nothing had happened", what)
	case errors.As(err, &gave) || s.hasEnded():
		return s.resumes(limit)
	}
	return err
}

func (s *session) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// resumes opens the sink again, which is to be at most at limit.
func (s *session) resumes(limit wal.LSN) error {
	s.kill()
	s.run.sent = limit
	again, err := s.run.live(s.w)
	if err != nil {
		return err
	}
	return again.drain()
}

func checkGap(r *run) error {
	w := r.workload(wal.PG16, 600<<10)
	s, err := r.live(w)
	if err != nil {
		return err
	}
	if err := firstOf(s.deliver(s.next+200_000), s.flush()); err != nil {
		return err
	}
	good := s.sentTo
	skipped, err := s.skip(100_000)
	if err != nil {
		return err
	}
	if err := s.block(skipped); err != nil {
		return err
	}
	return s.refuses(RuleOrder, "a block behind a gap", good)
}

// skip leaves WAL out, and answers the next block behind it.
func (s *session) skip(n int) ([]byte, error) {
	var data []byte
	for range 2 {
		end := min(s.next+wal.LSN(n), s.w.End())
		if s.asm.NeedsBuffer() {
			s.asm.SetBuffer(nil)
		}
		for s.next < end && !s.asm.Full() {
			k, err := s.asm.Append(s.w.Bytes()[s.next-s.w.Options().Start:end-s.w.Options().Start], 0)
			if err != nil {
				return nil, err
			}
			s.next += wal.LSN(k)
		}
		data = s.asm.Seal()
	}
	return data, nil
}

func checkGarbage(r *run) error {
	w := r.workload(wal.PG16, 300<<10)
	s, err := r.live(w)
	if err != nil {
		return err
	}
	if err := firstOf(s.deliver(s.next+100_000), s.flush()); err != nil {
		return err
	}
	good := s.sentTo
	s.sending(good)
	garbage := make([]byte, 1000)
	for i := range garbage {
		garbage[i] = byte(s.rnd.Uint32())
	}
	if err := s.send(&wire.HostMessage{Message: &wire.HostMessage_Block{Block: &wire.Block{Data: garbage}}}); err != nil {
		return err
	}
	return s.refuses(RuleOrder, "a block of random bytes", good)
}

func checkDrain(r *run) error {
	w := r.workload(wal.PG14, 300<<10)
	s, err := r.open(w, 1, StartOptions{}) // opened, and never streamed to
	if err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return fmt.Errorf("of a sink that was opened and got no WAL: %w", err)
	}
	if s, err = r.live(w); err != nil {
		return err
	}
	// Nothing asks for a flush but the end itself.
	if err := firstOf(s.deliver(s.next+200_000), s.drain()); err != nil {
		return err
	}
	return r.finish(w)
}

// checkCancel ends the Stream, as a host that goes away does, while the sink
// writes or flushes.
func checkCancel(r *run) error {
	w := r.workload(wal.PG17, 400<<10)
	for _, flush := range []bool{false, true} {
		if err := r.cancelled(w, flush); err != nil {
			return err
		}
	}
	return r.finish(w)
}

func (r *run) cancelled(w *waltest.Writer, flush bool) error {
	s, err := r.live(w)
	if err != nil {
		return err
	}
	s.hurried = true
	if err := s.deliverBlock(s.next + 150_000); err != nil {
		return err
	}
	if flush {
		if err := s.ask(); err != nil {
			return err
		}
	}
	// Once it answers, it has the block.
	if err := s.beats(1); err != nil {
		return err
	}
	s.leave()
	ctx, cancel := r.call()
	defer cancel()
	_, err = s.life.Client.Drain(ctx, &wire.DrainRequest{StopLsn: uint64(s.next)})
	if late(ctx, err) {
		return violation(RuleStop, "the host has gone, which ends the context of Write and Flush; %s later the sink has still not come back from it", r.patience())
	}
	s.kill()
	if err != nil && !r.target.Process {
		return r.fresh() // what failed may be left to the end of its process
	}
	return nil
}

func checkRead(r *run) error {
	if !r.can(wire.CapRead) {
		return &NotApplicable{"the sink does not say that it gives WAL back"}
	}
	w := r.workload(wal.PG16, 1<<20+300<<10)
	return r.finish(w)
}
