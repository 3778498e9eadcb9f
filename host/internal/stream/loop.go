package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// loop is the state of one session's streaming.
type loop struct {
	s        *Stream
	conn     origin
	sys      replication.System
	arrivals chan arrival
	stopping bool         // no more WAL is taken; sinks flush what they have
	late     bool         // they did not in time
	switched *switchError // the timeline has ended; sinks flush what they have
	deadline <-chan time.Time
}

// startPhysical starts the replication where the sinks need it.
func (s *Stream) startPhysical(ctx context.Context, conn origin, sys replication.System) (wal.LSN, error) {
	resume, ok := s.chain.ResumeLSN()
	if !ok && s.gapStart != 0 {
		resume, ok = s.gapStart, true // all are served from elsewhere up to here
	}
	if !ok && s.anyBeside() {
		resume, ok = sys.FlushLSN, true // nobody needs anything before, or it is served beside
	}
	if !ok {
		return 0, errors.New("no sink is open")
	}
	// From the start of a segment, so that its long page header is checked.
	start := sys.SegmentSize.Start(resume)
	sw, err := conn.StartPhysical(ctx, replication.StartOptions{Slot: s.cfg.Slot, LSN: start, Timeline: sys.Timeline})
	if err == nil && sw != nil {
		err = &switchError{*sw}
	}
	return start, err
}

// streamFrom runs the loop on a connection that streams from start.
func (s *Stream) streamFrom(ctx context.Context, drain <-chan struct{}, conn origin, sys replication.System, start wal.LSN) error {
	s.log.Info("streaming", "from", start, "timeline", sys.Timeline, "slot", s.cfg.Slot)
	s.chain.Restart(start)
	s.setState(CatchingUp, nil)
	s.reported = replication.Status{}

	l := &loop{s: s, conn: conn, sys: sys, arrivals: make(chan arrival, burst)}
	raw := s.onlyRaw()
	rctx, stop := context.WithCancel(ctx)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		newSource(conn, sys, start, raw, s.pool, l.arrivals).run(rctx)
	}()
	// Synchronous commits may be waiting for what was flushed before a reconnect.
	err := l.report(ctx, true)
	if err == nil {
		err = l.run(ctx, drain)
	}
	stop()
	<-finished
	l.letGo()
	switch {
	case err == nil:
		return l.finish(ctx)
	case errors.Is(err, errRewind) || errors.Is(err, errReload):
		// In order, so that the slot is free for the next session.
		_ = l.endCopy(ctx)
	case isGap(err) && (s.aroundGap(ctx, s.here) || s.dropBehind(ctx, err)):
		return errRewind
	}
	return err
}

// letGo releases the live blocks that are held; senders may still hold them.
func (l *loop) letGo() {
	l.s.chain.Forget()
	for id, b := range l.s.held {
		if b.feeder == nil {
			b.release()
			delete(l.s.held, id)
		}
	}
	for {
		select {
		case a := <-l.arrivals:
			if a.block != nil {
				a.block.release()
			}
		default:
			return
		}
	}
}

// onlyRaw reports that no sink takes records, so that blocks need none. Where one
// joins that does, it is given none of them: the session ends, and the next one
// makes others.
func (s *Stream) onlyRaw() bool {
	for i := range s.sinks {
		if l := s.sinks[i].life; l == nil || !l.wal {
			return false
		}
	}
	return true
}

