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
		s.asideAfterBackup(ctx)
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
		// Written, because when it flushes is for the host to say.
		if lag := behind(s.chain.Received(), p.Written); lag > cfg.MaxLag {
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
// before what the others need: these need not wait for it. So it is with one that
// has just begun with a base backup, whatever its policy.
func (s *Stream) sortOut(ctx context.Context) {
	var from wal.LSN
	var ok bool
	for i := range s.sinks {
		id := chain.SinkID(i)
		if cfg := &s.cfg.Sinks[i]; s.chain.Attached(id) && !s.chain.Positions(id).Aside && !s.sinks[i].fresh && (cfg.Required || cfg.onLag() == Block) {
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
		if !s.chain.Attached(id) || s.chain.Positions(id).Aside || !s.sinks[i].fresh && (s.cfg.Sinks[i].Required || s.cfg.Sinks[i].onLag() != CatchUp) {
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
	if s.here != nil && l.opened.wishes {
		return s.attachOne(ctx, id, s.here)
	}
	if s.here == nil || s.cfg.Sinks[id].onLag() != CatchUp && !s.sinks[id].fresh || s.chain.Received() == 0 {
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
	if s.chain.Attached(id) && (s.chain.MustRewind() || s.sinks[id].timeline < s.timeline) {
		s.goAside(ctx, id)
	}
	s.sinks[id].fresh = s.chain.Positions(id).Aside
	return nil
}

// aside is what the loop remembers of a sink that is served beside the stream.
type aside struct {
	tried   map[supplier]bool // those that do not have what it needs
	backoff backoff
	since   time.Time
	from    wal.LSN
	err     error // why it does not go on at this moment
}

// supplier is where a sink aside is served from: a sink's number, or one below.
type supplier int

// The sources that are no sinks; from fallbacks on they count down.
const (
	fromServer supplier = -1
	fallbacks  supplier = -2
)

// none is no source at all: all were tried.
const none supplier = -1 << 31

// sink is what the chain knows of a source.
func (f supplier) sink() chain.SinkID {
	if f >= 0 {
		return chain.SinkID(f)
	}
	return chain.NoSink
}

// goAside takes a sink off the live stream, and starts to serve it.
func (s *Stream) goAside(ctx context.Context, id chain.SinkID, tried ...supplier) {
	k := &s.sinks[id]
	k.aside = aside{tried: map[supplier]bool{}, since: time.Now()}
	for _, t := range tried {
		k.aside.tried[t] = true
	}
	from := s.sourceFor(id, k.aside.tried)
	s.chain.Aside(id, from.sink())
	k.aside.from, _ = s.chain.FeedFrom(id)
	s.startFeeder(ctx, id, from, 0)
}

// sourceFor is the best source for a sink that was not tried: another sink that
// keeps WAL, which costs the server nothing; the server; a fallback.
func (s *Stream) sourceFor(id chain.SinkID, tried map[supplier]bool) supplier {
	for i := range s.sinks {
		other := chain.SinkID(i)
		if other != id && !tried[supplier(i)] && s.canSupply(other) {
			return supplier(i)
		}
	}
	if !tried[fromServer] {
		return fromServer
	}
	for i := range s.cfg.Fallbacks {
		if f := fallbacks - supplier(i); !tried[f] {
			return f
		}
	}
	return none
}

// anySource is sourceFor for a sink that is served already: where all were tried,
// the server is tried again.
func (s *Stream) anySource(id chain.SinkID) supplier {
	tried := s.sinks[id].aside.tried
	if from := s.sourceFor(id, tried); from != none {
		return from
	}
	delete(tried, fromServer)
	return fromServer
}

// canSupply reports whether a sink can serve others now. One that is aside itself
// cannot: two could wait for each other.
func (s *Stream) canSupply(id chain.SinkID) bool {
	l, p := s.sinks[id].life, s.chain.Positions(id)
	return l != nil && p.Attached && !p.Aside && l.can(wire.CapRead)
}

// aroundGap takes aside the sinks that need WAL which the server has removed, when
// somebody else may have it. The live stream then begins with what the server has,
// which is what it answers.
func (s *Stream) aroundGap(ctx context.Context, here *session) bool {
	size := here.sys.SegmentSize
	start := size.Start(max(here.slot, 1))
	if lsn, ok := s.chain.ResumeLSN(); here.slot == 0 || ok && size.Start(lsn) >= start {
		start = size.Start(here.sys.FlushLSN)
	}
	var lacking []chain.SinkID
	for i := range s.sinks {
		id := chain.SinkID(i)
		p := s.chain.Positions(id)
		if at, _ := s.chain.FeedFrom(id); !p.Attached || p.Aside || size.Start(at) >= start {
			continue
		}
		if s.sourceFor(id, map[supplier]bool{fromServer: true}) == none {
			return false
		}
		lacking = append(lacking, id)
	}
	for _, id := range lacking {
		s.log.Warn("the server has removed WAL that the sink needs; it is served from elsewhere", "sink", s.cfg.Sinks[id].Name)
		s.goAside(ctx, id, fromServer)
	}
	s.gapStart = start
	return len(lacking) > 0
}

// joined is called when a sink is live again.
func (s *Stream) joined(id chain.SinkID) {
	k := &s.sinks[id]
	s.stopFeeder(id)
	k.fresh = false
	s.log.Info("the sink has caught up and is served by the live stream again", "sink", s.cfg.Sinks[id].Name,
		"lsn", s.chain.Positions(id).Sent, "after", time.Since(k.aside.since).Round(time.Millisecond))
}

// can reports whether the sink's program has a capability.
func (l *life) can(capability string) bool {
	return slices.Contains(l.proc.Describe().Capabilities, capability)
}

// retain tells each sink from where on others still need WAL: the least position
// of the other sinks, and what the server was told last, which its slot keeps. One
// that was never opened may need anything, so nobody is told.
func (s *Stream) retain() {
	for i := range s.sinks {
		l := s.sinks[i].life
		if l == nil || !s.chain.Attached(chain.SinkID(i)) {
			continue
		}
		from, ok := s.neededByOthers(chain.SinkID(i))
		if !ok || from == l.retained {
			continue
		}
		l.retained = from
		l.push(outgoing{message: &wire.HostMessage{Message: &wire.HostMessage_RetainFrom{RetainFrom: &wire.RetainFrom{
			Timeline: uint32(from.Timeline), Lsn: uint64(from.LSN)}}}})
	}
}

func (s *Stream) neededByOthers(id chain.SinkID) (wal.Position, bool) {
	from := wal.Position{Timeline: s.timeline, LSN: s.chain.Confirmed()}
	for i := range s.sinks {
		k, other := &s.sinks[i], chain.SinkID(i)
		if other == id || k.gone {
			continue
		}
		p := s.chain.Positions(other)
		if p.Flushed == 0 {
			return from, false
		}
		if p.Flushed < from.LSN || from.LSN == 0 {
			from = wal.Position{Timeline: k.timeline, LSN: p.Flushed}
		}
	}
	return from, from.LSN != 0
}
