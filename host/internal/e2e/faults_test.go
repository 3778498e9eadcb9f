package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// TestWrongPassword stops the stream with a clear error that does not hold the
// password.
func TestWrongPassword(t *testing.T) {
	c := server(t)
	pgtest.Exec(t, c, "CREATE ROLE streamer LOGIN REPLICATION PASSWORD 'right'")
	// Password authentication from now on.
	hba := filepath.Join(c.DataDir(), "pg_hba.conf")
	if err := os.WriteFile(hba, []byte("local all postgres trust\nlocal replication all scram-sha-256\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := newDirs(t)
	h := start(t, "run", "--until", "caught-up", d.write(archiveOnly, c.DSN("user=streamer", "password=wr0ng-s3cret")))
	h.wants(1, "password authentication failed", "28P01")
	if strings.Contains(h.log(), "wr0ng-s3cret") {
		t.Error("the log holds the password")
	}
	start(t, "run", "--until", "caught-up", d.write(archiveOnly, c.DSN("user=streamer", "password=right"))).wants(0)
}

// TestServerDown waits for a server that is not there yet.
func TestServerDown(t *testing.T) {
	c := server(t)
	if err := c.Stop(t.Context(), postgres.Fast); err != nil {
		t.Fatal(err)
	}
	d := newDirs(t)
	h := start(t, "run", "--until", "caught-up", d.write(archiveOnly, c.DSN()))
	h.says("trying again", 3)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wants(0)
}

// TestSlotInUse: another receiver has the slot; the stream waits for it, as after
// a kill -9 of a host whose walsender has not noticed yet.
func TestSlotInUse(t *testing.T) {
	c := server(t)
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('walplex', true)")
	other := t.TempDir()
	if err := os.Chmod(other, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(other), 0o755); err != nil {
		t.Fatal(err)
	}
	receiver := c.Tool(t.Context(), "pg_receivewal", "-D", other, "-S", "walplex", "--no-loop")
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitFor(t.Context(), "SELECT active FROM pg_replication_slots", "t"); err != nil {
		t.Fatal(err)
	}
	d := newDirs(t)
	h := start(t, "run", "--until", "caught-up", d.write(archiveOnly, c.DSN()))
	h.says("55006", 1)
	if err := receiver.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = receiver.Wait()
	h.wants(0)
}

// TestWALRemoved: the archive is at a place that the server has no WAL of any
// more. That is loud, names both ends, and nothing is skipped.
func TestWALRemoved(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Conf = map[string]string{"max_wal_size": "2MB", "min_wal_size": "2MB"} })
	d := newDirs(t)
	withoutSlot := strings.NewReplacer(`slot            = "walplex"`, "", `create_slot     = true`, "").Replace(archiveOnly)
	conf := d.write(withoutSlot, c.DSN())
	start(t, "run", "--until", "caught-up", conf).wants(0)
	before := list(t, d.path("archive"))
	for range 6 {
		if _, err := c.SwitchWAL(t.Context()); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, c, "CREATE TABLE IF NOT EXISTS x (a int)", "INSERT INTO x SELECT generate_series(1, 10000)", "CHECKPOINT")
	}
	pgtest.Exec(t, c, "CHECKPOINT")
	h := start(t, "run", "--until", "caught-up", conf)
	h.wants(1, "the server has removed WAL that is needed", `sink \"archive\" needs WAL from 0/`)
	if after := list(t, d.path("archive")); after != before {
		t.Errorf("the archive has changed from\n%s\nto\n%s", before, after)
	}
}

// list is a directory's names.
func list(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var s string
	for _, e := range entries {
		s += e.Name() + "\n"
	}
	return s
}

// TestOtherSystem: the archive belongs to another cluster, as after pg_upgrade.
func TestOtherSystem(t *testing.T) {
	a, b := server(t), server(t)
	d := newDirs(t)
	start(t, "run", "--until", "caught-up", d.write(allSinks, a.DSN())).wants(0)
	before := list(t, d.path("archive"))
	h := start(t, "run", "--until", "caught-up", d.write(allSinks, b.DSN()))
	h.wants(1, "holds WAL of the cluster with system identifier", "pg_upgrade")
	if after := list(t, d.path("archive")); after != before {
		t.Error("the archive has changed")
	}
}

// TestCorruptRecord: a flipped byte in the server's WAL stops the stream at the
// record, in xlogreader's words. What comes before it is archived.
func TestCorruptRecord(t *testing.T) {
	c := server(t)
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('walplex', true)")
	initPgbench(t, c)
	at := flushLSN(t, c) - 2<<20
	path := filepath.Join(c.WALDir(), segment.FileName(1, segment.SegNo(at)))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	one := make([]byte, 1)
	off := int64(segment.Offset(at)) | 4000
	if _, err := f.ReadAt(one, off); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{one[0] ^ 0x40}, off); err != nil {
		t.Fatal(err)
	}
	d := newDirs(t)
	conf := d.write(allSinks, c.DSN())
	h := start(t, "run", "--until", "caught-up", conf)
	h.wants(1, "incorrect resource manager data checksum in record at 0/", "the WAL from the server is corrupt at 0/")
	// Mended, it goes on.
	if _, err := f.WriteAt(one, off); err != nil {
		t.Fatal(err)
	}
	end := flushLSN(t, c)
	start(t, "run", "--until", "caught-up", conf).wants(0)
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}

