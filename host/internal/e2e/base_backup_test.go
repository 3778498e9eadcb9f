package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk/wal"
)

// base is a sink that begins with a base backup, in DIR/base, and how to hold it up.
type base struct {
	stream.SinkConfig
	t                 *testing.T
	dir, hold, noRoom string
}

// baseSink is required.
func baseSink(t *testing.T, d dirs) *base {
	t.Helper()
	b := &base{t: t, dir: d.path("base"), hold: d.path("hold"), noRoom: d.path("no-room")}
	bin := d.path("basesink")
	if out, err := exec.Command("go", "build", "-o", bin, "./basesink").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.SinkConfig = stream.SinkConfig{Name: "base", Required: true, Spec: supervisor.Spec{Type: "base", Path: bin},
		ConfigJSON: fmt.Appendf(nil, `{"directory":%q,"hold":%q,"fail":%q}`, b.dir, b.hold, b.noRoom)}
	return b
}

func (b *base) touch(name string) {
	b.t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *base) remove(name string) {
	b.t.Helper()
	if err := os.Remove(name); err != nil {
		b.t.Fatal(err)
	}
}

// stored is what the sink holds beside the backup.
type stored struct {
	LSN   string
	State struct {
		Start, End, First, Last, Broken string
		Count                           int
	}
}

func (b *base) stored() (k stored) {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, "position.json"))
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return k
}

// verify holds what the sink has against the server: every file as the manifest says
// (pg_verifybackup), and each record of the WAL in a directory, from the backup's start
// up to end, once.
func (b *base) verify(c *postgres.Cluster, walDir string, end wal.LSN) {
	b.t.Helper()
	k := b.stored()
	if out, err := c.Tool(b.t.Context(), "pg_verifybackup", "--no-parse-wal", readableCopy(b.t, filepath.Join(b.dir, "backup"))).CombinedOutput(); err != nil {
		b.t.Errorf("pg_verifybackup: %v\n%s", err, out)
	}
	if k.State.First != k.State.Start || k.State.Broken != "" {
		b.t.Errorf("the backup begins at %s, records at %s; broken: %q", k.State.Start, k.State.First, k.State.Broken)
	}
	out, err := c.Tool(b.t.Context(), "pg_waldump", "--path", walDir, "--start", k.State.Start, "--end", k.State.Last).Output()
	if err != nil {
		b.t.Fatal(err)
	}
	// The last record begins where pg_waldump ends.
	if want := strings.Count(string(out), "\n") + 1; k.State.Count != want {
		b.t.Errorf("the sink has %d records from %s to %s, pg_waldump %d", k.State.Count, k.State.Start, k.State.Last, want)
	}
	if at, err := wal.ParseLSN(k.LSN); err != nil || at < end {
		b.t.Errorf("the sink is at %s (%v), want %s", k.LSN, err, end)
	}
}

// readableCopy is a copy of a directory that the server's user can read.
func readableCopy(t *testing.T, dir string) string {
	t.Helper()
	public, err := os.MkdirTemp("", "walplex-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(public) })
	if out, err := exec.Command("sh", "-c", `cp -a "$1" "$2/copy" && chmod -R a+rX "$2"`, "sh", dir, public).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(public, "copy")
}

// baseBackups is how many backups the server is taking.
func baseBackups(t *testing.T, c *postgres.Cluster) string {
	t.Helper()
	return query(t, c, "SELECT count(*) FROM pg_stat_progress_basebackup")
}

// sinkState waits until a sink is in a state.
func (p *inProcess) sinkState(i int, want stream.SinkState) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("sink %d is %s", i, want), func() bool {
		all := p.s.Status().Sinks
		return len(all) > i && all[i].State == want
	})
}

