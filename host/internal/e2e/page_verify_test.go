package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// pagesBefore is what the base backup has; pagesSQL comes after it. TSDIR is a
// directory for tablespaces.
var pagesBefore = []string{
	"CREATE TABLE old (a int PRIMARY KEY, b text, p point)", "CREATE INDEX old_b ON old USING hash (b)", "CREATE INDEX old_p ON old USING gist (p)",
	"INSERT INTO old SELECT g, repeat('o', g % 300), point(g, g % 50) FROM generate_series(1, 3000) g",
	"CREATE TABLE gone AS SELECT g FROM generate_series(1, 1000) g",
	"CREATE TABLE never (a int)", "CREATE SEQUENCE s1", "SELECT nextval('s1') FROM generate_series(1, 5)",
	"CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY, b text)", "INSERT INTO unlogged SELECT g, 'u' FROM generate_series(1, 500) g",
	"CREATE DATABASE source", "VACUUM ANALYZE",
}

var pagesSQL = []string{
	// Index access methods.
	"CREATE TABLE x (id serial PRIMARY KEY, t text, n int, r int4range, p point, a int[], ts timestamptz DEFAULT now()) WITH (fillfactor = 70)",
	"CREATE INDEX ON x USING hash (t)", "CREATE INDEX ON x USING gin (a)", "CREATE INDEX ON x USING gist (r)", "CREATE INDEX ON x USING spgist (p)",
	"CREATE INDEX ON x USING spgist (t)", "CREATE INDEX ON x USING brin (n) WITH (pages_per_range = 2)", "CREATE INDEX ON x USING btree (t, n DESC)",
	"INSERT INTO x (t, n, r, p, a) SELECT md5((g % 700)::text), g, int4range(g, g + g % 100), point(g % 91, g % 53), ARRAY[g % 17, g % 19, g] FROM generate_series(1, 4000) g",
	"UPDATE x SET n = n + 1, a = a || n WHERE id % 7 = 0", "DELETE FROM x WHERE id % 5 = 0", "VACUUM x",
	"INSERT INTO x (t, n, r, p, a) SELECT md5(g::text), g, int4range(g, g + 3), point(random() * 1000, random() * 1000), ARRAY[g] FROM generate_series(4000, 6000) g",
	"SELECT brin_summarize_new_values('x_n_idx')", "SELECT gin_clean_pending_list('x_a_idx')", "CHECKPOINT",
	"DELETE FROM x WHERE id BETWEEN 2000 AND 3500", "VACUUM (FREEZE) x", "UPDATE x SET t = md5(t) WHERE id % 3 = 0", "VACUUM x",
	// The ones of the backup.
	"UPDATE old SET b = b || 'x' WHERE a % 11 = 0", "DELETE FROM old WHERE a % 4 = 0", "VACUUM old", "REINDEX TABLE old", "DROP TABLE gone",
	// TOAST, large rows, rewrites.
	"CREATE TABLE toasted (a int, b text)", "ALTER TABLE toasted ALTER b SET STORAGE external",
	"INSERT INTO toasted SELECT g, repeat(md5(g::text), 400) FROM generate_series(1, 60) g", "UPDATE toasted SET b = b || 'y' WHERE a % 3 = 0", "DELETE FROM toasted WHERE a > 40", "VACUUM toasted",
	"CLUSTER x USING x_pkey", "VACUUM FULL toasted", "ALTER TABLE x ADD COLUMN extra int DEFAULT 7", "ALTER TABLE x ALTER COLUMN n TYPE bigint",
	// Sequences.
	"CREATE SEQUENCE s2 INCREMENT -3 MINVALUE -100 CYCLE", "SELECT nextval('s2') FROM generate_series(1, 100)", "SELECT nextval('s1') FROM generate_series(1, 40)", "CREATE SEQUENCE s3 CACHE 10", "SELECT nextval('s3')", "SELECT setval('s3', 1000)", "CREATE SEQUENCE s4",
	// Partitions, and what makes and drops files.
	"CREATE TABLE part (a int, b text) PARTITION BY RANGE (a)", "CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (1000)", "CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (1000) TO (2000)",
	"INSERT INTO part SELECT g, 'p' FROM generate_series(0, 1999) g", "CREATE INDEX ON part (a)", "ALTER TABLE part DETACH PARTITION part1", "DROP TABLE part1",
	"CREATE TABLE cut AS SELECT g, repeat('c', 100) FROM generate_series(1, 5000) g", "DELETE FROM cut WHERE g > 100", "VACUUM cut", "TRUNCATE part2", "INSERT INTO part SELECT g, 'q' FROM generate_series(1500, 1600) g",
	"BEGIN; CREATE TABLE rolled AS SELECT g FROM generate_series(1, 100) g; ROLLBACK", "BEGIN; TRUNCATE cut; ROLLBACK", "BEGIN; SAVEPOINT a; INSERT INTO never VALUES (1); ROLLBACK TO a; COMMIT",
	"CREATE TABLE locked AS SELECT g FROM generate_series(1, 200) g", "BEGIN; SELECT count(*) FROM (SELECT FROM locked FOR SHARE) q; SAVEPOINT s; UPDATE locked SET g = -g WHERE g % 2 = 0; COMMIT",
	// Two-phase commit.
	"BEGIN; INSERT INTO never VALUES (2); PREPARE TRANSACTION 'kept'", "BEGIN; INSERT INTO never VALUES (3); PREPARE TRANSACTION 'lost'", "COMMIT PREPARED 'kept'", "ROLLBACK PREPARED 'lost'",
	// Databases and tablespaces.
	"CREATE DATABASE copied TEMPLATE source STRATEGY file_copy", "CREATE DATABASE logged TEMPLATE source STRATEGY wal_log", "CREATE DATABASE dropped STRATEGY file_copy", "DROP DATABASE dropped",
	"CREATE TABLESPACE space LOCATION 'TSDIR/a'", "ALTER TABLE cut SET TABLESPACE space", "CREATE TABLE there (a int) TABLESPACE space", "INSERT INTO there SELECT generate_series(1, 300)",
	"CREATE DATABASE inspace TEMPLATE source TABLESPACE space STRATEGY file_copy", "ALTER DATABASE copied SET TABLESPACE space", "ALTER TABLE there SET TABLESPACE pg_default",
	"CREATE UNLOGGED TABLE unlogged2 (a int PRIMARY KEY)", "INSERT INTO unlogged2 SELECT generate_series(1, 100)", "ALTER TABLE unlogged SET LOGGED",
	"CREATE TEMPORARY TABLE temporary AS SELECT generate_series(1, 10)", "CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM x", "REFRESH MATERIALIZED VIEW mv",
	"ANALYZE", "VACUUM", "REINDEX DATABASE postgres", "VACUUM FULL pg_class", "VACUUM FULL pg_database",
	"INSERT INTO x (t, n) SELECT md5(g::text), g FROM generate_series(1, 500) g",
	"BEGIN; CREATE TABLE twophase AS SELECT 1 AS a; PREPARE TRANSACTION 'open'",
}

