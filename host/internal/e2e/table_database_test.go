package e2e

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// TestTableRecoverOfDatabases gives back tables of databases that were made after
// the base backup, in both ways, and dropped; and what a transaction that was
// prepared has deleted.
func TestTableRecoverOfDatabases(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Conf["max_prepared_transactions"] = "2" })
	d := newDirs(t)
	h := start(t, "run", d.write(pagesWithBase, c.DSN()))
	h.says("base backup: the sink holds it", 1)
	in := func(database string, sql ...string) string {
		t.Helper()
		conn, err := c.Connect(t.Context(), "dbname="+database)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		for _, q := range sql {
			if _, err := conn.Exec(t.Context(), q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		var b bytes.Buffer
		if _, err := conn.PgConn().CopyTo(t.Context(), &b, "COPY kept TO STDOUT"); err != nil {
			t.Fatal(err)
		}
		return sortedLines(b.String())
	}
	pgtest.Exec(t, c, "CREATE DATABASE source")
	want := map[string]string{}
	want["source"] = in("source", "CREATE TABLE kept (a int, t text)", "INSERT INTO kept SELECT g, repeat(md5(g::text), g) FROM generate_series(1, 300) g", "DELETE FROM kept WHERE a % 3 = 0")
	pgtest.Exec(t, c, "CREATE DATABASE copied TEMPLATE source STRATEGY file_copy", "CREATE DATABASE logged TEMPLATE source STRATEGY wal_log")
	want["copied"] = in("copied", "UPDATE kept SET t = 'copied' WHERE a % 5 = 0", "VACUUM FULL pg_class")
	want["logged"] = in("logged", "UPDATE kept SET t = 'logged' WHERE a % 7 = 0")
	want["postgres"] = in("postgres", "CREATE TABLE kept (a int)", "INSERT INTO kept SELECT generate_series(1, 1000)")
	before := flushLSN(t, c).String()

	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var xid string
	for _, q := range []string{"BEGIN", "DELETE FROM kept"} {
		if _, err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.QueryRow(t.Context(), "SELECT pg_current_xact_id()::text").Scan(&xid); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "PREPARE TRANSACTION 'p'"); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, c, "COMMIT PREPARED 'p'", "DROP DATABASE copied", "DROP DATABASE logged", "DROP DATABASE source", "CHECKPOINT", "VACUUM")

	for _, tt := range []struct{ database, before string }{
		{"source", before}, {"copied", before}, {"logged", before}, {"postgres", before}, {"postgres", "xid:" + xid},
	} {
		var out, errOut bytes.Buffer
		cmd := exec.Command(program, "table", "recover", "--from", d.path("pages/pages.sock"), "--database", tt.database, "--table", "kept", "--before", tt.before)
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if err := cmd.Run(); err != nil || sortedLines(out.String()) != want[tt.database] {
			t.Errorf("%s before %s: %d bytes, want %d, %v\n%s", tt.database, tt.before, out.Len(), len(want[tt.database]), err, errOut.String())
		}
	}
	if got := copyOut(t, c, "kept"); got != "" {
		t.Errorf("the rows that were deleted are there: %.100q", got)
	}
	h.stop()
}
