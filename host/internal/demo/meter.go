package demo

import (
	"time"

	"github.com/walplex/walplex/host/internal/stream"
)

// meterSpan is the time over which rates are taken.
const meterSpan = time.Second

// meter takes rates of what a stream has received.
type meter struct {
	samples []sample // oldest first, at least meterSpan of them once there are enough
}

type sample struct {
	at             time.Time
	bytes, records int64
}

func (m *meter) add(st stream.Status) {
	if n := len(m.samples); n > 0 && !st.At.After(m.samples[n-1].at) {
		return
	}
	m.samples = append(m.samples, sample{st.At, st.Bytes, st.Records})
	for len(m.samples) > 2 && st.At.Sub(m.samples[1].at) >= meterSpan {
		m.samples = m.samples[1:]
	}
}

// rates are bytes and records a second.
func (m *meter) rates() (bytes, records float64) {
	if len(m.samples) < 2 {
		return 0, 0
	}
	a, b := m.samples[0], m.samples[len(m.samples)-1]
	s := b.at.Sub(a.at).Seconds()
	return float64(b.bytes-a.bytes) / s, float64(b.records-a.records) / s
}
