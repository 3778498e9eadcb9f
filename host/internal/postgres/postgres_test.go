package postgres_test

import (
	"bufio"
	"context"
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

// helperEnv makes the test binary a process that starts a cluster and waits to
// be killed: see TestServerDiesWithUs.
const helperEnv = "WALPLEX_TEST_START_CLUSTER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		startAndWait()
		return
	}
	os.Exit(m.Run())
}

func startAndWait() {
	ctx := context.Background()
	c, err := postgres.New(ctx, postgres.Options{})
	if err == nil {
		err = c.Start(ctx)
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(c.Dir())
	select {}
}

// eventually polls until the condition holds; a minute is the most.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		case <-tick.C:
		}
	}
}

func TestLife(t *testing.T) {
	ctx := t.Context()
	c := pgtest.Start(t, func(o *postgres.Options) {
		o.SegmentSizeMB = 1
		o.Checksums = true
		o.Conf = map[string]string{"application_name": "it's quoted"}
	})
	for sql, want := range map[string]string{
		"SHOW wal_segment_size": "1MB",
		"SHOW data_checksums":   "on",
		"SHOW fsync":            "off",
		"SELECT current_user":   "postgres",
		"SELECT setting FROM pg_file_settings WHERE name = 'application_name'": "it's quoted",
	} {
		if got, err := c.QueryString(ctx, sql); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", sql, got, err, want)
		}
	}
	if _, err := c.Pgbench(ctx, "-i", "-q", "-s", "1"); err != nil {
		t.Fatal(err)
	}
	lsn, err := c.SwitchWAL(ctx)
	if err != nil {
		t.Fatal(err)
	}
	name := wal.SegmentSize(wal.MinSegmentSize).FileName(1, wal.SegmentSize(wal.MinSegmentSize).SegNo(lsn-1))
	if _, err := os.Stat(filepath.Join(c.WALDir(), name)); err != nil {
		t.Errorf("the segment before %s: %v", lsn, err)
	}
	if err := c.Kill9(ctx); err != nil {
		t.Fatal(err)
	}
	if c.Running() {
		t.Error("runs after kill -9")
	}
	if err := c.Start(ctx); err != nil {
		t.Fatalf("start after kill -9: %v", err)
	}
	if n, err := c.QueryString(ctx, "SELECT count(*) FROM pgbench_accounts"); err != nil || n != "100000" {
		t.Errorf("after crash recovery: %s rows, %v", n, err)
	}
	flush, err := c.FlushLSN(ctx)
	if err != nil || flush < lsn {
		t.Errorf("flush LSN %s, %v; before the crash %s", flush, err, lsn)
	}
	for _, mode := range []postgres.StopMode{postgres.Smart, postgres.Fast, postgres.Immediate} {
		if err := c.Stop(ctx, mode); err != nil {
			t.Fatal(err)
		}
		if err := c.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetConf(map[string]string{"work_mem": "5MB"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := c.QueryString(ctx, "SHOW work_mem"); err != nil || got != "5MB" {
		t.Errorf("work_mem after a reload: %q, %v", got, err)
	}
}

func TestTwoAtOnceAndTCP(t *testing.T) {
	tcp := func(o *postgres.Options) { o.TCP = true }
	a, b := pgtest.Start(t, tcp), pgtest.Start(t, tcp)
	if a.Port() == b.Port() {
		t.Errorf("both listen on port %d", a.Port())
	}
	conn, err := a.Connect(t.Context(), "host=127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStandbyFollowsAndIsPromoted(t *testing.T) {
	ctx := t.Context()
	primary := pgtest.Start(t, func(o *postgres.Options) { o.SegmentSizeMB = 1 })
	standby := pgtest.Standby(t, primary)
	pgtest.Exec(t, primary, "CREATE TABLE t AS SELECT 1 AS a")
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := standby.WaitFor(wait, "SELECT count(*) FROM pg_class WHERE relname = 't'", "1"); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, standby, "INSERT INTO t VALUES (2)", "CHECKPOINT")
	if got, err := standby.QueryString(ctx, "SELECT timeline_id FROM pg_control_checkpoint()"); err != nil || got != "2" {
		t.Errorf("timeline after promotion: %s, %v", got, err)
	}
}

func TestRecoveryFromAnArchive(t *testing.T) {
	ctx := t.Context()
	c := pgtest.Start(t, func(o *postgres.Options) { o.SegmentSizeMB = 1 })
	r, err := c.Recovery(ctx, func(o *postgres.Options) {
		o.Conf["restore_command"] = "cp " + c.WALDir() + "/%f %p"
		o.Conf["recovery_target_action"] = "promote"
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Destroy(ctx); err != nil {
			t.Error(err)
		}
	}()
	pgtest.Exec(t, c, "CREATE TABLE t AS SELECT 7 AS a", "SELECT pg_switch_wal()")
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := r.QueryString(ctx, "SELECT a FROM t"); err != nil || got != "7" {
		t.Errorf("after recovery: %q, %v", got, err)
	}
}

// A server that cannot start says why with its own log.
func TestStartErrorHasTheLog(t *testing.T) {
	c := pgtest.New(t, func(o *postgres.Options) { o.Conf = map[string]string{"shared_buffers": "nonsense"} })
	err := c.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers"`) {
		t.Errorf("got %v", err)
	}
}

func TestFindSaysWhereItLooked(t *testing.T) {
	dir := t.TempDir()
	_, err := postgres.Find(t.Context(), dir)
	if err == nil {
		t.Fatal("found PostgreSQL in an empty directory")
	}
	for _, want := range []string{dir, "no initdb", "apt-get install postgresql"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	in, err := postgres.Find(t.Context())
	if err != nil || in.Major() < 14 {
		t.Errorf("got %+v, %v", in, err)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := postgres.New(t.Context(), postgres.Options{Dir: long})
	if err == nil || !strings.Contains(err.Error(), "shorter Options.Dir") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(long); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMissingToolIsNamed(t *testing.T) {
	c := pgtest.New(t)
	err := c.Tool(t.Context(), "pg_nonsense").Run()
	if err == nil || !strings.Contains(err.Error(), "pg_nonsense is neither in") {
		t.Errorf("got %v", err)
	}
}

// kill -9 of whoever started a server leaves neither the server nor its files.
func TestServerDiesWithUs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "/") {
		t.Fatalf("the helper says %q, %v", lines.Text(), lines.Err())
	}
	dir := lines.Text()
	b, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(b), &pid); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its status is our signal
	eventually(t, "the directory "+dir+" is gone", func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	})
	eventually(t, "the postmaster is gone", func() bool {
		// It may remain a zombie where nobody reaps orphans.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ") || syscall.Kill(pid, 0) != nil
	})
}

// pg_basebackup is there for whoever tests with it.
func TestBaseBackup(t *testing.T) {
	c := pgtest.Start(t, func(o *postgres.Options) { o.SegmentSizeMB = 1 })
	dir := filepath.Join(c.Dir(), "backup")
	if err := c.BaseBackup(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "backup_label")); err != nil {
		t.Error(err)
	}
	if err := c.BaseBackup(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "exists but is not empty") {
		t.Errorf("into a full directory: %v", err)
	}
}