// TestBaseBackup: a required sink gets a backup under load while the archive beside
// it goes on, though the sink takes nothing for a while: the slot keeps the WAL. Then
// it catches up, and the backup with the archive is what a server recovers from.
func TestBaseBackup(t *testing.T) {
	c := server(t, func(o *postgres.Options) {
		o.Conf = map[string]string{"max_wal_size": "2MB", "min_wal_size": "2MB", "wal_keep_size": "0"}
	})
	initPgbench(t, c)
	d := newDirs(t)
	b := baseSink(t, d)
	b.touch(b.hold)
	p := runStream(t, c, stream.Until{}, stream.DefaultTimes(), archiveSink(d), b.SinkConfig)
	p.sinkState(1, stream.SinkBackup)
	p.says("data of a backup comes", 1)
	p.says("caught up", 1)
	held := restartLSN(t, c)
	load(t, c, 2)()
	end := flushLSN(t, c)
	eventually(t, "the archive goes on", func() bool { return p.s.Status().Sinks[0].Flushed >= end })
	pgtest.Exec(t, c, "CHECKPOINT")
	if at := restartLSN(t, c); at != held {
		t.Errorf("the slot went from %s to %s while a required sink has no position", held, at)
	}
	st := p.s.Status().Sinks[1]
	if st.State != stream.SinkBackup || st.Backup == nil || st.Backup.Phase != stream.BackupCopying || st.Backup.Total < 10<<20 ||
		st.Backup.Done > 32<<20 || st.Backup.Start.LSN < held {
		t.Errorf("the sink is %s, its backup %+v", st.State, st.Backup)
	}
	if n := baseBackups(t, c); n != "1" {
		t.Errorf("the server is taking %s backups", n)
	}
	b.remove(b.hold)
	p.says("is served by the live stream again", 1)
	load(t, c, 1)()
	end = flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	want := pgbenchTables(t, c)
	if n := strings.Count(p.log(), "msg=connected"); n != 1 {
		t.Errorf("the stream was connected %d times", n)
	}
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	b.verify(c, finished(t, d.path("archive")), end)
	r := restore(t, c, copyBackup+`; chmod -R go= "$1"`, readableCopy(t, filepath.Join(b.dir, "backup")),
		map[string]string{"restore_command": restoreCommand(t, "--from", readableCopy(t, d.path("archive")))})
	if got := pgbenchTables(t, r); got != want {
		t.Errorf("the tables are %s, want %s", got, want)
	}
	amcheck(t, r)
}

// TestBaseBackupFaults: whatever dies in the middle of a backup, the sink gets another
// one from its beginning, the archive goes on, and no session stays on the server.
func TestBaseBackupFaults(t *testing.T) {
	for _, kind := range []string{"sink killed", "no space", "backup's connection", "server restart", "server killed", "reload", "sink stopped"} {
		t.Run(kind, func(t *testing.T) {
			c := server(t)
			initPgbench(t, c)
			d := newDirs(t)
			b := baseSink(t, d)
			b.touch(b.hold)
			times := stream.DefaultTimes()
			if kind == "sink stopped" {
				times.Heartbeat, times.Silence = 100*time.Millisecond, 3*time.Second
			}
			p := runStream(t, c, stream.Until{}, times, archiveSink(d), b.SinkConfig)
			p.says("data of a backup comes", 1)
			p.says("caught up", 1)
			b.fault(kind, c, p)
			p.says("data of a backup comes", 2)
			eventually(t, "the server takes one backup, and no former one any more", func() bool {
				st := p.s.Status().Sinks[1]
				return st.Backup != nil && st.Backup.Phase == stream.BackupCopying && baseBackups(t, c) == "1"
			})
			b.remove(b.hold)
			p.sinkState(1, stream.SinkLive)
			load(t, c, 1)()
			end := flushLSN(t, c)
			slotReaches(t, c, "walplex", end)
			if n := baseBackups(t, c); n != "0" {
				t.Errorf("the server is taking %s backups", n)
			}
			if err := p.finish(); err != nil {
				t.Error(err)
			}
			compareArchive(t, c, d.path("archive"), end)
			b.verify(c, c.WALDir(), end)
		})
	}
}

