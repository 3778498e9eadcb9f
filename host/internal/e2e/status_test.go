package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// ask runs a command of walplex to its end.
func ask(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), b.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, b.String()
}

// wantAsk asserts what a command answers.
func wantAsk(t *testing.T, status int, text string, args ...string) string {
	t.Helper()
	got, out := ask(t, args...)
	if got != status || !strings.Contains(out, text) {
		t.Fatalf("walplex %s: exit status %d, want %d and %q:\n%s", strings.Join(args, " "), got, status, text, out)
	}
	return out
}

// eventuallyAsk waits until a command answers so.
func eventuallyAsk(t *testing.T, status int, text string, args ...string) string {
	t.Helper()
	var out string
	eventually(t, fmt.Sprintf("walplex %s: exit status %d and %q", strings.Join(args, " "), status, text), func() bool {
		var got int
		got, out = ask(t, args...)
		return got == status && strings.Contains(out, text)
	})
	return out
}

var served = regexp.MustCompile(`msg="metrics, health and readiness are served" address=(\S+)`)

// address is where the host answers over HTTP.
func (h *host) address() string {
	h.t.Helper()
	var found []string
	eventually(h.t, "HTTP is served", func() bool {
		found = served.FindStringSubmatch(h.log())
		return found != nil
	})
	return "http://" + found[1]
}

// get asks a host over HTTP; status 0 means that nobody has answered.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, ""
	}
	return res.StatusCode, string(b)
}

// outsideConf is archiveOnly with a control socket, and HTTP on any port.
const outsideConf = `host {
  control = "ROOT/control.sock"
  http    = "127.0.0.1:0"
}
` + archiveOnly

