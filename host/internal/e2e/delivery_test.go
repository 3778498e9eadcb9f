package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk/wal"
)

// prompt bounds what must not wait for any of the long limits.
const prompt = 15 * time.Second

// faultySink builds the sink that fails.
func faultySink(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "faulty")
	if out, err := exec.Command("go", "build", "-o", bin, "./faultysink").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// withFaulty adds a faulty sink to a configuration.
func withFaulty(t *testing.T, text, fault string, required bool) string {
	t.Helper()
	sink := fmt.Sprintf("  sink \"faulty\" \"bad\" {\n    required = %t\n    config { fault = %q }\n  }\n}", required, fault)
	return strings.TrimSuffix(strings.TrimSpace(text), "}") + sink + fmt.Sprintf("\nplugin \"faulty\" {\n  path = %q\n}\n", faultySink(t))
}

// stopsPromptly ends the host with SIGTERM.
func (h *host) stopsPromptly(status int) {
	h.t.Helper()
	began := time.Now()
	h.signal(syscall.SIGTERM)
	if got := h.status(); got != status {
		h.t.Errorf("exit status %d after SIGTERM, want %d", got, status)
	}
	if took := time.Since(began); took > prompt {
		h.t.Errorf("SIGTERM took %s", took)
	}
}

// emit writes a logical message of n bytes, flushed.
func emit(t *testing.T, c *postgres.Cluster, n int) {
	t.Helper()
	pgtest.Exec(t, c, fmt.Sprintf("SELECT pg_logical_emit_message(true, 'walplex', repeat(md5('%d'), %d))", n, n/32))
}

// TestHugeRecords sends records that span blocks and segments, one beyond what is
// put together for a sink, and kills each sink and the host while they come.
func TestHugeRecords(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	conf := d.write(allSinks, c.DSN())
	h := start(t, "run", conf)
	h.says("caught up", 1)
	for _, name := range []string{"trail", "archive", "pages"} {
		var sent sync.WaitGroup
		sent.Go(func() { emit(t, c, 3<<20); emit(t, c, 17<<20) })
		h.killSink(name)
		sent.Wait()
	}
	began := flushLSN(t, c)
	var sent sync.WaitGroup
	sent.Go(func() { emit(t, c, 40<<20) })
	eventually(t, "the record has begun", func() bool { return flushLSN(t, c) > began+8<<20 })
	h.kill9()
	sent.Wait()
	h = start(t, "run", conf)
	emit(t, c, 3<<20)
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	h.stop()
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
	start(t, "run", "--until", end.String(), conf).wants(0, "target reached")
}

// TestArchiveRestartsBeforePages kills the archive again and again under a sink
// that comes after it.
func TestArchiveRestartsBeforePages(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	d := newDirs(t)
	conf := d.write(allSinks, c.DSN())
	h := start(t, "run", conf)
	wait := load(t, c, 5)
	for range 4 {
		h.killSink("archive")
	}
	wait()
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	h.stop()
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// TestSlotDropped: somebody drops the slot between two connections.
func TestSlotDropped(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	h := start(t, "run", d.write(allSinks, c.DSN()))
	h.says("caught up", 1)
	initPgbench(t, c)
	drop := `DO $$ BEGIN
		PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active;
		FOR i IN 1..1000 LOOP
			BEGIN
				PERFORM pg_drop_replication_slot('walplex');
				RETURN;
			EXCEPTION WHEN object_in_use THEN
				PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active;
			END;
		END LOOP;
	END $$`
	pgtest.Exec(t, c, drop)
	h.says("the replication slot was dropped while it was in use; making it again", 1)
	load(t, c, 1)()
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	h.stop()
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// TestFaultySinkHarmsNobody: whatever a sink does that is not required, the
// archive goes on, and the end comes in time.
func TestFaultySinkHarmsNobody(t *testing.T) {
	for fault, says := range map[string]string{
		"open_hangs":   "open hangs",
		"open_fails":   "cannot be opened today",
		"open_lies":    "ahead of the server",
		"write_panics": "poisoned",
		"flush_lies":   "was sent WAL only up to",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c := server(t)
			d := newDirs(t)
			h := start(t, "run", d.write(withFaulty(t, archiveOnly, fault, false), c.DSN()))
			h.sinkPID("archive")
			initPgbench(t, c)
			end := flushLSN(t, c)
			slotReaches(t, c, "walplex", end)
			h.says(says, 1)
			initPgbench(t, c)
			end = flushLSN(t, c)
			slotReaches(t, c, "walplex", end)
			h.stopsPromptly(0)
			compareArchive(t, c, d.path("archive"), end)
		})
	}
}

