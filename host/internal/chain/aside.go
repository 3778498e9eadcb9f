package chain

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// NoSink is the source of a sink that is served from elsewhere.
const NoSink SinkID = -1

// Aside takes an attached sink off the live stream: it keeps no block any more,
// and is served by [Chain.Offer] until it has caught up. source is the sink whose
// flushed WAL it will be offered, or NoSink.
func (c *Chain) Aside(id, source SinkID) {
	s := &c.sinks[id]
	if !s.attached || s.aside {
		return
	}
	// What was cut off in the middle of a record comes again from its start: the
	// other source does not begin in the middle of one.
	s.next = s.resume()
	s.flushAsked = min(s.flushAsked, s.next)
	s.aside, s.source, s.limit, s.joining, s.offered = true, source, s.next, false, nil
}

// SetSource changes where a sink that is aside is served from. What it was offered
// and not sent is forgotten, and an incomplete record comes again from its start.
func (c *Chain) SetSource(id, source SinkID) {
	s := &c.sinks[id]
	s.source, s.offered = source, nil
	s.next = s.resume()
	s.flushAsked = min(s.flushAsked, s.next)
}

// FeedFrom is where the WAL that is offered to a sink aside must begin or go on,
// and up to where it may go: to Limit of the last [Feed], as far as the source has
// flushed it.
func (c *Chain) FeedFrom(id SinkID) (from, to wal.LSN) {
	s := &c.sinks[id]
	to = s.limit
	if s.source != NoSink {
		to = min(to, c.sinks[s.source].flushed)
	}
	return s.resume(), to
}

// CanOffer reports whether a sink is aside and has taken what it was offered.
func (c *Chain) CanOffer(id SinkID) bool {
	s := &c.sinks[id]
	return s.aside && s.offered == nil
}

// Offer gives a block to a sink that is aside, for [Chain.Next] to deliver as soon
// as the sink has credit. It has new bytes, follows what the sink was sent, and
// does not go beyond the limit.
func (c *Chain) Offer(id SinkID, b Block) (BlockID, error) {
	s := &c.sinks[id]
	if !s.aside || s.offered != nil || b.Start > s.next || b.End <= s.next || b.End > s.limit || b.RecordsEnd > b.End {
		return 0, fmt.Errorf("chain: block from %s to %s (records to %s) cannot be offered to %s at %s, limit %s", b.Start, b.End, b.RecordsEnd, s.Name, s.next, s.limit)
	}
	c.nextID++
	b.ID = c.nextID
	s.offered = &b
	return b.ID, nil
}

// LeaveBehind has a sink that is about to join, and keeps blocks for that, go on
// aside.
func (c *Chain) LeaveBehind(id SinkID) { c.sinks[id].joining = false }

// serveAside sends a sink what it was offered, and decides at the limit: it is
// live again, or it gets the next limit.
func (c *Chain) serveAside(dst []Action, id SinkID) []Action {
	s := &c.sinks[id]
	if !s.aside {
		return dst
	}
	if b := s.offered; b != nil {
		if !c.hasCredit(s, b) || !c.afterFlushed(s, b.End) {
			return dst
		}
		s.offered = nil
		dst = append(dst, s.take(id, b), Action{Kind: Release, Block: b.ID})
	}
	if c.received == 0 || s.timeline != c.timeline {
		return dst // there is no live stream yet, or it is of another timeline: see Rewound
	}
	if at := s.resume(); at > c.received {
		// The source was restarted before it: it waits for the live stream, from which
		// a record that is incomplete comes again.
		s.next, s.flushAsked = at, min(s.flushAsked, at)
		s.aside, s.joining = false, false
		return append(dst, Action{Kind: Live, Sink: id})
	}
	if s.next != s.limit || c.received < s.next {
		return dst
	}
	// A record that is incomplete here must come whole from the live stream, which
	// has seen it only if it began behind the start.
	if (s.joining || s.next == c.received) && (s.next == s.resume() || s.recNext >= c.start) {
		s.aside, s.joining = false, false
		return append(dst, Action{Kind: Live, Sink: id})
	}
	if c.received == s.next {
		return dst
	}
	s.limit = c.received
	s.joining = int64(s.limit-s.next) <= c.limits.Held/joinPart
	return append(dst, Action{Kind: Feed, Sink: id, Limit: s.limit})
}

// joinPart is the part of Held that may be missing to a sink for which live blocks
// begin to be kept.
const joinPart = 4

// wanted is up to where the sink should flush because another is served from what
// it has flushed, and is about to join.
func (c *Chain) wanted(id SinkID) wal.LSN {
	var want wal.LSN
	for i := range c.sinks {
		if s := &c.sinks[i]; s.aside && s.source == id && s.joining {
			want = max(want, s.limit)
		}
	}
	return want
}

// AddSink gives a sink that was not there before its place, that of one that was
// removed if there is one.
func (c *Chain) AddSink(sink Sink) SinkID {
	for i := range c.sinks {
		if c.sinks[i].gone {
			c.sinks[i] = sinkState{Sink: sink, source: NoSink}
			return SinkID(i)
		}
	}
	c.sinks = append(c.sinks, sinkState{Sink: sink, source: NoSink})
	return SinkID(len(c.sinks) - 1)
}

// RemoveSink takes a sink away for good: nobody waits for it, and its number is
// free.
func (c *Chain) RemoveSink(id SinkID) {
	c.Detach(id)
	s := &c.sinks[id]
	s.gone, s.Required, s.After = true, false, nil
}

// Change gives a sink other properties; what its process subscribes to stays.
func (c *Chain) Change(id SinkID, required bool, after []SinkID) {
	c.sinks[id].Required, c.sinks[id].After = required, after
}

// Forget drops the live blocks that are held: the source has broken off, and
// [Chain.Restart] follows. Sinks that are aside go on.
func (c *Chain) Forget() {
	c.blocks, c.held = c.blocks[:0], 0
	for i := range c.sinks {
		c.sinks[i].joining = false
	}
}
