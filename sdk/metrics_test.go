package sdk

import (
	"fmt"
	"sync"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// The host gets a sink's numbers with each sign of life that it asks for.
func TestMetrics(t *testing.T) {
	p := &probe{}
	var counter Counter
	p.onOpen = func(r *OpenRequest) (OpenResult, error) {
		counter = r.Metrics.Counter("rows", "Rows sent.")
		r.Metrics.Gauge("depth", "Of the queue.").Set(-2.5)
		return OpenResult{New: true}, nil
	}
	c := serve(t, p, RawWAL())
	open(t, c)
	h := stream(t, within(t), c, wal.LSN(0x100000))
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { counter.Add(1.5) })
	}
	all.Wait()
	counter.Add(-1) // a counter only grows
	h.heartbeat(1)
	m := h.recv().GetMetrics().GetMetrics()
	if len(m) != 2 || m[0].Name != "rows_total" || !m[0].Counter || m[0].Value != 15 || m[1].Name != "depth" || m[1].Counter || m[1].Value != -2.5 {
		t.Errorf("the host is told %v", m)
	}
	if hb := h.recv().GetHeartbeat(); hb.GetNumber() != 1 {
		t.Errorf("the heartbeat is answered by %v", hb)
	}
}

func TestMetricsAreBounded(t *testing.T) {
	var m Metrics
	for i := range 2 * MaxMetrics {
		m.Gauge(fmt.Sprintf("g%d", i), "").Set(1)
		m.Gauge(fmt.Sprintf("g%d", i), "").Set(2)
	}
	if list := m.wire().Metrics; len(list) != MaxMetrics || list[0].Value != 2 {
		t.Errorf("%d metrics, the first is %v", len(list), list[0])
	}
}
