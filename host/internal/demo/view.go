package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/sdk/wal"
)

// view is all that is shown, at one moment.
type view struct {
	title, where   string
	steps          []stepView
	now            time.Time
	stream         *stream.Status // nil: there is none yet
	bytes, records float64        // received a second
}

// stepView is how a step stands.
type stepView struct {
	name         string
	expect       time.Duration // how long it will take, 0: unknown
	note         string
	began, ended time.Time // zero: not yet
	failed       bool
}

// Widths of columns: all fit into 80, the last of which is left free.
const (
	stepWidth  = 32
	timeWidth  = 8
	barWidth   = 28
	stateWidth = 12
	nameWidth  = 10
	typeWidth  = 14
	lsnWidth   = 12
	sizeWidth  = 10
	rateWidth  = 11
	countWidth = 11
)

// lines are what a terminal shows. Their number does not change.
func (v *view) lines(s style) []string {
	out := []string{s.bold(v.title), s.dim(v.where), ""}
	for i := range v.steps {
		out = append(out, v.steps[i].line(v.now, s))
	}
	out = append(out, "")
	if v.stream == nil {
		return out
	}
	return append(out, v.streamLines(s)...)
}

func (t *stepView) line(now time.Time, s style) string {
	name := cell(t.name, stepWidth)
	switch {
	case t.began.IsZero():
		return s.dim("      " + strings.TrimRight(name, " "))
	case t.ended.IsZero():
		return strings.TrimRight("   "+s.bold(">")+"  "+name+cell(seconds(now.Sub(t.began)), -timeWidth)+"  "+t.bar(now), " ")
	case t.failed:
		return "  " + s.red("NO") + "  " + name + cell(seconds(t.ended.Sub(t.began)), -timeWidth)
	}
	return strings.TrimRight("  "+s.green("ok")+"  "+name+cell(seconds(t.ended.Sub(t.began)), -timeWidth)+"  "+t.note, " ")
}

// bar shows how much of a step of known length is done.
func (t *stepView) bar(now time.Time) string {
	if t.expect == 0 {
		return ""
	}
	done := min(1, now.Sub(t.began).Seconds()/t.expect.Seconds())
	n := int(done * barWidth)
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", barWidth-n) + "]"
}

// streamLines are the stream's and its sinks'.
func (v *view) streamLines(s style) []string {
	st := v.stream
	out := []string{
		s.dim("  " + cell("stream", stateWidth) + cell("received", -lsnWidth) + cell("WAL", -sizeWidth) + cell("rate", -rateWidth) +
			cell("records", -countWidth) + cell("records/s", -countWidth) + cell("lag", -sizeWidth)),
		"  " + cell(string(st.State), stateWidth) + cell(st.Received.String(), -lsnWidth) + cell(size(float64(st.Bytes)), -sizeWidth) + cell(v.rate(), -rateWidth) +
			cell(group(st.Records), -countWidth) + cell(v.recordRate(), -countWidth) + cell(behind(st.Server, st.Received), -sizeWidth),
		s.dim("  " + cell("sink", nameWidth) + cell("type", typeWidth) + cell("written", -lsnWidth) + cell("flushed", -lsnWidth) + cell("unflushed", -countWidth)),
	}
	for _, k := range st.Sinks {
		line := "  " + cell(k.Name, nameWidth) + cell(k.Type, typeWidth) + cell(k.Written.String(), -lsnWidth) + cell(k.Flushed.String(), -lsnWidth) +
			cell(behind(st.Received, k.Flushed), -countWidth)
		switch {
		case !k.Up && running(st.State):
			line += "   " + s.red("down")
		case k.Starts > 1:
			line += "   " + s.red("started "+group(int64(k.Starts))+" times")
		case k.State == stream.SinkBackup || k.State == stream.SinkCatchingUp:
			line += "   " + s.dim(string(k.State))
		}
		out = append(out, line)
	}
	return out
}

// running reports whether the stream is attached to the server.
func running(st stream.State) bool { return st == stream.CatchingUp || st == stream.Streaming }

func (v *view) rate() string {
	if !running(v.stream.State) {
		return "-"
	}
	return fmt.Sprintf("%.1f MB/s", v.bytes/1e6)
}

func (v *view) recordRate() string {
	if !running(v.stream.State) {
		return "-"
	}
	return group(int64(v.records))
}

// behind is how far at is behind of to.
func behind(to, at wal.LSN) string {
	if at >= to || at == 0 {
		return "0 B"
	}
	return size(float64(to - at))
}

// text is what is written now and then where there is no terminal.
func (v *view) text() string {
	st := v.stream
	flushed := st.Received
	for _, k := range st.Sinks {
		flushed = min(flushed, k.Flushed)
	}
	return fmt.Sprintf("      %s received at %s, %s; all flushed to %s", size(float64(st.Bytes)), v.rate(), st.Received, flushed)
}
