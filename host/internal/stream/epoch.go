package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// Timelines. The live stream is on one timeline: the oldest that a sink is on that
// the stream would wait for. Where that timeline ends, the sinks on it flush what
// they have, are told of the switch, and answer their positions on the next one;
// then the stream goes on there. A sink that is served beside the stream comes to
// the switch in its own time. A sink on a later timeline than the stream's waits.

// switchPoint is where a timeline ends and another begins.
type switchPoint struct {
	old, next wal.TimelineID
	lsn       wal.LSN
}

// switchError ends a session's streaming because the timeline has ended.
type switchError struct{ replication.TimelineSwitch }

func (e *switchError) Error() string {
	return fmt.Sprintf("the timeline has ended at %s, timeline %d follows", e.SwitchLSN, e.NextTimeline)
}

// historyFile is a timeline's history file.
type historyFile struct {
	name    string
	content []byte
}

// nextOf is where the history leaves a timeline; ok is false for its last one, and
// for one that is no part of it.
func nextOf(h wal.History, tli wal.TimelineID) (switchPoint, bool) {
	lsn, ok := h.SwitchPoint(tli)
	if !ok || lsn == 0 {
		return switchPoint{}, false
	}
	for _, e := range h {
		if e.Timeline > tli {
			return switchPoint{old: tli, next: e.Timeline, lsn: lsn}, true
		}
	}
	return switchPoint{}, false
}

