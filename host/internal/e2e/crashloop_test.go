package e2e

import (
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/host/internal/supervisor"
)

// TestCrashLoop: a sink that panics over the same record again and again is shown
// as such, with its last words; the others are not harmed, and it is started
// again.
func TestCrashLoop(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	bad := stream.SinkConfig{Name: "bad", Spec: supervisor.Spec{Type: "faulty", Path: faultySink(t)}, ConfigJSON: []byte(`{"fault":"write_panics"}`)}
	p := runStream(t, c, stream.Until{}, stream.DefaultTimes(), archiveSink(d), bad)
	p.says("caught up", 1)
	initPgbench(t, c)
	eventually(t, "the crash loop is seen", func() bool {
		k := p.s.Status().Sinks[1]
		return k.State == stream.SinkCrashLoop && strings.Contains(k.Error, "panic: poisoned") && strings.Contains(k.Error, "goroutine")
	})
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	compareArchive(t, c, d.path("archive"), end)
}