// pagesCollected keeps little of the pages' history.
const pagesCollected = `
stream "main" {
  postgres {
    dsn             = DSN
    slot            = "walplex"
    create_slot     = true
    status_interval = "1s"
  }
  sink "page_cache" "pages" {
    config {
      directory       = "ROOT/pages"
      base_backup     = true
      retain          = "256KiB"
      retain_interval = "100ms"
      max_replay      = 20
    }
  }
}`

// forVerify are the settings that pagesSQL needs.
func forVerify(o *postgres.Options) {
	o.Conf["max_prepared_transactions"] = "10"
	o.Conf["track_commit_timestamp"] = "on"
	o.Conf["autovacuum_naptime"] = "1s"
}

// workThrough runs the workload beside a host with one page cache, which begins
// with a base backup.
func workThrough(t *testing.T, c *postgres.Cluster, config string) (dirs, *host) {
	t.Helper()
	spaces := tablespaceDirs(t, c, "a")
	pgtest.Exec(t, c, pagesBefore...)
	d := newDirs(t)
	h := start(t, "run", d.write(config, c.DSN()))
	h.says("base backup: the sink holds it", 1)
	version := strings.NewReplacer("TSDIR", spaces)
	if c.Install().Major() < 15 {
		version = strings.NewReplacer("TSDIR", spaces, " STRATEGY file_copy", "", " STRATEGY wal_log", "")
	}
	for _, sql := range pagesSQL {
		pgtest.Exec(t, c, version.Replace(sql))
	}
	return d, h
}