// TestTermBeforeTheStream: SIGTERM ends what has not begun to stream, whatever it
// waits for, and no sink stays.
func TestTermBeforeTheStream(t *testing.T) {
	t.Run("a sink hangs in Open", func(t *testing.T) {
		c := server(t)
		h := start(t, "run", newDirs(t).write(withFaulty(t, archiveOnly, "open_hangs", true), c.DSN()))
		h.says("open hangs", 1)
		h.stopsPromptly(0)
	})
	t.Run("a sink cannot be opened", func(t *testing.T) {
		c := server(t)
		h := start(t, "run", newDirs(t).write(withFaulty(t, archiveOnly, "open_fails", true), c.DSN()))
		h.says("cannot be opened today", 3)
		h.stopsPromptly(0)
	})
	t.Run("a server says nothing", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		host, port, _ := net.SplitHostPort(l.Addr().String())
		h := start(t, "run", newDirs(t).write(archiveOnly, fmt.Sprintf("host=%s port=%s user=nobody sslmode=disable", host, port)))
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		h.stopsPromptly(0)
	})
	t.Run("a server is down", func(t *testing.T) {
		h := start(t, "run", newDirs(t).write(archiveOnly, "host=/nowhere user=nobody"))
		h.says("trying again", 2)
		h.stopsPromptly(0)
	})
	t.Run("with a position to reach", func(t *testing.T) {
		h := start(t, "run", "--until", "caught-up", newDirs(t).write(archiveOnly, "host=/nowhere user=nobody"))
		h.says("trying again", 2)
		h.stopsPromptly(1)
	})
}

// TestTermBeforeUntil: a run that was stopped before its position has failed.
func TestTermBeforeUntil(t *testing.T) {
	c := server(t)
	h := start(t, "run", "--until", "7F/0", newDirs(t).write(archiveOnly, c.DSN()))
	h.says("caught up", 1)
	h.stopsPromptly(1)
	if !strings.Contains(h.log(), "stopped before 7F/0 was reached") {
		t.Error("the log does not say why")
	}
}

