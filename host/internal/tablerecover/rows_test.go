package tablerecover

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/walplex/walplex/host/internal/postgres"
)

// rowsSQL makes tables whose rows are stored in every way that there is.
var rowsSQL = []string{
	// Values out of line and compressed, enough for an index of two levels.
	`CREATE TABLE toasted (id int, e text, x text, m text, b bytea)`,
	`ALTER TABLE toasted ALTER e SET STORAGE external, ALTER m SET STORAGE main`,
	`INSERT INTO toasted SELECT g, repeat('external ' || g, 400), (SELECT string_agg(md5(g::text || h), '') FROM generate_series(1, 150) h),
		repeat('main' || g, 300), decode(repeat(md5(g::text), 200), 'hex') FROM generate_series(1, 700) g`,
	`UPDATE toasted SET e = e || 'changed' WHERE id % 5 = 0`,
	`DELETE FROM toasted WHERE id % 7 = 0`,
	`VACUUM toasted`,
	`INSERT INTO toasted SELECT g, repeat('again', 2000), NULL, NULL, NULL FROM generate_series(1, 100) g`,
	// Columns that came and went.
	`CREATE TABLE columns (a int, gone text, b text, "Mixed Case" int)`,
	`INSERT INTO columns SELECT g, repeat('gone', g % 40), 'b' || g, g FROM generate_series(1, 50) g`,
	`ALTER TABLE columns DROP COLUMN gone`,
	`ALTER TABLE columns ADD n numeric(12,2) NOT NULL DEFAULT 12.5, ADD t text DEFAULT 'missing', ADD nothing int, ADD arr int[] DEFAULT '{1,2,NULL}', ADD c char(3) DEFAULT 'x', ADD ts timestamptz DEFAULT '2001-02-03 04:05:06+00', ADD f bool DEFAULT true`,
	`INSERT INTO columns (a, b, t) SELECT g, NULL, NULL FROM generate_series(1, 50) g`,
	`UPDATE columns SET b = 'updated' WHERE a % 10 = 3`,
	`ALTER TABLE columns DROP COLUMN f`,
	`ALTER TABLE columns ADD big text DEFAULT repeat('long default ', 300)`,
	// Many columns, most of them NULL, of all alignments.
	`CREATE TABLE wide (a int2, b bool, c int8, d "char", e text, f float8, g char(1), h int4, i name, j bytea, k timestamptz, l int2, m interval, n uuid, o macaddr, p numeric, q tid, r int8)`,
	`INSERT INTO wide SELECT CASE WHEN g & 1 > 0 THEN g END, CASE WHEN g & 2 > 0 THEN g % 3 = 0 END, CASE WHEN g & 4 > 0 THEN g END, CASE WHEN g & 8 > 0 THEN 'x' END::"char",
		CASE WHEN g & 16 > 0 THEN repeat('t', g % 200) END, CASE WHEN g & 32 > 0 THEN g END, CASE WHEN g & 64 > 0 THEN 'y' END, CASE WHEN g & 1 > 0 THEN g END,
		CASE WHEN g & 2 > 0 THEN 'name' END, CASE WHEN g & 4 > 0 THEN '\x01'::bytea END, CASE WHEN g & 8 > 0 THEN now() END, CASE WHEN g & 16 > 0 THEN 1 END,
		CASE WHEN g & 32 > 0 THEN '1 day'::interval END, CASE WHEN g & 64 > 0 THEN md5(g::text)::uuid END, CASE WHEN g & 128 > 0 THEN '08:00:2b:01:02:03'::macaddr END,
		CASE WHEN g & 1 > 0 THEN g * 1.5 END, CASE WHEN g & 2 > 0 THEN '(1,2)'::tid END, CASE WHEN g & 4 > 0 THEN g END FROM generate_series(1, 511) g`,
	// Transactions that ended in every way.
	`CREATE TABLE ended (id int PRIMARY KEY, v text)`,
	`INSERT INTO ended SELECT g, 'first' FROM generate_series(1, 300) g`,
	`BEGIN; INSERT INTO ended VALUES (1001, 'aborted'); DELETE FROM ended WHERE id < 100; ROLLBACK`,
	`BEGIN; INSERT INTO ended VALUES (1002, 'top'); SAVEPOINT a; INSERT INTO ended VALUES (1003, 'sub aborted'); UPDATE ended SET v = 'sub aborted' WHERE id < 5; ROLLBACK TO a;
		SAVEPOINT b; INSERT INTO ended VALUES (1004, 'sub committed'); UPDATE ended SET v = 'sub committed' WHERE id BETWEEN 5 AND 9; RELEASE b; COMMIT`,
	`BEGIN; INSERT INTO ended VALUES (1005, 'prepared'); DELETE FROM ended WHERE id = 20; PREPARE TRANSACTION 'stays'`,
	`BEGIN; INSERT INTO ended VALUES (1006, 'prepared'); DELETE FROM ended WHERE id = 21; PREPARE TRANSACTION 'commits'`,
	`BEGIN; INSERT INTO ended VALUES (1007, 'prepared'); DELETE FROM ended WHERE id = 22; PREPARE TRANSACTION 'aborts'`,
	`COMMIT PREPARED 'commits'`,
	`ROLLBACK PREPARED 'aborts'`,
	`UPDATE ended SET v = 'hot' WHERE id BETWEEN 30 AND 60`,
	`UPDATE ended SET v = repeat('moved', 200) WHERE id BETWEEN 50 AND 90`,
	`UPDATE ended SET id = id + 5000 WHERE id BETWEEN 100 AND 110`,
	`BEGIN; INSERT INTO ended VALUES (2000, 'x'); UPDATE ended SET v = 'y' WHERE id = 2000; DELETE FROM ended WHERE id = 2000; INSERT INTO ended VALUES (2001, 'combo'); UPDATE ended SET v = 'combo 2' WHERE id = 2001; COMMIT`,
	`INSERT INTO ended VALUES (1, 'conflict') ON CONFLICT (id) DO UPDATE SET v = excluded.v`,
	`BEGIN; SELECT * FROM ended WHERE id BETWEEN 200 AND 210 FOR UPDATE; COMMIT`,
	`CREATE TABLE frozen AS SELECT * FROM ended`,
	`VACUUM (FREEZE) frozen`,
	`UPDATE frozen SET v = 'later' WHERE id % 3 = 0`,
	`CREATE TABLE emptied AS SELECT * FROM ended`,
	`DELETE FROM emptied`,
	`CREATE TABLE nothing (a int)`,
	`CREATE TABLE nocolumns ()`,
	`INSERT INTO nocolumns DEFAULT VALUES`,
	`INSERT INTO nocolumns DEFAULT VALUES`,
	// Tables that were rewritten, and catalogs too.
	`CREATE TABLE rewritten (id int, t text)`,
	`INSERT INTO rewritten SELECT g, (SELECT string_agg(md5(g::text || h), '') FROM generate_series(1, 150) h) FROM generate_series(1, 50) g`,
	`DELETE FROM rewritten WHERE id % 2 = 0`,
	`VACUUM FULL rewritten`,
	`VACUUM FULL pg_class`, `VACUUM FULL pg_attribute`, `VACUUM FULL pg_type`, `VACUUM FULL pg_enum`, `REINDEX TABLE pg_class`, `VACUUM FULL pg_database`,
	`CREATE MATERIALIZED VIEW matview AS SELECT * FROM ended WHERE id < 20`,
	// Generated columns, partitions, children.
	`CREATE TABLE generated (a int, g int GENERATED ALWAYS AS (a * 2) STORED, b int GENERATED ALWAYS AS IDENTITY, c text DEFAULT 'd' NOT NULL)`,
	`INSERT INTO generated (a) SELECT generate_series(1, 10)`,
	`CREATE TABLE parts (a int, b text, c numeric) PARTITION BY RANGE (a)`,
	`CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100)`,
	`CREATE TABLE parts_2 (c numeric, extra int, b text, a int)`,
	`ALTER TABLE parts_2 DROP COLUMN extra`,
	`ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (100) TO (200)`,
	`CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM (200) TO (300) PARTITION BY LIST (b)`,
	`CREATE SCHEMA other`,
	`CREATE TABLE other."Parts 3x" PARTITION OF parts_3 DEFAULT`,
	`INSERT INTO parts SELECT g, CASE WHEN g % 2 = 0 THEN 'x' ELSE repeat('toast', g * 20) END, g / 7.0 FROM generate_series(0, 299) g`,
	// An index of a TOAST table that was built again.
	`CREATE TABLE reindexed (t text)`, `ALTER TABLE reindexed ALTER t SET STORAGE external`, `INSERT INTO reindexed SELECT repeat(g::text, 3000) FROM generate_series(1, 20) g`,
	`REINDEX TABLE CONCURRENTLY reindexed`,
	`CREATE TABLE parent (a int)`,
	`CREATE TABLE child (b int) INHERITS (parent)`,
	`INSERT INTO parent VALUES (1)`,
	`INSERT INTO child VALUES (2, 3)`,
	`CREATE TABLE other.ended (x int)`,
	`CREATE TABLE other."Odd ""Name.x" (x int)`,
	`INSERT INTO other."Odd ""Name.x" VALUES (5)`,
	// What is refused.
	`CREATE VIEW aview AS SELECT 1`, `CREATE SEQUENCE aseq`, `CREATE UNLOGGED TABLE unlogged (a int)`, `CREATE TABLE paths (a int, j jsonpath)`, `INSERT INTO paths VALUES (1, '$.a')`,
	`CREATE TABLE twice (a int)`, `CREATE SCHEMA third`, `CREATE TABLE other.twin (a int)`, `CREATE TABLE third.twin (a int)`,
}

