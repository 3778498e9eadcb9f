package status_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/primary"
	"github.com/walplex/walplex/host/internal/status"
	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/sdk/wal"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func now() time.Time { return time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC) }

func ptr[T any](v T) *T { return &v }

const gb = 1 << 30

// well is a host whose streams are as they should be.
func well() status.Input {
	return status.Input{
		At:   now(),
		Host: status.Host{PID: 4711, Version: "v1.2.3", StartedAt: now().Add(-51 * time.Hour)},
		Streams: []status.StreamInput{{
			Stream: stream.Status{
				Name: "main", Source: "db.example.org:5432 as walplex", Slot: "walplex", State: stream.Streaming, Since: now().Add(-50 * time.Hour),
				SystemID: 7412345678901234567, Timeline: 3, Received: 0x1A3A000148, Server: 0x1A3A000148, Confirmed: 0x1A3A000148,
				Bytes: 112 * gb, Records: 912345678, RingBytes: 64 << 20, RingUsed: 3 << 20,
				Sinks: []stream.SinkStatus{
					{Name: "archive", Type: "segment_file", State: stream.SinkLive, Required: true, Up: true, OnLag: stream.Block, Transport: "ring", PID: 4712, Starts: 1,
						SinkPositions: chain.SinkPositions{Attached: true, Sent: 0x1A3A000148, Written: 0x1A3A000148, Flushed: 0x1A3A000148}},
					{Name: "pages", Type: "page_cache", State: stream.SinkLive, Required: true, Up: true, OnLag: stream.Block, Transport: "ring", PID: 4713, Starts: 1, Lag: 12 * time.Millisecond,
						SinkPositions: chain.SinkPositions{Attached: true, Sent: 0x1A3A000148, Written: 0x1A3A000148, Flushed: 0x1A3A000148, Applied: 0x1A3A000148, InFlight: 3 << 20}},
				},
			},
			Primary: &primary.Status{Slot: "walplex", Known: true,
				Sample: primary.Sample{At: now().Add(-4 * time.Second), Exists: true, Active: true, PID: 99, Restart: 0x1A39000148, Current: 0x1A3A000148,
					WALStatus: "reserved", Safe: ptr(int64(10*gb - 16<<20)), KeepSize: 10 * gb, MaxWALSize: gb,
					Disk: &primary.Disk{Path: "/pg/pg_wal", Free: 80 * gb, Size: 200 * gb}},
				Judgement: primary.Judgement{Level: primary.OK, Held: 16 << 20, WALRate: 4.2e6, End: primary.SlotLost, Allowance: 10 * gb, Left: 10*gb - 16<<20}},
		}},
	}
}

