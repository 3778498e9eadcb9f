package stream

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// patienceBack is the part of passing time by which the account of how long a
// sink has held the stream up goes back: one that costs the others less is let
// be.
const patienceBack = 40

// blockedTime measures how long the stream waits because of one sink.
type blockedTime struct {
	sink  *sink // nil: it does not
	since time.Time
}

// blockedBy begins to measure, when a sink keeps the loop from taking more WAL.
func (l *loop) blockedBy() blockedTime {
	s := l.s
	if s.chain.CanReceive() {
		return blockedTime{}
	}
	id, ok := s.chain.Blocking()
	if !ok {
		return blockedTime{}
	}
	return blockedTime{&s.sinks[id], time.Now()}
}

func (b blockedTime) done() {
	if b.sink != nil {
		b.sink.blocked += time.Since(b.since)
	}
}

// relieve frees the stream of a sink that holds it up, where its policy is not to
// wait for it.
func (l *loop) relieve(ctx context.Context) error {
	s := l.s
	if l.stopping || s.chain.CanReceive() {
		return nil
	}
	id, ok := s.chain.Blocking()
	if !ok {
		return nil
	}
	if s.chain.Positions(id).Aside {
		s.chain.LeaveBehind(id)
		return nil
	}
	if s.cfg.Sinks[id].onLag() == Block || s.sinks[id].blocked < s.cfg.Times.Patience {
		return nil
	}
	return s.leave(ctx, id, fmt.Sprintf("it held the stream up for %s", s.sinks[id].blocked.Round(time.Millisecond)))
}

// lagging looks, every showEvery, for sinks that are farther behind than they may
// be, and forgives what was long ago.
func (l *loop) lagging(ctx context.Context) error {
	s := l.s
	for i := range s.sinks {
		k, cfg, id := &s.sinks[i], &s.cfg.Sinks[i], chain.SinkID(i)
		k.blocked = max(0, k.blocked-showEvery/patienceBack)
		p := s.chain.Positions(id)
		if l.stopping || cfg.MaxLag == 0 || cfg.onLag() == Block || !p.Attached || p.Aside {
			continue
		}
		if lag := behind(s.chain.Received(), p.Flushed); lag > cfg.MaxLag {
			if err := s.leave(ctx, id, fmt.Sprintf("it is %d bytes behind, max_lag is %d", lag, cfg.MaxLag)); err != nil {
				return err
			}
		}
	}
	return nil
}

// onLag is the policy, with its default.
func (c *SinkConfig) onLag() OnLag {
	switch {
	case c.OnLag != "":
		return c.OnLag
	case c.Required:
		return Block
	}
	return CatchUp
}

// leave lets the stream go on without a sink, as its policy says.
func (s *Stream) leave(ctx context.Context, id chain.SinkID, why string) error {
	cfg := &s.cfg.Sinks[id]
	s.sinks[id].blocked = 0
	if cfg.onLag() == Detach {
		s.giveUp(id)
		return s.lost(ctx, id, faultf("sink %q has fallen behind: %s. on_lag = %q takes it off the stream: reload or start walplex again to go on from its position", cfg.Name, why, Detach))
	}
	s.log.Warn("the sink has fallen behind; it is served beside the stream until it has caught up", "sink", cfg.Name, "because", why)
	s.goAside(ctx, id)
	return nil
}

// sortOut takes aside, before a session streams, the sinks that need WAL from long
// before what the others need: these need not wait for it.
func (s *Stream) sortOut(ctx context.Context) {
	var from wal.LSN
	var ok bool
	for i := range s.sinks {
		id := chain.SinkID(i)
		if cfg := &s.cfg.Sinks[i]; s.chain.Attached(id) && !s.chain.Positions(id).Aside && (cfg.Required || cfg.onLag() == Block) {
			if at, _ := s.chain.FeedFrom(id); !ok || at < from {
				from, ok = at, true
			}
		}
	}
	if !ok {
		return // nobody else is there whom they could keep waiting
	}
	from = s.system().SegmentSize.Start(from)
	for i := range s.sinks {
		id := chain.SinkID(i)
		if !s.chain.Attached(id) || s.cfg.Sinks[i].Required || s.cfg.Sinks[i].onLag() != CatchUp {
			continue
		}
		if at, _ := s.chain.FeedFrom(id); at < from {
			s.goAside(ctx, id)
		}
	}
}

// cameBack attaches a sink that was opened while the stream runs. One that need
// not be waited for is served beside the stream until it has caught up; for
// another the session ends, and the next one goes on from where it needs.
func (s *Stream) cameBack(ctx context.Context, id chain.SinkID) error {
	l := s.sinks[id].life
	if s.here == nil || s.cfg.Sinks[id].onLag() != CatchUp || s.chain.Received() == 0 {
		return errRewind
	}
	if _, ok := s.chain.ResumeLSN(); !ok {
		return errRewind // nobody else is there
	}
	sys := s.here.sys
	sys.FlushLSN = max(sys.FlushLSN, s.chain.Received()) // since the session began
	if err := s.check(l, sys, s.here.history); err != nil {
		return s.refuse(ctx, id, err)
	}
	if err := s.attachOne(ctx, id, s.here); err != nil {
		return err
	}
	if s.chain.Attached(id) && s.chain.MustRewind() {
		s.goAside(ctx, id)
	}
	return nil
}

// aside is what the loop remembers of a sink that is served beside the stream.
type aside struct {
	tried   map[chain.SinkID]bool // sources that do not have what it needs
	backoff backoff
	since   time.Time
	from    wal.LSN
	err     error // why it does not go on at this moment
}

// goAside takes a sink off the live stream, and starts to serve it.
func (s *Stream) goAside(ctx context.Context, id chain.SinkID) {
	source := s.sourceFor(id, nil)
	s.chain.Aside(id, source)
	from, _ := s.chain.FeedFrom(id)
	s.sinks[id].aside = aside{tried: map[chain.SinkID]bool{}, since: time.Now(), from: from}
	s.startFeeder(ctx, id, source, 0)
}

// sourceFor is a sink that keeps WAL and can serve another, NoSink if there is
// none that was not tried.
func (s *Stream) sourceFor(id chain.SinkID, tried map[chain.SinkID]bool) chain.SinkID {
	for i := range s.sinks {
		other := chain.SinkID(i)
		if other == id || tried[other] || s.sinks[i].life == nil || !s.chain.Attached(other) || !s.sinks[i].life.can(wire.CapRead) {
			continue
		}
		return other
	}
	return chain.NoSink
}

// joined is called when a sink is live again.
func (s *Stream) joined(id chain.SinkID) {
	k := &s.sinks[id]
	s.stopFeeder(id)
	s.log.Info("the sink has caught up and is served by the live stream again", "sink", s.cfg.Sinks[id].Name,
		"lsn", s.chain.Positions(id).Sent, "after", time.Since(k.aside.since).Round(time.Millisecond))
}

// can reports whether the sink's program has a capability.
func (l *life) can(capability string) bool {
	return slices.Contains(l.proc.Describe().Capabilities, capability)
}
