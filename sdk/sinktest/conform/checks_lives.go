package conform

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

// reads compares what the sink gives back with the WAL.
func (r *run) reads(w *waltest.Writer) error {
	s, err := r.open(w, r.timeline, StartOptions{})
	if err != nil {
		return err
	}
	got, err := s.read(w.Options().Start, w.End())
	if err != nil {
		return violation(RuleRead, "WAL from %s to %s, which the sink has flushed: %v", w.Options().Start, w.End(), err)
	}
	if i := differs(got, w.Bytes()); i >= 0 {
		return violation(RuleRead, "what is given back differs at %s, %d bytes of %d", w.Options().Start+wal.LSN(i), len(got), len(w.Bytes()))
	}
	if _, err := s.read(w.End()+64<<20, w.End()+65<<20); status.Code(err) != codes.NotFound {
		return violation(RuleRead, "WAL that the sink does not hold is refused with the status NotFound, not %v", err)
	}
	return s.drain()
}

func differs(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func (s *session) read(from, to wal.LSN) (out []byte, err error) {
	ctx, cancel := s.run.call()
	defer cancel()
	st, err := s.life.Client.Read(ctx, &wire.ReadRequest{Timeline: uint32(s.timeline), FromLsn: uint64(from), ToLsn: uint64(to)})
	if err != nil {
		return nil, err
	}
	for {
		p, err := st.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, err
		case wal.LSN(p.Lsn) != from+wal.LSN(len(out)):
			return out, fmt.Errorf("a piece at %s, not %s", wal.LSN(p.Lsn), from+wal.LSN(len(out)))
		}
		out = append(out, p.Data...)
	}
}

// moment is when in a life the process is killed, after so many steps.
type moment int

const (
	atOnce moment = iota // as soon as the step was sent
	taken                // when the sink has answered it
	within               // some time after it was sent
	moments
)

// steps of a life: a block each, but those that ask for a flush.
var flushSteps = map[int]bool{2: true, 5: true}

const lifeSteps = 7

func checkKill(r *run) error {
	if !r.target.Process {
		return &NotApplicable{"only a process can be killed"}
	}
	w := r.workload(wal.PG16, 1<<20+500<<10)
	for m := range moments {
		for steps := range lifeSteps + 1 {
			if err := r.killedLife(w, steps, m); err != nil {
				return fmt.Errorf("killed after %d steps of a life (%s): %w", steps, []string{"at once", "once they were answered", "some time later"}[m], err)
			}
		}
	}
	if err := r.killedAtEnds(w); err != nil {
		return err
	}
	return r.finish(w)
}

// killedLife is a life that ends after so many steps.
func (r *run) killedLife(w *waltest.Writer, steps int, m moment) error {
	s, err := r.live(w)
	if err != nil {
		return err
	}
	for i := range steps {
		if flushSteps[i] {
			err = s.ask()
		} else {
			err = s.deliverBlock(min(max(s.next, s.at)+wal.LSN(1+s.rnd.IntN(20_000)), w.End()))
		}
		if err != nil {
			return err
		}
	}
	switch m {
	case taken:
		if err := s.answered(); err != nil {
			return err
		}
	case within:
		<-time.After(time.Duration(s.rnd.IntN(3000)) * time.Microsecond)
	}
	s.kill()
	return s.brokenRule()
}

// answered waits for everything that is owed.
func (s *session) answered() error {
	return s.await(s.run.patience(), "the answers to what was sent", func() bool {
		return s.progress.ReleasedBlocks == s.blocks && s.progress.FlushNumber == s.asked
	})
}

// brokenRule is the first rule that the sink has broken in this life.
func (s *session) brokenRule() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// killedAtEnds kills it while it opens and while it drains.
func (r *run) killedAtEnds(w *waltest.Writer) error {
	for range 3 {
		life, err := r.start(StartOptions{})
		if err != nil {
			return err
		}
		req, err := r.openRequest(w, r.timeline)
		if err != nil {
			return err
		}
		go func() { _, _ = life.Client.Open(r.ctx, req) }()
		<-time.After(time.Millisecond)
		life.Kill()
		s, err := r.live(w)
		if err != nil {
			return fmt.Errorf("killed while it was opened: %w", err)
		}
		if err := s.deliverBlock(min(max(s.next, s.at)+30_000, w.End())); err != nil {
			return err
		}
		_ = s.stream.CloseSend()
		go func() { _, _ = s.life.Client.Drain(r.ctx, &wire.DrainRequest{StopLsn: uint64(s.next)}) }()
		<-time.After(time.Millisecond)
		s.kill()
	}
	return nil
}

