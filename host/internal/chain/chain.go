// Package chain decides who gets which block, who is to flush, which block can
// be freed, and what PostgreSQL may be told. It is a state machine without I/O,
// clock, goroutine or log: the stream tells it what happened and does what
// [Chain.Next] answers.
//
// Positions. Each attached sink has next, the LSN up to which WAL was sent to
// it. A block goes to a sink when it holds bytes at or after next, the sink has
// credit, and every sink that it comes after has flushed the block's end. A block
// is released as soon as no attached sink needs it any more: sent, not flushed.
// What a sink had not flushed when it died is read again from the source.
//
// Aside. A sink that is far behind is served beside the live stream, from blocks
// of its own ([Chain.Offer]) that are read from somewhere else up to a limit, the
// end of a live block. At the limit it is given the next one. When little is
// missing, the live blocks behind the limit are kept for it, and at the limit it
// is live again: the two streams of blocks meet at one LSN, so there is no gap and
// nothing twice, and a record that goes on across it comes from the live stream.
//
// Invariants, asserted by the simulation in this package's tests:
//   - a sink is sent contiguous WAL: no gap, and nothing twice within one attach,
//     but for the incomplete record at the end when the source was restarted;
//   - the flush position for PostgreSQL is at most what every required sink has
//     flushed, and never below what was confirmed before (then it is 0, which
//     PostgreSQL does not act on);
//   - a sink never holds more than its credit, the host never more than its limit;
//   - a sink that is aside keeps no live block longer than the limit on what is held
//     allows, so it never holds up another.
package chain

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// SinkID is the index of a sink in the configuration's order.
type SinkID int

// Sink is what the chain must know of a sink.
type Sink struct {
	Name     string
	Required bool
	After    []SinkID // it sees only what these have flushed
	Records  bool     // it is sent records, so its position is a record end; else raw WAL
	Applied  bool     // it reports an apply position
}

// Limits bound the chain's memory.
type Limits struct {
	Credit int64 // bytes sent to one sink and not yet released by it
	Blocks int   // blocks likewise
	Held   int64 // bytes of blocks held in the host
}

// DefaultLimits keep a disk busy while the next WAL arrives.
func DefaultLimits() Limits { return Limits{Credit: 16 << 20, Blocks: 1024, Held: 16 << 20} }

// BlockID numbers the blocks in the order of their arrival.
type BlockID uint64

// Block is what the chain must know of a block of WAL.
type Block struct {
	ID         BlockID
	Start, End wal.LSN
	RecordsEnd wal.LSN // End, or the start of the record that is incomplete there
	Size       int64   // bytes in memory
}

// sinkState is one sink as the chain sees it.
type sinkState struct {
	Sink
	attached bool
	begin    wal.LSN // where a new sink begins: records that start before are not its own; 0 for others

	next    wal.LSN // WAL before it was sent
	recNext wal.LSN // records that end before or at it were sent; the incomplete record's start
	written wal.LSN
	flushed wal.LSN
	applied wal.LSN

	sizes         []int64 // of the blocks sent and not released, oldest first
	inFlight      int64   // their sum, bytes
	released      uint64  // blocks released since attach
	flushNumber   uint64  // of the last flush that was asked for
	flushedNumber uint64  // of the last that was answered
	flushAsked    wal.LSN // next when the last flush was asked for
	used          bool

	timeline wal.TimelineID // of what it is sent
	aside    bool
	source   SinkID  // whose flushed WAL it is served from while aside, NoSink: another source
	limit    wal.LSN // aside: up to where it is served; the end of a live block when it was set
	joining  bool    // aside: the live blocks behind limit are kept for it
	offered  *Block  // aside: the block that it has not been sent yet
	gone     bool    // removed for good
}

// live reports whether the sink is served by the live stream.
func (c *Chain) live(s *sinkState) bool { return s.attached && !s.aside && s.timeline == c.timeline }

// keeps reports whether the live block that ends at end is kept for the sink.
func (c *Chain) keeps(s *sinkState, end wal.LSN) bool {
	return s.next < end && (c.live(s) || s.attached && s.aside && s.joining && s.limit < end)
}

// Chain is the state of one stream's delivery.
type Chain struct {
	sinks   []sinkState
	limits  Limits
	segment wal.SegmentSize
	slot    bool

	timeline wal.TimelineID // of the live blocks
	start    wal.LSN        // from where the source is read since the last restart
	blocks   []Block        // held, contiguous
	held     int64
	received wal.LSN // end of the last block received
	idle     bool    // the source has nothing more at this moment
	finish   bool    // no more blocks will come: flush everything

	confirmed wal.LSN // the highest flush position told, or the slot's restart_lsn
	nextID    BlockID
}

// New makes a chain over sinks, which come in an order in which nobody is after
// a later one. segment and slot tell what the server keeps: with a slot, whole
// segments from the confirmed position on.
func New(sinks []Sink, segment wal.SegmentSize, slot bool, limits Limits) *Chain {
	c := &Chain{limits: limits, segment: segment, slot: slot}
	for _, s := range sinks {
		c.sinks = append(c.sinks, sinkState{Sink: s})
	}
	return c
}

// SetRestartLSN tells the slot's restart_lsn as read at the start: no flush
// position below it is reported, which would move it back.
func (c *Chain) SetRestartLSN(lsn wal.LSN) { c.confirmed = max(c.confirmed, lsn) }

// SetSlot tells whether the server keeps WAL in a slot.
func (c *Chain) SetSlot(slot bool) { c.slot = slot }

