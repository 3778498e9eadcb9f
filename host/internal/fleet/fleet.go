// Package fleet runs the streams of one configuration side by side, and gives
// them a new configuration while they run: what stops one stream does not stop
// the others, and what a new configuration leaves as it is goes on untouched.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/walplex/walplex/host/internal/stream"
)

// Fleet is a set of streams. Its methods may be called at any time from any
// goroutine.
type Fleet struct {
	until stream.Until
	log   *slog.Logger

	reloading sync.Mutex // one at a time

	mu      sync.Mutex
	ctx     context.Context // nil before Run
	drain   <-chan struct{}
	order   []string // names, as in the configuration
	members map[string]*member
	running sync.WaitGroup
	failed  bool
	ended   bool // Run returns, or has
}

// member is a stream and how it is stopped alone.
type member struct {
	s     *stream.Stream
	drain chan struct{}
	once  sync.Once
	done  chan struct{}
}

func (m *member) stop() { m.once.Do(func() { close(m.drain) }) }

// New makes a fleet whose streams run until.
func New(until stream.Until, log *slog.Logger) *Fleet {
	return &Fleet{until: until, log: log, members: map[string]*member{}}
}

// ErrFailed says that a stream has failed; the log has said how.
var ErrFailed = errors.New("a stream has failed")

// Run runs the streams until each has ended, by itself, after drain was closed, or
// because ctx has.
func (f *Fleet) Run(ctx context.Context, drain <-chan struct{}, configs []stream.Config) error {
	f.mu.Lock()
	f.ctx, f.drain = ctx, drain
	for _, c := range configs {
		f.start(c)
	}
	f.mu.Unlock()
	for {
		f.running.Wait()
		f.mu.Lock()
		if f.allDone() {
			break
		}
		f.mu.Unlock() // a reload has started another one
	}
	defer f.mu.Unlock()
	f.ended = true
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case f.failed:
		return ErrFailed
	}
	return nil
}

// allDone needs mu.
func (f *Fleet) allDone() bool {
	for _, m := range f.members {
		if !m.ended() {
			return false
		}
	}
	return true
}

func (m *member) ended() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// start needs mu.
func (f *Fleet) start(c stream.Config) {
	c.Until = f.until
	m := &member{s: stream.New(c, f.log), drain: make(chan struct{}), done: make(chan struct{})}
	if f.members[c.Name] == nil {
		f.order = append(f.order, c.Name)
	}
	f.members[c.Name] = m
	ctx, all := f.ctx, f.drain
	go func() {
		select {
		case <-all:
			m.stop()
		case <-m.done:
		}
	}()
	f.running.Go(func() {
		defer close(m.done)
		// Logged when it happens: the other streams may go on for years.
		if err := m.s.Run(ctx, m.drain); err != nil && ctx.Err() == nil {
			f.log.Error("the stream has stopped", "stream", c.Name, "error", err)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.failed = true
		}
	})
}

// Status is how the streams stand, in the configuration's order.
func (f *Fleet) Status() []stream.Status {
	f.mu.Lock()
	members := make([]*member, 0, len(f.order))
	for _, name := range f.order {
		members = append(members, f.members[name])
	}
	f.mu.Unlock()
	var all []stream.Status
	for _, m := range members {
		all = append(all, m.s.Status())
	}
	return all
}

// Reload gives the streams a new configuration, and answers what it has changed,
// for people. A stream that has failed is started again.
func (f *Fleet) Reload(ctx context.Context, configs []stream.Config) ([]string, error) {
	f.reloading.Lock()
	defer f.reloading.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx == nil || f.ended || closed(f.drain) {
		return nil, errors.New("walplex is not running its streams, or is about to end")
	}
	what := f.removeMissing(configs)
	for _, c := range configs {
		m := f.members[c.Name]
		switch {
		case m == nil:
			what = append(what, fmt.Sprintf("stream %q is added", c.Name))
			f.start(c)
		case m.ended():
			what = append(what, fmt.Sprintf("stream %q had ended and is started again", c.Name))
			f.failed = false
			f.start(c)
		default:
			changes, err := f.change(ctx, m, c)
			if err != nil {
				return what, fmt.Errorf("stream %q: %w", c.Name, err)
			}
			what = append(what, changes...)
		}
	}
	return what, nil
}

// change needs mu, and lets go of it while it waits: the stream may be waiting
// for something that takes long.
func (f *Fleet) change(ctx context.Context, m *member, c stream.Config) ([]string, error) {
	f.mu.Unlock()
	defer f.mu.Lock()
	c.Until = f.until
	return m.s.Reload(ctx, c)
}

// removeMissing stops the streams that the configuration has no more. It needs
// mu.
func (f *Fleet) removeMissing(configs []stream.Config) (what []string) {
	wanted := map[string]bool{}
	for _, c := range configs {
		wanted[c.Name] = true
	}
	var order []string
	for _, name := range f.order {
		if wanted[name] {
			order = append(order, name)
			continue
		}
		what = append(what, fmt.Sprintf("stream %q is stopped; its slot, if it has one, keeps WAL until it is dropped", name))
		f.members[name].stop()
		delete(f.members, name)
	}
	f.order = order
	return what
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
