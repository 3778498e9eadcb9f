package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// program is the walplex binary under test.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "walplex-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "walplex")
		if out, err := exec.Command("go", "build", "-o", program, "github.com/walplex/walplex/host/cmd/walplex").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build walplex: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// patience bounds every wait for a condition.
const patience = 60 * time.Second

const segment = wal.SegmentSize(1 << 20)

// server starts a server with small segments that keeps all its WAL.
func server(t *testing.T, change ...func(*postgres.Options)) *postgres.Cluster {
	t.Helper()
	return pgtest.Start(t, append([]func(*postgres.Options){func(o *postgres.Options) {
		o.SegmentSizeMB = 1
		o.Conf = map[string]string{"wal_keep_size": "4GB", "max_wal_size": "1GB"}
	}}, change...)...)
}

// host is a running walplex.
type host struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu  sync.Mutex
	out bytes.Buffer
}

func (h *host) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Write(p)
}

func (h *host) log() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.String()
}

// start starts walplex with these arguments.
func start(t *testing.T, args ...string) *host {
	t.Helper()
	return startCommand(t, program, args...)
}

func startCommand(t *testing.T, name string, args ...string) *host {
	t.Helper()
	h := &host{t: t, cmd: exec.Command(name, args...), done: make(chan struct{})}
	h.cmd.Stdout, h.cmd.Stderr = h, h
	h.cmd.Env = append(os.Environ(), "PGPASSWORD=")
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		h.err = h.cmd.Wait()
		close(h.done)
	}()
	t.Cleanup(func() {
		h.kill9()
		if strings.Contains(h.log(), "DATA RACE") {
			t.Error("a data race in the host or a sink (built with GOFLAGS=-race)")
		}
		if t.Failed() {
			t.Logf("the log of walplex %s:\n%s", strings.Join(args, " "), h.log())
		}
	})
	return h
}

// status waits for the end and answers the exit status.
func (h *host) status() int {
	h.t.Helper()
	select {
	case <-h.done:
	case <-time.After(patience):
		h.t.Fatalf("walplex has not ended within %s", patience)
	}
	var exit *exec.ExitError
	if errors.As(h.err, &exit) {
		return exit.ExitCode()
	}
	if h.err != nil {
		h.t.Fatal(h.err)
	}
	return 0
}

// wants asserts the exit status and texts of the log.
func (h *host) wants(status int, texts ...string) {
	h.t.Helper()
	if got := h.status(); got != status {
		h.t.Fatalf("exit status %d, want %d", got, status)
	}
	for _, text := range texts {
		if !strings.Contains(h.log(), text) {
			h.t.Errorf("the log does not say %q", text)
		}
	}
}

func (h *host) signal(sig os.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) kill9() {
	_ = h.cmd.Process.Kill()
	<-h.done
}

// stop ends it in order.
func (h *host) stop() {
	h.t.Helper()
	h.signal(syscall.SIGTERM)
	if st := h.status(); st != 0 {
		h.t.Fatalf("exit status %d after SIGTERM", st)
	}
}

// says waits until the log holds the text n times.
func (h *host) says(text string, n int) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("the log says %q %d times", text, n), func() bool {
		select {
		case <-h.done:
			return strings.Count(h.log(), text) >= n
		default:
		}
		return strings.Count(h.log(), text) >= n
	})
}

var attached = regexp.MustCompile(`msg="sink attached" .*sink=(\S+) .*pid=(\d+)`)

// sinkPID is the process of the sink that was attached last under this name.
func (h *host) sinkPID(name string) int {
	h.t.Helper()
	var pid int
	eventually(h.t, "sink "+name+" is attached", func() bool {
		for _, m := range attached.FindAllStringSubmatch(h.log(), -1) {
			if m[1] == name {
				pid, _ = strconv.Atoi(m[2])
			}
		}
		return pid != 0
	})
	return pid
}

// killSink kills the sink's process and waits until it is attached again.
func (h *host) killSink(name string) {
	h.t.Helper()
	old := h.sinkPID(name)
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	eventually(h.t, "sink "+name+" is attached again", func() bool { return h.sinkPID(name) != old })
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in vain: %s", what)
		}
	}
}