var rowTables = []string{"toasted", "columns", "wide", "ended", "frozen", "emptied", "nothing", "nocolumns", "rewritten", "generated", "parent", "child", "reindexed"}

// TestRows: rows are those that the server sees, however they are stored.
func TestRows(t *testing.T) { testRows(t, postgres.Install{}) }

func testRows(t *testing.T, in postgres.Install) {
	f := newFixture(t, in)
	f.exec(rowsSQL...)
	makeMultixacts(f)
	for _, table := range rowTables {
		f.copied(table, "")
	}
	f.copied("matview", "(SELECT * FROM matview)")
	f.copied("parts", "(SELECT * FROM parts)")
	f.copied("multi", "")
	f.copied("pg_namespace", "(SELECT oid, nspname, nspowner FROM pg_namespace)")
	f.copied("pg_tablespace", "(SELECT oid, spcname, spcowner, spcoptions FROM pg_tablespace)")
	if f.version >= 18 {
		f.exec("CREATE TABLE virtually (a int, v int GENERATED ALWAYS AS (a + 1) VIRTUAL, b text)", "INSERT INTO virtually (a, b) VALUES (1, 'x'), (NULL, 'y')")
		f.copied("virtually", "")
	}
	f.stop()
	if rows := f.compare(); rows < 3000 {
		t.Errorf("only %d rows were compared", rows)
	}
	if _, _, err := f.recover(Options{Table: "virtually", Columns: []string{"v"}}); f.version >= 18 && (err == nil || !strings.Contains(err.Error(), "not stored")) {
		t.Errorf("a virtual column: %v", err)
	}
	_, sum, err := f.recover(Options{Table: "parts"})
	if err != nil || sum.Tables != 3 || sum.Rows != 300 || sum.Pages == 0 || sum.Table != `"public"."parts"` {
		t.Errorf("partitions: %+v, %v", sum, err)
	}
	got, _, err := f.recover(Options{Schema: "other", Table: `Odd "Name.x`})
	if err != nil || got != "5\n" {
		t.Errorf("an odd name: %q, %v", got, err)
	}
	got, sum, err = f.recover(Options{Table: "generated", Columns: []string{"g", "a"}})
	if err != nil || !strings.HasPrefix(got, "2\t1\n4\t2\n") || len(sum.Notes) != 0 {
		t.Errorf("a generated column that is asked for: %.40q, %+v, %v", got, sum, err)
	}
	if _, sum, err = f.recover(Options{Table: "generated"}); err != nil || !strings.Contains(strings.Join(sum.Notes, ";"), "column g is generated") {
		t.Errorf("nothing is said of the generated column: %+v, %v", sum, err)
	}
	if _, sum, err = f.recover(Options{Table: "parent"}); err != nil || !strings.Contains(strings.Join(sum.Notes, ";"), "1 tables that inherit") {
		t.Errorf("nothing is said of the child: %+v, %v", sum, err)
	}
	if got, _, err = f.recover(Options{Table: "paths", Columns: []string{"a"}}); err != nil || got != "1\n" {
		t.Errorf("without the column: %q, %v", got, err)
	}
	for _, refused := range []struct {
		o    Options
		want string
	}{
		{Options{Table: "aview"}, "is a view"},
		{Options{Table: "aseq"}, "is a sequence"},
		{Options{Table: "unlogged"}, "unlogged"},
		{Options{Table: "paths"}, "column j cannot be given"},
		{Options{Table: "ENDED"}, "had no table ENDED"},
		{Options{Schema: "third", Table: "ended"}, "had no table third.ended"},
		{Options{Table: "twin"}, "several schemas: other, third"},
		{Options{Table: "ended", Columns: []string{"x"}}, "has no column x"},
		{Options{Table: "ended", Columns: []string{"v", "v"}}, "twice"},
		{Options{Table: "columns", Columns: []string{"gone"}}, "has no column gone"},
		{Options{Database: "none", Table: "ended"}, "postgres, template0, template1"},
	} {
		if got, _, err := f.recover(refused.o); err == nil || !strings.Contains(err.Error(), refused.want) || got != "" {
			t.Errorf("%+v: %v, %q, want %q", refused.o, err, got, refused.want)
		}
	}
}

