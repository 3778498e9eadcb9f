package stream

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/sdk/wire"
	"github.com/walplex/walplex/sdk/wire/ring"
)

// buffer holds the bytes of one block. It is shared by the loop, by the senders
// of the sinks that it was delivered to, and, when it lies in the ring, by the
// sinks themselves. It is free again when all have let go of it.
type buffer struct {
	id      chain.BlockID
	data    []byte
	slot    slot
	view    wire.View
	feeder  *feeder // whose it is, for a sink that is served beside the live stream; nil: a live block
	holders atomic.Int32
	pool    *pool
}

func (b *buffer) hold() { b.holders.Add(1) }

func (b *buffer) release() {
	if b.holders.Add(-1) == 0 {
		b.pool.put(memory{b.data, b.slot})
	}
}

// slot counts the ring's slots from 1; 0 is none: the memory is the heap's.
type slot int

// memory is where a block is built.
type memory struct {
	bytes []byte
	slot  slot
}

// smallBlock is the size below which a block is copied out of the large buffer
// that it was built in: a trickle of small blocks must not pin large buffers, or
// slots of the ring. Of the heap's buffers a block pins none that it does not
// fill: the chain's limits count what is in blocks.
const smallBlock = 32 << 10

// blockOverhead is about what a block takes beside its bytes.
const blockOverhead = 512

// freeBuffers bounds how many large buffers wait to be used again.
const freeBuffers = 4

// pool gives memory for the next blocks: slots of the shared ring while any is
// free, else large buffers of the heap, of which it keeps some. How much is handed
// out at a time is bounded by the chain, whatever it is. The zero pool has no
// ring.
type pool struct {
	mu     sync.Mutex
	free   [][]byte
	ring   *ring.Ring
	slots  []slot // free ones; the last one used is used first, while it is in the caches
	asked  bool   // for the ring, which is made once
	closed bool
}

// share makes the ring of so many bytes when it is first asked for, and answers
// it; nil: there is none.
func (p *pool) share(bytes int64, log *slog.Logger) *ring.Ring {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked || bytes <= 0 {
		return p.ring
	}
	p.asked = true
	r, err := ring.Create(bytes)
	if err != nil {
		log.Warn("there is no shared ring; blocks go to the sinks over gRPC", "error", err)
		return nil
	}
	p.ring = r
	for i := r.Slots(); i > 0; i-- {
		p.slots = append(p.slots, slot(i))
	}
	return r
}

// get gives memory, which may be none yet.
func (p *pool) get() memory {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take(0)
}

// getAside is get for a block that goes to one sink beside the live stream: it
// leaves half of the ring to the blocks that go to all.
func (p *pool) getAside() memory {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ring == nil {
		return p.take(0)
	}
	return p.take(p.ring.Slots() / 2)
}

// take gives a slot while more than so many are free. It needs mu.
func (p *pool) take(leave int) memory {
	if n := len(p.slots); n > leave && !p.closed {
		s := p.slots[n-1]
		p.slots = p.slots[:n-1]
		return memory{p.ring.Slot(int(s) - 1), s}
	}
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return memory{bytes: b}
	}
	return memory{}
}

func (p *pool) put(m memory) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case m.slot != 0:
		p.slots = append(p.slots, m.slot)
		p.closeIdle()
	case cap(m.bytes) >= wire.BlockWAL && len(p.free) < freeBuffers:
		p.free = append(p.free, m.bytes[:0])
	}
}

// built is where a block lies that was built in m: elsewhere, when it has
// outgrown its slot, which is then free.
func (p *pool) built(m memory, block []byte) memory {
	if m.slot == 0 || &m.bytes[:1][0] == &block[0] {
		return memory{block, m.slot}
	}
	p.put(m)
	return memory{bytes: block}
}

// offset is where a slot begins, in bytes from the start of the ring.
func (p *pool) offset(s slot) uint64 { return uint64(s-1) * ring.SlotSize }

// usage is the size of the ring and how much of it is in use, in bytes.
func (p *pool) usage() (size, used int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ring == nil {
		return 0, 0
	}
	return p.ring.Size(), p.ring.Size() - int64(len(p.slots))*ring.SlotSize
}

// close gives the ring back to the system, once nobody holds a slot any more.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.closeIdle()
}

// closeIdle needs mu.
func (p *pool) closeIdle() {
	if p.closed && p.ring != nil && len(p.slots) == p.ring.Slots() {
		_ = p.ring.Close() // its memory ends with the process at the latest
		p.ring, p.slots = nil, nil
	}
}