// dirs is a test's place for configuration and sinks.
type dirs struct {
	t    *testing.T
	root string
}

func newDirs(t *testing.T) dirs { return dirs{t, t.TempDir()} }

func (d dirs) path(name string) string { return filepath.Join(d.root, name) }

// write writes a configuration; DSN, ROOT are replaced.
func (d dirs) write(text, dsn string) string {
	d.t.Helper()
	text = strings.NewReplacer("DSN", strconv.Quote(dsn), "ROOT", d.root).Replace(text)
	name := d.path("walplex.hcl")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return name
}

const archiveOnly = `
stream "main" {
  postgres {
    dsn             = DSN
    slot            = "walplex"
    create_slot     = true
    status_interval = "1s"
  }
  sink "segment_file" "archive" {
    config { directory = "ROOT/archive" }
  }
}`

const allSinks = `
stream "main" {
  postgres {
    dsn             = DSN
    slot            = "walplex"
    create_slot     = true
    status_interval = "1s"
  }
  sink "segment_file" "archive" {
    config { directory = "ROOT/archive" }
  }
  sink "page_cache" "pages" {
    after = [sink.archive]
    config { directory = "ROOT/pages" }
  }
  sink "audit" "trail" {
    config { directory = "ROOT/trail" }
  }
}`

// compareArchive holds the archive against the server's pg_wal, byte for byte up
// to end.
func compareArchive(t *testing.T, c *postgres.Cluster, archive string, end wal.LSN) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(archive, "0*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segments in %s (%v)", archive, err)
	}
	var last wal.LSN
	for i, name := range names {
		base := filepath.Base(name)
		tli, n, err := segment.ParseFileName(strings.TrimSuffix(base, wal.PartialSuffix))
		if err != nil || tli != 1 {
			t.Fatalf("%s: timeline %d, %v", name, tli, err)
		}
		at := segment.LSN(n)
		if i > 0 && at != last {
			t.Fatalf("hole in the archive: %s follows %s", at, last)
		}
		last = at + wal.LSN(segment)
		if at >= end {
			continue
		}
		size := min(end-at, wal.LSN(segment))
		if size == wal.LSN(segment) && strings.HasSuffix(base, wal.PartialSuffix) {
			t.Errorf("%s has not got its final name", base)
		}
		compareFiles(t, name, filepath.Join(c.WALDir(), strings.TrimSuffix(base, wal.PartialSuffix)), int(size))
	}
	if last < end {
		t.Fatalf("the archive ends at %s, the server's WAL at %s", last, end)
	}
}

func compareFiles(t *testing.T, a, b string, size int) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(x) < size || len(y) < size {
		t.Fatalf("%s has %d bytes, %s has %d, want %d", a, len(x), b, len(y), size)
	}
	for i := range size {
		if x[i] != y[i] {
			t.Fatalf("%s and %s differ at offset %d", a, b, i)
		}
	}
}

// load runs pgbench in the background until stop is called.
func load(t *testing.T, c *postgres.Cluster, seconds int) (wait func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := c.Pgbench(t.Context(), "-n", "-c", "4", "-T", strconv.Itoa(seconds), "postgres")
		done <- err
	}()
	return func() {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func initPgbench(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	if out, err := c.Pgbench(t.Context(), "-i", "-q", "-s", "2", "postgres"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func flushLSN(t *testing.T, c *postgres.Cluster) wal.LSN {
	t.Helper()
	lsn, err := c.FlushLSN(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// slotReaches waits until the slot's restart_lsn, which is what we have
// confirmed, is at lsn.
func slotReaches(t *testing.T, c *postgres.Cluster, slot string, lsn wal.LSN) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.WaitFor(ctx, fmt.Sprintf("SELECT restart_lsn >= '%s' FROM pg_replication_slots WHERE slot_name = '%s'", lsn, slot), "t"); err != nil {
		t.Fatalf("slot %s does not reach %s: %v", slot, lsn, err)
	}
}

func query(t *testing.T, c *postgres.Cluster, sql string) string {
	t.Helper()
	s, err := c.QueryString(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