// histories reads the history of the server's timeline, and the history files
// that sinks may have to be given on the way to it.
func (s *Stream) histories(ctx context.Context, conn origin, sys replication.System) (wal.History, error) {
	if sys.Timeline == 1 {
		return wal.ParseHistory(1, nil)
	}
	name, content, err := conn.TimelineHistory(ctx, sys.Timeline)
	if err != nil {
		return nil, err
	}
	h, err := wal.ParseHistory(sys.Timeline, content)
	if err != nil {
		return nil, err
	}
	files := map[wal.TimelineID]historyFile{sys.Timeline: {name, content}}
	for _, e := range h {
		if e.Timeline == 1 || e.Timeline == sys.Timeline {
			continue
		}
		// The server may have lost an old one; the newest says the same and more.
		if name, content, err := conn.TimelineHistory(ctx, e.Timeline); err == nil {
			files[e.Timeline] = historyFile{name, content}
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = files
	return h, nil
}

// historyFile is a timeline's history file, empty where it is not known.
func (s *Stream) historyFile(tli wal.TimelineID) historyFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[tli]
}

// chooseTimeline decides which timeline the session streams: the oldest that a
// sink is on that the stream waits for; that of the start, where all are new.
func (s *Stream) chooseTimeline(here *session) {
	tli := wal.TimelineID(0)
	for i := range s.sinks {
		k, id := &s.sinks[i], chain.SinkID(i)
		if k.life == nil || s.chain.Positions(id).Aside || !s.cfg.Sinks[i].Required && s.cfg.Sinks[i].onLag() != Block {
			continue
		}
		at := k.timeline
		if !s.chain.Attached(id) {
			if k.life.opened.isNew {
				continue
			}
			at = k.life.opened.position.Timeline
		}
		if tli == 0 || at < tli {
			tli = at
		}
	}
	if tli == 0 && s.gapStart == 0 && s.onlyBeside() {
		tli = here.sys.Timeline
	}
	if tli == 0 {
		tli = here.history.TimelineAt(here.sys.SegmentSize.Start(s.from))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timeline != tli {
		s.timeline = tli
		s.chain.SetLiveTimeline(tli)
	}
}

// switchDue reports whether all sinks on the stream's timeline have all of it that
// the server's history keeps.
func (s *Stream) switchDue(here *session) (switchPoint, bool) {
	sw, ok := nextOf(here.history, s.timeline)
	if !ok {
		return sw, false
	}
	lsn, ok := s.chain.ResumeLSN()
	return sw, ok && lsn >= sw.lsn
}

// switchOver tells the sinks on the timeline that has ended, and waits until each
// has answered or is given up.
func (s *Stream) switchOver(ctx context.Context, drain <-chan struct{}, sw switchPoint) error {
	s.log.Info("the timeline has ended; going on with the next one", "timeline", sw.old, "switch_lsn", sw.lsn, "next", sw.next)
	for i := range s.sinks {
		if id := chain.SinkID(i); s.chain.Attached(id) && s.sinks[i].timeline == sw.old && !s.chain.Positions(id).Aside {
			s.tellSwitch(id, sw)
		}
	}
	late := time.After(s.cfg.Times.Drain)
	for {
		if !s.anySwitching() {
			return nil
		}
		select {
		case h := <-s.happened:
			if err := s.heard(ctx, h); err != nil && !errors.Is(err, errRewind) {
				return err
			}
			if err := s.act(ctx); err != nil {
				return err
			}
		case <-late:
			if err := s.giveUpSwitching(ctx); err != nil {
				return err
			}
		case <-drain:
			return errDrain
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// anySwitching reports whether a sink that is not aside owes an answer.
func (s *Stream) anySwitching() bool {
	for i := range s.sinks {
		if s.sinks[i].switching != nil && !s.chain.Positions(chain.SinkID(i)).Aside {
			return true
		}
	}
	return false
}

func (s *Stream) giveUpSwitching(ctx context.Context) error {
	for i := range s.sinks {
		id := chain.SinkID(i)
		if s.sinks[i].switching == nil || s.chain.Positions(id).Aside {
			continue
		}
		s.giveUp(id)
		if err := s.lost(ctx, id, fmt.Errorf("sink %q did not answer within %s that the timeline has ended", s.cfg.Sinks[i].Name, s.cfg.Times.Drain)); err != nil {
			return err
		}
	}
	return nil
}

// tellSwitch tells one sink that its timeline has ended.
func (s *Stream) tellSwitch(id chain.SinkID, sw switchPoint) {
	k := &s.sinks[id]
	f := s.historyFile(sw.next)
	k.switching = &sw
	k.life.push(outgoing{message: &wire.HostMessage{Message: &wire.HostMessage_Epoch{Epoch: &wire.Epoch{
		OldTimeline: uint32(sw.old), SwitchLsn: uint64(sw.lsn), NewTimeline: uint32(sw.next),
		HistoryFileName: f.name, HistoryFile: f.content}}}})
}

// switched takes in a sink's answer.
func (s *Stream) switched(ctx context.Context, id chain.SinkID, done *wire.EpochDone) error {
	k, cfg := &s.sinks[id], &s.cfg.Sinks[id]
	sw := k.switching
	lsn, flushed := wal.LSN(done.Lsn), s.chain.Positions(id).Flushed
	first := s.system().SegmentSize.Start(sw.lsnOr0())
	var broken string
	switch {
	case sw == nil || wal.TimelineID(done.Timeline) != sw.next:
		broken = fmt.Sprintf("answers a switch to timeline %d that it was not told of", done.Timeline)
	case lsn > sw.lsn:
		broken = fmt.Sprintf("goes on at %s on timeline %d, which begins at %s: what it holds beyond that never belonged to it", lsn, sw.next, sw.lsn)
	case k.life.wal && lsn < first:
		broken = fmt.Sprintf("wants raw WAL of timeline %d from %s on; there is none before the segment of the switch point, which begins at %s", sw.next, lsn, first)
	case !k.life.wal && lsn < min(flushed, sw.lsn) && flushed <= sw.lsn:
		broken = fmt.Sprintf("goes back to %s at the switch at %s, though it had flushed %s", lsn, sw.lsn, flushed)
	}
	if broken != "" {
		s.giveUp(id)
		return s.lost(ctx, id, faultf("sink %q %s; this is a fault of the sink's program", cfg.Name, broken))
	}
	k.switching, k.timeline = nil, sw.next
	// No record ends between a sink's last one and the segment of the switch point:
	// one that began there was never completed.
	s.chain.Rewound(id, sw.next, max(lsn, first))
	s.log.Info("the sink follows the switch of timelines", "sink", cfg.Name, "timeline", sw.next, "position", lsn)
	if s.chain.Positions(id).Aside {
		from := s.anySource(id)
		s.chain.SetSource(id, from.sink())
		s.startFeeder(ctx, id, from, 0)
	}
	return nil
}

func (sw *switchPoint) lsnOr0() wal.LSN {
	if sw == nil {
		return 0
	}
	return sw.lsn
}

// limitAside sets up to where a sink aside is served that is still on an older
// timeline than the stream; at its end it is told of the switch. It answers
// whether that has happened now.
func (s *Stream) limitAside(id chain.SinkID) bool {
	k := &s.sinks[id]
	if k.timeline == s.timeline || k.switching != nil || s.hist == nil {
		return false
	}
	sw, ok := nextOf(s.hist, k.timeline)
	if !ok {
		return false
	}
	s.chain.LimitTo(id, sw.lsn)
	if s.chain.Positions(id).Sent < sw.lsn || !s.chain.CanOffer(id) {
		return false
	}
	s.stopFeeder(id)
	s.tellSwitch(id, sw)
	return true
}