func checkPowerLoss(r *run) error {
	if r.target.PowerLoss == nil {
		return &NotApplicable{"what was not synced can be forgotten only in a file system of the test's"}
	}
	w := r.workload(wal.PG15, 1<<20+300<<10)
	const lives = 12
	for i := range lives {
		s, err := r.live(w)
		if err != nil {
			return fmt.Errorf("after %d losses of power: %w", i, err)
		}
		to := min(max(s.next, s.at)+90_000, w.End())
		if err := firstOf(s.deliver(to), s.flush(), s.deliver(min(to+30_000, w.End()))); err != nil {
			return err
		}
		s.kill()
		r.target.PowerLoss()
	}
	return r.finish(w)
}

// fileLimits are sizes of files at which writing fails: nothing at all can be
// written, a little, and some.
var fileLimits = []int{1, 16 << 10, 160 << 10}

func checkFullDisk(r *run) error {
	if !r.target.Process {
		return &NotApplicable{"the size of files is limited for a process"}
	}
	for _, limit := range fileLimits {
		if err := r.fresh(); err != nil {
			return err
		}
		w := r.workload(wal.PG16, 700<<10)
		if err := r.fullDisk(w, limit); err != nil {
			return fmt.Errorf("files cannot be larger than %d bytes: %w", limit, err)
		}
		if err := r.finish(w); err != nil {
			return fmt.Errorf("after files could not be larger than %d bytes: %w", limit, err)
		}
	}
	return nil
}

// fullDisk lives until the sink gives up. What matters is that it keeps to the
// rules until then, and what it holds afterwards.
func (r *run) fullDisk(w *waltest.Writer, limit int) error {
	life, err := r.start(StartOptions{FileLimit: limit})
	if err != nil {
		return nil // it could not even be started
	}
	req, err := r.openRequest(w, r.timeline)
	if err != nil {
		return err
	}
	ctx, cancel := r.call()
	defer cancel()
	if _, err := life.Client.Open(ctx, req); err != nil {
		life.Kill()
		if ctx.Err() != nil {
			return violation(RuleAnswer, "Open did not answer within %s", r.patience())
		}
		return nil
	}
	life.Kill()
	s, err := r.liveAs(w, StartOptions{FileLimit: limit})
	if err != nil {
		var v *Violation
		if errors.As(err, &v) {
			return err
		}
		return nil
	}
	for at := w.Options().Start; at < w.End() && err == nil; {
		at = min(at+50_000, w.End())
		err = firstOf(s.deliver(at), s.flush())
	}
	var v *Violation
	if errors.As(err, &v) {
		return v
	}
	s.kill()
	return s.brokenRule()
}

func checkTimeline(r *run) error {
	w := r.workload(wal.PG16, 1<<20+200<<10)
	list := w.Records()
	sw := list[len(list)*9/10].End
	s, err := r.live(w)
	if err != nil {
		return err
	}
	if err := firstOf(s.deliver(w.End()), s.flush()); err != nil {
		return err
	}
	if !r.can(wire.CapRewind) {
		return s.refusesSwitch(sw)
	}
	b := w.Branch(2, sw)
	b.AppendRandom(r.target.Seed+99, 300<<10)
	if r.target.Process {
		// Killed before it can answer, it is told again.
		if err := s.switches(sw, 2); err != nil {
			return err
		}
		s.kill()
		if s, err = r.reopenAtSwitch(w, b, sw); err != nil {
			return err
		}
	}
	if s.timeline == 1 {
		if err := s.follow(b, sw); err != nil {
			return err
		}
	}
	if err := firstOf(s.deliver(b.End()), s.flush(), s.drain()); err != nil {
		return fmt.Errorf("on the new timeline: %w", err)
	}
	if err := r.holds(b); err != nil {
		return err
	}
	again, err := r.live(b)
	if err != nil {
		return fmt.Errorf("opened on the new timeline: %w", err)
	}
	return again.drain()
}

