package chain

import "github.com/walplex/walplex/sdk/wal"

// Action is one thing that the stream is to do.
type Action struct {
	Kind  ActionKind
	Sink  SinkID  // Deliver, Flush
	Block BlockID // Deliver, Release

	// Deliver: what of the block is new to the sink: raw WAL from WALFrom, records
	// that end after RecordsFrom and start at or after Begin.
	WALFrom     wal.LSN
	RecordsFrom wal.LSN
	Begin       wal.LSN

	Number uint64 // Flush

	Limit wal.LSN // Feed: up to where blocks may be offered; exactly there one must end
}

// ActionKind says what to do.
type ActionKind uint8

// The kinds of action.
const (
	Deliver ActionKind = iota + 1 // send the block to the sink
	Flush                         // ask the sink to flush
	Release                       // nobody needs the block any more, once it was sent to those it was delivered to
	Feed                          // serve the sink, which is aside, up to Limit
	Live                          // the sink is not aside any more
)

// Next appends what is to be done now to dst. All of it has then been counted as
// done.
func (c *Chain) Next(dst []Action) []Action {
	for i := range c.sinks {
		dst = c.serveAside(dst, SinkID(i))
		dst = c.deliver(dst, SinkID(i))
	}
	for i := range c.sinks {
		dst = c.flush(dst, SinkID(i))
	}
	return c.release(dst)
}

// deliver sends the sink all that it may have.
func (c *Chain) deliver(dst []Action, id SinkID) []Action {
	s := &c.sinks[id]
	if !c.live(s) {
		return dst
	}
	for i := range c.blocks {
		b := &c.blocks[i]
		if b.End <= s.next {
			continue
		}
		if s.next < b.Start || !c.hasCredit(s, b) || !c.afterFlushed(s, b.End) {
			break
		}
		dst = append(dst, s.take(id, b))
	}
	return dst
}

// take counts a block as sent.
func (s *sinkState) take(id SinkID, b *Block) Action {
	a := Action{Kind: Deliver, Sink: id, Block: b.ID, WALFrom: max(s.next, b.Start), RecordsFrom: s.recNext, Begin: s.begin}
	s.next, s.recNext = b.End, max(b.RecordsEnd, s.recNext)
	s.sizes = append(s.sizes, b.Size)
	s.inFlight += b.Size
	return a
}

// hasCredit lets a block out that is alone larger than the credit when nothing
// else is on the way.
func (c *Chain) hasCredit(s *sinkState, b *Block) bool {
	return len(s.sizes) == 0 || len(s.sizes) < c.limits.Blocks && s.inFlight+b.Size <= c.limits.Credit
}

// flush asks for durability when the source is idle, when half of the window is
// unflushed, when the host can take no more, or at the end. One request is on the
// way at a time: what arrives meanwhile is flushed by the next.
func (c *Chain) flush(dst []Action, id SinkID) []Action {
	s := &c.sinks[id]
	if !s.attached || s.flushNumber != s.flushedNumber || s.next == s.flushAsked {
		return dst
	}
	atRest := s.next == c.received && (c.idle || c.finish) || s.aside && (c.finish || s.next == s.limit) || s.flushed < c.wanted(id)
	half := int64(s.next-s.flushAsked) >= c.limits.Credit/2
	if !atRest && !half && c.CanReceive() {
		return dst
	}
	s.flushNumber++
	s.flushAsked = s.next
	return append(dst, Action{Kind: Flush, Sink: id, Number: s.flushNumber})
}

// release lets go of blocks from the oldest on.
func (c *Chain) release(dst []Action) []Action {
	for len(c.blocks) > 0 {
		b := &c.blocks[0]
		for i := range c.sinks {
			if c.keeps(&c.sinks[i], b.End) {
				return dst
			}
		}
		dst = append(dst, Action{Kind: Release, Block: b.ID})
		c.held -= b.Size
		c.blocks = c.blocks[1:]
	}
	return dst
}
