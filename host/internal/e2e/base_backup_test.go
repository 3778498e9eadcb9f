package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
