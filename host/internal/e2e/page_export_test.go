package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// relationName is tablespace/database/file number of a relation of pg_default.
func relationName(t *testing.T, c *postgres.Cluster, name string) string {
	t.Helper()
	return query(t, c, "SELECT '1663/' || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || pg_relation_filenode('"+name+"')")
}

// TestPageExport gives a stopped server a relation's files of an earlier LSN, and
// it shows the earlier rows; before that, what became of a page meanwhile is told.
func TestPageExport(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Checksums = true })
	pgtest.Exec(t, c, "CREATE TABLE t (a int, b text) WITH (autovacuum_enabled = off)", "INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 3000) g", "VACUUM t")
	d := newDirs(t)
	h := start(t, "run", d.write(pagesFromBackup, c.DSN()))
	h.says("base backup: the sink holds it", 1)
	relation, socket := relationName(t, c, "t"), d.path("pages/pages.sock")
	pgtest.Exec(t, c, "UPDATE t SET b = b || ' earlier' WHERE a % 3 = 0", "VACUUM t")
	const rows = "SELECT count(*) || md5(string_agg(a || b, ',' ORDER BY a)) FROM t"
	want := query(t, c, rows)
	emit(t, c, 1)
	earlier := flushLSN(t, c)
	pgtest.Exec(t, c, "UPDATE t SET b = 'later'", "VACUUM t", "DELETE FROM t WHERE a > 100", "VACUUM t", "CHECKPOINT")
	emit(t, c, 1)
	later := flushLSN(t, c)
	file := query(t, c, "SELECT pg_relation_filepath('t')")

	page := []string{"--from", socket, "--relation", relation, "--block", "0"}
	historyIsWaldumps(t, c, append([]string{"page", "history", "--lsn", later.String()}, page...), relation)
	out, stderr, status := walplexOut(t, append([]string{"page", "diff", "--from-lsn", earlier.String(), "--to-lsn", later.String()}, page...)...)
	for _, text := range []string{"from " + earlier.String() + " to " + later.String(), "pd_lsn", "line pointer 1: ", " → "} {
		if status != 0 || !strings.Contains(out, text) {
			t.Errorf("diff does not say %q: status %d, %s%s", text, status, out, stderr)
		}
	}
	out, stderr, status = walplexOut(t, append([]string{"page", "diff", "--from-lsn", later.String(), "--to-lsn", later.String()}, page...)...)
	if status != 0 || !strings.HasSuffix(out, "\nno difference\n") {
		t.Errorf("diff of nothing: status %d, %s%s", status, out, stderr)
	}
	out, stderr, status = walplexOut(t, append([]string{"page", "get", "--decode", "--lsn", earlier.String()}, page...)...)
	for _, text := range []string{"block 0, fork main, heap page, as of " + earlier.String(), "pd_lower", "t_xmin", "XMIN_", "2 columns", "t_ctid       (0,"} {
		if status != 0 || !strings.Contains(out, text) {
			t.Errorf("the decoded page does not say %q: status %d, %s%s", text, status, out, stderr)
		}
	}

	if err := c.Stop(t.Context(), postgres.Fast); err != nil {
		t.Fatal(err)
	}
	to := d.path("export")
	export := []string{"page", "export", "--from", socket, "--relation", relation, "--lsn", earlier.String(), "--to", to, "--checksums"}
	if out, stderr, status = walplexOut(t, export...); status != 0 || !strings.Contains(out, "blocks as of "+earlier.String()) {
		t.Fatalf("status %d, %s%s", status, out, stderr)
	}
	if out, stderr, status = walplexOut(t, export...); status != 1 || !strings.Contains(stderr, "has "+filepath.Base(file)+" already") {
		t.Errorf("once more: status %d, %s%s", status, out, stderr)
	}
	missing := d.path("missing")
	out, stderr, status = walplexOut(t, "page", "export", "--from", socket, "--relation", "1663/1/99999", "--to", missing)
	if left, err := os.ReadDir(missing); status != 1 || !strings.Contains(stderr, "page export: ") || err != nil || len(left) > 0 {
		t.Errorf("of no relation: status %d, %s%s, %d files, %v", status, out, stderr, len(left), err)
	}
	replaceFiles(t, filepath.Join(c.DataDir(), file), to)
	if out, err := c.Tool(t.Context(), "pg_checksums", "--check", "-D", c.DataDir()).CombinedOutput(); err != nil {
		t.Errorf("the exported files' checksums: %v\n%s", err, out)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, c, rows); got != want {
		t.Errorf("the server shows %s, want the earlier %s", got, want)
	}
	h.stop()
}

// replaceFiles puts the files of a directory in place of a relation's.
func replaceFiles(t *testing.T, relation, from string) {
	t.Helper()
	info, err := os.Stat(relation)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	for _, suffix := range []string{"", "_fsm", "_vm"} {
		if err := os.Remove(relation + suffix); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(from)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d files were exported, want 3: %v", len(entries), err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(filepath.Dir(relation), e.Name())
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(name, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

var waldumpLine = regexp.MustCompile(`(?m)^rmgr: (\S+) +len .*, lsn: ([0-9A-F]+/[0-9A-F]+), prev [0-9A-F/]+, desc: (.*?),? blkref #`)

// historyIsWaldumps holds a page's history against what pg_waldump prints of the
// page's records.
func historyIsWaldumps(t *testing.T, c *postgres.Cluster, args []string, relation string) {
	t.Helper()
	out, stderr, status := walplexOut(t, append(args, "--json")...)
	if status != 0 {
		t.Fatalf("status %d, %s", status, stderr)
	}
	type record struct {
		Rmgr        string
		Operation   string
		Start       string `json:"start_lsn"`
		End         string `json:"end_lsn"`
		Description string
	}
	var records []record
	for line := range strings.Lines(out) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		records = append(records, r)
	}
	if len(records) < 10 {
		t.Fatalf("only %d records: %s", len(records), out)
	}
	dump, err := c.Tool(t.Context(), "pg_waldump", "-p", c.WALDir(), "-s", records[0].Start, "-e", records[len(records)-1].End, "--relation", relation, "--fork", "main", "--block", "0").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, m := range waldumpLine.FindAllStringSubmatch(string(dump), -1) {
		want = append(want, fmt.Sprintf("%s %s %s", m[2], m[1], m[3]))
	}
	for _, r := range records {
		// pg_waldump fills the second number with zeros.
		hi, lo, _ := strings.Cut(r.Start, "/")
		got = append(got, fmt.Sprintf("%s/%08s %s %s %s", hi, lo, r.Rmgr, r.Operation, r.Description))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the history is not pg_waldump's: got %d records, want %d\n%s\nwant\n%s", len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	text, _, status := walplexOut(t, args...)
	if status != 0 || strings.Count(text, "\n") != len(records) || !strings.Contains(text, ", desc: "+records[0].Operation+" "+records[0].Description) || !strings.Contains(text, "[image]") {
		t.Errorf("as text: status %d, %s", status, text)
	}
}
