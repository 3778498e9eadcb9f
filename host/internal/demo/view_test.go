package demo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/stream"
)

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 12: "12", 100000: "100,000"} {
		if got := group(n); got != want {
			t.Errorf("group(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999949: "999.9 kB", 999950: "1.0 MB", 412.34e6: "412.3 MB", 5e15: "5000.0 TB"} {
		if got := size(n); got != want {
			t.Errorf("size(%g) = %q, want %q", n, got, want)
		}
	}
	if got := cell("ab", 4) + "|" + cell("ab", -4) + "|" + cell("abcde", 4); got != "ab  |  ab|abcde" {
		t.Errorf("cells: %q", got)
	}
}

func TestClip(t *testing.T) {
	s := style(true)
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{
		{"plain", 5, "plain"},
		{"plain", 4, "plai"},
		{"äöü", 2, "äö"},
		{s.bold("bold") + "er", 4, "\x1b[1mbold\x1b[0m"},
		{s.bold("bold") + "er", 2, "\x1b[1mbo\x1b[0m"},
		{s.bold("bold") + "er", 6, "\x1b[1mbold\x1b[0mer"},
	} {
		if got := clip(c.line, c.width); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.line, c.width, got, c.want)
		}
	}
}

// sampleView is a run in the middle of its load.
func sampleView() view {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	sink := func(name, typ string, p chain.SinkPositions) stream.SinkStatus {
		return stream.SinkStatus{Name: name, Type: typ, Up: true, Starts: 1, SinkPositions: p}
	}
	v := view{title: "the title", where: "in a directory", now: at.Add(7 * time.Second), bytes: 27.25e6, records: 41998.4, steps: []stepView{
		{name: "start PostgreSQL", began: at, ended: at.Add(812 * time.Millisecond), note: "a note"},
		{name: "compare something", began: at, ended: at.Add(12 * time.Second), failed: true},
		{name: "load: pgbench -c 4", began: at.Add(2 * time.Second), expect: 10 * time.Second},
		{name: "stop the sinks"},
	}, stream: &stream.Status{Name: "demo", State: stream.Streaming, Received: 0xF6498B0, Server: 0xF7E9000, Bytes: 262412345, Records: 194026, Sinks: []stream.SinkStatus{
		sink("archive", "segment_file", chain.SinkPositions{Written: 0xF648F58, Flushed: 0xF646D38}),
		sink("pages", "page_cache", chain.SinkPositions{Written: 0xF63DAF8, Flushed: 0xF60BD50}),
		sink("trail", "audit", chain.SinkPositions{Written: 0xF6498B0, Flushed: 0xF6498B0}),
	}}}
	v.stream.Sinks[1].Starts = 2
	v.stream.Sinks[2].Up = false
	return v
}

func TestView(t *testing.T) {
	v := sampleView()
	want := `the title
in a directory

  ok  start PostgreSQL                  0.81 s  a note
  NO  compare something                12.00 s
   >  load: pgbench -c 4                5.00 s  [##############..............]
      stop the sinks

  stream          received       WAL       rate    records  records/s       lag
  streaming      0/F6498B0  262.4 MB  27.2 MB/s    194,026     41,998    1.7 MB
  sink      type               written     flushed  unflushed
  archive   segment_file     0/F648F58   0/F646D38    11.1 kB   catching up
  pages     page_cache       0/F63DAF8   0/F60BD50   252.8 kB   started 2 times
  trail     audit            0/F6498B0   0/F6498B0        0 B   down`
	v.stream.Sinks[0].State = stream.SinkCatchingUp
	if got := strings.Join(v.lines(false), "\n"); got != want {
		t.Errorf("the view is\n%s\nwant\n%s", got, want)
	}
	if got, want := v.text(), "      262.4 MB received at 27.2 MB/s, 0/F6498B0; all flushed to 0/F60BD50"; got != want {
		t.Errorf("the line is\n%s\nwant\n%s", got, want)
	}
	v.stream.State = stream.Stopped
	if got := v.rate() + v.recordRate(); got != "--" {
		t.Errorf("a stream that has stopped has the rates %q", got)
	}
}

