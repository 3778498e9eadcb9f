package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// restoreCommand runs the program as the server's user, from these directories.
func restoreCommand(t *testing.T, args ...string) string {
	t.Helper()
	// The server's user has to get at it.
	if err := os.Chmod(filepath.Dir(program), 0o711); err != nil {
		t.Fatal(err)
	}
	return program + " archive get " + strings.Join(args, " ") + " %f %p"
}

// archiveDir is a directory below the cluster's in which its user can write.
func archiveDir(t *testing.T, c *postgres.Cluster, name string) string {
	t.Helper()
	dir := filepath.Join(c.Dir(), name)
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// receive lets pg_receivewal receive up to the server's flush position.
func receive(t *testing.T, c *postgres.Cluster, dir, slot string, args ...string) wal.LSN {
	t.Helper()
	end := flushLSN(t, c)
	// It looks at where it is when something arrives.
	pgtest.Exec(t, c, "SELECT pg_logical_emit_message(true, 'e2e', 'behind the end')")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := c.Tool(ctx, "pg_receivewal", append([]string{"-D", dir, "-S", slot, "--endpos", end.String(), "--no-password"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_receivewal: %v\n%s", err, out)
	}
	return end
}

func createSlot(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('receiver', true)")
}

// recovery makes a cluster that is to recover from a backup of c.
func recovery(t *testing.T, c *postgres.Cluster, conf map[string]string) *postgres.Cluster {
	t.Helper()
	r, err := c.Recovery(t.Context(), func(o *postgres.Options) {
		o.Conf["recovery_target_action"] = "promote"
		for k, v := range conf {
			o.Conf[k] = v
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	adopt(t, r)
	return r
}

// adopt takes a cluster that was made from a backup: it has no slots, and ends with
// the test.
func adopt(t *testing.T, r *postgres.Cluster) {
	t.Helper()
	slots, err := filepath.Glob(filepath.Join(r.DataDir(), "pg_replslot", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range slots {
		if err := os.RemoveAll(slot); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of the recovery:\n%s", r.Log())
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := r.Destroy(ctx); err != nil {
			t.Error(err)
		}
	})
}

// recovered starts the cluster and waits until its recovery is over.
func recovered(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.WaitFor(ctx, "SELECT pg_is_in_recovery()", "f"); err != nil {
		t.Fatal(err)
	}
}

// insert makes some WAL, and rows that are told apart by who.
func insert(t *testing.T, c *postgres.Cluster, who string, rows int) {
	t.Helper()
	pgtest.Exec(t, c, "CREATE TABLE IF NOT EXISTS t (who text, n int, filler text)",
		fmt.Sprintf("INSERT INTO t SELECT '%s', n, repeat(md5(n::text), 6) FROM generate_series(1, %d) n", who, rows))
}

// content is what the table holds, in short.
func content(t *testing.T, c *postgres.Cluster) string {
	t.Helper()
	return query(t, c, "SELECT string_agg(who || ' ' || n || ' ' || h, ', ' ORDER BY who) FROM (SELECT who, count(*) AS n, md5(string_agg(n || filler, '' ORDER BY n)) AS h FROM t GROUP BY who) x")
}

// TestArchiveGetRestores restores a backup to the end of what pg_receivewal has
// received, and to a point before that.
func TestArchiveGetRestores(t *testing.T) {
	for _, compress := range []string{"none", "gzip", "lz4"} {
		t.Run(compress, func(t *testing.T) {
			c := server(t)
			createSlot(t, c)
			insert(t, c, "before", 1000)
			archive := archiveDir(t, c, "archive")
			end := recovery(t, c, map[string]string{"restore_command": restoreCommand(t, "--from", archive)})
			early := recovery(t, c, map[string]string{"restore_command": restoreCommand(t, "--from", archive), "recovery_target_name": "here"})
			insert(t, c, "early", 20_000)
			want := content(t, c)
			pgtest.Exec(t, c, "SELECT pg_create_restore_point('here')")
			insert(t, c, "late", 30_000)
			receive(t, c, archive, "receiver", "--compress", compress)
			if partial, err := filepath.Glob(filepath.Join(archive, "*.partial")); err != nil || len(partial) != 1 {
				t.Fatalf("partial segments: %v, %v", partial, err)
			}
			recovered(t, early)
			if got := content(t, early); got != want {
				t.Errorf("at the restore point the table holds %s, want %s", got, want)
			}
			recovered(t, end)
			if got, want := content(t, end), content(t, c); got != want {
				t.Errorf("at the end the table holds %s, want %s", got, want)
			}
			start(t, "archive", "verify", archive).wants(0, "the archive is whole")
		})
	}
}

// TestArchiveGetStopsRecovery: where the archive is not there or damaged, a
// server that has enough WAL of its own to open stops instead, and recovers all
// when it is mended.
func TestArchiveGetStopsRecovery(t *testing.T) {
	c := server(t)
	createSlot(t, c)
	insert(t, c, "before", 1000)
	archive := archiveDir(t, c, "archive")
	absent := filepath.Join(archive, "absent")
	r := recovery(t, c, map[string]string{"restore_command": restoreCommand(t, "--from", absent)})
	pgtest.Exec(t, c, "SELECT pg_switch_wal()")
	segments, err := filepath.Glob(filepath.Join(c.WALDir(), "0*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range segments {
		copyFile(t, name, filepath.Join(r.WALDir(), filepath.Base(name)))
	}
	insert(t, c, "late", 30_000)
	receive(t, c, archive, "receiver")
	fails := func(text string) {
		t.Helper()
		// It may answer queries until it comes to that.
		if err := r.Start(t.Context()); err == nil {
			eventually(t, "the server stops", func() bool { return !r.Running() })
		}
		if log := r.Log(); !strings.Contains(log, text) || strings.Contains(log, "archive recovery complete") {
			t.Fatalf("want a server that stops and says %q:\n%s", text, log)
		}
	}
	fails("cannot be looked into")
	if err := r.SetConf(map[string]string{"restore_command": restoreCommand(t, "--from", archive)}); err != nil {
		t.Fatal(err)
	}
	whole, err := filepath.Glob(filepath.Join(archive, "0*[0-9A-F]"))
	if err != nil || len(whole) < 5 {
		t.Fatalf("segments: %v, %v", whole, err)
	}
	hurt := whole[len(whole)-2]
	content1, err := os.ReadFile(hurt)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(hurt, 100_000); err != nil {
		t.Fatal(err)
	}
	fails("it has 100000 bytes, its header says 1048576")
	if err := os.WriteFile(hurt, content1, 0o644); err != nil {
		t.Fatal(err)
	}
	recovered(t, r)
	if got, want := content(t, r), content(t, c); got != want {
		t.Errorf("the table holds %s, want %s", got, want)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestArchiveGetAfterPromotion: a standby was promoted while the old server went
// on. Each timeline is restored to its end, and without the new timeline's WAL
// nothing of what the old server wrote beyond the switch point.
func TestArchiveGetAfterPromotion(t *testing.T) {
	c := server(t)
	createSlot(t, c)
	insert(t, c, "before", 1000)
	oldDir, newDir, history := archiveDir(t, c, "old"), archiveDir(t, c, "new"), archiveDir(t, c, "history")
	from := func(dirs ...string) string {
		var args []string
		for _, d := range dirs {
			args = append(args, "--from", d)
		}
		return restoreCommand(t, args...)
	}
	latest := recovery(t, c, map[string]string{"restore_command": from(oldDir, newDir)})
	common := recovery(t, c, map[string]string{"restore_command": from(oldDir, history)})
	former := recovery(t, c, map[string]string{"restore_command": restoreCommand(t, "--timeline 1", "--from", oldDir, "--from", newDir), "recovery_target_timeline": "1"})
	s, err := c.Standby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	adopt(t, s)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	insert(t, c, "both", 20_000)
	both := content(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.WaitFor(ctx, fmt.Sprintf("SELECT pg_last_wal_replay_lsn() >= '%s'", flushLSN(t, c)), "t"); err != nil {
		t.Fatal(err)
	}
	if err := s.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, c, "INSERT INTO t VALUES ('old', 1, 'x')")
	receive(t, c, oldDir, "receiver")
	insert(t, s, "new", 20_000)
	pgtest.Exec(t, s, "SELECT pg_switch_wal()")
	segments, err := filepath.Glob(filepath.Join(s.WALDir(), "00000002*"))
	if err != nil || len(segments) < 3 {
		t.Fatalf("segments of timeline 2: %v, %v", segments, err)
	}
	for _, name := range segments {
		copyFile(t, name, filepath.Join(newDir, filepath.Base(name)))
	}
	copyFile(t, filepath.Join(newDir, "00000002.history"), filepath.Join(history, "00000002.history"))
	for _, restored := range []struct {
		what string
		r    *postgres.Cluster
		want string
	}{{"the latest timeline", latest, content(t, s)}, {"what both have", common, both}, {"the former timeline", former, content(t, c)}} {
		recovered(t, restored.r)
		if got := content(t, restored.r); got != restored.want {
			t.Errorf("%s: the table holds %s, want %s\n%s", restored.what, got, restored.want, restored.r.Log())
		}
	}
	verifyPromoted(t, oldDir, newDir)
}

// TestArchiveGetStatus: the exit statuses that PostgreSQL relies on.
func TestArchiveGetStatus(t *testing.T) {
	d := newDirs(t)
	archive, dest := "../../../examples/wal", d.path("RECOVERYXLOG")
	for _, c := range []struct {
		status int
		says   string
		args   []string
	}{
		{0, "", []string{"--from", archive, "00000001000000000000000C", dest}},
		{1, "00000001000000000000000F is not in the archive", []string{"--from", archive, "00000001000000000000000F", dest}},
		{1, "00000002.history is not in the archive", []string{"--from", archive, "00000002.history", dest}},
		{2, "accepts 2 arg", []string{"--from", archive, "00000001000000000000000C"}},
		{2, "from", []string{"00000001000000000000000C", dest}},
		{2, "neither a WAL segment", []string{"--from", archive, "postgresql.conf", dest}},
		{200, "mount it, or correct --from", []string{"--from", d.path("absent"), "00000001000000000000000C", dest}},
		{200, "data directory", []string{"--from", archive, "00000001000000000000000C", d.path("absent/RECOVERYXLOG")}},
	} {
		start(t, append([]string{"archive", "get"}, c.args...)...).wants(c.status, c.says)
	}
	if st, err := os.Stat(dest); err != nil || st.Size() != int64(segment) {
		t.Errorf("%s: %v", dest, err)
	}
}

// TestArchiveGetDiesOfSignal: PostgreSQL tells its own shutdown by that; an exit
// status of 1 would end the recovery. A file system that hangs is no reason to stay.
func TestArchiveGetDiesOfSignal(t *testing.T) {
	d := newDirs(t)
	if err := syscall.Mkfifo(d.path("000000010000000000000001"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, "archive", "get", "--from", d.root, "000000010000000000000001", d.path("RECOVERYXLOG"))
	h.signal(syscall.SIGTERM)
	select {
	case <-h.done:
	case <-time.After(patience):
		t.Fatal("SIGTERM does not end it")
	}
	var exit *exec.ExitError
	if !errors.As(h.err, &exit) {
		t.Fatalf("it ended with %v", h.err)
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, want death by SIGTERM", h.err)
	}
}
