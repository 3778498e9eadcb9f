package demo

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/walplex/walplex/host/internal/stream"
)

// How often the view is renewed.
const (
	drawEvery = 200 * time.Millisecond // on a terminal
	textEvery = 2 * time.Second
)

// reporter shows how the run goes: on a terminal the view is drawn anew in its
// place, elsewhere there is a line for every step, and one every two seconds meanwhile.
type reporter struct {
	out    io.Writer
	fail   func(error) // ends the run, when nobody can see it any more
	screen *screen     // nil: no terminal
	stop   chan struct{}
	once   sync.Once
	gone   sync.WaitGroup

	mu     sync.Mutex
	view   view
	at     int // the current step
	status func() stream.Status
	meter  meter
	closed bool
}

// newReporter shows the title and begins to renew the view.
func newReporter(out io.Writer, title, where string, steps []step, fail func(error)) *reporter {
	r := &reporter{out: out, fail: fail, screen: newScreen(out), stop: make(chan struct{}), view: view{title: title, where: where}}
	for _, s := range steps {
		r.view.steps = append(r.view.steps, stepView{name: s.name, expect: s.expect})
	}
	if r.screen == nil {
		r.write(title + "\n" + where + "\n")
	}
	r.gone.Go(r.renew)
	return r
}

// watch adds the stream to the view.
func (r *reporter) watch(status func() stream.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// begin and end frame a step.
func (r *reporter) begin(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.view.steps[i].began = i, time.Now()
	r.draw()
}

func (r *reporter) end(note string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.view.steps[r.at]
	s.ended, s.note, s.failed = time.Now(), note, err != nil
	if r.screen == nil {
		r.write(s.line(s.ended, false) + "\n")
	}
	r.draw()
}

// close shows the last state and ends the renewal.
func (r *reporter) close() {
	r.once.Do(func() {
		close(r.stop)
		r.gone.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.draw()
	})
}

func (r *reporter) renew() {
	every := textEvery
	if r.screen != nil {
		every = drawEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.mu.Lock()
			r.draw()
			if r.screen == nil && r.view.stream != nil && running(r.view.stream.State) {
				r.write(r.view.text() + "\n")
			}
			r.mu.Unlock()
		case <-r.stop:
			return
		}
	}
}

// draw takes in how things stand and draws them, where there is a terminal. It
// needs mu.
func (r *reporter) draw() {
	r.view.now = time.Now()
	if r.status != nil {
		st := r.status()
		r.meter.add(st)
		r.view.stream = &st
		r.view.bytes, r.view.records = r.meter.rates()
	}
	if r.screen != nil {
		r.write(r.screen.draw(r.view.lines(r.screen.style)))
	}
}

func (r *reporter) write(s string) {
	if _, err := io.WriteString(r.out, s); err != nil {
		r.fail(fmt.Errorf("the progress cannot be shown: %w", err))
	}
}