// run is the loop. nil means that the stream has reached its end, or was asked
// to stop, and that the sinks have flushed.
func (l *loop) run(ctx context.Context, drain <-chan struct{}) error {
	s := l.s
	status := time.NewTicker(s.cfg.StatusInterval)
	defer status.Stop()
	beat := time.NewTicker(s.cfg.Times.Heartbeat)
	defer beat.Stop()
	shown := time.NewTicker(showEvery)
	defer shown.Stop()
	for {
		if err := l.relieve(ctx); err != nil {
			return err
		}
		if err := l.act(ctx); err != nil {
			return err
		}
		if done, err := l.ended(); done || err != nil {
			return err
		}
		arrivals := l.arrivals
		if l.stopping || l.switched != nil || !s.chain.CanReceive() {
			arrivals = nil
		}
		blocked := l.blockedBy()
		var err error
		select {
		case a := <-arrivals:
			err = l.arrivedTogether(ctx, a)
		case h := <-s.happened:
			err = s.heard(ctx, h)
		case c := <-s.changes:
			err = s.reload(ctx, c)
		case <-status.C:
			err = l.report(ctx, true)
		case now := <-beat.C:
			err = l.checkLives(ctx, now)
		case <-shown.C:
			s.show()
			err = l.lagging(ctx)
		case <-drain:
			drain = nil
			s.log.Info("stopping: sinks flush what they have", "received", s.chain.Received())
			l.stop()
		case <-l.deadline:
			if l.switched != nil && !l.stopping {
				err = l.leaveUnflushed(ctx)
				break
			}
			l.late = true
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		blocked.done()
		if err != nil {
			return err
		}
	}
}

// stop takes no more WAL and has everything flushed.
func (l *loop) stop() {
	if l.stopping {
		return
	}
	l.stopping = true
	l.s.stopFeeders()
	l.s.stopBackups()
	l.s.chain.Finish()
	l.s.setState(Draining, nil)
	l.deadline = time.After(l.s.cfg.Times.Drain)
}

// ended reports whether the loop has nothing more to do. An error means that its
// session has not.
func (l *loop) ended() (bool, error) {
	s := l.s
	if !l.stopping && s.target != 0 && s.chain.Received() >= s.target && s.chain.Reached(s.target) {
		s.log.Info("target reached: every required sink has flushed it", "target", s.target)
		s.reached = true
		l.stop()
	}
	switch {
	case l.stopping:
		return s.chain.AllFlushed(), nil
	case l.switched != nil && s.chain.LiveFlushed():
		return false, l.switched
	case s.chain.MaySkip():
		return false, errRewind
	case !s.caughtUp() && s.chain.Received() >= l.sys.FlushLSN:
		s.log.Info("caught up", "lsn", s.chain.Received())
		s.setState(Streaming, nil)
	}
	return false, nil
}

// arrivedTogether takes in what the source hands over, and what it has handed over
// behind it, so that all of it goes on together.
func (l *loop) arrivedTogether(ctx context.Context, a arrival) error {
	err := l.arrived(ctx, a)
	for err == nil && l.switched == nil && l.s.chain.CanReceive() {
		select {
		case a = <-l.arrivals:
			err = l.arrived(ctx, a)
		default:
			return nil
		}
	}
	return err
}

// arrived takes in what the source hands over.
func (l *loop) arrived(ctx context.Context, a arrival) error {
	s := l.s
	if a.serverEnd != 0 {
		s.seen(a.serverEnd)
	}
	switch {
	case a.err != nil:
		return a.err
	case a.ended:
		return l.serverEnded(ctx)
	case a.block != nil:
		b := a.block
		v := &b.view
		id, err := s.chain.Add(chain.Block{Start: v.WALStart(), End: v.WALEnd(), RecordsEnd: v.RecordsEnd(), Size: int64(len(b.data)) + blockOverhead})
		if err != nil {
			b.release()
			return err
		}
		b.id = id
		s.held[id] = b
		s.count(len(v.WAL()), a.records)
		if a.drained {
			s.chain.SetIdle()
		}
	default:
		s.chain.SetIdle()
	}
	if a.reply {
		return l.report(ctx, true)
	}
	return nil
}

// act does what the chain says, and tells PostgreSQL at once when the flush
// position has moved: synchronous commits wait for it.
func (l *loop) act(ctx context.Context) error {
	if err := l.s.act(ctx); err != nil {
		return err
	}
	return l.report(ctx, false)
}

// act does what the chain says.
func (s *Stream) act(ctx context.Context) error {
	s.actions = s.chain.Next(s.actions[:0])
	for _, a := range s.actions {
		switch a.Kind {
		case chain.Deliver:
			b, life := s.held[a.Block], s.sinks[a.Sink].life
			if err := checkBoundary(b, a, life); err != nil {
				s.giveUp(a.Sink)
				if err := s.lost(ctx, a.Sink, err); err != nil {
					return err
				}
				continue
			}
			if life != nil && !life.wal && !b.view.HasRecords() {
				return errRewind // see onlyRaw
			}
			if life != nil {
				life.deliver(b, a)
			}
		case chain.Flush:
			if life := s.sinks[a.Sink].life; life != nil {
				life.flush(a.Number)
			}
		case chain.Release:
			s.letGo(a.Block)
		case chain.Live:
			s.joined(a.Sink)
		}
	}
	s.feedOn(ctx)
	return nil
}

// letGo releases a block, unless that has happened.
func (s *Stream) letGo(id chain.BlockID) {
	if b := s.held[id]; b != nil {
		b.release()
		delete(s.held, id)
	}
}

// checkBoundary refuses a position of a sink of records that lies inside a
// record: it could hold neither all of it nor nothing.
func checkBoundary(b *buffer, a chain.Action, life *life) error {
	if life == nil || life.wal || life.opened.isNew || a.RecordsFrom != life.opened.position.LSN {
		return nil
	}
	i := b.view.FirstRecord(a.RecordsFrom, a.Begin)
	if i == b.view.Len() {
		return nil
	}
	if start, end := b.view.RecordLSN(i); start < a.RecordsFrom && end > a.RecordsFrom {
		return faultf("sink %q answered the position %s, which lies inside the record from %s to %s; a sink of records answers the end of a record. This is a fault of the sink's program",
			life.name, a.RecordsFrom, start, end)
	}
	return nil
}

// report sends a standby status: always, or when flush or apply have moved.
func (l *loop) report(ctx context.Context, always bool) error {
	s := l.s
	f := s.chain.Feedback()
	if l.switched != nil {
		return nil // the server has ended the stream
	}
	st := replication.Status{Write: f.Write, Flush: f.Flush, Apply: f.Apply}
	if !always && st.Flush == s.reported.Flush && st.Apply == s.reported.Apply {
		return nil
	}
	s.reported = st
	return l.conn.SendStatus(ctx, st)
}

// checkLives looks for sinks that are silent, and for those that are not required
// and hold the stream up.
func (l *loop) checkLives(ctx context.Context, now time.Time) error {
	s := l.s
	s.retain()
	blocking, isBlocked := s.chain.Blocking()
	isBlocked = isBlocked && !s.chain.CanReceive()
	for i := range s.sinks {
		k, id := &s.sinks[i], chain.SinkID(i)
		if k.life == nil || k.life.stream == nil || !s.chain.Attached(id) && k.backup == nil {
			continue
		}
		err := error(nil)
		if silence := k.life.heartbeat(now); silence >= s.cfg.Times.Silence {
			err = k.life.died(fmt.Errorf("sink %q has not given a sign of life for %s", k.life.name, silence.Round(time.Millisecond)))
		}
		p := s.chain.Positions(id)
		// One that is served beside the stream holds up nobody, but would never catch up.
		if (isBlocked && blocking == id || p.Aside && p.InFlight > 0) && !s.cfg.Sinks[i].Required && p == k.seen {
			if k.stalled.IsZero() {
				k.stalled = now
			}
			if now.Sub(k.stalled) >= s.cfg.Times.Stall {
				err = fmt.Errorf("sink %q, which is not required, has made no progress for %s with %d bytes to work on", k.life.name, s.cfg.Times.Stall, p.InFlight)
			}
		} else {
			k.stalled = time.Time{}
		}
		k.seen = p
		if err != nil {
			s.giveUp(id)
			if err := s.lost(ctx, id, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// serverEnded is called when the server has ended the stream: it shuts down, or
// its timeline has ended.
func (l *loop) serverEnded(ctx context.Context) error {
	if a, ok := l.conn.(*archive.Source); ok && a.Switch() == nil {
		return l.archiveEnded(a)
	}
	sw, err := l.conn.EndCopy(ctx)
	if err != nil {
		return err
	}
	if sw != nil {
		// The sinks flush what they have before they are told.
		l.switched = &switchError{*sw}
		l.s.chain.Finish()
		l.deadline = time.After(l.s.cfg.Times.Drain)
		return nil
	}
	return errors.New("the server has ended the stream")
}

// endCopy ends the replication in order; a server that does not answer is left.
func (l *loop) endCopy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.s.cfg.Times.EndCopy)
	defer cancel()
	_, err := l.conn.EndCopy(ctx)
	return err
}

// finish ends the session in order: the server is told the final positions, the
// stream is closed, the sinks let go of what they own.
func (l *loop) finish(ctx context.Context) error {
	s := l.s
	if err := l.report(ctx, true); err != nil {
		s.log.Warn("the final status could not be sent; the server keeps WAL from the last one on", "error", err)
	} else if l.switched != nil {
		s.log.Debug("the server has ended the stream already")
	} else if err := l.endCopy(ctx); err != nil {
		s.log.Warn("the stream was not closed in order", "error", err)
	}
	s.show()
	late := l.leaveLate()
	if err := errors.Join(late, s.drainSinks(ctx, s.chain.Received())); err != nil {
		return &Fault{Reason: err.Error(), cause: err}
	}
	return nil
}

// leaveLate gives up the sinks that have not flushed in time: what they lack will
// be streamed again. The error is about the required ones.
func (l *loop) leaveLate() error {
	if !l.late {
		return nil
	}
	s := l.s
	var all []error
	for _, id := range s.chain.Lagging() {
		cfg := s.cfg.Sinks[id]
		err := fmt.Errorf("sink %q did not flush within %s at the end; what it has not flushed will be streamed again", cfg.Name, s.cfg.Times.Drain)
		s.giveUp(id)
		if cfg.Required {
			all = append(all, err)
		} else {
			s.log.Warn("a sink did not end in order", "error", err)
		}
	}
	return errors.Join(all...)
}

// leaveUnflushed gives up the live sinks that have not flushed the end of the
// timeline in time: they are opened again, and come to the switch later.
func (l *loop) leaveUnflushed(ctx context.Context) error {
	s := l.s
	l.deadline = nil
	for _, id := range s.chain.Lagging() {
		if s.chain.Positions(id).Aside {
			continue
		}
		s.giveUp(id)
		if err := s.lost(ctx, id, fmt.Errorf("sink %q did not flush the end of its timeline within %s", s.cfg.Sinks[id].Name, s.cfg.Times.Drain)); err != nil {
			return err
		}
	}
	return nil
}

// drainSinks ends every sink in order, all at the same time.
func (s *Stream) drainSinks(ctx context.Context, stop wal.LSN) error {
	s.stopBackups()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Times.Drain)
	defer cancel()
	errs := make([]error, len(s.sinks))
	var running sync.WaitGroup
	for i := range s.sinks {
		if l := s.sinks[i].life; l != nil && l.stream != nil {
			running.Go(func() { errs[i] = l.drain(ctx, stop) })
		}
	}
	drained := make(chan struct{})
	go func() {
		running.Wait()
		close(drained)
	}()
	s.hearOut(drained)
	var all []error
	for i, err := range errs {
		s.giveUp(chain.SinkID(i))
		switch {
		case err == nil:
		case s.cfg.Sinks[i].Required:
			all = append(all, err)
		default:
			s.log.Warn("a sink did not end in order", "error", err)
		}
	}
	return errors.Join(all...)
}

// hearOut listens to the sinks until they are drained: their listeners must not
// wait for the loop that has ended.
func (s *Stream) hearOut(drained <-chan struct{}) {
	for {
		select {
		case h := <-s.happened:
			h.drop()
		case <-drained:
			return
		}
	}
}
