package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// TestSynchronousCommit: with us as the synchronous standby a commit waits for
// what synchronous_commit asks for, and no longer.
func TestSynchronousCommit(t *testing.T) {
	for level, f := range map[string]struct{ sinks, column string }{
		"remote_write": {archiveOnly, "write_lsn"},
		"on":           {archiveOnly, "flush_lsn"},
		"remote_apply": {allSinks, "replay_lsn"}, // page_cache reports what is applied
	} {
		t.Run(level, func(t *testing.T) {
			c := server(t)
			initPgbench(t, c)
			d := newDirs(t)
			h := start(t, "run", d.write(f.sinks, c.DSN()+" application_name=we"))
			h.says("caught up", 1)
			pgtest.Exec(t, c, "ALTER SYSTEM SET synchronous_standby_names = 'we'", "ALTER SYSTEM SET synchronous_commit = '"+level+"'", "SELECT pg_reload_conf()")
			eventually(t, "we are the synchronous standby", func() bool {
				return query(t, c, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'we' AND sync_state = 'sync'") == "1"
			})
			pgtest.Exec(t, c, "CREATE TABLE x (a int)")
			for range 20 {
				before := query(t, c, "SELECT pg_current_wal_insert_lsn()")
				pgtest.Exec(t, c, "INSERT INTO x VALUES (1)")
				if n := query(t, c, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'we' AND "+f.column+" > '"+before+"'"); n != "1" {
					t.Errorf("a commit has returned, and %s is at %s or before", f.column, before)
				}
			}
			load(t, c, 2)()
			h.waitsForUs(c)
			end := flushLSN(t, c)
			slotReaches(t, c, "walplex", end)
			pgtest.Exec(t, c, "SET synchronous_commit = local", "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
			h.stop()
			compareArchive(t, c, d.path("archive"), end)
		})
	}
}

// waitsForUs stops the archive: a commit then waits, and ends when the archive
// goes on.
func (h *host) waitsForUs(c *postgres.Cluster) {
	t := h.t
	t.Helper()
	pid := h.sinkPID("archive")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Exec(t.Context(), "INSERT INTO x VALUES (2)") }()
	eventually(t, "the commit waits for us", func() bool {
		select {
		case err := <-done:
			t.Fatalf("the commit has not waited: %v", err)
		default:
		}
		return query(t, c, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1"
	})
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestCommittedIsArchived: what a synchronous commit has returned for is in the
// archive after everything of ours was killed.
func TestCommittedIsArchived(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	h := start(t, "run", d.write(archiveOnly, c.DSN()+" application_name=we"))
	h.says("caught up", 1)
	pgtest.Exec(t, c, "CREATE TABLE x (a int)", "ALTER SYSTEM SET synchronous_standby_names = 'we'", "SELECT pg_reload_conf()")
	eventually(t, "we are the synchronous standby", func() bool {
		return query(t, c, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'we' AND sync_state = 'sync'") == "1"
	})
	pgtest.Exec(t, c, "INSERT INTO x VALUES (1)")
	committed := flushLSN(t, c)
	archive := h.sinkPID("archive")
	h.kill9()
	eventually(t, "the sink is gone", func() bool { return !alive(archive) })
	b, err := os.ReadFile(c.WALDir() + "/" + segment.FileName(1, segment.SegNo(committed)))
	if err != nil {
		t.Fatal(err)
	}
	name := d.path("archive/" + segment.FileName(1, segment.SegNo(committed)))
	got, err := os.ReadFile(name + wal.PartialSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if n := segment.Offset(committed); !strings.HasPrefix(string(got), string(b[:n])) {
		t.Errorf("%s lacks something of what was committed before %s", name, committed)
	}
}
