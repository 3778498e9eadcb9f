package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

const pagesWithBase = `
stream "main" {
  postgres {
    dsn             = DSN
    slot            = "walplex"
    create_slot     = true
    status_interval = "1s"
  }
  sink "page_cache" "pages" {
    config {
      directory   = "ROOT/pages"
      base_backup = true
    }
  }
}`

// recoverTable runs `table recover` and answers its sorted lines.
func recoverTable(t *testing.T, d dirs, table, before string, args ...string) (lines, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.Command(program, append([]string{"table", "recover", "--from", d.path("pages/pages.sock"), "--database", "postgres", "--table", table, "--before", before}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return sortedLines(out.String()), errOut.String(), err
}

func sortedLines(s string) string {
	l := strings.SplitAfter(s, "\n")
	slices.Sort(l)
	return strings.Join(l, "")
}

func copyOut(t *testing.T, c *postgres.Cluster, table string) string {
	t.Helper()
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var b bytes.Buffer
	if _, err := conn.PgConn().CopyTo(t.Context(), &b, "COPY "+table+" TO STDOUT"); err != nil {
		t.Fatal(err)
	}
	return sortedLines(b.String())
}

// harmed is a table, what was in it, and three names of the moment before harm.
type harmed struct {
	table, want string
	lsn         wal.LSN
	xid, time   string
}

// harm runs sql, which ends a table's rows, in a transaction of its own.
func harm(t *testing.T, c *postgres.Cluster, table, sql string) harmed {
	t.Helper()
	h := harmed{table: table, want: copyOut(t, c, table), lsn: flushLSN(t, c)}
	h.time = query(t, c, "SELECT clock_timestamp()::text")
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, q := range []string{"BEGIN", sql} {
		if _, err := conn.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	if err := conn.QueryRow(t.Context(), "SELECT pg_current_xact_id()::text").Scan(&h.xid); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	return h
}

// ordersSQL makes tables whose rows have come in every way, while the sink looks on.
var ordersSQL = []string{
	"CREATE TYPE state AS ENUM ('open', 'paid')",
	"CREATE TABLE orders (id int PRIMARY KEY, gone int, note text, at timestamptz DEFAULT now(), tags text[], state state, price numeric(10,2))",
	"INSERT INTO orders SELECT g, g, repeat('note ' || g, g % 50), now(), ARRAY['a', 'b c'], 'open', g / 3.0 FROM generate_series(1, 2000) g",
	"ALTER TABLE orders DROP COLUMN gone",
	"ALTER TABLE orders ADD country text NOT NULL DEFAULT 'nowhere'",
	"UPDATE orders SET state = 'paid' WHERE id % 3 = 0",
	"DELETE FROM orders WHERE id % 10 = 0",
	"VACUUM orders",
	"INSERT INTO orders (id, note) SELECT g, (SELECT string_agg(md5(g::text || h), '') FROM generate_series(1, 200) h) FROM generate_series(3001, 3050) g",
	"UPDATE orders SET note = note || 'longer' WHERE id % 7 = 0",
	"BEGIN; INSERT INTO orders (id) VALUES (4001); SAVEPOINT s; INSERT INTO orders (id) VALUES (4002); UPDATE orders SET note = 'never' WHERE id < 50; ROLLBACK TO s; SAVEPOINT s2; INSERT INTO orders (id, note) VALUES (4003, 'sub'); RELEASE s2; COMMIT",
	"BEGIN; INSERT INTO orders (id) VALUES (4004); DELETE FROM orders WHERE id > 1000; ROLLBACK",
	"BEGIN; INSERT INTO orders (id, note) VALUES (4005, 'prepared'); PREPARE TRANSACTION 'p1'",
	"COMMIT PREPARED 'p1'",
	"CREATE TABLE cut AS SELECT * FROM orders",
	"CREATE TABLE emptied AS SELECT * FROM orders",
	"CREATE TABLE parts (a int, b text) PARTITION BY RANGE (a)",
	"CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (500)",
	"CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (500) TO (1000)",
	"INSERT INTO parts SELECT g, 'part ' || g FROM generate_series(0, 999) g",
}

// TestTableRecover gives back what DROP, TRUNCATE and DELETE have ended, long
// after, by LSN, transaction and time, and with the server down.
func TestTableRecover(t *testing.T) { testTableRecover(t, postgres.Install{}) }

func testTableRecover(t *testing.T, in postgres.Install) {
	c := server(t, func(o *postgres.Options) {
		o.Install = in
		o.Conf["max_prepared_transactions"] = "5"
		o.Conf["timezone"] = "UTC"
		o.Conf["autovacuum"] = "off"
	})
	pgtest.Exec(t, c, "CREATE TABLE old (a int, b text)", "INSERT INTO old SELECT g, repeat(md5(g::text), g % 200) FROM generate_series(1, 1000) g")
	d := newDirs(t)
	h := start(t, "run", d.write(pagesWithBase, c.DSN()))
	h.says("base backup: the sink holds it", 1)
	pgtest.Exec(t, c, ordersSQL...)
	all := []harmed{
		harm(t, c, "old", "DROP TABLE old"),
		harm(t, c, "orders", "DROP TABLE orders"),
		harm(t, c, "cut", "TRUNCATE cut"),
		harm(t, c, "emptied", "DELETE FROM emptied"),
		harm(t, c, "(SELECT * FROM parts)", "DROP TABLE parts"),
	}
	all[4].table = "public.parts"
	pgtest.Exec(t, c, "VACUUM", "VACUUM FULL pg_class", "CHECKPOINT", "CREATE TABLE orders (other int)", "INSERT INTO orders VALUES (1)", "CHECKPOINT")
	for _, s := range all {
		for _, before := range []string{s.lsn.String(), "xid:" + s.xid, s.time} {
			got, stderr, err := recoverTable(t, d, s.table, before)
			if err != nil || got != s.want || len(got) < 1000 {
				t.Errorf("%s before %s: %d bytes, want %d, %v\n%s", s.table, before, len(got), len(s.want), err, stderr)
			}
		}
	}
	// After the harm nothing is there; and the table of the same name is another.
	end := flushLSN(t, c).String()
	if got, stderr, err := recoverTable(t, d, "cut", end); err != nil || got != "" {
		t.Errorf("the truncated table: %q, %v\n%s", got, err, stderr)
	}
	if got, stderr, err := recoverTable(t, d, "orders", end); err != nil || got != "1\n" {
		t.Errorf("the new table: %q, %v\n%s", got, err, stderr)
	}
	if _, stderr, err := recoverTable(t, d, "old", end); err == nil || !strings.Contains(stderr, "had no table old") {
		t.Errorf("the dropped table after its end: %v\n%s", err, stderr)
	}
	if got, stderr, err := recoverTable(t, d, "cut", time.Now().Add(time.Hour).Format(time.RFC3339)); err != nil || got != "" || !strings.Contains(stderr, "no commit at or after") {
		t.Errorf("a time to come: %q, %v\n%s", got, err, stderr)
	}

	// The server is not needed; and a script fills a table again.
	if err := c.Stop(t.Context(), postgres.Fast); err != nil {
		t.Fatal(err)
	}
	script := d.path("orders.sql")
	if _, stderr, err := recoverTable(t, d, "orders", "xid:"+all[1].xid, "--format", "sql", "--output", script); err != nil || !strings.Contains(stderr, `rows of "public"."orders" as of`) {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, c, "DROP TABLE orders")
	runScript(t, c, script)
	if got := copyOut(t, c, "orders"); got != all[1].want {
		t.Errorf("the table that was filled again differs from the dropped one")
	}

	none := d.path("none.copy")
	if _, stderr, err := recoverTable(t, d, "missing", end, "--output", none); err == nil || !strings.Contains(stderr, "had no table missing") {
		t.Errorf("a table that was never there: %v\n%s", err, stderr)
	}
	if left, err := filepath.Glob(none + "*"); err != nil || len(left) > 0 {
		t.Errorf("a failed recovery leaves %v (%v)", left, err)
	}
	for _, wrong := range [][]string{{"cut", "yesterday"}, {"a.b.c", end}, {"", end}} {
		_, stderr, err := recoverTable(t, d, wrong[0], wrong[1])
		if exit := (*exec.ExitError)(nil); err == nil || !asExit(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%q: %v\n%s", wrong, err, stderr)
		}
	}
	h.stop()
}

// runScript has the server do what psql would: the statements, and COPY's data.
func runScript(t *testing.T, c *postgres.Cluster, name string) {
	t.Helper()
	script, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, data, _ := strings.Cut(string(script), " FROM stdin;\n")
	at := strings.LastIndex(before, "COPY ")
	data, after, ok := strings.Cut(data, "\\.\n")
	if at < 0 || !ok {
		t.Fatalf("the script is\n%.2000s", script)
	}
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, do := range []func() error{
		func() error { _, err := conn.PgConn().Exec(t.Context(), before[:at]).ReadAll(); return err },
		func() error {
			_, err := conn.PgConn().CopyFrom(t.Context(), strings.NewReader(data), before[at:]+" FROM stdin")
			return err
		},
		func() error { _, err := conn.PgConn().Exec(t.Context(), after).ReadAll(); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
}

func asExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*exit = e
	return ok
}