// TestDirectoryInUse: a second host on the same archive is refused.
func TestDirectoryInUse(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	h := start(t, "run", d.write(archiveOnly, c.DSN()))
	h.says("caught up", 1)
	second := d.path("second.hcl")
	text := strings.NewReplacer("DSN", fmt.Sprintf("%q", c.DSN()), "ROOT", d.root, `"walplex"`, `"other"`).Replace(archiveOnly)
	if err := os.WriteFile(second, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// The sink waits for a predecessor that may be dying, then says who is in its way.
	start(t, "run", "--until", "caught-up", second).says("lock", 1)
	h.stop()
}

// TestDirectoryNotWritable: the directory's parent is a file, until somebody puts
// that right.
func TestDirectoryNotWritable(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	if err := os.WriteFile(d.path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, "run", "--until", "caught-up", d.write(strings.ReplaceAll(archiveOnly, "ROOT/archive", "ROOT/file/archive"), c.DSN()))
	h.says("file/archive: not a directory", 2)
	if err := os.Remove(d.path("file")); err != nil {
		t.Fatal(err)
	}
	h.wants(0)
}

// TestFullDisk fills the archive's file system: the fault is stated, the position
// held, and when there is room again the stream goes on by itself.
func TestFullDisk(t *testing.T) {
	c := server(t)
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('walplex', true)")
	initPgbench(t, c)
	end := flushLSN(t, c)
	d := newDirs(t)
	conf := d.write(archiveOnly, c.DSN())
	if err := os.Mkdir(d.path("archive"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A mount namespace of its own: nobody else sees the small file system.
	script := `mount -t tmpfs -o size=64m tmpfs "$1" && head -c 56M /dev/zero > "$1/filler" && exec "$2" run --until caught-up "$3"`
	args := []string{"--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	h := startCommand(t, "unshare", append(args, "sh", "-c", script, "sh", d.path("archive"), program, conf)...)
	h.says("no space left on device", 2)
	inside := filepath.Join("/proc", fmt.Sprint(h.cmd.Process.Pid), "root", d.path("archive"))
	if err := os.Remove(filepath.Join(inside, "filler")); err != nil {
		t.Fatal(err)
	}
	h.says("target reached", 1)
	_ = end
	h.wants(0)
}

// TestUnknownType names the place and the types that there are.
func TestUnknownType(t *testing.T) {
	d := newDirs(t)
	conf := d.write(strings.ReplaceAll(archiveOnly, `"segment_file"`, `"segment_fil"`), "host=/nowhere")
	start(t, "run", conf).wants(2, "walplex.hcl:9,", "segment_file", "unknown sink type")
	start(t, "validate", conf).wants(2, "walplex.hcl:9,")
}

// TestBrokenSinkPrograms: programs that are no sinks, or not ours.
func TestBrokenSinkPrograms(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"noise":    {"#!/bin/sh\necho hello world\nsleep 60\n", `"hello world"`},
		"exits":    {"#!/bin/sh\necho cannot find my license >&2\nexit 3\n", "cannot find my license"},
		"protocol": {"#!/bin/sh\necho '1|99|unix|/tmp/x|grpc'\nsleep 60\n", "another version of the protocol"},
		"no go":    {"#!/bin/sh\necho '1|1|unix|/tmp/x|netrpc'\nsleep 60\n", "gRPC"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirs(t)
			bin := d.path("sink")
			if err := os.WriteFile(bin, []byte(test.script), 0o755); err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(archiveOnly, `"segment_file"`, `"mine"`) + fmt.Sprintf("\nplugin \"mine\" {\n  path = %q\n}\n", bin)
			start(t, "run", d.write(text, "host=/nowhere")).wants(2, test.want, "walplex.hcl:")
		})
	}
}

// TestThirdPartySink runs the example sink, a module of its own, in a chain.
func TestThirdPartySink(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	dirs, err := filepath.Abs("../../../examples/table-counter")
	if err != nil {
		t.Fatal(err)
	}
	bin := d.path("walplex-sink-table_counter")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = dirs
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := fmt.Sprintf("host {\n  plugin_dirs = [%q]\n}\n", d.root) + strings.Replace(archiveOnly, `sink "segment_file"`, `sink "table_counter" "counts" {
    config { directory = "ROOT/counts" }
  }
  sink "segment_file"`, 1)
	initPgbench(t, c)
	start(t, "run", "--until", "caught-up", d.write(text, c.DSN())).wants(0, "target reached")
	if list(t, d.path("counts")) == "" {
		t.Error("the sink has counted nothing")
	}
}

// TestStartAhead: a configured start that the server does not have yet.
func TestStartAhead(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	text := strings.NewReplacer(`slot            = "walplex"`, `start = "7F/0"`, `create_slot     = true`, "").Replace(archiveOnly)
	start(t, "run", d.write(text, c.DSN())).wants(1, "ahead of")
}

// TestStart streams from a configured LSN when nothing else has a position.
func TestStart(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	end := flushLSN(t, c)
	from := segment.Start(end) - 2*wal.LSN(segment)
	d := newDirs(t)
	text := strings.NewReplacer(`slot            = "walplex"`, fmt.Sprintf("start = %q", from+100), `create_slot     = true`, "").Replace(archiveOnly)
	start(t, "run", "--until", "caught-up", d.write(text, c.DSN())).wants(0, "position="+from.String())
	compareArchive(t, c, d.path("archive"), end)
}