// makeMultixacts has several transactions lock and change the same rows.
func makeMultixacts(f *fixture) {
	f.t.Helper()
	f.exec(`CREATE TABLE multi (id int PRIMARY KEY, v text)`, `INSERT INTO multi SELECT g, 'first' FROM generate_series(1, 2000) g`)
	open := func() *pgx.Conn {
		conn, err := f.c.Connect(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { _ = conn.Close(f.t.Context()) })
		return conn
	}
	a, b, c := open(), open(), open()
	on := func(conn *pgx.Conn, sql string) {
		f.t.Helper()
		if _, err := conn.Exec(f.t.Context(), sql); err != nil {
			f.t.Fatalf("%s: %v", sql, err)
		}
	}
	on(a, "BEGIN")
	on(b, "BEGIN")
	on(c, "BEGIN")
	on(a, "SELECT FROM multi WHERE id <= 1500 FOR KEY SHARE")
	on(b, "SELECT FROM multi WHERE id <= 1200 FOR KEY SHARE")
	on(b, "UPDATE multi SET v = 'with lockers' WHERE id <= 600")
	on(c, "UPDATE multi SET v = 'aborted with lockers' WHERE id BETWEEN 601 AND 900")
	on(c, "SELECT FROM multi WHERE id BETWEEN 901 AND 1000 FOR KEY SHARE")
	on(b, "COMMIT")
	on(c, "ROLLBACK")
	on(a, "COMMIT")
	on(b, "DELETE FROM multi WHERE id BETWEEN 950 AND 960")
}

