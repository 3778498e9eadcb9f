package supervisor

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// Limits of what is kept of a process's output.
const (
	keptLines   = 8
	maxLineSize = 64 << 10 // bytes; a longer line is cut
)

// lineLog takes what a process prints, passes each line on to the host's log,
// and keeps the last ones for the message that explains a failure: of a Go
// program that panicked the first ones, which say why.
type lineLog struct {
	log *slog.Logger

	mu      sync.Mutex
	kept    []string
	crashed bool // the lines kept begin with a panic's
}

func newLineLog(log *slog.Logger) *lineLog { return &lineLog{log: log} }

// writer takes one of the process's streams. Each has its own buffer, so that a
// line of one does not end up inside of another's.
func (l *lineLog) writer(from string) io.Writer { return &lineWriter{to: l, from: from} }

// lineWriter cuts a stream into lines.
type lineWriter struct {
	to   *lineLog
	from string

	mu  sync.Mutex
	buf []byte
}

// Write takes bytes in any split. It never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		w.add(line)
		if !ended {
			return n, nil
		}
		w.to.line(w.buf, w.from)
		w.buf, p = w.buf[:0], rest
	}
}

// add appends to the line what it has room for.
func (w *lineWriter) add(p []byte) {
	w.buf = append(w.buf, p[:min(len(p), maxLineSize-len(w.buf))]...)
}

// logLine is a line as package sdk (slog's JSON) or go-plugin (hclog's) writes it.
type logLine struct {
	Level   slog.Level `json:"level"`
	Msg     string     `json:"msg"`
	HLevel  string     `json:"@level"`
	Message string     `json:"@message"`
}

func (l *lineLog) line(b []byte, from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b = bytes.TrimRight(b, "\r")
	if len(b) == 0 {
		return
	}
	var ll logLine
	if b[0] == '{' && json.Unmarshal(b, &ll) == nil && (ll.Msg != "" || ll.Message != "") {
		l.structured(b, ll)
		return
	}
	if bytes.HasPrefix(b, []byte("panic: ")) || bytes.HasPrefix(b, []byte("fatal error: ")) {
		l.kept, l.crashed = nil, true
	}
	l.keep(string(b))
	l.log.Info(string(b), "from", from)
}

func (l *lineLog) structured(b []byte, ll logLine) {
	level, msg := ll.Level, ll.Msg
	if msg == "" {
		msg = ll.Message
		_ = level.UnmarshalText([]byte(ll.HLevel)) // hclog's trace is unknown to slog and stays info
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // a number of bytes is to be printed as it was, not as 1e+08
	_ = d.Decode(&m)
	var attrs []any
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch k {
		case "time", "level", "msg", "@level", "@message", "@timestamp", "@module":
		default:
			attrs = append(attrs, slog.Any(k, m[k]))
		}
	}
	if level >= slog.LevelWarn {
		l.keep(msg)
	}
	switch {
	case level >= slog.LevelError:
		l.log.Error(msg, attrs...)
	case level >= slog.LevelWarn:
		l.log.Warn(msg, attrs...)
	case level >= slog.LevelInfo:
		l.log.Info(msg, attrs...)
	default:
		l.log.Debug(msg, attrs...)
	}
}

func (l *lineLog) keep(s string) {
	if len(l.kept) == keptLines {
		if l.crashed {
			return
		}
		l.kept = l.kept[1:]
	}
	l.kept = append(l.kept, s)
}

// last are the lines kept, oldest first.
func (l *lineLog) last() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.kept)
}
