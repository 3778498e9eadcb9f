package e2e

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// TestTableRecoverUnderLoad recovers pgbench's tables as of places anywhere in the
// WAL of a run, and holds them against each other: every transaction changes all
// four by the same amount, so that each shows the same sum if, and only if, the
// same transactions are in it.
func TestTableRecoverUnderLoad(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Conf["autovacuum_naptime"] = "1s" })
	initPgbench(t, c)
	d := newDirs(t)
	h := start(t, "run", d.write(pagesWithBase, c.DSN()))
	h.says("base backup: the sink holds it", 1)
	from := flushLSN(t, c)
	wait := load(t, c, 5)
	eventually(t, "the load has begun", func() bool { return flushLSN(t, c) > from })
	pgtest.Exec(t, c, "VACUUM (FREEZE) pgbench_tellers", "VACUUM FULL pgbench_branches")
	wait()
	to := flushLSN(t, c)
	pgtest.Exec(t, c, "TRUNCATE pgbench_history", "DROP TABLE pgbench_accounts, pgbench_tellers, pgbench_branches", "VACUUM", "CHECKPOINT")

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var rows []int
	for range 4 {
		lsn := from + wal.LSN(rnd.Int64N(int64(to-from)))
		history, n := sumOf(t, d, "pgbench_history", 3, lsn)
		rows = append(rows, n)
		for _, other := range []struct {
			table  string
			column int
			rows   int
		}{{"pgbench_accounts", 2, 200000}, {"pgbench_tellers", 2, 20}, {"pgbench_branches", 1, 2}} {
			if sum, n := sumOf(t, d, other.table, other.column, lsn); sum != history || n != other.rows {
				t.Errorf("as of %s, %s sums up to %d in %d rows, want %d in %d; pgbench_history has %d rows", lsn, other.table, sum, n, history, other.rows, rows)
			}
		}
	}
	t.Logf("transactions that the moments saw: %d", rows)
	if all, n := sumOf(t, d, "pgbench_history", 3, to); n == 0 {
		t.Errorf("the load did nothing: %d", all)
	}
	h.stop()
}

// sumOf recovers a table and adds up a column.
func sumOf(t *testing.T, d dirs, table string, column int, lsn wal.LSN) (sum, rows int) {
	t.Helper()
	out, stderr, err := recoverTable(t, d, table, lsn.String())
	if err != nil {
		t.Fatalf("%s as of %s: %v\n%s", table, lsn, err, stderr)
	}
	for line := range strings.Lines(out) {
		v, err := strconv.Atoi(strings.Split(strings.TrimSuffix(line, "\n"), "\t")[column])
		if err != nil {
			t.Fatalf("%s: %q", table, line)
		}
		sum += v
		rows++
	}
	return sum, rows
}
