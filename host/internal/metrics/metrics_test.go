package metrics_test

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/metrics"
	"github.com/walplex/walplex/host/internal/primary"
	"github.com/walplex/walplex/host/internal/status"
	"github.com/walplex/walplex/host/internal/stream"
)

var rewrite = flag.Bool("rewrite", false, "write the golden file anew")

func ptr[T any](v T) *T { return &v }

// report has every metric: two streams, one with its slot in danger and a sink
// that catches up, one of which nothing is known.
func report() status.Report {
	at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	return status.Make(status.Input{At: at, Host: status.Host{PID: 1, Version: "v1.2.3", StartedAt: at}, Streams: []status.StreamInput{
		{Stream: stream.Status{Name: "main", Slot: "walplex", State: stream.Streaming, Timeline: 2, Received: 0x5000000, Server: 0x5000100, Confirmed: 0x4000000,
			Bytes: 1 << 20, Records: 77, Reconnects: 2, HeldBytes: 11, RingBytes: 22, RingUsed: 33, Sinks: []stream.SinkStatus{
				{Name: "archive", Type: "segment_file", State: stream.SinkLive, Required: true, Transport: "ring", Starts: 3, Lag: 1500 * time.Millisecond, LagBytes: 44,
					SinkPositions: chain.SinkPositions{Sent: 0x5000000, Written: 0x4800000, Flushed: 0x4000000, Applied: 0x4000000, InFlight: 55}},
				{Name: "calls", Type: "web-hook", State: stream.SinkLive, Metrics: []stream.SinkMetric{
					{Name: "requests_total", Help: "Requests sent.", Counter: true, Value: 12}, {Name: "depth", Help: "Of the queue.", Value: 1.5}}},
				{Name: "more", Type: "web_hook", State: stream.SinkLive, Metrics: []stream.SinkMetric{
					{Name: "requests_total", Help: "Another help.", Counter: true, Value: 3}, {Name: "depth", Help: "Another kind.", Counter: true, Value: 7}}},
				{Name: "trail", Type: "audit", State: stream.SinkCatchingUp, Transport: "grpc", Starts: 1,
					CatchUp: &stream.CatchUpStatus{From: 0x1000000, Position: 0x2000000, Target: 0x5000000}},
				{Name: "pages", Type: "page_cache", State: stream.SinkBackup, Transport: "ring", Starts: 1,
					Backup: &stream.BackupStatus{Phase: stream.BackupCopying, Done: 77, Total: 770}},
			}},
			Primary: &primary.Status{Slot: "walplex", Known: true, Sample: primary.Sample{At: at, Exists: true, Restart: 0x4000000, Current: 0x5000200, WALStatus: "extended",
				Safe: ptr(int64(66)), KeepSize: 1 << 20, Disk: &primary.Disk{Free: 88, Size: 99}},
				Judgement: primary.Judgement{Level: primary.Warning, Held: 0x1000200, End: primary.SlotLost, Left: 66, TimeLeft: ptr(90 * time.Second)}}},
		{Stream: stream.Status{Name: "branch", Slot: "w2", State: stream.Reconnecting, Error: "connection\nrefused"},
			Primary: &primary.Status{Slot: "w2", Error: "refused", Judgement: primary.Judgement{Level: primary.Unknown}}},
	}})
}

// TestLint holds all names, types and helps against Prometheus' conventions.
func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(metrics.NewRegistry(report))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// get asks a server that serves a report.
func get(t *testing.T, report func() status.Report, path string, header ...string) (int, string) {
	t.Helper()
	s, err := metrics.Start(t.Context(), "127.0.0.1:0", report, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.WithoutCancel(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Address()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// TestMetrics compares the exposition of ours with a golden file: dashboards and
// alerts rely on it.
func TestMetrics(t *testing.T) {
	code, body := get(t, report, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, body)
	}
	var ours strings.Builder
	for line := range strings.Lines(body) {
		if strings.Contains(line, "walplex_") {
			ours.WriteString(goVersion.ReplaceAllString(line, `goversion="go"`))
		}
	}
	for _, name := range []string{"go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("%s is missing", name)
		}
	}
	path := filepath.Join("testdata", "metrics.txt")
	if *rewrite {
		if err := os.WriteFile(path, []byte(ours.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if ours.String() != string(want) {
		t.Errorf("another exposition (-rewrite writes it anew):\n%s", ours.String())
	}
}

var goVersion = regexp.MustCompile(`goversion="[^"]*"`)

func TestReady(t *testing.T) {
	code, body := get(t, report, "/readyz")
	if code != http.StatusServiceUnavailable || body != "branch: the stream is reconnecting: connection refused\n" {
		t.Errorf("%d %q", code, body)
	}
	code, body = get(t, report, "/readyz", "Accept", "application/json")
	var answer struct {
		Ready   bool
		Reasons []struct{ Stream, Sink, Text string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusServiceUnavailable || answer.Ready || len(answer.Reasons) != 1 || answer.Reasons[0].Stream != "branch" {
		t.Errorf("%d %q %v", code, body, err)
	}
	good := func() status.Report {
		return status.Make(status.Input{Streams: []status.StreamInput{{Stream: stream.Status{Name: "main", State: stream.Streaming}}}})
	}
	if code, body := get(t, good, "/readyz"); code != http.StatusOK || body != "ready\n" {
		t.Errorf("%d %q", code, body)
	}
	// The process lives, whatever its streams do.
	if code, body := get(t, report, "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := get(t, report, "/"); code != http.StatusNotFound {
		t.Errorf("/: %d", code)
	}
}

func TestAddressInUse(t *testing.T) {
	s, err := metrics.Start(t.Context(), "127.0.0.1:0", report, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	if _, err := metrics.Start(t.Context(), s.Address(), report, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "host.http") {
		t.Errorf("the same address twice: %v", err)
	}
}
