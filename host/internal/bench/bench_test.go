package main

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
)

// TestPairs: the order alternates, the first pair does not count, and a ratio is
// that of each pair.
func TestPairs(t *testing.T) {
	var order strings.Builder
	times := map[byte][]time.Duration{'o': {100, 1, 2, 4, 1, 1}, 'p': {1, 4, 4, 4, 3, 9}}
	next := func(who byte) run {
		return func(context.Context) (cost, error) {
			order.WriteByte(who)
			c := cost{elapsed: times[who][0], cpu: 2 * times[who][0]}
			times[who] = times[who][1:]
			return c, nil
		}
	}
	all, err := pairs(t.Context(), 5, next('o'), next('p'))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := order.String(), "oppooppooppo"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	if got := median(all, faster); got != 3 { // of 4, 2, 1, 3, 9
		t.Errorf("median %v of %+v", got, all)
	}
	if got := median(all[:4], cpuSaved); got != 2.5 { // of 4, 2, 1, 3
		t.Errorf("median %v of %+v", got, all[:4])
	}
}

// TestQuietPairs: of pairs as many count as were asked for, and no more than a
// bounded number is made.
func TestQuietPairs(t *testing.T) {
	runs := 0
	one := func(context.Context) (cost, error) { runs++; return cost{elapsed: 1, cpu: time.Hour}, nil }
	all, others, err := quietPairs(t.Context(), 5, one, one)
	if err != nil || len(all) != 5 || others != 0 || runs != 2+2*5 { // all CPU time was ours
		t.Errorf("%d pairs of %d runs, others %v, %v", len(all), runs, others, err)
	}
}

func TestUsage(t *testing.T) {
	const stat = "cpu  100 1 20 5000 7 2 3 4 0 0\ncpu0 50 0 10 2500 3 1 1 2 0 0\ncpu1 50 1 10 2500 4 1 2 2 0 0\nintr 5 6 7 8 9 10 11 12 13\n"
	u := parseUsage(stat)
	if want := (usage{busy: 1300 * time.Millisecond, cpus: 2}); u != want {
		t.Errorf("%+v, want %+v", u, want)
	}
	if got := u.othersSince(usage{busy: 300 * time.Millisecond, cpus: 2}, 500*time.Millisecond, time.Second); got != 0.25 {
		t.Errorf("others took %v", got)
	}
	if got := (usage{}).othersSince(usage{}, time.Second, time.Second); got != 0 {
		t.Errorf("where the system says nothing, others took %v", got)
	}
}

// TestMeasure takes a process that works, one that fails, and one that prints
// something else.
func TestMeasure(t *testing.T) {
	c, err := measure(exec.CommandContext(t.Context(), "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"))
	if err != nil || c.elapsed <= 0 || c.cpu <= 0 || c.memory <= 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err = measure(exec.CommandContext(t.Context(), "sh", "-c", "echo broken >&2; exit 3")); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("error %v", err)
	}
	say := func(text string) *exec.Cmd { return exec.CommandContext(t.Context(), "echo", text) }
	if err := sameOutput(say("a"), say("a")); err != nil {
		t.Error(err)
	}
	if err := sameOutput(say("a"), say("b")); err == nil {
		t.Error("a and b are the same")
	}
}

func TestReport(t *testing.T) {
	r := report{title: "T", method: "M.", columns: []string{"a", "b"}, rows: [][]string{{"x", "1"}, {"y", "2"}}}
	var b bytes.Buffer
	if err := r.print(&b); err != nil {
		t.Fatal(err)
	}
	if want := "\n### T\n\nM.\n\n| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |\n"; b.String() != want {
		t.Errorf("%q\nwant %q", b.String(), want)
	}
	b.Reset()
	if err := printMachine(t.Context(), &b, 5); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "PostgreSQL ") || !strings.Contains(b.String(), "5 pairs") {
		t.Error(b.String())
	}
}