// TestScript: the script that is made fills another database with the same rows.
func TestScript(t *testing.T) {
	f := newFixture(t, postgres.Install{})
	f.exec(rowsSQL...)
	f.exec(`CREATE TABLE modifiers (a varchar(10), b char(4), c numeric(7,2), d timestamp(3), e timestamptz(0), f bit(5), g varbit(9), h interval day to second(2), i time(1), j "char", k bit, l bpchar, m varchar(3)[], n numeric(5,-2), o interval year, p bool, q int2[], r int8, s float4, t float8, u timestamp, v timestamptz[], w time, x timetz, y bit varying, z pg_catalog."bit", aa uuid, bb pg_lsn, cc int4range, dd "char"[], ee date, ff jsonb, gg interval)`,
		`INSERT INTO modifiers VALUES ('a', 'b', 1.5, now(), now(), B'10101', B'1', '1 day 1.234 s', '1:2:3.45', 'c', B'1', 'x  ', '{ab}', 123456, '3 years')`)
	tables := []string{"toasted", "columns", "wide", "ended", "generated", "nocolumns", "modifiers"}
	formats := map[string]string{}
	const columnsOf = "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || attnotnull, ', ' ORDER BY attnum) FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attname <> 'g' AND attrelid = '%s'::regclass"
	for _, table := range tables {
		f.copied(table, "")
		formats[table] = f.query(strings.ReplaceAll(columnsOf, "%s", table))
	}
	f.stop()
	dir := t.TempDir()
	for _, table := range tables {
		script, _, err := f.recover(Options{Table: table, SQL: true, About: ", as of\nthe end"})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, table), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.exec("CREATE DATABASE copy")
	for _, table := range tables {
		in, err := os.Open(filepath.Join(dir, table))
		if err != nil {
			t.Fatal(err)
		}
		cmd := f.c.Tool(t.Context(), "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", f.c.DSN("dbname=copy"))
		cmd.Stdin = in
		out, err := cmd.CombinedOutput()
		in.Close()
		if err != nil || len(out) > 0 {
			t.Errorf("the script of %s: %v\n%s", table, err, out)
		}
		conn, err := f.c.Connect(t.Context(), "dbname=copy")
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if _, err := conn.PgConn().CopyTo(t.Context(), &got, "COPY "+table+" TO STDOUT"); err != nil {
			t.Error(err)
		}
		f.sameLines(table, got.String(), f.want[table])
		var columns string
		if err := conn.QueryRow(t.Context(), strings.ReplaceAll(columnsOf, "%s", table)).Scan(&columns); err != nil && table != "nocolumns" {
			t.Error(err)
		}
		if table != "generated" && columns != formats[table] {
			t.Errorf("the columns of %s are\n%s\nwant\n%s", table, columns, formats[table])
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestElsewhere: tables of other tablespaces, databases and encodings.
func TestElsewhere(t *testing.T) {
	f := newFixture(t, postgres.Install{})
	for _, name := range []string{"one", "two"} {
		dir := filepath.Join(f.c.Dir(), "data", name) // the server's user may write here
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(f.c.DataDir())
		if err != nil {
			t.Fatal(err)
		}
		chownLike(t, dir, info)
		f.exec("CREATE TABLESPACE " + name + " LOCATION '" + dir + "'")
	}
	f.exec("CREATE TABLE spaced (a int, t text) TABLESPACE one", "INSERT INTO spaced SELECT g, repeat(md5(g::text), 100) FROM generate_series(1, 20) g",
		"CREATE DATABASE elsewhere TEMPLATE template0 ENCODING 'LATIN1' TABLESPACE two")
	f.copied("spaced", "")
	conn, err := f.c.Connect(t.Context(), "dbname=elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE latin (t text) TABLESPACE one"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "INSERT INTO latin VALUES (convert_from('\\xe4f6fc', 'LATIN1'))"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.stop()
	f.compare()
	got, sum, err := f.recover(Options{Database: "elsewhere", Table: "latin"})
	if err != nil || got != "\xe4\xf6\xfc\n" || !strings.Contains(strings.Join(sum.Notes, ""), "LATIN1") {
		t.Errorf("%q, %+v, %v", got, sum, err)
	}
}

// TestExtensions: types of extensions are given where their text is known, and
// refused by name where it is not.
func TestExtensions(t *testing.T) {
	f := newFixture(t, postgres.Install{})
	f.exec("CREATE EXTENSION hstore", "CREATE EXTENSION citext", "CREATE EXTENSION ltree",
		"CREATE TABLE extended (id int, h hstore, c citext, ca citext[])",
		`INSERT INTO extended VALUES (1, 'a=>1, b=>NULL, "c d"=>"q\"b\\s", ""=>""', 'CiText', '{A,b}'), (2, '', NULL, NULL), (3, (SELECT hstore(array_agg(g::text), array_agg(repeat('v', g))) FROM generate_series(1, 200) g), repeat('X', 3000), NULL)`,
		"CREATE TABLE refused (id int, tree ltree)", "INSERT INTO refused VALUES (1, 'a.b')")
	f.copied("extended", "")
	f.stop()
	if n := f.compare(); n != 3 {
		t.Errorf("%d rows were compared, want 3", n)
	}
	if got, _, err := f.recover(Options{Table: "refused"}); err == nil || !strings.Contains(err.Error(), "column tree cannot be given") || !strings.Contains(err.Error(), "ltree_out") || got != "" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestParseTable(t *testing.T) {
	for _, tt := range []struct{ in, schema, table string }{
		{"t", "", "t"}, {"s.t", "s", "t"}, {`"a.b"`, "", "a.b"}, {`"a.b".c`, "a.b", "c"}, {`s."q""x.y"`, "s", `q"x.y`}, {"T", "", "T"},
		{"", "", ""}, {"a.b.c", "", ""}, {"a.", "", ""}, {".a", "", ""}, {`"a`, "", ""}, {`"a"b`, "", ""},
	} {
		schema, table, err := ParseTable(tt.in)
		if schema != tt.schema || table != tt.table || (err == nil) != (tt.table != "") {
			t.Errorf("%q: %q, %q, %v", tt.in, schema, table, err)
		}
	}
}