// TestSeenFromOutside: a host is asked for its status, metrics and readiness while
// all is well, while its server is down, and after it was killed.
func TestSeenFromOutside(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	conf := d.write(outsideConf, c.DSN())
	wantAsk(t, 1, "no walplex host answers", "status", conf)
	h := start(t, "run", conf)
	h.says("caught up", 1)
	address := h.address()
	eventuallyAsk(t, 0, "walplex: ok", "status", conf)
	for _, args := range [][]string{{"status", conf}, {"status", "--control", d.path("control.sock")}} {
		out := wantAsk(t, 0, "all is well", args...)
		for _, text := range []string{"main", "streaming", "archive", "segment_file", "live"} {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
	}
	if st, err := os.Lstat(d.path("control.sock")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the control socket: %v, %v", st, err)
	}
	checkJSON(t, h, c, wantAsk(t, 0, "", "status", "--json", conf))
	if code, body := get(t, address+"/readyz"); code != http.StatusOK {
		t.Errorf("readyz: %d %s", code, body)
	}
	if _, body := get(t, address+"/metrics"); !strings.Contains(body, `walplex_stream_state{state="streaming",stream="main"} 1`) ||
		!strings.Contains(body, `walplex_slot_level{level="ok",slot="walplex",stream="main"} 1`) {
		t.Errorf("metrics:\n%s", body)
	}
	// Another host at the same socket is refused, and harms nobody.
	start(t, "run", conf).wants(1, fmt.Sprintf("process %d", h.cmd.Process.Pid))
	wantAsk(t, 0, "all is well", "status", conf)

	if err := c.Stop(t.Context(), postgres.Immediate); err != nil {
		t.Fatal(err)
	}
	eventuallyAsk(t, 1, "reconnecting", "status", conf)
	if code, body := get(t, address+"/readyz"); code != http.StatusServiceUnavailable || !strings.HasPrefix(body, "main: the stream is reconnecting") {
		t.Errorf("readyz while the server is down: %d %s", code, body)
	}
	if code, _ := get(t, address+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz while the server is down: %d", code)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventuallyAsk(t, 0, "all is well", "status", conf)

	h.kill9()
	wantAsk(t, 1, "does not run any more", "status", conf)
	h = start(t, "run", conf)
	eventuallyAsk(t, 0, "all is well", "status", conf)
	h.stop()
	if _, err := os.Lstat(d.path("control.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the control socket of a host that has ended: %v", err)
	}
}

// checkJSON looks at what scripts read.
func checkJSON(t *testing.T, h *host, c *postgres.Cluster, out string) {
	t.Helper()
	var r struct {
		Version int
		OK      bool
		Ready   bool
		Host    struct{ PID int }
		Streams []struct {
			Name             string
			State            string
			Source           string
			Slot             string
			SystemIdentifier string `json:"system_identifier"`
			ReceivedLSN      string `json:"received_lsn"`
			Primary          struct {
				Known bool
				Level string
			}
			Sinks []struct {
				Name       string
				State      string
				Required   bool
				FlushedLSN string `json:"flushed_lsn"`
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r.Version != 1 || !r.OK || !r.Ready || r.Host.PID != h.cmd.Process.Pid || len(r.Streams) != 1 {
		t.Fatalf("%+v", r)
	}
	s := r.Streams[0]
	if s.Name != "main" || s.State != "streaming" || s.Source == "" || s.Slot != "walplex" || s.ReceivedLSN == "" || !s.Primary.Known || s.Primary.Level != "ok" ||
		s.SystemIdentifier != query(t, c, "SELECT system_identifier FROM pg_control_system()") {
		t.Errorf("%+v", s)
	}
	if len(s.Sinks) != 1 || s.Sinks[0].Name != "archive" || s.Sinks[0].State != "live" || !s.Sinks[0].Required || s.Sinks[0].FlushedLSN == "" {
		t.Errorf("%+v", s.Sinks)
	}
}

// TestPrimaryInDanger: a sink that stands still holds the slot; status, metrics and
// log say so while there is time, and name the sink.
func TestPrimaryInDanger(t *testing.T) {
	c := pgtest.Start(t, func(o *postgres.Options) {
		o.SegmentSizeMB = 1
		o.Conf = map[string]string{"max_slot_wal_keep_size": "8MB", "min_wal_size": "2MB", "max_wal_size": "1GB", "checkpoint_timeout": "1h"}
	})
	d := newDirs(t)
	conf := d.write(outsideConf, c.DSN())
	h := start(t, "run", conf)
	h.says("caught up", 1)
	address := h.address()
	eventuallyAsk(t, 0, "walplex: ok", "status", conf)
	pid := h.sinkPID("archive")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	for range 9 {
		pgtest.Exec(t, c, "SELECT pg_logical_emit_message(false, 'x', 'x')", "SELECT pg_switch_wal()")
	}
	out := eventuallyAsk(t, 1, "at level critical", "status", conf)
	if !strings.Contains(out, "sink archive") || !strings.Contains(out, "walplex slot drop") {
		t.Errorf("what to do is not said:\n%s", out)
	}
	h.says("the server is in danger", 1)
	if _, body := get(t, address+"/metrics"); !strings.Contains(body, `walplex_slot_level{level="critical",slot="walplex",stream="main"} 1`) {
		t.Errorf("metrics:\n%s", body)
	}
}

// TestReloadCommand: what the command answers; what a reload does is tested where
// it is done.
func TestReloadCommand(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	conf := d.write(outsideConf, c.DSN())
	wantAsk(t, 1, "no walplex host answers", "reload", conf)
	h := start(t, "run", conf)
	h.says("caught up", 1)
	wantAsk(t, 0, "nothing has changed", "reload", conf)
	socket := d.path("control.sock")
	d.write(strings.Replace(outsideConf, "control.sock", "other.sock", 1), c.DSN())
	wantAsk(t, 0, "host.control has changed", "reload", "--control", socket)
	d.write(strings.Replace(outsideConf, "segment_file", "segment_fill", 1), c.DSN())
	wantAsk(t, 2, "segment_file", "reload", "--control", socket)
	wantAsk(t, 0, "all is well", "status", "--control", socket)
	wantAsk(t, 2, "has no host.control", "status", d.write(archiveOnly, c.DSN()))
	h.stop()
}

// TestHTTPIsLocal: an address that others can reach is refused at its place.
func TestHTTPIsLocal(t *testing.T) {
	c := pgtest.New(t)
	d := newDirs(t)
	conf := d.write(strings.Replace(outsideConf, "127.0.0.1:0", "0.0.0.0:9187", 1), c.DSN())
	wantAsk(t, 2, "walplex.hcl:3,13: error: http: not an address of this machine alone", "validate", conf)
	start(t, "run", conf).wants(2, "not an address of this machine alone")
}

// TestSlotDrop: what is in use stays, unless it is forced.
func TestSlotDrop(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	conf := d.write(archiveOnly, c.DSN("application_name=keeper"))
	wantAsk(t, 1, "nothing to drop", "slot", "drop", conf)
	start(t, "run", "--until", "caught-up", conf).wants(0)
	wantAsk(t, 2, "no stream", "slot", "drop", "--stream", "other", conf)
	out := wantAsk(t, 0, "The slot is dropped", "slot", "drop", conf)
	if !strings.Contains(out, "in use by   nobody") || !strings.Contains(out, "of WAL, from") {
		t.Errorf("what it held is not shown:\n%s", out)
	}
	if n := query(t, c, "SELECT count(*) FROM pg_replication_slots"); n != "0" {
		t.Fatalf("%s slots are left", n)
	}
	// Of a running host; one that does not make the slot anew.
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('walplex', true)")
	conf = d.write(strings.Replace(archiveOnly, "create_slot     = true", "create_slot     = false", 1), c.DSN("application_name=keeper"))
	h := start(t, "run", conf)
	h.says("caught up", 1)
	eventually(t, "the slot is in use", func() bool {
		return query(t, c, "SELECT active FROM pg_replication_slots") == "t"
	})
	pid := query(t, c, "SELECT active_pid FROM pg_replication_slots")
	if _, err := strconv.Atoi(pid); err != nil {
		t.Fatal(err)
	}
	wantAsk(t, 1, "process "+pid+`, application "keeper"`, "slot", "drop", conf)
	wantAsk(t, 0, "The slot is dropped", "slot", "drop", "--force", conf)
	if n := query(t, c, "SELECT count(*) FROM pg_replication_slots"); n != "0" {
		t.Errorf("%s slots are left", n)
	}
	h.wants(1, "does not exist")
}