func TestResultTable(t *testing.T) {
	d := demo{load: load{from: 0x1000, to: 0x1000 + 249418824, took: 9700 * time.Millisecond, transactions: "2,361"}}
	claims := []struct {
		c     claim
		found string
		err   error
	}{
		{archiveClaim, "16 segments, 255,057,240 bytes", nil},
		{trailClaim, "164,097 records, none missing", errors.New("a line is missing")},
		{pagesClaim, "21,851 pages, 0 different", nil},
		{tableClaim, "5,500 rows, the same SHA-256", errors.New("a row is missing")},
		{stopClaim, "fast shutdown in 0.04 s", nil},
	}
	for _, c := range claims {
		if _, err := d.proved(c.c, c.found, c.err); errors.Is(err, errDiffers) != (c.err != nil) {
			t.Errorf("%s: the step ends with %v", c.c, err)
		}
	}
	want := `
  proved  claim                                   compared
  yes     the archive is pg_wal, byte for byte    16 segments, 255,057,240 bytes
  NO      the audit trail has every record once   differs
  yes     the page cache has every page right     21,851 pages, 0 different
  NO      the dropped table's rows are all back   differs
  yes     the server stopped under the stream     fast shutdown in 0.04 s

  load    249,418,824 bytes of WAL, 163,606 records, 2,361 transactions/s
          25.7 MB/s and 16,866 records/s for 9.7 s, until all was flushed
`
	var out strings.Builder
	d.o.Out, d.dump.within, d.show = &out, 163606, &reporter{}
	differences := "not proved: the audit trail has every record once: a line is missing\nnot proved: the dropped table's rows are all back: a row is missing"
	if err := d.result(); err == nil || err.Error() != differences {
		t.Errorf("the result's error is %v", err)
	}
	if out.String() != want {
		t.Errorf("the result is\n%s\nwant\n%s", out.String(), want)
	}
}

// TestWidth checks that nothing which is fixed goes beyond 80 columns, and that all
// of a run fits on a terminal of 24 lines.
func TestWidth(t *testing.T) {
	d := demo{o: Options{Load: 10 * time.Second}}
	v := sampleView()
	v.steps = nil
	for _, s := range d.steps() {
		if n := len(s.name); n > stepWidth {
			t.Errorf("%q has %d columns, want at most %d", s.name, n, stepWidth)
		}
		v.steps = append(v.steps, stepView{name: s.name})
	}
	for c := range claims {
		if n := len(claim(c).String()); n >= claimWidth {
			t.Errorf("%q has %d columns, want less than %d", claim(c), n, claimWidth)
		}
	}
	if n := len(v.lines(false)); n > 23 {
		t.Errorf("the view has %d lines, want at most 23", n)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if b, r := m.rates(); b != 0 || r != 0 {
		t.Errorf("rates of nothing: %g, %g", b, r)
	}
	// 1000 bytes a second for two seconds, then 4000.
	bytes := int64(0)
	for i := range 20 {
		m.add(stream.Status{At: at, Bytes: bytes, Records: bytes / 100})
		m.add(stream.Status{At: at, Bytes: bytes + 5}) // not published anew
		at = at.Add(200 * time.Millisecond)
		if bytes += 200; i >= 10 {
			bytes += 600
		}
	}
	if b, r := m.rates(); b != 4000 || r != 40 {
		t.Errorf("rates %g, %g; want 4000, 40", b, r)
	}
}

// grid is as much of a terminal as a screen needs.
type grid struct {
	rows []string
	row  int
}

func (g *grid) write(s string) {
	for len(s) > 0 {
		switch {
		case s[0] == '\r':
			s = s[1:]
		case s[0] == '\n':
			g.row++
			s = s[1:]
		case strings.HasPrefix(s, "\x1b[K"):
			s = s[3:] // set cuts the row
		case strings.HasPrefix(s, "\x1b[J"):
			g.rows = g.rows[:min(len(g.rows), g.row)]
			s = s[3:]
		case strings.HasPrefix(s, "\x1b["):
			end := strings.IndexByte(s, 'A')
			n, err := strconv.Atoi(s[2:end])
			if err != nil {
				panic(err)
			}
			g.row, s = g.row-n, s[end+1:]
		default:
			end := strings.Index(s, "\x1b[K")
			for len(g.rows) <= g.row {
				g.rows = append(g.rows, "")
			}
			g.rows[g.row], s = s[:end], s[end:]
		}
	}
}

// TestScreen draws frames of different heights over one another.
func TestScreen(t *testing.T) {
	g := &grid{rows: []string{"$ walplex demo"}, row: 1}
	s := &screen{size: func() (int, int) { return 12, 6 }}
	for _, c := range []struct{ draw, want string }{
		{"one\ntwo", "one\ntwo"},
		{"one\nzwei\nthree", "one\nzwei\nthree"},
		{"1", "1"},
		{"1\n2\n3\n4\n5\n6\n7", "3\n4\n5\n6\n7"},
		{"a line that is too long", "a line that "},
	} {
		g.write(s.draw(strings.Split(c.draw, "\n")))
		if got := strings.Join(g.rows, "\n"); got != "$ walplex demo\n"+c.want {
			t.Errorf("after %q the terminal shows\n%s", c.draw, got)
		}
	}
}

// TestOutputGone checks that a run ends when nobody can see it any more.
func TestOutputGone(t *testing.T) {
	var failed error
	r := newReporter(brokenWriter{}, "title", "where", []step{{name: "one"}}, func(err error) { failed = errors.Join(failed, err) })
	r.close()
	if failed == nil || !strings.Contains(failed.Error(), errBroken.Error()) {
		t.Errorf("the run was told %v", failed)
	}
}

var errBroken = fmt.Errorf("the pipe is broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