// fault does something to a backup that is held up.
func (b *base) fault(kind string, c *postgres.Cluster, p *inProcess) {
	t := b.t
	t.Helper()
	pid := p.s.Status().Sinks[1].PID
	switch kind {
	case "sink killed":
		kill(t, pid, syscall.SIGKILL)
	case "sink stopped": // it gives no sign of life
		kill(t, pid, syscall.SIGSTOP)
	case "no space":
		b.touch(b.noRoom)
		b.remove(b.hold)
		p.says("no space left on device", 3)
		b.touch(b.hold)
		b.remove(b.noRoom)
	case "backup's connection":
		pgtest.Exec(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_basebackup")
		b.remove(b.hold) // what the host has received comes first
		p.says("its base backup failed", 1)
		b.touch(b.hold)
	case "server restart":
		stopped := make(chan error, 1)
		go func() { stopped <- c.Stop(t.Context(), postgres.Fast) }()
		// The backup's walsender ends only when the host takes what it has sent.
		b.remove(b.hold)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		p.says("its base backup failed", 1)
		b.touch(b.hold)
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	case "server killed":
		if err := c.Kill9(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.remove(b.hold)
		p.says("its base backup failed", 1)
		b.touch(b.hold)
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	case "reload":
		cfg := p.cfg
		cfg.Sinks = slices.Clone(cfg.Sinks)
		cfg.Sinks[1].Spec.Env = []string{"ANOTHER=1"}
		if what, err := p.s.Reload(t.Context(), cfg); err != nil || len(what) != 1 {
			t.Errorf("the reload changes %q, %v", what, err)
		}
	}
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if pid == 0 {
		t.Fatal("the sink has no process")
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

const baseAlone = `
stream "main" {
  postgres {
    dsn             = DSN
    slot            = "walplex"
    create_slot     = true
    status_interval = "1s"
  }
  sink "base" "base" {
    config {
      directory = "ROOT/base"
      hold      = "ROOT/hold"
    }
  }
}
plugin "base" { path = "ROOT/basesink" }`

// TestBaseBackupAlone: nobody else is there. The host is killed in the middle, and the
// next one runs until the sink has caught up with a new backup; one after it takes
// none.
func TestBaseBackupAlone(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	d := newDirs(t)
	b := baseSink(t, d)
	conf := d.write(baseAlone, c.DSN())
	b.touch(b.hold)
	h := start(t, "run", conf)
	h.says("data of a backup comes", 1)
	h.kill9()
	eventually(t, "the backup ends with its host", func() bool { return baseBackups(t, c) == "0" })
	h = start(t, "run", conf)
	h.says("data of a backup comes", 1)
	h.stopsPromptly(0)
	if !strings.Contains(h.log(), "base backup: given up") {
		t.Error("the log does not say that the backup is given up")
	}
	b.remove(b.hold)
	for range 2 {
		load(t, c, 1)()
		end := flushLSN(t, c)
		h = start(t, "run", "--until", "caught-up", conf)
		h.wants(0)
		slotReaches(t, c, "walplex", end)
		if backup, err := wal.ParseLSN(b.stored().State.End); err != nil {
			t.Error(err)
		} else {
			end = max(end, backup) // before that it is not consistent
		}
		b.verify(c, c.WALDir(), end)
	}
	if strings.Contains(h.log(), "base backup") {
		t.Error("a sink that is not new gets another backup")
	}
}

// TestBaseBackupOptional: a sink that is not required gets a backup, with a tablespace,
// and no other one when it dies later.
func TestBaseBackupOptional(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	place := archiveDir(t, c, "place")
	if err := shell(t.Context(), c, `mkdir "$2/in"`, place); err != nil { // of the server's user
		t.Fatal(err)
	}
	pgtest.Exec(t, c, "CREATE TABLESPACE other LOCATION '"+filepath.Join(place, "in")+"'", "ALTER TABLE pgbench_branches SET TABLESPACE other")
	d := newDirs(t)
	b := baseSink(t, d)
	b.Required = false
	p := runStream(t, c, stream.Until{}, stream.DefaultTimes(), archiveSink(d), b.SinkConfig)
	p.says("the sink holds it", 1)
	for range 3 {
		p.killSink("base")
	}
	load(t, c, 1)()
	end := flushLSN(t, c)
	eventually(t, "the sink has flushed all", func() bool { return p.s.Status().Sinks[1].Flushed >= end })
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(p.log(), "base backup: copying"); n != 1 {
		t.Errorf("there were %d backups", n)
	}
	b.verify(c, c.WALDir(), end)
	if names, err := filepath.Glob(filepath.Join(b.dir, "backup/pg_tblspc/*/PG_*/*/*")); err != nil || len(names) == 0 {
		t.Errorf("no file of the tablespace came (%v)", err)
	}
}

// TestBaseBackupRefused: a server that has no connection for it refuses for good.
func TestBaseBackupRefused(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Conf = map[string]string{"max_wal_senders": "1"} })
	d := newDirs(t)
	b := baseSink(t, d)
	p := runStream(t, c, stream.Until{}, stream.DefaultTimes(), archiveSink(d), b.SinkConfig)
	p.says("the server does not begin", 1)
	eventually(t, "the status says why", func() bool {
		all := p.s.Status().Sinks
		return len(all) == 2 && all[1].Backup != nil && strings.Contains(all[1].Backup.Error, "max_wal_senders")
	})
	select {
	case err := <-p.ended:
		if err == nil || !strings.Contains(err.Error(), "max_wal_senders") || !strings.Contains(err.Error(), "one connection more") {
			t.Errorf("the stream ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("the stream goes on")
	}
}

// TestBaseBackupOfArchive: an archive cannot give one; validate says so, at the
// sink's block.
func TestBaseBackupOfArchive(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	start(t, "run", "--until", "caught-up", d.write(archiveOnly, c.DSN())).wants(0)
	baseSink(t, d)
	const config = `
stream "main" {
  archive { directory = "ROOT/archive" }
  sink "base" "base" {
    config { directory = "ROOT/base" }
  }
}
plugin "base" { path = "ROOT/basesink" }`
	start(t, "validate", d.write(config, "")).wants(2, "an archive gives no base backup", "walplex.hcl:5")
}

// TestBaseBackupOfStandby: a standby's backup begins at its last restartpoint, which may
// lie before all that anybody has, and the promotion of the standby ends it: the sink
// gets another one, on the new timeline.
func TestBaseBackupOfStandby(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	standby := pgtest.Standby(t, c, keepWAL)
	d := newDirs(t)
	b := baseSink(t, d)
	b.touch(b.hold)
	p := runStream(t, standby, stream.Until{}, stream.DefaultTimes(), archiveSink(d), b.SinkConfig)
	p.says("data of a backup comes", 1)
	load(t, c, 1)()
	caughtUp(t, standby, flushLSN(t, c))
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.remove(b.hold)
	p.says("its base backup failed", 1)
	p.says("the sink holds it", 1)
	load(t, standby, 1)()
	end := flushLSN(t, standby)
	slotReaches(t, standby, "walplex", end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	k := b.stored()
	if k.State.First == "" || k.State.Broken != "" {
		t.Errorf("the sink holds %+v", k)
	}
}

// TestAfterBaseBackup: a sink that comes after one which gets a backup waits for it, and
// nobody else does.
func TestAfterBaseBackup(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	b := baseSink(t, d)
	b.touch(b.hold)
	trail := trailSink(d)
	trail.Required, trail.After = true, []int{1}
	p := runLimited(t, c, stream.DefaultTimes(), archiveSink(d), b.SinkConfig, trail)
	p.says("data of a backup comes", 1)
	p.says("sink attached", 2)
	initPgbench(t, c)
	end := flushLSN(t, c)
	eventually(t, "the archive goes on", func() bool { return p.s.Status().Sinks[0].Flushed >= end })
	st := p.s.Status().Sinks
	if st[1].Backup == nil || st[2].State != stream.SinkCatchingUp || st[2].Written >= end {
		t.Errorf("%s with %+v, then %s at %s", st[1].State, st[1].Backup, st[2].State, st[2].Written)
	}
	b.remove(b.hold)
	p.sinkState(1, stream.SinkLive)
	p.sinkState(2, stream.SinkLive)
	end = flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	compareArchive(t, c, d.path("archive"), end)
	b.verify(c, c.WALDir(), end)
	verifyTrail(t, c, d.path("trail"), end)
}