// ill is a host with everything that can be wrong.
func ill() status.Input {
	in := well()
	main := &in.Streams[0].Stream
	main.Confirmed, main.Reconnects = 0x193A000148, 3
	main.Sinks[0].State, main.Sinks[0].Up, main.Sinks[0].Transport, main.Sinks[0].PID = stream.SinkDown, false, "", 0
	main.Sinks[0].Error, main.Sinks[0].Starts = "the sink ended with exit status 2 9 s after its start; it is started again in 12 s; its last lines: write /var/lib/walplex/archive/000000030000001A0000003A.partial:\n\x1b[31mno space left on device", 8
	main.Sinks[0].Flushed, main.Sinks[0].LagBytes, main.Sinks[0].Lag = 0x193A000148, 4*gb, 95*time.Second
	main.Sinks = append(main.Sinks, stream.SinkStatus{
		Name: "trail", Type: "audit", State: stream.SinkCatchingUp, Up: true, OnLag: stream.CatchUp, Filtered: true, Transport: "grpc", PID: 4714, Starts: 1,
		Lag: 2 * time.Hour, LagBytes: 2 * gb,
		SinkPositions: chain.SinkPositions{Sent: 0x19BA000148, Written: 0x19BA000148, Flushed: 0x19BA000148},
		CatchUp:       &stream.CatchUpStatus{Source: "archive", From: 0x193A000148, Position: 0x19BA000148, Target: 0x1A3A000148, Since: now().Add(-time.Minute)},
	}, stream.SinkStatus{
		Name: "counter", Type: "table_counter", State: stream.SinkOff, OnLag: stream.Detach, Starts: 1, Error: "it fell behind by more than max_lag (1 GB)",
	}, stream.SinkStatus{
		Name: "copy", Type: "page_cache", State: stream.SinkBackup, Up: true, OnLag: stream.CatchUp, Transport: "ring", PID: 4715, Starts: 2, Error: "it died in the one before",
		Backup: &stream.BackupStatus{Phase: stream.BackupCopying, Start: wal.Position{Timeline: 3, LSN: 0x1A39000028}, Done: 3 * gb, Total: 40 * gb, Since: now().Add(-time.Minute)},
	}, stream.SinkStatus{
		Name: "next", Type: "page_cache", State: stream.SinkBackup, Up: true, OnLag: stream.CatchUp, Transport: "ring", PID: 4716, Starts: 1,
		Backup: &stream.BackupStatus{Phase: stream.BackupConnecting, Since: now().Add(-time.Minute), Error: "connect (server 10.0.0.7:5432): connection refused"},
	})
	p := in.Streams[0].Primary
	p.Level, p.Why, p.Holder = primary.Critical, "the slot comes close to max_slot_wal_keep_size, and is lost there", "archive"
	p.Held, p.Left, p.TimeLeft, p.Safe = 9*gb, gb, ptr(256*time.Second), ptr(int64(gb))
	in.Streams = append(in.Streams, status.StreamInput{
		Stream: stream.Status{Name: "branch", Source: "10.0.0.7:5432 as walplex", Slot: "walplex", State: stream.Reconnecting, Since: now().Add(-30 * time.Second),
			Error: "connect (server 10.0.0.7:5432): connection refused; check that the server runs and listens there"},
		Primary: &primary.Status{Slot: "walplex", Error: "connect for SQL (server 10.0.0.7:5432): connection refused", Judgement: primary.Judgement{Level: primary.Unknown}},
	}, status.StreamInput{
		Stream: stream.Status{Name: "old", State: stream.Failed, Gap: true, Error: "the server has removed WAL that is needed: sink \"archive\" needs WAL from 0/3000000 on"},
	}, status.StreamInput{Stream: stream.Status{Name: "fresh", State: stream.Starting}})
	return in
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-rewrite writes it anew); got\n%s\nwant\n%s", path, got, want)
	}
}

// TestJSON: the shape is a promise to scripts.
func TestJSON(t *testing.T) {
	for name, in := range map[string]status.Input{"well": well(), "ill": ill()} {
		r := status.Make(in)
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", append(b, '\n'))
		var back status.Report
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		again, err := json.MarshalIndent(back, "", "  ")
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: what is read back is another (%v):\n%s", name, err, again)
		}
	}
}

// TestText shows the reports at three widths; no line is wider than its screen.
func TestText(t *testing.T) {
	for name, in := range map[string]status.Input{"well": well(), "ill": ill()} {
		for _, width := range []int{80, 120, 0} {
			var b bytes.Buffer
			r := status.Make(in)
			if err := r.WriteText(&b, status.Screen{Width: width}); err != nil {
				t.Fatal(err)
			}
			suffix := map[int]string{80: "-80", 120: "-120", 0: ""}[width]
			golden(t, name+suffix+".txt", b.Bytes())
			for line := range strings.Lines(b.String()) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); width > 0 && n > width {
					t.Errorf("%s at %d: %d columns: %s", name, width, n, line)
				}
			}
			if strings.Contains(b.String(), "\x1b") {
				t.Errorf("%s: an escape sequence of a sink's reaches the terminal", name)
			}
		}
	}
	var b bytes.Buffer
	r := status.Make(ill())
	if err := r.WriteText(&b, status.Screen{Width: 80, Color: true}); err != nil || !strings.Contains(b.String(), "\x1b[31mdown") {
		t.Errorf("no color (%v):\n%s", err, b.String())
	}
}