// Subscribe tells what a sink is sent and reports, which only its process knows:
// it comes before the sink's Attach.
func (c *Chain) Subscribe(id SinkID, records, applied bool) {
	c.sinks[id].Records, c.sinks[id].Applied = records, applied
}

// Attach adds a sink that has just been opened: it holds everything before at,
// or begins there when it is new.
func (c *Chain) Attach(id SinkID, at wal.LSN, isNew bool) {
	s := &c.sinks[id]
	*s = sinkState{Sink: s.Sink, timeline: s.timeline, sizes: s.sizes[:0], attached: true, used: true, next: at, recNext: at, flushAsked: at,
		written: at, flushed: at, applied: at, source: NoSink}
	if isNew {
		s.begin = at
	}
}

// Detach removes a sink that died. What it had flushed still counts.
func (c *Chain) Detach(id SinkID) {
	s := &c.sinks[id]
	s.attached, s.aside, s.joining, s.offered = false, false, false, nil
	s.written, s.applied = s.flushed, min(s.applied, s.flushed)
}

// Attached reports whether the sink is there.
func (c *Chain) Attached(id SinkID) bool { return c.sinks[id].attached }

// Restart tells that the source begins again at lsn: what was held is forgotten,
// and a record that was incomplete is sent again from its start.
func (c *Chain) Restart(lsn wal.LSN) {
	c.blocks, c.held, c.received, c.idle, c.finish = c.blocks[:0], 0, lsn, false, false
	c.start = lsn
	for i := range c.sinks {
		s := &c.sinks[i]
		if s.joining = false; s.aside {
			continue // its own source goes on
		}
		if s.Records {
			s.next = s.recNext
			// Other WAL may follow than before (an overwritten record), and end where the
			// last flush was asked for.
			s.flushAsked = min(s.flushAsked, s.next)
		}
	}
}

// Add takes a block that follows the last one, and answers its number.
func (c *Chain) Add(b Block) (BlockID, error) {
	if b.Start != c.received || b.End <= b.Start || b.RecordsEnd > b.End {
		return 0, fmt.Errorf("chain: block from %s to %s (records to %s) does not follow %s", b.Start, b.End, b.RecordsEnd, c.received)
	}
	c.nextID++
	b.ID = c.nextID
	c.blocks = append(c.blocks, b)
	c.held += b.Size
	c.received = b.End
	c.idle = false
	return b.ID, nil
}

// SetIdle tells that the source has nothing more to give at this moment.
func (c *Chain) SetIdle() { c.idle = true }

// Finish tells that no block will come any more, so that everything is flushed.
func (c *Chain) Finish() { c.finish = true }

// CanReceive reports whether there is room for another block.
func (c *Chain) CanReceive() bool { return c.held < c.limits.Held }

// Received is the LSN after the last byte received.
func (c *Chain) Received() wal.LSN { return c.received }

// ResumeLSN is the LSN from which the source must be read so that every attached
// sink that is not aside gets what it lacks; ok is false when there is none.
func (c *Chain) ResumeLSN() (lsn wal.LSN, ok bool) { return c.resume(false) }

// ResumeRequired is ResumeLSN of the required sinks alone.
func (c *Chain) ResumeRequired() (lsn wal.LSN, ok bool) { return c.resume(true) }

func (c *Chain) resume(required bool) (lsn wal.LSN, ok bool) {
	for i := range c.sinks {
		if s := &c.sinks[i]; c.live(s) && (s.Required || !required) {
			if at := s.resume(); !ok || at < lsn {
				lsn, ok = at, true
			}
		}
	}
	return lsn, ok
}

// resume is from where the sink must be sent WAL by a source that begins anew.
func (s *sinkState) resume() wal.LSN {
	if s.Records {
		return s.recNext
	}
	return s.next
}

// MustRewind reports that an attached sink lacks WAL from before the oldest
// block held: the source must be read again from ResumeLSN.
func (c *Chain) MustRewind() bool {
	oldest := c.received
	if len(c.blocks) > 0 {
		oldest = c.blocks[0].Start
	}
	for i := range c.sinks {
		if s := &c.sinks[i]; c.live(s) && s.next < oldest {
			return true
		}
	}
	return false
}

// MaySkip reports that every attached sink has all WAL of the segment that the
// source is in: to read on to where the first lacks some would hold up them all,
// and the source is better restarted at [Chain.ResumeLSN]. So it is when a sink
// that was far behind has died.
func (c *Chain) MaySkip() bool {
	lsn, ok := c.ResumeLSN()
	return ok && c.received != 0 && c.segment.Start(lsn) > c.received
}

// Blocking is the sink that keeps the oldest block held; ok is false when none
// does.
func (c *Chain) Blocking() (id SinkID, ok bool) {
	if len(c.blocks) == 0 {
		return 0, false
	}
	for i := range c.sinks {
		if s := &c.sinks[i]; c.keeps(s, c.blocks[0].End) && c.afterFlushed(s, c.blocks[0].End) {
			return SinkID(i), true
		}
	}
	return 0, false
}

func (c *Chain) afterFlushed(s *sinkState, lsn wal.LSN) bool {
	for _, a := range s.After {
		if flushedThrough(&c.sinks[a]) < lsn {
			return false
		}
	}
	return true
}

// flushedThrough is how far the sink has flushed, as a position in the WAL: a
// sink of records that has flushed all that it was sent has flushed through the
// end of what it was sent.
func flushedThrough(s *sinkState) wal.LSN {
	if s.Records && s.used && s.flushed >= s.recNext {
		return max(s.flushed, s.next)
	}
	return s.flushed
}
