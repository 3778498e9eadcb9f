package chain

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// Progress is what a sink reports, cumulative.
type Progress struct {
	Written, Flushed, Applied wal.LSN
	FlushNumber               uint64
	ReleasedBlocks            uint64
}

// Progress takes a sink's report. An error says which rule of the contract the
// sink broke; it must then be stopped, and nothing of the report was taken.
func (c *Chain) Progress(id SinkID, p Progress) error {
	s := &c.sinks[id]
	if !s.attached {
		return nil // the last words of a sink that was given up
	}
	limit := s.next
	switch {
	case p.Written > limit || p.Flushed > limit || p.Applied > limit:
		return fmt.Errorf("sink %q acknowledges %s (written), %s (flushed), %s (applied), but was sent WAL only up to %s",
			s.Name, p.Written, p.Flushed, p.Applied, limit)
	case p.Written != 0 && p.Written < s.written || p.Flushed != 0 && p.Flushed < s.flushed || p.Applied != 0 && p.Applied < s.applied:
		return fmt.Errorf("sink %q goes backwards: written %s after %s, flushed %s after %s, applied %s after %s",
			s.Name, p.Written, s.written, p.Flushed, s.flushed, p.Applied, s.applied)
	case p.ReleasedBlocks < s.released || p.ReleasedBlocks > s.released+uint64(len(s.sizes)):
		return fmt.Errorf("sink %q gives back %d blocks after %d, of %d that it was sent", s.Name, p.ReleasedBlocks, s.released, s.released+uint64(len(s.sizes)))
	case p.FlushNumber < s.flushedNumber || p.FlushNumber > s.flushNumber:
		return fmt.Errorf("sink %q answers flush %d, but %d was asked for", s.Name, p.FlushNumber, s.flushNumber)
	case p.Flushed > max(p.Written, s.written):
		return fmt.Errorf("sink %q has flushed %s, but written only %s", s.Name, p.Flushed, max(p.Written, s.written))
	}
	s.written, s.flushed = max(s.written, p.Written), max(s.flushed, p.Flushed)
	if s.Applied {
		s.applied = max(s.applied, p.Applied)
	}
	s.flushedNumber = p.FlushNumber
	s.release(p.ReleasedBlocks)
	return nil
}

// release takes back the credit of all blocks up to number n of this attach.
func (s *sinkState) release(n uint64) {
	k := int(n - s.released)
	for _, size := range s.sizes[:k] {
		s.inFlight -= size
	}
	s.sizes = append(s.sizes[:0], s.sizes[k:]...)
	s.released = n
}

// Feedback is what PostgreSQL is told. Zero is "not known", which it does not
// act on.
type Feedback struct{ Write, Flush, Apply wal.LSN }

// Feedback computes the positions over the required sinks. It counts the answer
// as told.
func (c *Chain) Feedback() Feedback {
	var f Feedback
	var have, applied, held bool
	for i := range c.sinks {
		s := &c.sinks[i]
		if !s.Required {
			continue
		}
		if !s.used {
			return Feedback{} // one was never opened: nothing is known
		}
		w, fl := writtenThrough(s), c.confirmable(s)
		held = held || fl < flushedThrough(s)
		if !have {
			f.Write, f.Flush, have = w, fl, true
		}
		f.Write, f.Flush = min(f.Write, w), min(f.Flush, fl)
		if s.Applied {
			a := min(s.applied, s.flushed)
			if a == s.flushed {
				a = fl
			}
			if !applied || a < f.Apply {
				f.Apply, applied = a, true
			}
		}
	}
	if f.Flush < c.confirmed || held && f.Flush == c.confirmed {
		// Reporting less would move the slot's restart_lsn back. And where the flush
		// position is held back by half a record, having told it once is enough: with 0
		// a server that shuts down compares what it sent with the write position.
		f.Flush = 0
	}
	f.Apply = min(f.Apply, f.Flush)
	c.confirmed = max(c.confirmed, f.Flush)
	return f
}

func writtenThrough(s *sinkState) wal.LSN {
	if s.Records && s.written >= s.recNext {
		return max(s.written, s.next)
	}
	return s.written
}

// confirmable is the flush position that PostgreSQL may be told for a sink. A
// sink of records cannot hold half a record; when it has all records it has
// flushed through to the end of what it was sent, and a server that shuts down
// waits for just that. But the record that is incomplete there will be needed
// again from its start, and with a slot the server keeps whole segments from
// what is confirmed on: so only as long as both lie in one segment.
func (c *Chain) confirmable(s *sinkState) wal.LSN {
	through := flushedThrough(s)
	if through > s.flushed && c.slot && c.segment.SegNo(through) != c.segment.SegNo(s.recNext) {
		return s.flushed
	}
	return through
}

// SinkPositions are a sink's positions, for people to see.
type SinkPositions struct {
	Attached                        bool
	Aside                           bool // served beside the live stream
	Sent, Written, Flushed, Applied wal.LSN
	FlushedThrough                  wal.LSN // Flushed; the end of what was sent, where a sink of records has flushed all of it
	InFlight                        int64   // bytes
}

// Positions answers how far a sink is.
func (c *Chain) Positions(id SinkID) SinkPositions {
	s := &c.sinks[id]
	applied := s.applied
	if !s.Applied {
		applied = 0
	}
	return SinkPositions{Attached: s.attached, Aside: s.aside, Sent: s.next, Written: s.written, Flushed: s.flushed, Applied: applied,
		FlushedThrough: flushedThrough(s), InFlight: s.inFlight}
}

// Confirmed is the highest flush position that was told, or the slot's restart_lsn.
func (c *Chain) Confirmed() wal.LSN { return c.confirmed }

// Held is how many bytes of live blocks the host holds.
func (c *Chain) Held() int64 { return c.held }

// Reached reports whether every required sink holds durably all WAL before lsn,
// or all records that end there or before.
func (c *Chain) Reached(lsn wal.LSN) bool {
	for i := range c.sinks {
		s := &c.sinks[i]
		if s.Required && (!s.used || flushedThrough(s) < lsn) {
			return false
		}
	}
	return true
}

// AllFlushed reports whether every attached sink has flushed all that was received,
// or, when it is aside, all that it was sent.
func (c *Chain) AllFlushed() bool { return len(c.Lagging()) == 0 }

// LiveFlushed reports whether every sink that is served by the live stream has
// flushed all that was received.
func (c *Chain) LiveFlushed() bool {
	for i := range c.sinks {
		if s := &c.sinks[i]; c.live(s) && flushedThrough(s) < c.received {
			return false
		}
	}
	return true
}

// Lagging are the attached sinks of which AllFlushed does not hold.
func (c *Chain) Lagging() []SinkID {
	var ids []SinkID
	for i := range c.sinks {
		s, end := &c.sinks[i], c.received
		if !c.live(s) {
			end = s.resume()
		}
		if s.attached && flushedThrough(s) < end {
			ids = append(ids, SinkID(i))
		}
	}
	return ids
}
