package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

const webhook = `
plugin "webhook" {
  path = "PROGRAM"
}
stream "main" {
  postgres {
    dsn             = DSN
    slot            = "walplex"
    status_interval = "1s"
  }
  sink "webhook" "changes" {
    filter = record.rmgr == "Transaction" || record.rmgr == "Heap"
    config {
      url           = "URL"
      directory     = "ROOT/webhook"
      batch_records = 200
      timeout       = "1s"
      give_up       = "3s"
    }
  }
}`

// hook is a server that takes records, and can be told not to.
type hook struct {
	*httptest.Server
	way      atomic.Value // "" takes, "fail" answers 503, "hang" answers nothing
	requests atomic.Int64

	mu   sync.Mutex
	last wal.LSN
	got  []hooked // once each, as the README says a receiver does it
}

type hooked struct {
	Start wal.LSN `json:"start_lsn"`
	End   wal.LSN `json:"end_lsn"`
	Rmgr  string  `json:"rmgr"`
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	var body struct {
		Records []hooked `json:"records"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	switch h.way.Load() {
	case "fail":
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	case "hang":
		<-r.Context().Done()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, rec := range body.Records {
		if rec.End > h.last {
			h.got, h.last = append(h.got, rec), rec.End
		}
	}
}

func (h *hook) taken() (int, wal.LSN) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.got), h.last
}

// TestExampleWebhook: a receiver that fails, hangs and comes back, while the sink
// is killed, has each record once when it ignores what it has already.
func TestExampleWebhook(t *testing.T) {
	rc := &hook{}
	rc.way.Store("")
	rc.Server = httptest.NewServer(rc)
	t.Cleanup(rc.Close)
	c := server(t, func(o *postgres.Options) { o.Conf["max_prepared_transactions"] = "4" })
	e := copyExample(t, "webhook", c.DSN())
	t.Setenv("WEBHOOK_URL", rc.URL)
	reserve(t, c, "webhook")
	work(t, c)
	e.readme()
	if n, _ := rc.taken(); n < 10 {
		t.Errorf("the README's commands have sent %d records", n)
	}

	from := reserve(t, c, "walplex")
	rc.mu.Lock()
	rc.last, rc.got = 0, nil
	rc.mu.Unlock()
	initPgbench(t, c)
	d := newDirs(t)
	h := start(t, "run", d.write(strings.NewReplacer("PROGRAM", e.path("walplex-sink-webhook"), "URL", rc.URL).Replace(webhook), c.DSN()))
	wait := load(t, c, 3)
	for _, way := range []string{"fail", "hang"} {
		n, _ := rc.taken()
		eventually(t, "records arrive", func() bool { now, _ := rc.taken(); return now > n })
		rc.way.Store(way)
		h.says("a batch was not taken; trying again", strings.Count(h.log(), "a batch was not taken; trying again")+2)
		if way == "fail" {
			h.killSink("changes")
		}
		rc.way.Store("")
	}
	wait()
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	h.stop()

	var want []dumped
	for _, l := range dump(t, c, from, end) {
		if l.rmgr == "Transaction" || l.rmgr == "Heap" {
			want = append(want, l)
		}
	}
	if len(rc.got) < len(want) {
		t.Fatalf("%d records arrived, pg_waldump has %d", len(rc.got), len(want))
	}
	for i, w := range want {
		if got := rc.got[i]; got.Start != w.lsn || got.Rmgr != w.rmgr {
			t.Fatalf("record %d is %s at %s, by pg_waldump %s at %s", i, got.Rmgr, got.Start, w.rmgr, w.lsn)
		}
	}
}
