package replication_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
)

// The catalog answers the file that pg_relation_filepath names.
func TestCatalog(t *testing.T) {
	c := pgtest.Start(t)
	pgtest.Exec(t, c, "CREATE DATABASE shop", `CREATE SCHEMA "a.b"`, `CREATE TABLE "a.b"."Ord""ers" (a int)`,
		"CREATE VIEW v AS SELECT 1", "CREATE TABLE p (a int) PARTITION BY RANGE (a)", "CREATE INDEX p_a ON p (a)",
		"SET allow_in_place_tablespaces = on", "CREATE TABLESPACE ts LOCATION ''", "CREATE TABLE elsewhere (a int) TABLESPACE ts")
	ctx := testContext(t)
	cat := replication.NewCatalog(replication.Config{DSN: c.DSN("dbname=postgres")})
	defer cat.Close(ctx)
	for _, r := range []struct{ db, schema, name, path string }{
		{"", "a.b", `Ord"ers`, "base/DB/REL"},
		{"postgres", "a.b", `Ord"ers`, "base/DB/REL"},
		{"", "public", "elsewhere", "pg_tblspc/SPC/PG/DB/REL"},
		{"", "pg_catalog", "pg_class", "base/DB/REL"},     // mapped
		{"", "pg_catalog", "pg_database", "global/REL"},   // shared and mapped
		{"shop", "pg_catalog", "pg_class", "base/DB/REL"}, // of another database
		{"shop", "pg_toast", "pg_toast_1255", "base/DB/REL"},
	} {
		file, why, err := cat.Relation(ctx, r.db, r.schema, r.name)
		if err != nil || why != "" {
			t.Errorf("%+v: %s, %v", r, why, err)
			continue
		}
		db := r.db
		if db == "" {
			db = "postgres"
		}
		conn, err := c.Connect(ctx, "dbname="+db)
		if err != nil {
			t.Fatal(err)
		}
		var path string
		err = conn.QueryRow(ctx, fmt.Sprintf(`SELECT pg_relation_filepath('%q.%s'::regclass)`, r.schema, `"`+strings.ReplaceAll(r.name, `"`, `""`)+`"`)).Scan(&path)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(ctx); err != nil {
			t.Fatal(err)
		}
		var want string
		switch parts := strings.Split(path, "/"); parts[0] {
		case "base":
			want = "1663/" + parts[1] + "/" + parts[2]
		case "global":
			want = "1664/0/" + parts[1]
		case "pg_tblspc":
			want = parts[1] + "/" + parts[3] + "/" + parts[4]
		}
		if file.String() != want {
			t.Errorf("%+v is %s, its path %s", r, file, path)
		}
	}
	for name, want := range map[string]string{"nothing": "no such relation", "v": "a view", "p": "partitioned", "p_a": "partitioned"} {
		if _, why, err := cat.Relation(ctx, "", "public", name); err != nil || !strings.Contains(why, want) {
			t.Errorf("%s: %q, %v", name, why, err)
		}
	}
	_, _, err := cat.Relation(ctx, "nowhere", "public", "v")
	checkError(t, err, wantError{code: "3D000", permanent: true})
	// A string that names no database leads to none of another name.
	_, _, err = replication.NewCatalog(replication.Config{DSN: strings.ReplaceAll(c.DSN(), "dbname=postgres", "")}).Relation(ctx, "", "public", "v")
	checkError(t, err, wantError{code: "3D000", permanent: true})
	// After the end of its connections it makes others.
	pgtest.Exec(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'walplex'")
	if _, _, err := cat.Relation(ctx, "", "public", "v"); err == nil {
		t.Error("a connection that was ended answers")
	}
	if _, why, err := cat.Relation(ctx, "", "public", "v"); err != nil || why == "" {
		t.Errorf("a new connection: %q, %v", why, err)
	}
}
