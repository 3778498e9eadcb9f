package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// freeAddress is one that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func scrape(t *testing.T, address string) string {
	t.Helper()
	res, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", res.Status, err)
	}
	return string(b)
}

// Prometheus sees what is durable, and after a crash goes on from there.
func TestMetrics(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 1<<20)
	fsys, address := crashfs.New(), freeAddress(t)
	open := func() *sinktest.Session {
		t.Helper()
		o := w.Options()
		sys := sdk.System{ID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize, ServerVersion: 150000}
		s, err := sinktest.Open(t.Context(), definition(fsys), map[string]string{"directory": directory, "listen": address}, sys, sinktest.Options{Start: o.Start})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	deliver(t, s, w, w.Options().Start+500<<10)
	if got := scrape(t, address); strings.Contains(got, "table_counter_records_total{") {
		t.Errorf("before the first flush there is\n%s", got)
	}
	flushed := flush(t, s)
	deliver(t, s, w, w.End())
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	s = open()
	got := scrape(t, address)
	var want int
	for relation, ops := range expected(t, w, flushed) {
		for op, n := range ops {
			rmgr, operation, _ := strings.Cut(op, " ")
			line := fmt.Sprintf("table_counter_records_total{operation=%q,relation=%q,rmgr=%q} %d\n", operation, relation, rmgr, n)
			if !strings.Contains(got, line) {
				t.Errorf("there is no line %s", line)
			}
			want++
		}
	}
	if n := strings.Count(got, "table_counter_records_total{"); n != want {
		t.Errorf("%d counters, want %d", n, want)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestValidate(t *testing.T) {
	for address, good := range map[string]bool{"": true, "127.0.0.1:0": true, "[::1]:9188": true,
		":9188": false, "0.0.0.0:9188": false, "192.0.2.1:9188": false, "localhost:9188": false, "9188": false} {
		if wrong := (&config{Listen: address}).Validate(); (len(wrong) == 0) != good {
			t.Errorf("%q: %v", address, wrong)
		}
	}
}

// Relations beyond the limit are counted as one.
func TestOthers(t *testing.T) {
	s := &sink{counts: counts{Records: map[string]map[string]int64{}}}
	for i := range 3 * maxRelations {
		s.add(fmt.Sprint(i), "Heap INSERT")
		s.add("0", "Heap INSERT")
	}
	if n := len(s.counts.Records); n != maxRelations+1 {
		t.Errorf("%d relations", n)
	}
	if other, first := s.counts.Records[others]["Heap INSERT"], s.counts.Records["0"]["Heap INSERT"]; other != 2*maxRelations || first != 3*maxRelations+1 {
		t.Errorf("%d of others, %d of the first", other, first)
	}
}
