package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// TestUntilCaughtUp archives what there is and ends, twice: the second run goes on
// where the first has ended.
func TestUntilCaughtUp(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	conf := d.write(allSinks, c.DSN())
	start(t, "run", "--until", "caught-up", conf).wants(0, "target reached")
	initPgbench(t, c)
	end := flushLSN(t, c)
	h := start(t, "run", "--until", "caught-up", conf)
	h.wants(0, "new=false")
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
	// The server has been told: its slot is where we are.
	slotReaches(t, c, "walplex", end)
}

// TestUntilLSN ends when an LSN that lies ahead has been flushed.
func TestUntilLSN(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	target := (flushLSN(t, c) + 3<<20)
	h := start(t, "run", "--until", target.String(), d.write(allSinks, c.DSN()))
	h.says("caught up", 1)
	initPgbench(t, c)
	h.wants(0, "target reached")
	compareArchive(t, c, d.path("archive"), target)
}

// TestServerStopsFast: a server that shuts down waits until everything that it
// sent is confirmed. Under all three sinks that must not take long; nor on a
// standby, whose WAL may end inside a record.
func TestServerStopsFast(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	initPgbench(t, c)
	h := start(t, "run", d.write(allSinks, c.DSN()))
	h.says("caught up", 1)
	wait := load(t, c, 2)
	wait()
	began := time.Now()
	if err := c.Stop(t.Context(), postgres.Fast); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the server took %s to stop", took)
	}
	// It says why it ends the stream; a status that is sent just then finds it gone.
	h.says("the stream is interrupted", 1)
	h.stop()
	end := controlCheckpoint(t, c)
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// controlCheckpoint is the end of a server that was stopped: behind its shutdown
// checkpoint.
func controlCheckpoint(t *testing.T, c *postgres.Cluster) wal.LSN {
	t.Helper()
	out, err := c.Tool(t.Context(), "pg_controldata", c.DataDir()).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(line, "Latest checkpoint location:"); ok {
			lsn, err := wal.ParseLSN(strings.TrimSpace(v))
			if err != nil {
				t.Fatal(err)
			}
			// The record of a shutdown checkpoint is 114 bytes long, aligned to 8.
			return (lsn + 114).AlignUp()
		}
	}
	t.Fatal("pg_controldata does not tell the checkpoint")
	return 0
}

