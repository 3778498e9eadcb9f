package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// TestExampleTableCounter: Prometheus sees the changes of a table, each once though
// the sink was killed; the README's commands run.
func TestExampleTableCounter(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Conf["max_prepared_transactions"] = "4" })
	e := copyExample(t, "table-counter", c.DSN())
	e.change("9188", freePort(t), "README.md", "table-counter.hcl")
	from := reserve(t, c, "table_counter")
	work(t, c)
	blocks := e.blocks()
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of commands in the README", len(blocks))
	}
	e.run(blocks[0])

	t.Setenv("WALPLEX_DSN", c.DSN())
	h := start(t, "run", e.path("table-counter.hcl"))
	pgtest.Exec(t, c, "CREATE TABLE counted (a int)", "INSERT INTO counted SELECT generate_series(1, 700)")
	h.killSink("counts")
	pgtest.Exec(t, c, "DELETE FROM counted WHERE a <= 300")
	slotReaches(t, c, "table_counter", flushLSN(t, c))
	scraped := e.run(blocks[1])
	relation := fileOf(t, c, "counted")
	if want := fmt.Sprintf("{operation=\"DELETE\",relation=%q,rmgr=\"Heap\"} 300\n", relation); !strings.Contains(scraped, want) {
		t.Errorf("Prometheus gets no %s", want)
	}
	h.stop()

	var counted struct {
		Position wal.LSN                   `json:"position"`
		Records  map[string]map[string]int `json:"records"`
	}
	if err := json.Unmarshal([]byte(e.read("counts/counts.json")), &counted); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, l := range dump(t, c, from, counted.Position) {
		if m := onlyRel.FindStringSubmatch(l.desc); l.rmgr == "Heap" && m != nil && m[1] == relation {
			want[l.rmgr+" "+strings.Fields(l.desc)[0]]++
		}
	}
	got := counted.Records[relation]
	for op, n := range want {
		if got[op] != n || n == 0 {
			t.Errorf("%s: %d counted, pg_waldump has %d", op, got[op], n)
		}
	}
	if want["Heap DELETE"] != 300 || len(want) < 3 {
		t.Errorf("pg_waldump has %v", want)
	}
}

var onlyRel = regexp.MustCompile(`blkref #0: rel (\S+)`)

// freePort is one that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
