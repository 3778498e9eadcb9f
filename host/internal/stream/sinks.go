package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk/wal"
)

// errRewind ends a session because a sink lacks WAL from before what is held:
// the next session reads it from the server again.
var errRewind = errors.New("a sink needs earlier WAL")

// errDrain is the wish to stop, met while there is no stream.
var errDrain = errors.New("to be stopped")

// setUp opens all sinks for the first time and makes the chain.
func (s *Stream) setUp(ctx context.Context, drain <-chan struct{}, sys replication.System) error {
	if err := s.openMissing(ctx, drain); err != nil {
		return err
	}
	var sinks []chain.Sink
	for i := range s.cfg.Sinks {
		sinks = append(sinks, chainSink(&s.cfg.Sinks[i]))
	}
	s.chain = chain.New(sinks, sys.SegmentSize, s.cfg.Slot != "", s.cfg.Limits)
	for i := range s.sinks {
		if s.sinks[i].gone {
			s.chain.RemoveSink(chain.SinkID(i))
		}
	}
	s.target = s.cfg.Until.LSN
	if s.cfg.Until.CaughtUp {
		s.target = sys.FlushLSN
	}
	return nil
}

// openMissing starts the sinks that are down and waits until every required one
// is open; for the others it waits a little longer, or until they have failed.
func (s *Stream) openMissing(ctx context.Context, drain <-chan struct{}) error {
	for i := range s.sinks {
		s.startSink(ctx, chain.SinkID(i), 0)
	}
	var enough <-chan time.Time
	for {
		required, tried := s.open()
		if tried {
			return nil
		}
		if required && enough == nil {
			enough = time.After(s.cfg.Times.Optional)
		}
		select {
		case h := <-s.happened:
			if err := s.heard(ctx, h); err != nil && !errors.Is(err, errRewind) {
				return err
			}
		case <-enough:
			return nil
		case c := <-s.changes:
			if err := s.reload(ctx, c); err != nil {
				return err
			}
		case <-drain:
			return errDrain
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open reports whether all required sinks are open, and whether besides all
// others were tried.
func (s *Stream) open() (required, tried bool) {
	required, tried = true, true
	for i := range s.sinks {
		switch k := &s.sinks[i]; {
		case k.life != nil || k.gone:
		case s.cfg.Sinks[i].Required:
			required, tried = false, false
		case k.tries == 0:
			tried = false
		}
	}
	return required, tried
}

// startSinkWhen opens a sink in a goroutine, once ready answers true.
func (s *Stream) startSinkWhen(ctx context.Context, id chain.SinkID, ready func(context.Context) bool) {
	k := &s.sinks[id]
	if k.life != nil || k.opening || k.off != nil || k.gone {
		return
	}
	k.opening = true
	cfg, generation, known := s.cfg.Sinks[id], k.generation, k.known
	s.opens.Go(func() {
		h := happening{sink: id, generation: generation}
		if !ready(ctx) {
			h.failed, h.err = true, ctx.Err()
		} else if l, err := s.openLife(ctx, id, &cfg, known); err != nil {
			h.failed, h.err = true, err
		} else {
			h.opened, h.life = true, l
		}
		select {
		case s.happened <- h:
		case <-s.done:
			h.drop()
		}
	})
}

// heard takes in what a sink's goroutines tell. errRewind means that the session
// must begin again; any other error ends the stream.
func (s *Stream) heard(ctx context.Context, h happening) error {
	k := &s.sinks[h.sink]
	switch {
	case h.feeder != nil:
		return s.fed(ctx, h)
	case h.backup != nil:
		return s.backupFailed(ctx, h)
	case (h.opened || h.failed) && h.generation != k.generation:
		h.drop() // a reload has changed the sink meanwhile
	case h.opened:
		k.opening, k.tries = false, k.tries+1
		k.life = h.life
		if s.chain != nil {
			return s.cameBack(ctx, h.sink)
		}
	case h.failed:
		k.opening, k.tries = false, k.tries+1
		return s.lost(ctx, h.sink, h.err)
	case h.life != k.life:
		// Last words of a life that was given up.
	case h.ended:
		if h.err == nil {
			h.err = fmt.Errorf("sink %q ended its stream without being asked", s.cfg.Sinks[h.sink].Name)
		}
		s.giveUp(h.sink)
		return s.lost(ctx, h.sink, h.err)
	case h.progress != nil:
		return s.progress(ctx, h)
	case h.switched != nil:
		return s.switched(ctx, h.sink, h.switched)
	case h.backedUp != nil:
		return s.backedUp(ctx, h.sink, h.backedUp)
	}
	return nil
}

func (s *Stream) progress(ctx context.Context, h happening) error {
	p := h.progress
	err := s.chain.Progress(h.sink, chain.Progress{Written: wal.LSN(p.WrittenLsn), Flushed: wal.LSN(p.FlushedLsn), Applied: wal.LSN(p.AppliedLsn),
		FlushNumber: p.FlushNumber, ReleasedBlocks: p.ReleasedBlocks})
	if err == nil {
		// Only what is new and durable shows that the next life will go further than
		// this one: a sink that always dies of the same record reports progress too.
		if k, f := &s.sinks[h.sink], s.chain.Positions(h.sink).Flushed; f > k.best {
			k.best, k.deaths = f, 0
			k.known = wal.Position{Timeline: k.timeline, LSN: f}
			k.backoff.reset()
		}
		return nil
	}
	// The contract is broken: what this sink says cannot be trusted any more.
	s.giveUp(h.sink)
	return s.lost(ctx, h.sink, &Fault{Reason: err.Error() + "; this is a fault of the sink's program", cause: err})
}

// giveUp ends a life that is not to go on.
func (s *Stream) giveUp(id chain.SinkID) {
	s.stopFeeder(id)
	s.stopBackup(id)
	s.sinks[id].switching = nil
	if k := &s.sinks[id]; k.life != nil {
		k.life.end()
		k.life = nil
	}
}

// crashLoop is how often in a row a sink dies without having flushed anything new
// until that is called a crash loop.
const crashLoop = 5

// lost deals with a sink that has died or cannot be opened: it is started again
// with growing delays, unless that cannot help. Then a required sink takes the
// stream with it.
func (s *Stream) lost(ctx context.Context, id chain.SinkID, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	k, cfg := &s.sinks[id], &s.cfg.Sinks[id]
	if s.chain != nil {
		s.chain.Detach(id)
	}
	k.stalled = time.Time{}
	var se *supervisor.StartError
	if permanent(err) || errors.As(err, &se) && se.Permanent {
		k.off = err
		s.noteSink(id, err)
		if cfg.Required {
			if !permanent(err) {
				err = &Fault{Reason: err.Error(), cause: err}
			}
			return err
		}
		s.log.Error("a sink that is not required is off until walplex is reloaded or started again", "sink", cfg.Name, "error", err)
		return nil
	}
	d := k.backoff.delay()
	k.deaths++
	s.noteSink(id, err)
	if k.deaths == crashLoop {
		s.log.Error("the sink dies again and again without getting any further; it is started again with growing delays", "sink", cfg.Name, "times", k.deaths, "error", err)
	}
	s.log.Warn("the sink is down; starting it again", "sink", cfg.Name, "error", err, "in", d.Round(time.Millisecond))
	s.startSink(ctx, id, d)
	return nil
}

// attach compares what the sinks hold with the server, and gives those that were
// opened their place in the chain. Nothing was written to any of these yet.
func (s *Stream) attach(ctx context.Context, here *session) error {
	var all []opened
	for i := range s.sinks {
		l := s.sinks[i].life
		if l == nil {
			continue
		}
		if err := s.check(l, here.sys, here.history); err != nil {
			if err := s.refuse(ctx, l.id, err); err != nil {
				return err
			}
			continue
		}
		all = append(all, l.opened)
	}
	if s.from == 0 {
		// Once: a new sink that died before it had flushed anything begins where it
		// began before.
		s.from = startFrom(all, here.slot, s.cfg.Start, here.sys.FlushLSN)
	}
	s.chooseTimeline(here)
	for i := range s.sinks {
		if err := s.attachOne(ctx, chain.SinkID(i), here); err != nil {
			return err
		}
	}
	s.sortOut(ctx)
	for i := range s.sinks {
		p := s.chain.Positions(chain.SinkID(i))
		s.sinks[i].fresh = s.sinks[i].fresh && (!p.Attached || p.Aside)
	}
	return nil
}

// attachOne gives a sink that was opened its place in the chain.
func (s *Stream) attachOne(ctx context.Context, id chain.SinkID, here *session) error {
	k := &s.sinks[id]
	l := k.life
	switch {
	case l == nil || s.chain.Attached(id) || k.backup != nil:
		return nil
	case l.opened.wishes:
		return s.startBackup(ctx, id, here)
	}
	if k.begin == 0 {
		k.begin = s.from
	}
	at := beginOf(l.opened, k.begin, here.sys.SegmentSize)
	k.timeline, k.switching = s.timeline, nil
	if !l.opened.isNew {
		k.timeline = l.opened.position.Timeline
	}
	if l.stream == nil { // else it has begun, with a base backup
		if err := l.begin(ctx, k.timeline, at, s.happened); err != nil {
			s.giveUp(id)
			return s.lost(ctx, id, err)
		}
	}
	s.chain.Subscribe(id, l.opened.records, l.opened.applied)
	s.chain.SetTimeline(id, k.timeline)
	s.chain.Attach(id, at, l.opened.isNew)
	k.best = max(k.best, at)
	s.log.Info("sink attached", "sink", l.name, "new", l.opened.isNew, "position", at, "timeline", k.timeline, "pid", l.proc.PID())
	return nil
}

// check compares what a sink holds with the server.
func (s *Stream) check(l *life, sys replication.System, history wal.History) error {
	switch {
	case s.chain.Attached(l.id): // it holds this cluster's WAL: see sameSystem
		at := s.sinks[l.id].timeline
		if _, ok := history.SwitchPoint(at); !ok {
			return faultf("sink %q is on timeline %d, which is not in the history of the server (timeline %d): the two have diverged. "+
				"Connect to the server whose WAL this is, or give the sink a new directory", l.name, at, sys.Timeline)
		}
		if at < sys.Timeline {
			return nil
		}
		return checkAhead(l.name, s.chain.Positions(l.id).Sent, sys)
	case l.opened.isNew:
		return nil
	}
	if err := checkIdentity(l.opened, sys, history); err != nil || l.opened.position.Timeline < sys.Timeline {
		return err
	}
	return checkAhead(l.name, l.opened.position.LSN, sys)
}

// refuse deals with a sink that does not fit the server: a required one keeps the
// stream from beginning, another is left out.
func (s *Stream) refuse(ctx context.Context, id chain.SinkID, err error) error {
	if s.cfg.Sinks[id].Required {
		return err
	}
	s.giveUp(id)
	return s.lost(ctx, id, err)
}

// dropBehind turns off the sinks that are not required and alone need WAL that
// the server has removed. It answers whether there were any.
func (s *Stream) dropBehind(ctx context.Context, gap error) bool {
	size, dropped := s.system().SegmentSize, false
	lsn, _ := s.chain.ResumeLSN()
	needed := size.SegNo(lsn) + 1 // while the required ones are down: those that need what is gone
	if lsn, ok := s.chain.ResumeRequired(); ok {
		needed = size.SegNo(lsn)
	}
	for i, cfg := range s.cfg.Sinks {
		id := chain.SinkID(i)
		p := s.chain.Positions(id)
		if cfg.Required || !p.Attached || size.SegNo(p.Sent) >= needed {
			continue
		}
		s.giveUp(id)
		_ = s.lost(ctx, id, faultf("sink %q needs WAL from %s on, which the server has removed: %w. Give it a new directory to begin anew", cfg.Name, p.Sent, gap))
		dropped = true
	}
	return dropped
}

// reopenRaw has the sinks of raw WAL opened again after corruption: they were
// given the beginning of the corrupt record before its checksum could be seen to
// fail, and find their position from what is valid.
func (s *Stream) reopenRaw(ctx context.Context, c *corruptError) {
	for i := range s.sinks {
		if l := s.sinks[i].life; l != nil && l.wal && s.sinks[i].backup == nil {
			s.giveUp(chain.SinkID(i))
			_ = s.lost(ctx, chain.SinkID(i), fmt.Errorf("opened again, to drop what is not valid: %w", c))
		}
	}
}

// endAll ends what is left at the end of Run: no process and no goroutine stays.
func (s *Stream) endAll(cancel context.CancelFunc) {
	cancel()
	close(s.done)
	defer s.pool.close()
	for i := range s.sinks {
		s.giveUp(chain.SinkID(i))
	}
	s.opens.Wait()
	for {
		select {
		case h := <-s.happened:
			h.drop() // nobody has taken it in
		default:
			return
		}
	}
}