// TestStandbyAsSource streams from a standby and stops it under load, when the
// WAL that it has sent ends anywhere.
func TestStandbyAsSource(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	s := pgtest.Standby(t, c, func(o *postgres.Options) { o.Conf["wal_keep_size"] = "4GB" })
	d := newDirs(t)
	h := start(t, "run", d.write(allSinks, s.DSN()))
	h.says("caught up", 1)
	wait := load(t, c, 4)
	slotReaches(t, s, "walplex", flushLSN(t, c)+1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx, postgres.Fast); err != nil {
		t.Fatal(err)
	}
	wait()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	end := flushLSN(t, c)
	slotReaches(t, s, "walplex", end)
	h.stop()
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// TestTwoStreams runs two servers' streams in one host; one server's trouble does
// not touch the other's stream.
func TestTwoStreams(t *testing.T) {
	a, b := server(t), server(t)
	d := newDirs(t)
	text := strings.Replace(archiveOnly, `"main"`, `"a"`, 1) +
		strings.NewReplacer(`"main"`, `"b"`, "ROOT/archive", "ROOT/archive-b", "DSN", strconv.Quote(b.DSN())).Replace(archiveOnly)
	h := start(t, "run", d.write(text, a.DSN()))
	h.says("caught up", 2)
	if err := b.Kill9(t.Context()); err != nil {
		t.Fatal(err)
	}
	initPgbench(t, a)
	slotReaches(t, a, "walplex", flushLSN(t, a))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	initPgbench(t, b)
	endA, endB := flushLSN(t, a), flushLSN(t, b)
	slotReaches(t, b, "walplex", endB)
	slotReaches(t, a, "walplex", endA)
	h.stop()
	compareArchive(t, a, d.path("archive"), endA)
	compareArchive(t, b, d.path("archive-b"), endB)
}

// TestKills ends the host, each sink and the server with SIGKILL in the middle of
// a load. Afterwards nothing is missing and nothing is doubled.
func TestKills(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	d := newDirs(t)
	conf := d.write(allSinks, c.DSN())
	h := start(t, "run", conf)
	h.says("caught up", 1)

	wait := load(t, c, 10)
	for _, name := range []string{"archive", "trail", "pages", "trail"} {
		h.killSink(name)
	}
	pids := []int{h.sinkPID("archive"), h.sinkPID("trail"), h.sinkPID("pages")}
	h.kill9()
	eventually(t, "no sink outlives the host", func() bool {
		for _, pid := range pids {
			if alive(pid) {
				return false
			}
		}
		return true
	})
	h = start(t, "run", conf)
	h.says("caught up", 1)
	h.killSink("archive")
	wait()

	go func() { _, _ = c.Pgbench(context.WithoutCancel(t.Context()), "-n", "-c", "4", "-T", "3", "postgres") }() // the server dies under it
	began := flushLSN(t, c)
	eventually(t, "the load has begun", func() bool { return flushLSN(t, c) > began+100<<10 })
	if err := c.Kill9(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	load(t, c, 2)()
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	h.stop()
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// alive reports whether the process runs; a zombie does not.
func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// verifyTrail holds the audit trail against pg_waldump: the same records, each
// once.
func verifyTrail(t *testing.T, c *postgres.Cluster, trail string, end wal.LSN) {
	t.Helper()
	verifyTrailAgainst(t, c, c.WALDir(), trail, end)
}

// verifyTrailAgainst is verifyTrail against the WAL in a directory.
func verifyTrailAgainst(t *testing.T, c *postgres.Cluster, segments, trail string, end wal.LSN) {
	t.Helper()
	start(t, "audit", "verify", trail).wants(0)
	first, records := trailRecords(t, trail, end)
	out, err := c.Tool(t.Context(), "pg_waldump", "-p", segments, "-s", first, "-e", end.String()).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "error in WAL record") {
		t.Fatalf("pg_waldump: %v\n%.2000s", err, out)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "rmgr:") {
			continue
		}
		_, lsn, _ := strings.Cut(line, "lsn: ")
		lsn, _, _ = strings.Cut(lsn, ",")
		want, err := wal.ParseLSN(lsn)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if n >= len(records) || records[n] != want {
			t.Fatalf("record %d is at %s, in the trail it is not", n, want)
		}
		n++
	}
	if n != len(records) {
		t.Fatalf("pg_waldump has %d records, the trail %d", n, len(records))
	}
}

// trailRecords are the starts of the trail's records that end at or before end.
func trailRecords(t *testing.T, trail string, end wal.LSN) (first string, starts []wal.LSN) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(trail, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no trail in %s", trail)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			s, ok := strings.CutPrefix(line, `{"start_lsn":"`)
			if !ok {
				continue
			}
			s, rest, _ := strings.Cut(s, `"`)
			_, e, _ := strings.Cut(rest, `"end_lsn":"`)
			e, _, _ = strings.Cut(e, `"`)
			lsn, err1 := wal.ParseLSN(s)
			endLSN, err2 := wal.ParseLSN(e)
			if err1 != nil || err2 != nil {
				t.Fatalf("%s: %q", f, line)
			}
			if endLSN > end {
				continue
			}
			if len(starts) == 0 {
				first = s
			}
			starts = append(starts, lsn)
		}
	}
	return first, starts
}

// TestSignals: the first SIGTERM flushes and tells the server, a second ends at
// once.
func TestSignals(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	conf := d.write(archiveOnly, c.DSN())
	h := start(t, "run", conf)
	h.says("caught up", 1)
	end := flushLSN(t, c)
	h.stop()
	slotReaches(t, c, "walplex", end)

	h = start(t, "run", conf)
	pid := h.sinkPID("archive")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	initPgbench(t, c)
	h.signal(syscall.SIGTERM)
	h.says("stopping in order", 1)
	h.signal(syscall.SIGTERM)
	h.wants(1, "ended at once")
}