// TestVerdict: what makes a host not ok, and what only not ready.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name      string
		change    func(in *status.Input)
		ok, ready bool
	}{
		{"well", func(*status.Input) {}, true, true},
		{"no stream", func(in *status.Input) { in.Streams = nil }, true, true},
		{"catching up", func(in *status.Input) { in.Streams[0].Stream.State = stream.CatchingUp }, true, false},
		{"reconnecting", func(in *status.Input) { in.Streams[0].Stream.State = stream.Reconnecting }, false, false},
		{"failed", func(in *status.Input) { in.Streams[0].Stream.State = stream.Failed }, false, false},
		{"stopped", func(in *status.Input) { in.Streams[0].Stream.State = stream.Stopped }, true, false},
		{"gap", func(in *status.Input) { in.Streams[0].Stream.Gap = true }, false, true},
		{"required sink down", func(in *status.Input) { in.Streams[0].Stream.Sinks[0].State = stream.SinkDown }, false, false},
		{"required sink off", func(in *status.Input) { in.Streams[0].Stream.Sinks[0].State = stream.SinkOff }, false, false},
		{"required sink catches up", func(in *status.Input) { in.Streams[0].Stream.Sinks[0].State = stream.SinkCatchingUp }, true, false},
		{"required sink gets a backup", func(in *status.Input) { in.Streams[0].Stream.Sinks[0].State = stream.SinkBackup }, true, false},
		{"another sink down", func(in *status.Input) {
			in.Streams[0].Stream.Sinks[0].State, in.Streams[0].Stream.Sinks[0].Required = stream.SinkDown, false
		}, true, true},
		{"slot warns", func(in *status.Input) { in.Streams[0].Primary.Level = primary.Warning }, false, true},
		{"slot critical", func(in *status.Input) { in.Streams[0].Primary.Level = primary.Critical }, false, true},
		{"slot unknown", func(in *status.Input) {
			in.Streams[0].Primary.Known, in.Streams[0].Primary.Level = false, primary.Unknown
		}, true, true},
		{"no slot", func(in *status.Input) { in.Streams[0].Primary = nil }, true, true},
	} {
		in := well()
		c.change(&in)
		r := status.Make(in)
		if r.OK != c.ok || r.Ready != c.ready || r.OK != (len(r.Problems) == 0) || r.Ready != (len(r.NotReady) == 0) {
			t.Errorf("%s: ok %t, ready %t, want %t, %t; %v %v", c.name, r.OK, r.Ready, c.ok, c.ready, r.Problems, r.NotReady)
		}
	}
}

// TestNotTold: a stream that does not tell its sinks' states yet.
func TestNotTold(t *testing.T) {
	in := status.Input{At: now(), Streams: []status.StreamInput{{Stream: stream.Status{Name: "main", State: stream.Streaming, Received: 0x3000, Server: 0x4000, Sinks: []stream.SinkStatus{
		{Name: "a", Up: true, SinkPositions: chain.SinkPositions{Flushed: 0x1000}},
		{Name: "b", Error: "it died"},
		{Name: "c"},
	}}}}}
	s := status.Make(in).Streams[0]
	if s.LagBytes != 0x1000 || s.Sinks[0].LagBytes != 0x3000 || s.Sinks[0].State != stream.SinkLive || s.Sinks[1].State != stream.SinkDown || s.Sinks[2].State != stream.SinkStarting {
		t.Errorf("%+v", s)
	}
}

// TestServerGoesOn: a server whose stream is held up tells nobody that it goes on
// but the watch over its slot.
func TestServerGoesOn(t *testing.T) {
	in := well()
	in.Streams[0].Primary.Current += 1 << 20
	s := status.Make(in).Streams[0]
	if s.LagBytes != 1<<20 || s.Sinks[0].LagBytes != 1<<20 || s.ServerLSN != s.Primary.WALLSN {
		t.Errorf("%+v", s)
	}
}

func TestHolder(t *testing.T) {
	s := well().Streams[0].Stream
	if h := status.Holder(&s); h != "" {
		t.Errorf("all have flushed all, but %s holds the slot", h)
	}
	s.Sinks[1].Flushed--
	if h := status.Holder(&s); h != "pages" {
		t.Errorf("%q holds the slot, want pages", h)
	}
	s.Sinks[1].FlushedThrough = s.Received
	if h := status.Holder(&s); h != "" {
		t.Errorf("%s holds the slot with half a record", h)
	}
	s.Sinks[1].FlushedThrough, s.Sinks[1].Required = 0, false
	if h := status.Holder(&s); h != "" {
		t.Errorf("a sink that is not required holds the slot: %s", h)
	}
}

func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "0.98 kB", 1 << 20: "1.00 MB", 10 << 20: "10.0 MB", 123456789: "118 MB", 5 * gb: "5.00 GB"} {
		if got := status.Bytes(n); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 9999: "9999", 12345: "12.3 k", 912345678: "912 M"} {
		if got := status.Count(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0 s", 12 * time.Millisecond: "12 ms", 1500 * time.Millisecond: "1.5 s", 59 * time.Second: "59 s",
		95 * time.Second: "1 min 35 s", 2 * time.Hour: "2 h", 51 * time.Hour: "2 d 3 h", 1<<63 - 1: "more than 100 years"} {
		if got := status.Duration(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}
