package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// reloads has the host read a changed configuration, and waits until the log says
// so.
func (h *host) reloads(conf, text, says string, n int) {
	h.t.Helper()
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.signal(syscall.SIGHUP)
	h.says(says, n)
}

// TestReload: sinks come and go, change, and the connection becomes another, under
// load, while what stays the same is not touched and misses nothing.
func TestReload(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	initPgbench(t, c)
	conf := d.write(archiveOnly, c.DSN())
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	first := string(text)
	with := func(sinks string) string {
		return strings.TrimSuffix(strings.TrimSpace(first), "}") + strings.ReplaceAll(sinks, "ROOT", d.root) + "\n}\n"
	}
	trail := func(inside, config string) string {
		return with("sink \"audit\" \"trail\" {\n" + inside + "\nconfig {\ndirectory = \"ROOT/trail\"\n" + config + "\n}\n}")
	}
	h := start(t, "run", conf)
	h.says("caught up", 1)
	archive := h.sinkPID("archive")
	wait := load(t, c, 8)

	h.reloads(conf, trail("", ""), `sink \"trail\" is added`, 1)
	h.says("sink attached", 2)
	pid := h.sinkPID("trail")

	// A policy and another required: nothing is started anew.
	h.reloads(conf, trail(`required = false`, ""), `required false`, 1)
	// Another setting of the sink: it alone is.
	h.reloads(conf, trail(`required = false`, `rotate_bytes = "1MiB"`), `is started anew with its new settings`, 1)
	h.says("sink attached", 3)
	if again := h.sinkPID("trail"); again == pid {
		t.Errorf("the trail is still process %d", pid)
	} else if alive(pid) {
		t.Errorf("process %d is still there", pid)
	} else {
		pid = again
	}
	// Another connection.
	h.reloads(conf, strings.Replace(trail(`required = false`, `rotate_bytes = "1MiB"`), "host=", "application_name=renamed host=", 1), "connecting anew", 1)
	h.says("msg=connected", 2)
	eventually(t, "the server knows the new name", func() bool {
		return query(t, c, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'renamed'") != "0"
	})
	// What is wrong changes nothing.
	h.reloads(conf, trail(`require = false`, ""), "the new configuration is wrong; nothing was changed", 1)
	if !strings.Contains(h.log(), "walplex.hcl:") {
		t.Error("the place of the fault is not named")
	}
	wait()
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	if now := h.sinkPID("trail"); now != pid {
		t.Errorf("the trail has become process %d from %d", now, pid)
	}
	// Removed.
	h.reloads(conf, first, `sink \"trail\" is removed`, 1)
	eventually(t, "the trail's process is gone", func() bool { return !alive(pid) })
	h.says("the configuration was read again; it is the same", 0)
	if now := h.sinkPID("archive"); now != archive || !alive(archive) {
		t.Errorf("the archive has become process %d from %d", now, archive)
	}
	h.stop()
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// TestReloadFilter: a filter changes while the sink's process goes on, and what is
// not picked still moves its position.
func TestReloadFilter(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	filter := func(f string) string {
		return strings.Replace(archiveOnly, `sink "segment_file"`, "sink \"audit\" \"trail\" {\nfilter = "+f+"\nconfig { directory = \"ROOT/trail\" }\n}\nsink \"segment_file\"", 1)
	}
	conf := d.write(filter(`record.rmgr == "Transaction"`), c.DSN())
	h := start(t, "run", conf)
	h.says("caught up", 1)
	pid := h.sinkPID("trail")
	pgtest.Exec(t, c, "CREATE TABLE x (a int)", "INSERT INTO x VALUES (1)", "CHECKPOINT")
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	trail := func() string { return allText(t, d.path("trail")) }
	if s := trail(); !strings.Contains(s, `"rmgr":"Transaction"`) || strings.Contains(s, `"rmgr":"Heap"`) || strings.Contains(s, `"rmgr":"XLOG"`) {
		t.Errorf("the trail has not the transactions alone:\n%s", s)
	}
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	h.reloads(conf, strings.Replace(string(text), `record.rmgr == "Transaction"`, `record.rmgr == "Heap"`, 1), "has a new filter", 1)
	pgtest.Exec(t, c, "INSERT INTO x VALUES (2)")
	end = flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	if s := trail(); !strings.Contains(s, `"rmgr":"Heap"`) {
		t.Errorf("the trail has no Heap record:\n%s", s)
	}
	if now := h.sinkPID("trail"); now != pid {
		t.Errorf("the trail has become process %d from %d", now, pid)
	}
	h.stop()
}

// allText is what the files of a trail hold.
func allText(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no trail in %s", dir)
	}
	var s strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s.Write(b)
	}
	return s.String()
}