// TestPageVerifyCollected does the same where history is collected all the time.
func TestPageVerifyCollected(t *testing.T) {
	c := server(t, forVerify)
	d, h := workThrough(t, c, pagesCollected)
	eventually(t, "history is collected", func() bool { return strings.Count(h.log(), "history of pages was collected") >= 2 })
	if err := c.Stop(t.Context(), postgres.Fast); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := walplexOut(t, "page", "verify", "--from", d.path("pages/pages.sock"), c.DataDir())
	if status != 0 {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	h.stop()
}

// tablespaceDirs makes places for tablespaces that the server's user can use.
func tablespaceDirs(t *testing.T, c *postgres.Cluster, names ...string) string {
	t.Helper()
	root := filepath.Join(c.Dir(), "spaces")
	for _, name := range names {
		if out, err := c.Tool(t.Context(), "env", "mkdir", "-p", filepath.Join(root, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return root
}

// walplexOut runs walplex and answers what it wrote, and its exit status.
func walplexOut(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// TestPageVerify holds every page of a server, after a workload of all kinds,
// against a cache that began with a base backup; and finds one byte that is
// another.
func TestPageVerify(t *testing.T) {
	c := server(t, forVerify)
	d, h := workThrough(t, c, pagesFromBackup)
	socket := d.path("pages/pages.sock")
	if _, stderr, status := walplexOut(t, "page", "verify", "--from", socket, c.DataDir()); status != 1 || !strings.Contains(stderr, "is not shut down") {
		t.Errorf("while the server runs: status %d, %s", status, stderr)
	}
	file := query(t, c, "SELECT pg_relation_filepath('old')")
	if err := c.Stop(t.Context(), postgres.Fast); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := walplexOut(t, "page", "verify", "--from", socket, c.DataDir())
	t.Logf("%s%s", stdout, stderr)
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	for _, kind := range []string{"heap", "sequence", "btree", "hash", "gin", "gist", "spgist", "brin", "vm", "init", "pg_xact", "pg_multixact/offsets", "pg_multixact/members", "pg_commit_ts", "pg_filenode.map"} {
		if !strings.Contains(stdout, "\n"+kind+" ") {
			t.Errorf("no page of %s was compared", kind)
		}
	}
	for _, damage := range pageDamages {
		t.Run(damage.name, func(t *testing.T) {
			name := damage.file
			if name == "" {
				name = file
			}
			restore := changeFile(t, filepath.Join(c.DataDir(), name), damage.do)
			defer restore()
			verifyFinds(t, socket, c.DataDir(), name, damage)
		})
	}
	stdout, _, status = walplexOut(t, "page", "verify", "--quiet", "--from", socket, c.DataDir())
	if status != 0 {
		t.Errorf("with all damage undone: status %d, %s", status, stdout)
	}
	h.stop()
}

// pageDamage is something done to a file of a data directory.
type pageDamage struct {
	name, file string                // "" is the table old
	do         func(b []byte) []byte // nil removes the file
	different  int                   // pages
	block      int                   // of the first
	says       string
}

var pageDamages = []pageDamage{
	{"a byte of a tuple", "", func(b []byte) []byte { b[3*wal.BlockSize+lastByte(b[3*wal.BlockSize:])] ^= 0x40; return b }, 1, 3, "1 byte differ"},
	{"a hint bit", "", func(b []byte) []byte { // of t_infomask: HEAP_XMAX_COMMITTED or not
		page := b[3*wal.BlockSize:]
		page[int(page[24])|int(page[25]&0x7F)<<8+21] ^= 0x04
		return b
	}, 0, 0, ""},
	{"a page too few", "", func(b []byte) []byte { return b[:len(b)-wal.BlockSize] }, 1, -1, "the file ends before the block"},
	{"no file", "", nil, -1, 0, "the file ends before the block"},
	{"a page too many", "", func(b []byte) []byte { return append(b, b[:wal.BlockSize]...) }, 1, -1, "the relation has"},
	{"empty pages too many", "", func(b []byte) []byte { return append(b, make([]byte, 3*wal.BlockSize)...) }, 0, 0, ""},
	{"the free space map", "base/1/1255_fsm", func(b []byte) []byte { b[wal.BlockSize-1] ^= 1; return b }, 0, 0, ""},
	{"the state of a transaction", "pg_xact/0000", func(b []byte) []byte { b[200] ^= 1; return b }, 1, 0, "1 byte differ"},
	{"the state of a later transaction", "pg_xact/0000", func(b []byte) []byte { b[wal.BlockSize-1] ^= 1; return b }, 0, 0, ""},
	{"a relation map", "global/pg_filenode.map", func(b []byte) []byte { b[100] ^= 1; return b }, 1, 0, "1 byte differ"},
	{"a file of no relation", "base/5/4000000000", func([]byte) []byte { return append(make([]byte, wal.BlockSize-1), 1) }, 1, 0, "the sink knows no such fork"},
	{"a temporary relation's file", "base/5/t3_4000000000", func([]byte) []byte { return append(make([]byte, wal.BlockSize-1), 1) }, 0, 0, ""},
}

// lastByte is the place of the last byte of a page's first tuple.
func lastByte(page []byte) int {
	id := binary.LittleEndian.Uint32(page[24:])
	return int(id&0x7FFF) + int(id>>17) - 1
}

// changeFile changes a file, or makes or removes it, until restore is called.
func changeFile(t *testing.T, name string, do func([]byte) []byte) (restore func()) {
	t.Helper()
	was, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	missing := err != nil
	if do == nil {
		err = os.Remove(name)
	} else {
		err = os.WriteFile(name, do(bytes.Clone(was)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if missing {
			err = os.Remove(name)
		} else {
			err = os.WriteFile(name, was, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// verifyFinds runs page verify on a damaged data directory.
func verifyFinds(t *testing.T, socket, dataDir, file string, damage pageDamage) {
	t.Helper()
	stdout, stderr, status := walplexOut(t, "page", "verify", "--json", "--from", socket, dataDir)
	var report struct {
		Different   int
		Differences []struct {
			File   string
			Block  int
			Reason string
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	if damage.different == 0 {
		if status != 0 || report.Different != 0 {
			t.Errorf("status %d, %+v", status, report)
		}
		return
	}
	if status != 1 || len(report.Differences) != 1 || report.Different != damage.different && damage.different > 0 {
		t.Fatalf("status %d, %+v", status, report)
	}
	first := report.Differences[0]
	if first.File != file || first.Block != damage.block && damage.block >= 0 || !strings.Contains(first.Reason, damage.says) {
		t.Errorf("%+v", first)
	}
	stdout, _, status = walplexOut(t, "page", "verify", "--from", socket, dataDir)
	if status != 1 || !strings.Contains(stdout, "DIFFERS  "+file) || !strings.Contains(stdout, " DIFFERENT\n") {
		t.Errorf("as text: status %d, %s", status, stdout)
	}
}
