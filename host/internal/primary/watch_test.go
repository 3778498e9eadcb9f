package primary

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
)

// patience bounds every wait of a test.
const patience = time.Minute

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// server has a slot that nobody reads and may hold four segments of 1 MiB.
func server(t *testing.T, change ...func(*postgres.Options)) *postgres.Cluster {
	t.Helper()
	c := pgtest.Start(t, append([]func(*postgres.Options){func(o *postgres.Options) {
		o.SegmentSizeMB = 1
		o.Conf = map[string]string{"max_slot_wal_keep_size": "4MB", "min_wal_size": "2MB", "max_wal_size": "64MB",
			"checkpoint_timeout": "1h", "autovacuum": "off"}
	}}, change...)...)
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('held', true)")
	return c
}

func connect(t *testing.T, c *postgres.Cluster) *replication.Ordinary {
	t.Helper()
	o, err := replication.ConnectOrdinary(patient(t), replication.Config{DSN: c.DSN()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close(context.WithoutCancel(t.Context())) })
	return o
}

func systemID(t *testing.T, c *postgres.Cluster) uint64 {
	t.Helper()
	s, err := c.QueryString(patient(t), "SELECT system_identifier FROM pg_control_system()")
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// fill writes a segment of WAL.
func fill(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	pgtest.Exec(t, c, "SELECT pg_logical_emit_message(false, 'x', 'x')", "SELECT pg_switch_wal()")
}

// TestSlotIsLost follows a slot that stands still from ok over warning to
// critical and to its loss. The clock is the test's, so that only bytes count.
func TestSlotIsLost(t *testing.T) {
	c := server(t)
	o := connect(t, c)
	var j Judge
	clock := time.Unix(0, 0)
	look := func() (Sample, Judgement) {
		t.Helper()
		s, err := Read(patient(t), o, "held", 0)
		if err != nil {
			t.Fatal(err)
		}
		clock = clock.Add(24 * time.Hour)
		s.At = clock
		return s, j.Add(s)
	}
	var levels []Level
	var last Judgement
	for range 10 {
		s, v := look()
		if len(levels) == 0 || levels[len(levels)-1] != v.Level {
			levels = append(levels, v.Level)
		}
		switch {
		case !s.Exists || !s.Physical || s.Active || s.KeepSize != 4<<20 || s.MaxWALSize != 64<<20:
			t.Fatalf("the slot is read wrong: %+v", s)
		case s.Invalidation == "" && s.WALStatus != "lost" && (s.Safe == nil || v.End != SlotLost || v.Held != int64(s.Current-s.Restart)):
			t.Fatalf("%+v, %+v", s, v)
		case len(levels) > 1 && v.Held > last.Held && v.Left > last.Left:
			t.Fatalf("more is held and more is left: %+v after %+v", v, last)
		}
		last = v
		fill(t, c)
	}
	if got := strings.Join([]string{string(levels[0]), string(levels[1]), string(levels[2])}, " "); got != "ok warning critical" || len(levels) != 3 {
		t.Fatalf("the levels were %q", levels)
	}
	if err := c.Checkpoint(patient(t)); err != nil {
		t.Fatal(err)
	}
	if s, v := look(); s.WALStatus != "lost" || v.Level != Critical || !strings.Contains(v.Why, "lost") {
		t.Fatalf("after a checkpoint: %+v, %+v", s, v)
	}
}

// TestDisk: the server is on this machine, so its disk is seen, and only with the
// proof that it is this server.
func TestDisk(t *testing.T) {
	c := server(t)
	o := connect(t, c)
	id := systemID(t, c)
	s, err := Read(patient(t), o, "held", id)
	if err != nil {
		t.Fatal(err)
	}
	if s.Disk == nil || s.Disk.Path != c.WALDir() || s.Disk.Free <= 0 || s.Disk.Size < s.Disk.Free {
		t.Fatalf("the disk is %+v", s.Disk)
	}
	for _, other := range []uint64{0, id + 1} {
		if s, err = Read(patient(t), o, "held", other); err != nil || s.Disk != nil {
			t.Errorf("with the system identifier %d the disk is %+v (%v)", other, s.Disk, err)
		}
	}
	pid, err := os.ReadFile(filepath.Join(c.DataDir(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	started, err := strconv.ParseInt(strings.Split(string(pid), "\n")[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := diskOf(place{c.DataDir(), id, started}); err != nil {
		t.Error(err)
	}
	if _, err := diskOf(place{c.DataDir(), id, started - 2*startTolerance}); err == nil {
		t.Error("a server that was started at another time is taken for this one")
	}
}

func newWatcher(c *postgres.Cluster, dsn string, out *bytes.Buffer) *Watcher {
	return NewWatcher(Config{Stream: "main", Slot: "held", Server: replication.Config{DSN: c.DSN(dsn)},
		Standing: func() Standing { return Standing{Holder: "archive"} }}, slog.New(slog.NewTextHandler(out, nil)))
}

// TestWatcherSays: each change of the level is one line, with what to do.
func TestWatcherSays(t *testing.T) {
	c := server(t)
	var out bytes.Buffer
	w := newWatcher(c, "", &out)
	defer w.disconnect(t.Context())
	if s := w.Status(); s.Known || s.Level != Unknown || s.Slot != "held" {
		t.Fatalf("before the first look: %+v", s)
	}
	look := func() Status {
		t.Helper()
		if w.look(patient(t)) {
			t.Fatalf("refused: %s", out.String())
		}
		return w.Status()
	}
	if s := look(); !s.Known || s.Level != OK || out.Len() != 0 {
		t.Fatalf("at first: %+v\n%s", s, out.String())
	}
	for range 5 {
		fill(t, c)
	}
	for range 2 {
		if s := look(); s.Level != Critical || s.Holder != "archive" {
			t.Fatalf("after five segments: %+v", s)
		}
	}
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
		t.Fatalf("%d errors in\n%s", n, out.String())
	}
	for _, text := range []string{"held_bytes=", "left_bytes=", "sink archive", "walplex slot drop", "slot=held", "stream=main"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %q in\n%s", text, out.String())
		}
	}
	pgtest.Exec(t, c, "SELECT pg_drop_replication_slot('held')")
	if s := look(); s.Level != Unknown || s.Exists || !s.Known {
		t.Fatalf("without the slot: %+v", s)
	}
	// A connection that was cut off costs one look.
	pgtest.Exec(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'walplex'")
	if s := look(); s.Known || s.Error == "" {
		t.Fatalf("after its connection ended: %+v", s)
	}
	if s := look(); !s.Known {
		t.Fatalf("connected again: %+v", s)
	}
}

// TestWatcherRefused: a role that may only replicate is told of once, and costs
// the knowledge only.
func TestWatcherRefused(t *testing.T) {
	c := pgtest.Start(t, func(o *postgres.Options) {
		o.HBA = []string{"local replication all trust", "local all postgres trust"}
	})
	pgtest.Exec(t, c, "CREATE ROLE rep REPLICATION LOGIN")
	var out bytes.Buffer
	w := newWatcher(c, "user=rep", &out)
	for range 3 {
		if !w.look(patient(t)) {
			t.Fatalf("not refused: %+v", w.Status())
		}
	}
	if s := w.Status(); s.Known || s.Level != Unknown || !strings.Contains(s.Error, "pg_hba.conf") {
		t.Errorf("refused: %+v", s)
	}
	if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "the stream is not affected") {
		t.Errorf("said:\n%s", out.String())
	}
}

// TestPlainRole: a role with nothing but LOGIN and REPLICATION sees the slot.
func TestPlainRole(t *testing.T) {
	c := server(t)
	pgtest.Exec(t, c, "CREATE ROLE rep REPLICATION LOGIN")
	var out bytes.Buffer
	w := newWatcher(c, "user=rep", &out)
	defer w.disconnect(t.Context())
	w.look(patient(t))
	if s := w.Status(); !s.Known || s.Level != OK || s.Safe == nil || s.Disk != nil {
		t.Errorf("%+v\n%s", s, out.String())
	}
}

// TestStandby: a standby's slots hold what it has received.
func TestStandby(t *testing.T) {
	s := pgtest.Standby(t, pgtest.Start(t))
	pgtest.Exec(t, s, "SELECT pg_create_physical_replication_slot('held', true)")
	var out bytes.Buffer
	w := newWatcher(s, "", &out)
	defer w.disconnect(t.Context())
	w.look(patient(t))
	if v := w.Status(); !v.Known || v.Current == 0 || v.Restart == 0 {
		t.Errorf("%+v\n%s", v, out.String())
	}
}

// TestWatcherRuns: it looks at once, again and again, and ends with its context.
func TestWatcherRuns(t *testing.T) {
	c := server(t)
	w := NewWatcher(Config{Stream: "main", Slot: "held", Server: replication.Config{DSN: c.DSN()}, Interval: time.Millisecond,
		Standing: func() Standing { return Standing{} }}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	done := make(chan struct{})
	go func() {
		w.Run(ctx)
		close(done)
	}()
	var first time.Time
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if ctx.Err() != nil {
			t.Fatalf("no second sample: %+v", w.Status())
		}
		s := w.Status()
		if s.Known && first.IsZero() {
			first = s.At
		}
		if s.Known && s.At.After(first) {
			break
		}
	}
	cancel()
	<-done
}
