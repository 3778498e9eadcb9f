package sdk

import (
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/walplex/walplex/sdk/wire"
)

// Metrics are numbers of a sink's own. They are in the host's /metrics as
// walplex_plugin_TYPE_NAME, with the labels stream and sink, a few seconds after
// they have changed. The host takes [MaxMetrics] of them. Safe for concurrent use.
type Metrics struct {
	mu   sync.Mutex
	list []*metric
}

// MaxMetrics is how many metrics a sink can have; those beyond it are not shown.
const MaxMetrics = 64

type metric struct {
	name, help string
	counter    bool
	value      atomic.Uint64 // a float64's bits
}

// Counter is a number that only grows while the process lives.
type Counter struct{ m *metric }

// Add adds n, which is not negative.
func (c Counter) Add(n float64) {
	for n > 0 {
		old := c.m.value.Load()
		if c.m.value.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+n)) {
			return
		}
	}
}

// Gauge is a number that goes up and down.
type Gauge struct{ m *metric }

// Set makes it v.
func (g Gauge) Set(v float64) { g.m.value.Store(math.Float64bits(v)) }

// Counter makes a counter, or finds the one of that name. The name is made of
// lower-case letters, digits and _; _total is added where it does not end so.
func (s *Metrics) Counter(name, help string) Counter {
	if !strings.HasSuffix(name, "_total") {
		name += "_total"
	}
	return Counter{s.metric(name, help, true)}
}

// Gauge makes a gauge, or finds the one of that name.
func (s *Metrics) Gauge(name, help string) Gauge { return Gauge{s.metric(name, help, false)} }

func (s *Metrics) metric(name, help string, counter bool) *metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.list, func(m *metric) bool { return m.name == name && m.counter == counter }); i >= 0 {
		return s.list[i]
	}
	m := &metric{name: name, help: help, counter: counter}
	if len(s.list) < MaxMetrics {
		s.list = append(s.list, m)
	}
	return m
}

// wire is all of them as the host is told.
func (s *Metrics) wire() *wire.Metrics {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &wire.Metrics{}
	for _, m := range s.list {
		out.Metrics = append(out.Metrics, &wire.Metric{Name: m.name, Help: m.help, Counter: m.counter, Value: math.Float64frombits(m.value.Load())})
	}
	return out
}
