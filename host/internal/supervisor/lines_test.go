package supervisor

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wire"
)

// What a sink logs and prints is in the host's log, at its level and with its
// attributes.
func TestSinksLines(t *testing.T) {
	log, logger := newJournal()
	p := start(t, spec(t, "sink"), logger.With("sink", "one"))
	if _, err := p.Client().Open(t.Context(), &wire.OpenRequest{ConfigJson: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"level=DEBUG msg=\"a detail\" sink=one bytes=123456789\n",
		"level=ERROR msg=\"a failure\" sink=one lsn=1/2 reason=none\n",
		"level=INFO msg=\"a line of another kind\" sink=one from=stderr\n",
		"level=INFO msg=\"a line to standard output\" sink=one from=stdout\n",
	} {
		eventually(t, want, func() bool { return strings.Contains(log.String(), want) })
	}
	if got := p.LastLines(); !slices.Contains(got, "a failure") || slices.Contains(got, "a detail") {
		t.Errorf("the last lines are %q", got)
	}
}

// A panic ends the process, and says why.
func TestPanicIsNotSwallowed(t *testing.T) {
	log, logger := newJournal()
	p := start(t, spec(t, "sink"), logger)
	if _, err := p.Client().Open(t.Context(), &wire.OpenRequest{ConfigJson: []byte(`{"panic":true}`)}); err == nil {
		t.Fatal("Open answers")
	}
	eventually(t, "the process is gone", func() bool { return !running(p.PID()) })
	p.Kill()
	if got := p.LastLines(); len(got) < 2 || got[0] != "panic: the sink's own mistake" {
		t.Errorf("the last lines are %q", got)
	}
	if !strings.Contains(log.String(), "(*sink).Open") {
		t.Errorf("the log does not say where:\n%s", log)
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLineSize+10)
	for _, c := range []struct {
		name, in, log string
	}{
		{"plain", "one\ntwo\r\n\n\r\n", "level=INFO msg=one from=stderr\nlevel=INFO msg=two from=stderr\n"},
		{"slog", `{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"m","z":1,"a":{"b":[true,null]}}` + "\n", "level=WARN msg=m a=\"map[b:[true <nil>]]\" z=1\n"},
		{"slog between levels", `{"level":"INFO+2","msg":"m"}` + "\n", "level=INFO msg=m\n"},
		{"hclog", `{"@level":"error","@message":"m","@module":"p","@timestamp":"t","k":"v"}` + "\n", "level=ERROR msg=m k=v\n"},
		{"hclog trace", `{"@level":"trace","@message":"m"}` + "\n", "level=INFO msg=m\n"},
		{"json of another kind", `{"level":30,"msg":"m"}` + "\n", `level=INFO msg="{\"level\":30,\"msg\":\"m\"}" from=stderr` + "\n"},
		{"no json", "{\n", "level=INFO msg={ from=stderr\n"},
		{"too long", long + "\nnext\n", "level=INFO msg=" + long[:maxLineSize] + " from=stderr\nlevel=INFO msg=next from=stderr\n"},
	} {
		for _, size := range []int{1, 7, len(c.in)} {
			log, logger := newJournal()
			w := newLineLog(logger).writer("stderr")
			for piece := range slices.Chunk([]byte(c.in), size) {
				if n, err := w.Write(piece); n != len(piece) || err != nil {
					t.Fatalf("%s: Write answers %d, %v", c.name, n, err)
				}
			}
			if log.String() != c.log {
				t.Errorf("%s, in pieces of %d bytes:\n%s\nwant:\n%s", c.name, size, log, c.log)
			}
		}
	}
}

// Lines of two streams stay whole, however they come.
func TestStreamsDoNotMix(t *testing.T) {
	log, logger := newJournal()
	l := newLineLog(logger)
	out, err := l.writer("stdout"), l.writer("stderr")
	for _, p := range []string{"a", "b", "\n"} {
		for _, w := range []io.Writer{out, err} {
			if _, err := io.WriteString(w, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := "level=INFO msg=ab from=stdout\nlevel=INFO msg=ab from=stderr\n"; log.String() != want {
		t.Errorf("got\n%swant\n%s", log, want)
	}
}

// An explanation gets the last lines; of a panic, whose trace may be of any
// length, the first.
func TestKeptLines(t *testing.T) {
	lines := func(crash string) []string {
		l := newLineLog(quiet)
		w := l.writer("stderr")
		for i := range 30 {
			if i == 10 && crash != "" {
				fmt.Fprintln(w, crash)
			}
			fmt.Fprintf(w, "line %d\n", i)
		}
		return l.last()
	}
	if got := lines(""); len(got) != keptLines || got[0] != "line 22" || got[keptLines-1] != "line 29" {
		t.Errorf("kept %q", got)
	}
	for _, crash := range []string{"panic: so", "fatal error: all goroutines are asleep"} {
		if got := lines(crash); len(got) != keptLines || got[0] != crash || got[1] != "line 10" {
			t.Errorf("kept %q", got)
		}
	}
}
