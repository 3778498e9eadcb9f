package pagestore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/walplex/walplex/sdk/wal"
)

// visible is the committed state, and whoever waits for it to advance.
type visible struct {
	mu      sync.Mutex
	st      State
	err     error         // why it will not advance any more
	behind  wal.LSN       // what was before it was collected; 0: nothing was
	changed chan struct{} // closed at the next change; nil while nobody waits
	readers sync.WaitGroup
	newest  *generation  // of the readers that enter now
	gate    sync.RWMutex // held by each reader, and by whoever deletes what readers see
}

// generation is the readers that entered between two moments at which somebody
// began to wait for those before.
type generation struct {
	readers int // v.mu
	old     bool
	gone    chan struct{} // closed when it is old and the last one has left
}

// enter begins a read, which ends with leave.
func (v *visible) enter() (*generation, error) {
	v.mu.Lock()
	if v.err != nil {
		defer v.mu.Unlock()
		return nil, v.closed()
	}
	if v.newest == nil {
		v.newest = &generation{gone: make(chan struct{})}
	}
	g := v.newest
	g.readers++
	v.readers.Add(1)
	v.mu.Unlock()
	v.gate.RLock()
	return g, nil
}

func (v *visible) leave(g *generation) {
	v.gate.RUnlock()
	v.mu.Lock()
	if g.readers--; g.readers == 0 && g.old {
		close(g.gone)
	}
	v.mu.Unlock()
	v.readers.Done()
}

// retire answers what is closed when all readers have left that are there now.
// Others may enter meanwhile. It is for one goroutine, which waits before it
// comes again.
func (v *visible) retire() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	g := v.newest
	if g == nil {
		g = &generation{gone: make(chan struct{})}
	}
	v.newest, g.old = nil, true
	if g.readers == 0 {
		close(g.gone)
	}
	return g.gone
}

// shut waits for the readers that are there to leave, and keeps others out until
// gate.Unlock. It gives up when ctx ends or abandoned is closed: a read may hang.
func (v *visible) shut(ctx context.Context, abandoned <-chan struct{}) error {
	locked := make(chan struct{})
	go func() {
		v.gate.Lock()
		close(locked)
	}()
	var err error
	select {
	case <-locked:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-abandoned:
		err = errors.New("a read of the index does not return")
	}
	go func() {
		<-locked
		v.gate.Unlock()
	}()
	return err
}

// horizon is the LSN before which nothing can be read.
func (v *visible) horizon() wal.LSN {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.st.Horizon
}

func (v *visible) state() State {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.st
}

func (v *visible) publish(st State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.st = st
	v.st.Horizon = max(st.Horizon, v.behind)
	v.wake()
}

// collect raises the horizon.
func (v *visible) collect(horizon wal.LSN) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.behind = max(v.behind, horizon)
	v.st.Horizon = max(v.st.Horizon, horizon)
}

// collected is the horizon of what was collected, 0 where nothing was.
func (v *visible) collected() wal.LSN {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.behind
}

// fail ends all waiting. The first reason stays.
func (v *visible) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = err
	}
	v.wake()
}

func (v *visible) wake() {
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
}

// closed is what readers are told; mu is held.
func (v *visible) closed() error {
	if errors.Is(v.err, ErrClosed) {
		return v.err
	}
	return fmt.Errorf("%w: %w", ErrClosed, v.err)
}

// failure is why nothing can be read any more, nil while it can.
func (v *visible) failure() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		return nil
	}
	return v.closed()
}

// poll answers the state, and where it has not reached lsn yet, what to wait for.
func (v *visible) poll(lsn wal.LSN) (State, <-chan struct{}, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.st.SystemID != 0 && v.st.LastValid >= lsn && (lsn != 0 || v.st.LastValid >= v.st.Horizon) {
		return v.st, nil, nil
	}
	if v.err != nil {
		return v.st, nil, v.closed()
	}
	if v.changed == nil {
		v.changed = make(chan struct{})
	}
	return v.st, v.changed, nil
}

// Wait returns once every record that ends at or before lsn can be read, and
// answers the state in which that is so. A store that is new has nothing to
// read, not even at LSN 0. Where a switch of timelines takes LSNs back, it waits
// for the new timeline's WAL to come that far. The error of a context that ends first wraps
// [ErrNotReached] and says how far the store is.
func (s *Store) Wait(ctx context.Context, lsn wal.LSN) (State, error) {
	for {
		st, changed, err := s.visible.poll(lsn)
		if err != nil || changed == nil {
			return st, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return st, notReached(ctx, lsn, st)
		}
	}
}

func notReached(ctx context.Context, lsn wal.LSN, st State) error {
	if st.SystemID == 0 {
		return fmt.Errorf("%w: nothing was received yet: %w", ErrNotReached, context.Cause(ctx))
	}
	return fmt.Errorf("%w: WAL was received up to %s on timeline %d, not up to %s: %w", ErrNotReached, st.LastValid, st.Timeline, lsn, context.Cause(ctx))
}

// Visible is what readers see.
func (s *Store) Visible() State { return s.visible.state() }
