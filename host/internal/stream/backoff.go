package stream

import (
	"context"
	"math/rand/v2"
	"time"
)

// Bounds of the time between two tries.
const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 15 * time.Second
)

// backoff grows the time between tries: doubled each time, with jitter so that
// many streams of one server do not come back at the same moment.
type backoff struct {
	next time.Duration
}

// reset starts from the shortest time again, after something has worked.
func (b *backoff) reset() { b.next = 0 }

// delay is the time before the next try.
func (b *backoff) delay() time.Duration {
	b.next = min(max(b.next*2, backoffMin), backoffMax)
	return b.next/2 + rand.N(b.next/2+1)
}

// wait waits, and answers false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
