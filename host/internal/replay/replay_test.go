package replay_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/consistency"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replay"
)

// leastPages is how many pages a run compares at least: some 6,000 they are.
const leastPages = 3000

// All pages are, in every byte, as the recovery of the installed server makes them
// of the same files and WAL, of every kind of record; however much waits in memory.
func TestAsTheServersRecovery(t *testing.T) {
	c := pgtest.Start(t, func(o *postgres.Options) {
		*o = consistency.Options(o.Install)
		delete(o.Conf, "wal_consistency_checking")
	})
	w, err := consistency.Record(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Recover(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for name, memory := range map[string]int{"in one window": 0, "in many windows": 1} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, filepath.Join(c.Dir(), "base"))
			r, err := replay.Run(t.Context(), replay.Options{DataDir: dir, WALDir: filepath.Join(c.Dir(), "live", "pg_wal"), Memory: memory})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", *r)
			if r.Images == 0 || r.Changes <= r.Images || r.Written == 0 {
				t.Errorf("too little was done: %+v", *r)
			}
			compare(t, dir, c.DataDir())
		})
	}
}

// compare compares all pages, and checks that it would have found a difference.
func compare(t *testing.T, ours, theirs string) {
	t.Helper()
	r, err := consistency.CompareDirs(ours, theirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pages are compared with those of a server that recovered", r.Pages)
	if r.Failed > 0 {
		t.Errorf("%d pages differ\n%s", r.Failed, strings.Join(r.Failures, "\n"))
	}
	if r.Pages < leastPages {
		t.Errorf("only %d pages were compared", r.Pages)
	}
	spoil(t, filepath.Join(ours, "base"))
	if r, err = consistency.CompareDirs(ours, theirs); err != nil || r.Failed != 1 {
		t.Errorf("a byte was spoilt, and the comparison says %+v, %v", r, err)
	}
}

// spoil changes a byte of the last page of a user's relation of a database.
func spoil(t *testing.T, base string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(base, "*", "16[0-9][0-9][0-9]"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 || filepath.Base(name) < "16384" {
			continue
		}
		b[len(b)-1] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no user's relation has pages")
}

// copied is a copy of a data directory.
func copied(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A second run over what the first one left behind finds all changes done, but for
// images and pages made anew, and changes nothing.
func TestAgain(t *testing.T) {
	c := pgtest.Start(t)
	if err := c.Exec(t.Context(), "CREATE TABLE t (a int PRIMARY KEY, b text)", "CHECKPOINT",
		"INSERT INTO t SELECT i, 'x' FROM generate_series(1, 5000) i", "UPDATE t SET b = 'y' WHERE a % 3 = 0", "DELETE FROM t WHERE a % 7 = 0"); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context(), postgres.Immediate); err != nil {
		t.Fatal(err)
	}
	dir := copied(t, c.DataDir())
	first, err := replay.Run(t.Context(), replay.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	before := copied(t, dir)
	second, err := replay.Run(t.Context(), replay.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if first.Records != second.Records || first.To != second.To || first.Changes == 0 {
		t.Errorf("first %+v, then %+v", *first, *second)
	}
	r, err := consistency.CompareDirs(before, dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed > 0 || r.Pages < 20 {
		t.Errorf("of %d pages %d differ: %v", r.Pages, r.Failed, r.Failures)
	}
}

// A page that the WAL changes and that is not there is an error.
func TestIncomplete(t *testing.T) {
	c := pgtest.Start(t)
	if err := c.Exec(t.Context(), "CREATE TABLE t (a int)", "INSERT INTO t SELECT generate_series(1, 5000)"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetConf(map[string]string{"full_page_writes": "off"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	path, err := c.QueryString(t.Context(), "SELECT pg_relation_filepath('t')")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(t.Context(), "CHECKPOINT", "UPDATE t SET a = -a WHERE a = 1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context(), postgres.Immediate); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(c.DataDir(), path), 0); err != nil {
		t.Fatal(err)
	}
	_, err = replay.Run(t.Context(), replay.Options{DataDir: c.DataDir()})
	if err == nil || !strings.Contains(err.Error(), "not there") {
		t.Errorf("got %v", err)
	}
}

// Without its WAL a directory cannot be replayed, and the error says from where on
// it is wanted.
func TestNoWAL(t *testing.T) {
	c := pgtest.Start(t)
	if err := c.Stop(t.Context(), postgres.Immediate); err != nil {
		t.Fatal(err)
	}
	_, err := replay.Run(t.Context(), replay.Options{DataDir: c.DataDir(), WALDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "redo location") {
		t.Errorf("got %v", err)
	}
}