func (s *session) refusesSwitch(sw wal.LSN) error {
	if err := s.switches(sw, 2); err != nil {
		return err
	}
	err := s.await(s.run.patience(), "that the sink, which has no capability rewind, gives up at a switch of timelines", func() bool { return s.epoch != nil })
	var gave *gaveUp
	switch {
	case err == nil:
		return violation(RuleTimeline, "the sink has no capability %q, and answers a switch of timelines as if it had", wire.CapRewind)
	case errors.As(err, &gave) && gave.fault.Kind != wire.Fault_PERMANENT:
		return violation(RuleTimeline, "the sink does not follow a switch of timelines; that is a permanent fault, because a restart does not cure it, not %s: %s", gave.fault.Kind, gave.fault.Reason)
	case errors.As(err, &gave):
		return nil
	}
	return err
}

// reopenAtSwitch opens a sink that may have followed the switch, or not.
func (r *run) reopenAtSwitch(w, b *waltest.Writer, sw wal.LSN) (*session, error) {
	life, err := r.start(StartOptions{})
	if err != nil {
		return nil, err
	}
	r.switchLSN = sw
	req, err := r.openRequest(w, 2)
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.call()
	defer cancel()
	res, err := life.Client.Open(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("Open, after a kill at a switch of timelines: %s", status.Convert(err).Message())
	}
	s := &session{run: r, life: life, w: w, timeline: wal.TimelineID(res.Timeline), opened: res, at: wal.LSN(res.Lsn), rnd: r.rand()}
	switch {
	case res.IsNew:
		return nil, violation(RuleDurable, "killed at a switch of timelines, the sink says that it is new")
	case res.Timeline == 1 && s.at < r.flushed:
		return nil, violation(RuleDurable, "killed at a switch of timelines, the sink is at %s on the old one, of which it had flushed %s", s.at, r.flushed)
	case res.Timeline == 2 && s.at > sw, res.Timeline > 2, res.Timeline < 1:
		return nil, violation(RuleTimeline, "killed at a switch to timeline 2 at %s, the sink is at %s on timeline %d", sw, s.at, res.Timeline)
	case res.Timeline == 2:
		s.w = b
		r.timeline, r.flushed, r.sent = 2, s.at, s.at
	}
	return s, s.begins()
}

// follow tells the sink of the switch and takes its answer.
func (s *session) follow(b *waltest.Writer, sw wal.LSN) error {
	if err := s.switches(sw, 2); err != nil {
		return err
	}
	if err := s.await(s.run.patience(), "the answer to a switch of timelines", func() bool { return s.epoch != nil }); err != nil {
		return err
	}
	lsn, tli := wal.LSN(s.epoch.Lsn), s.epoch.Timeline
	first := b.Options().SegmentSize.Start(sw)
	switch {
	case tli != 2:
		return violation(RuleTimeline, "told of timeline 2, the sink answers its position on timeline %d", tli)
	case lsn > sw:
		return violation(RuleTimeline, "the sink goes on at %s on a timeline that begins at %s", lsn, sw)
	case s.run.raw && lsn < first:
		return violation(RuleTimeline, "the sink wants raw WAL from %s on, but the new timeline has none before the segment of the switch point, at %s", lsn, first)
	}
	if err := s.inside(lsn); err != nil {
		return err
	}
	s.switched(b, max(lsn, first), sw)
	return nil
}

// switched goes on on the new timeline.
func (s *session) switched(b *waltest.Writer, at, sw wal.LSN) {
	s.note(func() {
		s.records, s.sentTo = b.Records(), at
		s.progress.WrittenLsn, s.progress.FlushedLsn, s.progress.AppliedLsn = uint64(at), 0, 0
	})
	r := s.run
	r.timeline, r.switchLSN, r.flushed, r.sent = 2, sw, at, at
	s.w, s.timeline, s.at, s.begin = b, 2, at, 0
	s.restart(at)
}