// TestCommandLine refuses what says nothing.
func TestCommandLine(t *testing.T) {
	if err := (&bench{n: minPairs}).run(t.Context(), io.Discard, []string{"speed"}); err == nil || !strings.Contains(err.Error(), `no table "speed"`) {
		t.Errorf("error %v", err)
	}
	if err := (&bench{n: minPairs - 1}).run(t.Context(), io.Discard, nil); err == nil || !strings.Contains(err.Error(), "pairs") {
		t.Errorf("error %v", err)
	}
}

// TestLoad: a server with a little load reaches the LSN that is asked for.
func TestLoad(t *testing.T) {
	b := &bench{log: io.Discard}
	c, err := b.server(t.Context(), map[string]string{"wal_level": "logical"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := destroy(t.Context(), c); err != nil {
			t.Error(err)
		}
	}()
	if err := b.fill(t.Context(), c, 1); err != nil {
		t.Fatal(err)
	}
	before, err := c.CurrentLSN(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end, err := b.loadUntil(t.Context(), c, before+1<<20, 20)
	if err != nil || end < before+1<<20 {
		t.Errorf("%s to %s: %v", before, end, err)
	}
	if err := c.Stop(t.Context(), postgres.Fast); err != nil {
		t.Error(err)
	}
}

// TestParse reads what other programs print.
func TestParse(t *testing.T) {
	list := parseResults("goos: linux\nBenchmarkTransport/ring-2 \t  12\t  0.25 cpu-s/GiB\t  0.125 host-s/GiB\nPASS\n")
	if len(list) != 1 || list[0].name != "Transport/ring" || list[0].units["cpu-s/GiB"] != 0.25 || list[0].units["host-s/GiB"] != 0.125 {
		t.Errorf("benchmarks: %+v", list)
	}
	if v, err := parseRate("latency average = 6.5 ms\ntps = 1228.5 (without initial connection time)\n"); err != nil || v != 1228.5 {
		t.Errorf("pgbench: %v, %v", v, err)
	}
	if _, err := parseRate("aborted"); err == nil {
		t.Error("pgbench that fails has a rate")
	}
	m, err := parseMemory("Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\nRssShmem:\t 1 kB\n")
	if err != nil || m != (memory{resident: 2 << 20, anonymous: 1 << 20, shared: 1 << 10}) {
		t.Errorf("memory: %+v, %v", m, err)
	}
	if _, err := parseMemory("VmRSS:\t1 kB\n"); err == nil {
		t.Error("memory that is not said is known")
	}
	if got := middle([]float64{9, 1, 4, 3}); got != 3.5 {
		t.Errorf("middle %v", got)
	}
}

// TestDelivery takes a run of each kind that the tables of delivery have, over a
// little WAL: all of it arrives.
func TestDelivery(t *testing.T) {
	b := &bench{log: io.Discard, dir: t.TempDir()}
	if _, err := b.walplex(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.nullProgram(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := b.bulk(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := destroy(t.Context(), c.Cluster); err != nil {
			t.Error(err)
		}
	}()
	var records uint64
	two := c.walplex(b, func(dir string) []sinkText { return nullSinks(2, dir) }, func(dir string, k *cost) (err error) {
		records, k.others, err = nullResult(dir, 2)
		return err
	})
	archive := c.walplex(b, func(dir string) []sinkText { return []sinkText{fileSink("segment_file", "archive", dir)} }, func(dir string, _ *cost) error {
		return sameVolume(dir+"/archive", c.volume)
	})
	for name, r := range map[string]run{"null sinks": two, "archive": archive, "pg_receivewal": c.receivewal(b)} {
		if k, err := r(t.Context()); err != nil || k.elapsed <= 0 || k.cpu <= k.others {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
	if want := uint64(c.volume / (bulkEach + 1000)); records < want {
		t.Errorf("%d records, want at least %d", records, want)
	}
}