// TestTermWhileServerHangs: the server is stopped in mid-stream.
func TestTermWhileServerHangs(t *testing.T) {
	c := server(t)
	h := start(t, "run", newDirs(t).write(archiveOnly, c.DSN()))
	h.says("caught up", 1)
	out, err := c.QueryString(t.Context(), "SELECT active_pid FROM pg_replication_slots")
	if err != nil {
		t.Fatal(err)
	}
	walsender, err := strconv.Atoi(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(walsender, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(walsender, syscall.SIGCONT) }()
	h.stopsPromptly(0)
}

// inProcess runs a stream in this process, with limits of time that suit a test.
type inProcess struct {
	*host // its log
	s     *stream.Stream
	cfg   stream.Config
	drain chan struct{}
	ended chan error
}

func runStream(t *testing.T, c *postgres.Cluster, until stream.Until, times stream.Times, sinks ...stream.SinkConfig) *inProcess {
	t.Helper()
	return runConfig(t, stream.Config{Name: "main", Server: replication.Config{DSN: c.DSN()}, Slot: "walplex", CreateSlot: true,
		StatusInterval: time.Second, Sinks: sinks, Until: until, Times: times})
}

// runLimited runs a stream in which a sink is soon behind.
func runLimited(t *testing.T, c *postgres.Cluster, times stream.Times, sinks ...stream.SinkConfig) *inProcess {
	t.Helper()
	return runConfig(t, stream.Config{Name: "main", Server: replication.Config{DSN: c.DSN()}, Slot: "walplex", CreateSlot: true,
		StatusInterval: time.Second, Sinks: sinks, Times: times, Limits: smallLimits()})
}

func runConfig(t *testing.T, cfg stream.Config) *inProcess {
	t.Helper()
	sinks := cfg.Sinks
	sockets, err := os.MkdirTemp("", "walplex-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	for i := range sinks {
		if sinks[i].Spec.Path == "" {
			sinks[i].Spec.Path, sinks[i].Spec.Args = program, []string{"sink", sinks[i].Spec.Type}
		}
		sinks[i].Spec.SocketDir, sinks[i].Spec.AutoMTLS = sockets, true
	}
	p := &inProcess{host: &host{t: t, done: make(chan struct{})}, drain: make(chan struct{}), ended: make(chan error, 1)}
	p.cfg = cfg
	p.s = stream.New(cfg, slog.New(slog.NewTextHandler(p.host, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		p.ended <- p.s.Run(ctx, p.drain)
		close(p.done)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
		if t.Failed() {
			t.Logf("the log of the stream:\n%s", p.log())
		}
	})
	return p
}

func (p *inProcess) finish() error {
	close(p.drain)
	return <-p.ended
}

func archiveSink(d dirs) stream.SinkConfig {
	return stream.SinkConfig{Name: "archive", Required: true, Spec: supervisor.Spec{Type: "segment_file"},
		ConfigJSON: fmt.Appendf(nil, `{"directory":%q}`, d.path("archive"))}
}

// TestStoppedSink: a sink that is stopped gives no sign of life, is killed, and
// goes on from its position.
func TestStoppedSink(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	times := stream.DefaultTimes()
	times.Heartbeat, times.Silence = 100*time.Millisecond, time.Second
	p := runStream(t, c, stream.Until{}, times, archiveSink(d))
	pid := p.sinkPID("archive")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	initPgbench(t, c)
	p.says("has not given a sign of life", 1)
	eventually(t, "the sink is attached again", func() bool { return p.sinkPID("archive") != pid })
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	if alive(pid) {
		t.Errorf("process %d is still there", pid)
	}
	compareArchive(t, c, d.path("archive"), end)
}

// TestStoppedSinkAtTheEnd: a stopped sink does not hold up the end, and the error
// names it.
func TestStoppedSinkAtTheEnd(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	times := stream.DefaultTimes()
	times.Drain = time.Second
	p := runStream(t, c, stream.Until{}, times, archiveSink(d))
	pid := p.sinkPID("archive")
	p.says("caught up", 1)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := flushLSN(t, c)
	initPgbench(t, c)
	eventually(t, "WAL has come", func() bool { return p.s.Status().Received > before })
	began := time.Now()
	if err := p.finish(); err == nil || !strings.Contains(err.Error(), `sink "archive" did not flush within 1s`) {
		t.Errorf("the end is %v", err)
	}
	if took := time.Since(began); took > prompt || alive(pid) {
		t.Errorf("the end took %s, the process lives: %t", took, alive(pid))
	}
}

// TestOutageHarmsNoSink: while the server is away nobody asks sinks for a sign of
// life; when it is back they are those that they were.
func TestOutageHarmsNoSink(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	times := stream.DefaultTimes()
	times.Heartbeat, times.Silence = 50*time.Millisecond, 500*time.Millisecond
	p := runStream(t, c, stream.Until{}, times, archiveSink(d))
	pid := p.sinkPID("archive")
	p.says("caught up", 1)
	if err := c.Stop(t.Context(), postgres.Fast); err != nil {
		t.Fatal(err)
	}
	p.says("trying again", 5) // more than 500 ms, by the growing delays
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.says("caught up", 2)
	var end wal.LSN
	for range 3 {
		pgtest.Exec(t, c, "CREATE TABLE IF NOT EXISTS x (a int)", "INSERT INTO x VALUES (1)")
		end = flushLSN(t, c)
		slotReaches(t, c, "walplex", end)
	}
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(p.log(), "sink attached"); n != 1 || p.sinkPID("archive") != pid {
		t.Errorf("the sink was attached %d times", n)
	}
}

func hangingSink(t *testing.T) stream.SinkConfig {
	return stream.SinkConfig{Name: "bad", Spec: supervisor.Spec{Type: "faulty", Path: faultySink(t)}, ConfigJSON: []byte(`{"fault":"write_hangs"}`)}
}

// TestHangingSinkIsLeft: one that is not required and hangs holds the stream up
// only so long.
func TestHangingSinkIsLeft(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	times := stream.DefaultTimes()
	times.Heartbeat, times.Stall, times.Drain = 50*time.Millisecond, 300*time.Millisecond, time.Second
	p := runStream(t, c, stream.Until{}, times, archiveSink(d), hangingSink(t))
	p.sinkPID("bad")
	initPgbench(t, c)
	p.says("has made no progress for 300ms", 1)
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	compareArchive(t, c, d.path("archive"), end)
}

// TestUntilBesideHangingSink: run --until ends when the required sinks are there;
// one that is not required and hangs has a limited time.
func TestUntilBesideHangingSink(t *testing.T) {
	c := server(t)
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('walplex', true)")
	emit(t, c, 2<<20) // less than its credit: it does not hold the stream up
	d := newDirs(t)
	times := stream.DefaultTimes()
	times.Drain = time.Second
	p := runStream(t, c, stream.Until{CaughtUp: true}, times, archiveSink(d), hangingSink(t))
	p.says("write hangs", 1)
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
	p.says(`sink \"bad\" did not flush within 1s`, 1)
	compareArchive(t, c, d.path("archive"), p.s.Status().Received)
}
