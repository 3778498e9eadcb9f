package status

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/walplex/walplex/host/internal/primary"
	"github.com/walplex/walplex/host/internal/stream"
)

// Screen is what a table is written for.
type Screen struct {
	Width int // columns; 0: as many as it takes
	Color bool
}

// maxText is how much of one text is shown, in characters; the log has all of it.
const maxText = 600

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer, s Screen) error {
	p := printer{screen: s}
	p.header(r)
	for i := range r.Streams {
		p.line("")
		p.stream(r, &r.Streams[i])
	}
	if len(r.Problems) > 0 {
		p.line("")
		for _, problem := range r.Problems {
			who := problem.Stream
			if problem.Sink != "" {
				who += "/" + problem.Sink
			}
			p.wrapped(p.paint(red, "! "), "  ", who+": "+problem.Text)
		}
	}
	_, err := io.WriteString(w, p.out.String())
	return err
}

type printer struct {
	screen Screen
	out    strings.Builder
}

// color is an SGR code.
type color string

const (
	plain  color = ""
	bold   color = "1"
	dim    color = "2"
	red    color = "31"
	green  color = "32"
	yellow color = "33"
)

func (p *printer) paint(c color, text string) string {
	if !p.screen.Color || c == plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

func (p *printer) line(text string) {
	p.out.WriteString(strings.TrimRight(text, " "))
	p.out.WriteByte('\n')
}

func (p *printer) header(r *Report) {
	verdict := p.paint(green, "all is well")
	switch n := len(r.Problems); {
	case n == 1:
		verdict = p.paint(red, "1 problem")
	case n > 1:
		verdict = p.paint(red, fmt.Sprintf("%d problems", n))
	case !r.Ready:
		verdict = p.paint(yellow, "not ready yet")
	}
	p.line(fmt.Sprintf("walplex %s, process %d, up %s: %s", clean(r.Host.Version), r.Host.PID, Duration(r.At.Sub(r.Host.StartedAt)), verdict))
}

// colorOf a state of a stream or a sink, or a level.
func colorOf(state string) color {
	switch state {
	case string(stream.Streaming), string(stream.SinkLive), string(primary.OK):
		return green
	case string(stream.CatchingUp), string(stream.Starting), string(stream.Draining), string(stream.SinkBackup), string(primary.Warning):
		return yellow
	case string(stream.Reconnecting), string(stream.Failed), string(stream.SinkDown), string(stream.SinkCrashLoop), string(stream.SinkOff), string(primary.Critical):
		return red
	}
	return plain
}

// label is the width of the column of names.
const label = 11

func (p *printer) field(name, text string) {
	indent := strings.Repeat(" ", label+2)
	p.wrapped("  "+p.paint(dim, pad(name, label, false)), indent, text)
}

func (p *printer) stream(r *Report, s *Stream) {
	head := p.paint(bold, clean(s.Name)) + "  " + p.paint(colorOf(string(s.State)), string(s.State))
	if s.StateAt != nil {
		head += " for " + Duration(r.At.Sub(*s.StateAt))
	}
	if s.Reconnects > 0 {
		head += fmt.Sprintf(", reconnected %s", times(s.Reconnects))
	}
	p.line(head)
	if s.Source != "" {
		p.field("source", s.Source)
	}
	if s.SystemIdentifier != "" {
		p.field("system", fmt.Sprintf("%s, timeline %d", s.SystemIdentifier, s.Timeline))
	}
	if s.ReceivedLSN != 0 {
		p.field("received", s.received())
		p.field("confirmed", s.confirmed())
	}
	if s.RingBytes > 0 {
		p.field("memory", fmt.Sprintf("ring %s of %s in use", Bytes(s.RingUsedBytes), Bytes(s.RingBytes)))
	} else if s.HeldBytes > 0 {
		p.field("memory", Bytes(s.HeldBytes)+" held for sinks")
	}
	if s.Primary != nil {
		p.field("slot", s.Primary.text())
	}
	if s.Error != "" && !s.Gap && s.State != stream.Failed && s.State != stream.Reconnecting {
		p.field("error", s.Error) // those are among the problems
	}
	if len(s.Sinks) > 0 {
		p.line("")
		p.sinks(s)
	}
}

func (s *Stream) received() string {
	t := s.ReceivedLSN.String()
	switch {
	case s.ServerLSN == 0:
	case s.LagBytes == 0:
		t += ", all that the server has"
	default:
		t += fmt.Sprintf(", %s behind the server's %s", Bytes(s.LagBytes), s.ServerLSN)
	}
	return t + fmt.Sprintf("; %s, %s records so far", Bytes(s.ReceivedBytes), Count(s.ReceivedRecords))
}

func (s *Stream) confirmed() string {
	if s.ConfirmedLSN == 0 {
		return "nothing yet"
	}
	t := s.ConfirmedLSN.String()
	if d := behind(s.ReceivedLSN, s.ConfirmedLSN); d > 0 {
		t += ", " + Bytes(d) + " behind what was received"
	}
	if s.LagSeconds > 0 {
		t += ", the oldest not flushed is " + Duration(s.LagSeconds.Duration()) + " old"
	}
	return t
}

func (p *Primary) text() string {
	switch {
	case !p.Known && p.Error == "":
		return p.Slot + ": not looked at yet"
	case !p.Known:
		return p.Slot + ": unknown: " + p.Error
	case !p.Exists:
		return p.Slot + " does not exist"
	}
	t := fmt.Sprintf("%s: %s, holds %s", p.Slot, p.Level, Bytes(p.HeldBytes))
	if p.LeftBytes != nil {
		t += fmt.Sprintf(" of WAL, %s left until %s", Bytes(*p.LeftBytes), until(p.End))
	} else if p.WALStatus != "lost" {
		t += " of WAL, no limit is known"
	}
	if p.LeftSeconds != nil {
		t += ", in " + Duration(p.LeftSeconds.Duration()) + " at this speed"
	}
	if p.DiskFreeBytes != nil && p.End != primary.DiskFull {
		t += ", " + Bytes(*p.DiskFreeBytes) + " free on its disk"
	}
	return t
}

func until(end primary.End) string {
	if end == primary.DiskFull {
		return "the disk is full"
	}
	return "the slot is lost"
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// wrapped writes a text behind a first prefix, wrapped to the screen, with the
// same indent for further lines. What comes from elsewhere is cleaned.
func (p *printer) wrapped(first, indent, text string) {
	text = clean(text)
	width := p.screen.Width - utf8.RuneCountInString(indent)
	if p.screen.Width <= 0 || width < 20 {
		p.line(first + text)
		return
	}
	prefix := first
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			p.line(prefix + line)
			prefix, line = indent, word
			continue
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	p.line(prefix + line)
}

// escape is a terminal's control sequence (ECMA-48).
var escape = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")

// clean makes one line of a text, without what a terminal would take for a
// command, and not longer than maxText.
func clean(text string) string {
	text = escape.ReplaceAllString(text, "")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if utf8.RuneCountInString(text) > maxText {
		text = string([]rune(text)[:maxText-1]) + "…"
	}
	return text
}
