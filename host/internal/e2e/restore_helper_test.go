package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/basebackup"
	"github.com/walplex/walplex/host/internal/postgres"
)

// asServer is walplex with these arguments, run by the server's user, so that its
// files are that user's; $WALPLEX_DSN leads to the server.
func asServer(t *testing.T, c *postgres.Cluster, args ...string) *exec.Cmd {
	t.Helper()
	if err := os.Chmod(filepath.Dir(program), 0o711); err != nil {
		t.Fatal(err)
	}
	cmd := c.Tool(t.Context(), "psql", args...)
	cmd.Path, cmd.Args[0], cmd.Err = program, program, nil
	cmd.Env = append(cmd.Env, "WALPLEX_DSN="+c.DSN())
	return cmd
}

// exitStatus runs a command to its end.
func exitStatus(t *testing.T, cmd *exec.Cmd) (status int, output string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// baseBackup takes a base backup of the server into a directory.
func baseBackup(t *testing.T, c *postgres.Cluster, dir string, args ...string) basebackup.Summary {
	t.Helper()
	all := append([]string{"archive", "base-backup", "--checkpoint", "fast", "--to", dir}, args...)
	if status, out := exitStatus(t, asServer(t, c, all...)); status != 0 {
		t.Fatalf("base-backup: exit status %d\n%s", status, out)
	}
	b, err := os.ReadFile(dir + ".backup.json")
	if err != nil {
		t.Fatal(err)
	}
	var s basebackup.Summary
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return s
}

// shell runs a script as the cluster's user; $1 is its data directory.
func shell(ctx context.Context, r *postgres.Cluster, script string, args ...string) error {
	cmd := r.Tool(ctx, "psql", append([]string{"-euc", script, "sh", r.DataDir()}, args...)...)
	cmd.Path, cmd.Args[0], cmd.Err = "/bin/sh", "sh", nil
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(err.Error() + ": " + string(out))
	}
	return nil
}

// copyBackup puts a plain backup into a data directory.
const copyBackup = `cp -a "$2" "$1"; touch "$1/recovery.signal"`

// restore makes a cluster of a backup of c by a script whose $1 is the new data
// directory and $2 the backup, and recovers it.
func restore(t *testing.T, c *postgres.Cluster, script, backup string, conf map[string]string) *postgres.Cluster {
	t.Helper()
	o := postgres.Options{Install: c.Install(), Conf: map[string]string{"recovery_target_action": "promote", "wal_keep_size": "4GB"}}
	for k, v := range conf {
		o.Conf[k] = v
	}
	r, err := postgres.Restore(t.Context(), o, func(ctx context.Context, r *postgres.Cluster) error {
		return shell(ctx, r, script, backup)
	})
	if err != nil {
		t.Fatal(err)
	}
	adopt(t, r)
	recovered(t, r)
	return r
}

// pgbenchTables is a checksum over each of pgbench's tables.
func pgbenchTables(t *testing.T, c *postgres.Cluster) string {
	t.Helper()
	var all []string
	for _, table := range []string{"accounts", "branches", "tellers", "history"} {
		all = append(all, table+" "+query(t, c, "SELECT count(*) || ' ' || md5(coalesce(string_agg(x::text, ',' ORDER BY x::text), '')) FROM pgbench_"+table+" x"))
	}
	return strings.Join(all, "; ")
}

// amcheck has every table and index of every database checked.
func amcheck(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	out, err := c.Tool(t.Context(), "pg_amcheck", "--all", "--install-missing", "--heapallindexed", "--parent-check").CombinedOutput()
	if err != nil {
		t.Errorf("pg_amcheck: %v\n%s", err, out)
	}
}

// wantNames asserts what lies in a directory, by a pattern.
func wantNames(t *testing.T, pattern string, want ...string) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		names[i] = filepath.Base(n)
	}
	if got := strings.Join(names, " "); got != strings.Join(want, " ") {
		t.Errorf("%s: %s, want %s", pattern, got, want)
	}
}
