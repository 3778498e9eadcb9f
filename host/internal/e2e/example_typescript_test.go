package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

// ended is a line of the TypeScript sink: a transaction.
type ended struct {
	XID     json.Number    `json:"xid"`
	Status  string         `json:"status"`
	Start   string         `json:"start_lsn"`
	Records map[string]int `json:"records"`
}

const typescript = `
plugin "transactions" {
  path = "PROGRAM"
}
stream "main" {
  postgres {
    dsn             = DSN
    slot            = "walplex"
    status_interval = "1s"
  }
  sink "transactions" "ended" {
    config { directory = "ROOT/ended" }
  }
}`

// TestExampleTypeScript builds the sink in TypeScript as its README says, has
// walplex plugin test hold it to the contract, and runs it in a chain, killed under
// load: each transaction is there once, and its records by resource manager are
// those that pg_waldump counts.
func TestExampleTypeScript(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Conf["max_prepared_transactions"] = "4" })
	e := copyExample(t, "typescript-sink", c.DSN())
	reserve(t, c, "transactions")
	work(t, c)
	if printed := e.readme()[0]; !strings.Contains(printed, "ok    kill: ") || !strings.Contains(printed, " 0 failed") {
		t.Errorf("walplex plugin test says\n%s", printed)
	}
	if lines := strings.Count(e.read("transactions/transactions.jsonl"), "\n"); lines == 0 {
		t.Error("the README's commands have written no transaction")
	}

	initPgbench(t, c)
	from := reserve(t, c, "walplex")
	d := newDirs(t)
	h := start(t, "run", d.write(strings.Replace(typescript, "PROGRAM", e.path("walplex-sink-transactions"), 1), c.DSN()))
	wait := load(t, c, 4)
	for range 3 {
		work(t, c)
		before := transactionsTo(t, d.path("ended"))
		eventually(t, "the sink gets on", func() bool { return transactionsTo(t, d.path("ended")) > before })
		h.killSink("ended")
	}
	wait()
	slotReaches(t, c, "walplex", flushLSN(t, c))
	h.stop()

	got := endedIn(t, d.path("ended"))
	want := endedByWaldump(dump(t, c, from, transactionsTo(t, d.path("ended"))))
	if len(got) < 100 {
		t.Errorf("only %d transactions", len(got))
	}
	for xid, w := range want {
		if !reflect.DeepEqual(got[xid], w) {
			t.Fatalf("transaction %s is %+v, by pg_waldump %+v", xid, got[xid], w)
		}
	}
	for xid := range got {
		if want[xid].Status == "" {
			t.Fatalf("pg_waldump knows nothing of the end of transaction %s", xid)
		}
	}
}

// endedIn reads what the sink has written.
func endedIn(t *testing.T, dir string) map[string]ended {
	t.Helper()
	all := map[string]ended{}
	text, err := os.ReadFile(filepath.Join(dir, "transactions.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var l ended
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if _, twice := all[l.XID.String()]; twice {
			t.Errorf("transaction %s is there twice", l.XID)
		}
		all[l.XID.String()] = l
	}
	return all
}

// transactionsTo is the sink's position, 0 while there is none.
func transactionsTo(t *testing.T, dir string) wal.LSN {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "position.json"))
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	var position struct {
		LSN string `json:"lsn"`
	}
	if err := json.Unmarshal(text, &position); err != nil {
		t.Fatal(err)
	}
	lsn, err := wal.ParseLSN(position.LSN)
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

var (
	preparedEnd = regexp.MustCompile(`^(?:COMMIT|ABORT)_PREPARED (\d+):`)
	subxacts    = regexp.MustCompile(`; subxacts: ([0-9 ]+)`)
)

// endedByWaldump puts pg_waldump's lines together as the sink does with records.
func endedByWaldump(lines []dumped) map[string]ended {
	open, all := map[string]ended{}, map[string]ended{}
	for _, l := range lines {
		xid := l.tx
		if m := preparedEnd.FindStringSubmatch(l.desc); m != nil {
			xid = m[1]
		}
		if xid == "0" {
			continue
		}
		if open[xid].Records == nil {
			open[xid] = ended{XID: json.Number(xid), Start: l.lsn.String(), Records: map[string]int{}}
		}
		o := open[xid]
		o.Records[l.rmgr]++
		if l.rmgr != "Transaction" || !strings.HasPrefix(l.desc, "COMMIT") && !strings.HasPrefix(l.desc, "ABORT") {
			continue
		}
		o.Status = strings.ToLower(l.desc[:strings.IndexAny(l.desc, " _")])
		if m := subxacts.FindStringSubmatch(l.desc); m != nil {
			for _, sub := range strings.Fields(m[1]) {
				for rmgr, n := range open[sub].Records {
					o.Records[rmgr] += n
				}
				delete(open, sub)
			}
		}
		all[xid] = o
		delete(open, xid)
	}
	return all
}
