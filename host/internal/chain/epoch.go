package chain

import "github.com/walplex/walplex/sdk/wal"

// Timelines. Every sink is on a timeline, and so is the live stream. A sink on
// another one than the stream's keeps no block and is sent none: it waits for the
// stream to come to its timeline, or is served aside up to the end of its own, and
// is then rewound to the next.

// SetTimeline tells on which timeline a sink is: before its Attach.
func (c *Chain) SetTimeline(id SinkID, tli wal.TimelineID) { c.sinks[id].timeline = tli }

// SetLiveTimeline tells of which timeline the blocks are from the next Restart on.
func (c *Chain) SetLiveTimeline(tli wal.TimelineID) { c.timeline = tli }

// LimitTo sets up to where a sink aside is served that is on another timeline than
// the stream: the end of its own.
func (c *Chain) LimitTo(id SinkID, lsn wal.LSN) {
	if s := &c.sinks[id]; s.aside && s.timeline != c.timeline {
		s.limit, s.joining = lsn, false
	}
}

// Rewound puts a sink that has taken all that it was sent at a position on another
// timeline, as it has answered.
func (c *Chain) Rewound(id SinkID, tli wal.TimelineID, at wal.LSN) {
	s := &c.sinks[id]
	s.timeline = tli
	s.next, s.recNext, s.written, s.flushed, s.flushAsked = at, at, at, at, at
	s.applied = min(s.applied, at)
	s.begin, s.limit, s.joining, s.offered = 0, at, false, nil
}

// Reconfirm tells the restart_lsn of the slot of another server than before, of
// which nothing was confirmed yet.
func (c *Chain) Reconfirm(lsn wal.LSN) { c.confirmed = lsn }
