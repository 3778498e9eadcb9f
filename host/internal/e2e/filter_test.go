package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

const filtered = `
stream "main" {
  postgres {
    dsn         = DSN
    slot        = "walplex"
    create_slot = true
  }
  sink "audit" "trail" {
    filter = record.rmgr == "Transaction" || record.relation == "public.orders"
    config { directory = "ROOT/trail" }
  }
}`

// TestFilter: a sink is sent what its filter picks and nothing else, of a table
// that gets another file too, and its position moves over all the rest.
func TestFilter(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	pgtest.Exec(t, c, "CREATE TABLE orders (a int)", "CREATE TABLE others (a int PRIMARY KEY)")
	first := fileOf(t, c, "orders")
	h := start(t, "run", d.write(filtered, c.DSN()))
	h.says("caught up", 1)
	change := []string{"INSERT INTO orders SELECT generate_series(1, 10)", "INSERT INTO others SELECT 1 + coalesce(max(a), 0) FROM others", "DELETE FROM orders"}
	pgtest.Exec(t, c, change...)
	h.says("picks a relation by its file", 1)
	pgtest.Exec(t, c, "TRUNCATE orders")
	second := fileOf(t, c, "orders")
	h.says(second, 1)
	pgtest.Exec(t, c, change...)
	slotReaches(t, c, "walplex", flushLSN(t, c))
	h.stop()
	start(t, "audit", "verify", d.path("trail")).wants(0, "none is doubled or out of order", "cannot be told")

	seen := map[string]int{}
	for _, line := range linesOf(t, d.path("trail")) {
		ours := slices.ContainsFunc(line.Blocks, func(b filteredBlock) bool { return b.Rel == first || b.Rel == second })
		if line.Rmgr != "Transaction" && !ours {
			t.Errorf("a record of %s %v is in the trail", line.Rmgr, line.Blocks)
		}
		seen[line.Rmgr]++
		for _, b := range line.Blocks {
			seen[b.Rel+" "+line.Operation]++
		}
	}
	if seen["Transaction"] < 6 || seen[first+" DELETE"] != 10 || seen[second+" DELETE"] != 10 {
		t.Errorf("the trail holds %v", seen)
	}
}

// fileOf is the file of a table in the usual tablespace, as the trail writes it.
func fileOf(t *testing.T, c *postgres.Cluster, table string) string {
	t.Helper()
	path, err := c.QueryString(t.Context(), "SELECT pg_relation_filepath('"+table+"')")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(path, "base", "1663", 1)
}

type filteredBlock struct {
	Rel string `json:"rel"`
}

// filteredLine is what the test reads of a record's line.
type filteredLine struct {
	Start     string          `json:"start_lsn"`
	Rmgr      string          `json:"rmgr"`
	Operation string          `json:"operation"`
	Blocks    []filteredBlock `json:"blocks"`
}

func linesOf(t *testing.T, dir string) (out []filteredLine) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(names) == 0 {
		t.Fatal("no trail", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var l filteredLine
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(fmt.Errorf("%s: %w", line, err))
			}
			if l.Start != "" {
				out = append(out, l)
			}
		}
	}
	return out
}
