package replication_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
)

func TestOrdinary(t *testing.T) {
	c := pgtest.Start(t)
	// A string made for replication leads to a database nevertheless.
	o, err := replication.ConnectOrdinary(testContext(t), replication.Config{DSN: c.DSN("replication=true dbname=nowhere")})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close(t.Context())
	rows, err := o.Query(testContext(t), "test", "SELECT a, NULLIF(a, $1), current_database() FROM (VALUES ('1'), ('2')) v(a) ORDER BY a", "2")
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"1", "1", "postgres"}, {"2", "", "postgres"}}
	if !slices.EqualFunc(rows, want, slices.Equal) {
		t.Errorf("got %q, want %q", rows, want)
	}
	_, err = o.Query(testContext(t), "read nothing", "SELECT 1/0")
	if e := checkError(t, err, wantError{code: "22012", permanent: true}); e.Op != "read nothing" {
		t.Errorf("the error names %q", e.Op)
	}
	if o.Closed() {
		t.Error("an error of the server has ended the connection")
	}
	pgtest.Exec(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'walplex'")
	if _, err = o.Query(testContext(t), "test", "SELECT 1"); err == nil || !o.Closed() {
		t.Errorf("after the end of its process: %v, closed %t", err, o.Closed())
	}
}

// TestOrdinaryRefused: a role that may replicate only.
func TestOrdinaryRefused(t *testing.T) {
	c := pgtest.Start(t, func(o *postgres.Options) {
		o.HBA = []string{"local replication all trust", "local all postgres trust"}
	})
	pgtest.Exec(t, c, "CREATE ROLE rep REPLICATION LOGIN")
	_, err := replication.ConnectOrdinary(testContext(t), replication.Config{DSN: c.DSN("user=rep")})
	if e := checkError(t, err, wantError{code: "28000", permanent: true}); !strings.Contains(e.Error(), "pg_hba.conf") {
		t.Error(e)
	}
}
