package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/sdk/wal"
)

// errReload ends a session so that the next one has the new configuration.
var errReload = errors.New("the configuration was changed")

// change is a new configuration for the loop.
type change struct {
	cfg  Config
	done chan []string
}

// Reload gives a running stream a new configuration, of the same name, and answers
// what it has changed, for people. Sinks whose settings are the same go on; the
// connection too, unless it is to be another. It fails when the stream has ended.
func (s *Stream) Reload(ctx context.Context, cfg Config) ([]string, error) {
	c := change{cfg: cfg, done: make(chan []string, 1)}
	signal(s.poked)
	select {
	case s.changes <- c:
	case <-s.done:
		return nil, errors.New("the stream has ended")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case what := <-c.done:
		return what, nil
	case <-s.done:
		return nil, errors.New("the stream has ended")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reload takes in a new configuration. errReload means that the connection must
// be made anew.
func (s *Stream) reload(ctx context.Context, c change) error {
	select {
	case <-s.poked: // it was heard
	default:
	}
	r := reloading{s: s, ctx: ctx, next: c.cfg}
	r.sinks()
	again := r.source()
	c.done <- r.what
	if len(r.what) > 0 {
		s.log.Info("the configuration was changed", "changes", r.what)
	}
	s.show()
	if again {
		return errReload
	}
	return nil
}

// reloading is one reload.
type reloading struct {
	s    *Stream
	ctx  context.Context
	next Config
	what []string
}

func (r *reloading) say(format string, args ...any) {
	r.what = append(r.what, fmt.Sprintf("stream %q: ", r.s.cfg.Name)+fmt.Sprintf(format, args...))
}

// source takes over where the stream comes from, and answers whether it is to be
// connected to anew.
func (r *reloading) source() bool {
	cfg, next := &r.s.cfg, &r.next
	again := false
	if !reflect.DeepEqual(cfg.Server, next.Server) || !reflect.DeepEqual(cfg.Archive, next.Archive) {
		again = true
		r.say("connecting anew with the new connection settings")
	}
	if cfg.Slot != next.Slot {
		again = true
		r.say("slot %q instead of %q; the old one is left as it is, and keeps WAL until it is dropped", next.Slot, cfg.Slot)
	}
	if cfg.StatusInterval != next.StatusInterval {
		again = true
		r.say("status_interval %s", next.StatusInterval)
	}
	if cfg.Ring != next.Ring {
		r.say("the ring's size changes when walplex is started again")
	}
	if !reflect.DeepEqual(cfg.Fallbacks, next.Fallbacks) {
		r.say("fallbacks")
	}
	cfg.Fallbacks = next.Fallbacks
	cfg.Server, cfg.Archive, cfg.Slot, cfg.CreateSlot = next.Server, next.Archive, next.Slot, next.CreateSlot
	cfg.StatusInterval, cfg.Start = next.StatusInterval, next.Start
	if r.s.chain != nil {
		r.s.chain.SetSlot(cfg.Slot != "")
	}
	return again
}

// sinks takes over the sinks: first those that go, so that what comes instead
// finds its place.
func (r *reloading) sinks() {
	s := r.s
	for i := range s.sinks {
		if !s.sinks[i].gone && r.named(s.cfg.Sinks[i].Name) == nil {
			r.remove(chain.SinkID(i))
		}
	}
	ids := map[string]chain.SinkID{}
	for i := range s.sinks {
		if !s.sinks[i].gone {
			ids[s.cfg.Sinks[i].Name] = chain.SinkID(i)
		}
	}
	var added []chain.SinkID
	for i := range r.next.Sinks {
		cfg := r.next.Sinks[i]
		var after []int
		for _, a := range cfg.After {
			after = append(after, int(ids[r.next.Sinks[a].Name]))
		}
		cfg.After = after
		if id, ok := ids[cfg.Name]; ok {
			r.change(id, cfg)
			continue
		}
		ids[cfg.Name] = r.add(cfg)
		added = append(added, ids[cfg.Name])
	}
	for _, id := range added {
		s.startSink(r.ctx, id, 0)
	}
}

func (r *reloading) named(name string) *SinkConfig {
	for i := range r.next.Sinks {
		if r.next.Sinks[i].Name == name {
			return &r.next.Sinks[i]
		}
	}
	return nil
}

func (r *reloading) remove(id chain.SinkID) {
	s := r.s
	r.say("sink %q is removed; what it holds stays", s.cfg.Sinks[id].Name)
	s.retire(r.ctx, id, nil)
	if s.chain != nil {
		s.chain.RemoveSink(id)
	}
	s.sinks[id] = sink{gone: true, generation: s.sinks[id].generation + 1}
	s.cfg.Sinks[id].Required, s.cfg.Sinks[id].After = false, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view.Sinks != nil {
		s.view.Sinks[id].gone = true
	}
}

func (r *reloading) add(cfg SinkConfig) chain.SinkID {
	s := r.s
	r.say("sink %q is added", cfg.Name)
	id := chain.SinkID(slices.IndexFunc(s.sinks, func(k sink) bool { return k.gone }))
	if s.chain != nil {
		id = s.chain.AddSink(chainSink(&cfg))
	} else if id < 0 {
		id = chain.SinkID(len(s.sinks))
	}
	if int(id) == len(s.sinks) {
		s.sinks = append(s.sinks, sink{})
		s.cfg.Sinks = append(slices.Clone(s.cfg.Sinks), cfg)
	}
	s.sinks[id] = sink{generation: s.sinks[id].generation + 1, begin: s.newBegin()}
	s.cfg.Sinks[id] = cfg
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view.Sinks != nil {
		s.view.Sinks = append(s.view.Sinks[:id:id], append([]SinkStatus{newSinkStatus(&cfg)}, s.view.Sinks[min(int(id)+1, len(s.view.Sinks)):]...)...)
	}
	return id
}

// newBegin is where a sink begins that is added to a running stream: at the least
// position that the server is still asked to keep; 0: not known yet.
func (s *Stream) newBegin() (least wal.LSN) {
	if s.chain == nil {
		return 0
	}
	for i := range s.sinks {
		if p := s.chain.Positions(chain.SinkID(i)); !s.sinks[i].gone && s.cfg.Sinks[i].Required && p.Flushed != 0 && (least == 0 || p.Flushed < least) {
			least = p.Flushed
		}
	}
	return least
}

// change takes over the settings of a sink that stays.
func (r *reloading) change(id chain.SinkID, next SinkConfig) {
	s := r.s
	k, old := &s.sinks[id], s.cfg.Sinks[id]
	s.cfg.Sinks[id] = next
	restart := !sameProcess(&old, &next)
	switch {
	case restart:
		r.say("sink %q is started anew with its new settings", next.Name)
	case old.FilterText != next.FilterText && k.life != nil && !k.life.setFilter(next.Filter):
		restart = true
		r.say("sink %q is started anew, because it has a filter now, or none any more", next.Name)
	case old.FilterText != next.FilterText:
		r.say("sink %q has a new filter, from the next block on", next.Name)
	}
	if s.chain != nil && (old.Required != next.Required || !slices.Equal(old.After, next.After)) {
		cs := chainSink(&next)
		s.chain.Change(id, cs.Required, cs.After)
	}
	if old.Required != next.Required || !slices.Equal(old.After, next.After) || old.OnLag != next.OnLag || old.MaxLag != next.MaxLag {
		r.say("sink %q: required %t, on_lag %s, max_lag %d", next.Name, next.Required, next.onLag(), next.MaxLag)
	}
	if k.off != nil && !restart {
		restart = true
		r.say("sink %q was off and is started again", next.Name)
	}
	if restart {
		s.restart(r.ctx, id)
	}
}

// sameProcess reports whether a running process suits both settings.
func sameProcess(a, b *SinkConfig) bool {
	return reflect.DeepEqual(a.Spec, b.Spec) && bytes.Equal(a.ConfigJSON, b.ConfigJSON) && a.Untrusted == b.Untrusted
}

// restart ends a sink's process in order, and starts it with its new settings.
func (s *Stream) restart(ctx context.Context, id chain.SinkID) {
	k := &s.sinks[id]
	k.off, k.opening = nil, false
	k.known = wal.Position{} // its directory may be another
	k.generation++
	k.backoff.reset()
	ended := make(chan struct{})
	s.retire(ctx, id, ended)
	if s.chain != nil {
		s.chain.Detach(id)
	}
	s.startSinkAfter(ctx, id, ended)
}

// retire ends a life in order, in the background: it makes durable what it was
// sent. ended is closed then.
func (s *Stream) retire(ctx context.Context, id chain.SinkID, ended chan<- struct{}) {
	l, whole := s.sinks[id].life, s.sinks[id].backup == nil
	s.stopFeeder(id)
	s.stopBackup(id) // of which nothing is kept
	s.sinks[id].life = nil
	done := func() {
		if ended != nil {
			close(ended)
		}
	}
	if l == nil {
		done()
		return
	}
	var stop = s.sinks[id].best
	if s.chain != nil {
		stop = s.chain.Positions(id).Sent
	}
	s.opens.Go(func() {
		defer done()
		ctx, cancel := context.WithTimeout(ctx, l.times.Drain)
		defer cancel()
		if l.stream != nil && whole {
			if err := l.drain(ctx, stop); err != nil {
				l.log.Warn("the sink did not end in order; what it had not flushed will be streamed again", "error", err)
			}
		}
		l.end()
	})
}

// startSinkAfter is startSink once a predecessor has ended.
func (s *Stream) startSinkAfter(ctx context.Context, id chain.SinkID, ended <-chan struct{}) {
	s.startSinkWhen(ctx, id, func(ctx context.Context) bool {
		select {
		case <-ended:
			return true
		case <-ctx.Done():
			return false
		}
	})
}

// startSink opens a sink in a goroutine, after a delay.
func (s *Stream) startSink(ctx context.Context, id chain.SinkID, delay time.Duration) {
	s.startSinkWhen(ctx, id, func(ctx context.Context) bool { return wait(ctx, delay) })
}

func chainSink(cfg *SinkConfig) chain.Sink {
	c := chain.Sink{Name: cfg.Name, Required: cfg.Required}
	for _, a := range cfg.After {
		c.After = append(c.After, chain.SinkID(a))
	}
	return c
}
