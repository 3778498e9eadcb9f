package stream

import (
	"sync"
	"sync/atomic"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/sdk/wire"
)

// buffer holds the bytes of one block. It is shared by the loop and by the
// senders of the sinks that it was delivered to, and free again when all have
// let go of it.
type buffer struct {
	id      chain.BlockID
	data    []byte
	view    wire.View
	holders atomic.Int32
	pool    *pool
}

func (b *buffer) hold() { b.holders.Add(1) }

func (b *buffer) release() {
	if b.holders.Add(-1) == 0 {
		b.pool.put(b.data)
	}
}

// smallBlock is the size below which a block is copied out of the large buffer
// that it was built in: a trickle of small blocks must not pin large buffers.
const smallBlock = 32 << 10

// freeBuffers bounds how many large buffers wait to be used again.
const freeBuffers = 16

// pool keeps large buffers for the next blocks.
type pool struct {
	mu   sync.Mutex
	free [][]byte
}

func (p *pool) get() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return nil
}

func (p *pool) put(b []byte) {
	if cap(b) < wire.BlockWAL {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < freeBuffers {
		p.free = append(p.free, b[:0])
	}
}
