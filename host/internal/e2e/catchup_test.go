package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk/wal"
)

// trailSink is a trail that is not required.
func trailSink(d dirs) stream.SinkConfig {
	return stream.SinkConfig{Name: "trail", Spec: supervisor.Spec{Type: "audit"},
		ConfigJSON: fmt.Appendf(nil, `{"directory":%q}`, d.path("trail"))}
}

// patient are times in which a sink that is stopped is not taken for dead.
func patient() stream.Times {
	times := stream.DefaultTimes()
	times.Stall, times.Silence = 5*time.Minute, 5*time.Minute
	return times
}

// smallLimits make a sink fall behind after little WAL.
func smallLimits() chain.Limits { return chain.Limits{Credit: 1 << 20, Blocks: 64, Held: 1 << 20} }

// TestCatchUp: a sink that is stopped under load holds up nobody; when it runs
// again it is served from what the archive has kept, and then by the live stream,
// and has every record once.
func TestCatchUp(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	p := runLimited(t, c, patient(), archiveSink(d), trailSink(d))
	pid := p.sinkPID("trail")
	p.says("caught up", 1)
	stop := func(sig syscall.Signal) {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	for round := 1; round <= 3; round++ {
		stop(syscall.SIGSTOP)
		initPgbench(t, c)
		p.says("the sink has fallen behind", round)
		slotReaches(t, c, "walplex", flushLSN(t, c)) // the archive goes on
		stop(syscall.SIGCONT)
		wait := load(t, c, 1)
		p.says("is served by the live stream again", round)
		wait()
	}
	end := flushLSN(t, c)
	trailReaches(t, p.s, end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(p.log(), "sink attached"); n != 2 {
		t.Errorf("sinks were attached %d times, of 2", n)
	}
	if n := strings.Count(p.log(), "msg=connected"); n != 1 {
		t.Errorf("the server was connected to %d times", n)
	}
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// TestStopWhileAside: the stream is stopped while a sink is served beside it: what
// that was offered and not sent is left, and comes again after the next start.
func TestStopWhileAside(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	for round := range 3 {
		p := runLimited(t, c, patient(), archiveSink(d), trailSink(d))
		p.says("caught up", 1)
		pid := p.sinkPID("trail")
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		initPgbench(t, c)
		eventually(t, "the trail is served beside the stream", func() bool { return p.s.Status().Sinks[1].State == stream.SinkCatchingUp })
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := p.finish(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
	p := runLimited(t, c, patient(), archiveSink(d), trailSink(d))
	end := flushLSN(t, c)
	p.says("caught up", 1)
	trailReaches(t, p.s, end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// TestCatchUpAfterKill: a sink that dies under load comes back beside the live
// stream, which is not read again for it.
func TestCatchUpAfterKill(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	initPgbench(t, c)
	p := runLimited(t, c, stream.DefaultTimes(), archiveSink(d), trailSink(d))
	p.says("caught up", 1)
	wait := load(t, c, 4)
	for round := 2; round <= 6; round++ {
		p.killSink("trail")
		p.says("sink attached", 1+round)
	}
	wait()
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	trailReaches(t, p.s, end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(p.log(), "msg=connected"); n != 1 {
		t.Errorf("the server was connected to %d times", n)
	}
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// TestCatchUpWhatTheServerHasNot: what a sink lacks is gone from the server, but
// the archive has it.
func TestCatchUpWhatTheServerHasNot(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Conf = map[string]string{"max_wal_size": "2MB", "min_wal_size": "2MB"} })
	d := newDirs(t)
	until := stream.Until{CaughtUp: true}
	both := runStream(t, c, until, stream.DefaultTimes(), archiveSink(d), trailSink(d))
	if err := <-both.ended; err != nil {
		t.Fatal(err)
	}
	moveOn(t, c)
	alone := runStream(t, c, until, stream.DefaultTimes(), archiveSink(d))
	if err := <-alone.ended; err != nil {
		t.Fatal(err)
	}
	moveOn(t, c)
	if first := query(t, c, "SELECT min(name) FROM pg_ls_waldir() WHERE name LIKE '0000%'"); strings.HasSuffix(first, "06") {
		t.Fatalf("the server still has %s", first)
	}
	p := runStream(t, c, stream.Until{}, stream.DefaultTimes(), archiveSink(d), trailSink(d))
	p.says("is served by the live stream again", 1)
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	trailReaches(t, p.s, end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	verifyTrailAgainst(t, c, finished(t, d.path("archive")), d.path("trail"), end)
}

// finished is a directory in which the archive's partial segment has the name of
// a finished one, for pg_waldump.
func finished(t *testing.T, archive string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "walplex-e2e-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // the server's user reads it
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name := range strings.Lines(list(t, archive)) {
		name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
		if name, _ = strings.CutSuffix(name, wal.PartialSuffix); len(name) != 24 {
			continue
		}
		b, err := os.ReadFile(filepath.Join(archive, name))
		if err != nil {
			b, err = os.ReadFile(filepath.Join(archive, name+wal.PartialSuffix))
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGapOfOneSink: nobody has what a sink lacks. It is off, and says so; the
// other is not harmed.
func TestGapOfOneSink(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Conf = map[string]string{"max_wal_size": "2MB", "min_wal_size": "2MB"} })
	d := newDirs(t)
	until := stream.Until{CaughtUp: true}
	both := runStream(t, c, until, stream.DefaultTimes(), archiveSink(d), trailSink(d))
	if err := <-both.ended; err != nil {
		t.Fatal(err)
	}
	moveOn(t, c)
	pgtest.Exec(t, c, "SELECT pg_drop_replication_slot('walplex')")
	moveOn(t, c)
	fresh := archiveSink(d)
	fresh.ConfigJSON = fmt.Appendf(nil, `{"directory":%q}`, d.path("fresh"))
	p := runStream(t, c, stream.Until{}, stream.DefaultTimes(), fresh, trailSink(d))
	p.says("which neither the server nor a sink of this stream has", 1)
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	eventually(t, "the trail is off", func() bool {
		st := p.s.Status().Sinks[1]
		return st.State == stream.SinkOff && strings.Contains(st.Error, "Nothing was skipped")
	})
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	compareArchive(t, c, d.path("fresh"), end)
}

// TestGapFromFallback: the server has removed what the archive lacks. A directory
// that was archived elsewhere has it, or another server: the archive has no hole
// in the end.
func TestGapFromFallback(t *testing.T) {
	for _, kind := range []string{"directory", "server"} {
		t.Run(kind, func(t *testing.T) {
			c := server(t, func(o *postgres.Options) {
				o.Conf = map[string]string{"max_wal_size": "2MB", "min_wal_size": "2MB", "wal_keep_size": "1GB"}
			})
			d := newDirs(t)
			elsewhere := pgtest.Standby(t, c, keepWAL)
			first := runStream(t, c, stream.Until{}, stream.DefaultTimes(), archiveSink(d), trailSink(d))
			first.says("caught up", 1)
			pgtest.Exec(t, c, "CREATE TABLE first AS SELECT 1 AS a")
			slotReaches(t, c, "walplex", flushLSN(t, c))
			trailReaches(t, first.s, flushLSN(t, c))
			if err := first.finish(); err != nil {
				t.Fatal(err)
			}
			moveOn(t, c)
			caughtUp(t, elsewhere, flushLSN(t, c))
			pgtest.Exec(t, c, "SELECT pg_drop_replication_slot('walplex')", "ALTER SYSTEM SET wal_keep_size = 0", "SELECT pg_reload_conf()", "CHECKPOINT")
			eventually(t, "the server has removed WAL", func() bool {
				pgtest.Exec(t, c, "CHECKPOINT")
				return query(t, c, "SELECT min(name) > '"+segment.FileName(1, 8)+"' FROM pg_ls_waldir() WHERE name LIKE '0000%'") == "t"
			})
			fallback := stream.Fallback{Archive: elsewhere.WALDir()}
			if kind == "server" {
				fallback = stream.Fallback{Server: replication.Config{DSN: elsewhere.DSN()}}
			}
			caughtUp(t, elsewhere, flushLSN(t, c))
			p := runConfig(t, stream.Config{Name: "main", Server: replication.Config{DSN: c.DSN()}, Slot: "walplex", CreateSlot: true,
				StatusInterval: time.Second, Sinks: []stream.SinkConfig{archiveSink(d), trailSink(d)}, Fallbacks: []stream.Fallback{fallback}})
			p.says("is served by the live stream again", 2)
			end := flushLSN(t, c)
			slotReaches(t, c, "walplex", end)
			trailReaches(t, p.s, end)
			if err := p.finish(); err != nil {
				t.Error(err)
			}
			start(t, "archive", "verify", d.path("archive")).wants(0)
			verifyTrailAgainst(t, c, finished(t, d.path("archive")), d.path("trail"), end)
		})
	}
}

// TestDetach: with that policy a sink that falls behind is off until a person
// acts.
func TestDetach(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	trail := trailSink(d)
	trail.OnLag, trail.MaxLag = stream.Detach, 2<<20
	p := runLimited(t, c, patient(), archiveSink(d), trail)
	p.says("caught up", 1)
	if err := syscall.Kill(p.sinkPID("trail"), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	initPgbench(t, c)
	p.says("has fallen behind", 1)
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	if st := p.s.Status().Sinks[1]; st.State != stream.SinkOff {
		t.Errorf("the trail is %q", st.State)
	}
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	compareArchive(t, c, d.path("archive"), end)
}

// TestMaxLag: a sink that is required may be served beside the stream too; what
// the server is told waits for it.
func TestMaxLag(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	trail := trailSink(d)
	trail.Required, trail.OnLag, trail.MaxLag = true, stream.CatchUp, 300<<10
	p := runLimited(t, c, patient(), archiveSink(d), trail)
	p.says("caught up", 1)
	pid := p.sinkPID("trail")
	before := flushLSN(t, c)
	slotReaches(t, c, "walplex", before)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	initPgbench(t, c)
	p.says("max_lag is 307200", 1)
	end := flushLSN(t, c)
	eventually(t, "the archive goes on", func() bool { return p.s.Status().Sinks[0].Flushed >= end })
	if at := restartLSN(t, c); at >= end {
		t.Errorf("the server was told %s, which the trail does not have", at)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	slotReaches(t, c, "walplex", end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	verifyTrail(t, c, d.path("trail"), end)
}

// moveOn has the server write and remove segments.
func moveOn(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	for range 6 {
		if _, err := c.SwitchWAL(t.Context()); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, c, "CREATE TABLE IF NOT EXISTS x (a int)", "INSERT INTO x SELECT generate_series(1, 10000)", "CHECKPOINT")
	}
	pgtest.Exec(t, c, "CHECKPOINT")
}

// trailReaches waits until the trail has flushed lsn.
func trailReaches(t *testing.T, s *stream.Stream, lsn wal.LSN) {
	t.Helper()
	eventually(t, "the trail has flushed "+lsn.String(), func() bool {
		k := s.Status().Sinks[1]
		return k.Up && k.FlushedThrough >= lsn
	})
}
