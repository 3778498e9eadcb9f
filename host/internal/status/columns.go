package status

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/walplex/walplex/host/internal/stream"
)

// column is one of the table of sinks.
type column struct {
	head  string
	right bool // numbers
	cell  func(k *Sink) string
	color func(k *Sink) color // nil: none
}

func lsn(l LSN) string {
	if l == 0 {
		return "-"
	}
	return l.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return clean(s)
}

func nameColumn() column {
	return column{head: "SINK", cell: func(k *Sink) string { return clean(k.Name) }}
}

// stateColumns say how the sinks stand.
func stateColumns() []column {
	return []column{
		{head: "STATE", cell: func(k *Sink) string { return string(k.State) },
			color: func(k *Sink) color { return colorOf(string(k.State)) }},
		{head: "REQUIRED", cell: func(k *Sink) string {
			if k.Required {
				return "yes"
			}
			return "no"
		}},
		{head: "VIA", cell: func(k *Sink) string { return orDash(k.Transport) }},
		{head: "LAG", right: true, cell: func(k *Sink) string { return Bytes(k.LagBytes) }},
		{head: "AGE", right: true, cell: func(k *Sink) string { return Duration(k.LagSeconds.Duration()) }},
		{head: "QUEUE", right: true, cell: func(k *Sink) string { return Bytes(k.QueueBytes) }},
		{head: "RESTARTS", right: true, cell: func(k *Sink) string { return strconv.Itoa(k.Restarts) }},
	}
}

// positionColumns say how far they are.
func positionColumns() []column {
	return []column{
		{head: "TYPE", cell: func(k *Sink) string { return clean(k.Type) }},
		{head: "SENT", right: true, cell: func(k *Sink) string { return lsn(k.SentLSN) }},
		{head: "WRITTEN", right: true, cell: func(k *Sink) string { return lsn(k.WrittenLSN) }},
		{head: "FLUSHED", right: true, cell: func(k *Sink) string { return lsn(k.FlushedLSN) }},
		{head: "APPLIED", right: true, cell: func(k *Sink) string { return lsn(k.AppliedLSN) }},
	}
}

// sinks writes one table where the screen is wide enough for it, else two.
func (p *printer) sinks(s *Stream) {
	states, positions := stateColumns(), positionColumns()
	whole := append(append([]column{nameColumn(), positions[0]}, states...), positions[1:]...)
	if widths := measure(s.Sinks, whole); p.screen.Width <= 0 || sum(widths) <= p.screen.Width {
		p.rows(s.Sinks, whole, widths, true)
		return
	}
	first, second := append([]column{nameColumn(), positions[0]}, states...), append([]column{nameColumn()}, positions[1:]...)
	if sum(measure(s.Sinks, first)) > p.screen.Width {
		first, second = append([]column{nameColumn()}, states...), append([]column{nameColumn()}, positions...)
	}
	p.rows(s.Sinks, first, measure(s.Sinks, first), true)
	p.line("")
	p.rows(s.Sinks, second, measure(s.Sinks, second), false)
}

// indent and gap stand before a row and between its cells.
const (
	indent = 2
	gap    = 2
)

func measure(sinks []Sink, cols []column) []int {
	widths := make([]int, len(cols))
	for i, c := range cols {
		widths[i] = len(c.head)
		for j := range sinks {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.cell(&sinks[j])))
		}
	}
	return widths
}

func sum(widths []int) int {
	n := indent - gap
	for _, w := range widths {
		n += w + gap
	}
	return n
}

// rows writes a table; with notes, under each sink what there is to say of it.
func (p *printer) rows(sinks []Sink, cols []column, widths []int, notes bool) {
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", indent))
	for i, c := range cols {
		b.WriteString(p.paint(dim, pad(c.head, widths[i], c.right)) + "  ")
	}
	p.line(b.String())
	for j := range sinks {
		k := &sinks[j]
		b.Reset()
		b.WriteString(strings.Repeat(" ", indent))
		for i, c := range cols {
			text := pad(c.cell(k), widths[i], c.right)
			if c.color != nil {
				text = p.paint(c.color(k), text)
			}
			b.WriteString(text + "  ")
		}
		p.line(b.String())
		if notes {
			p.notes(k)
		}
	}
}

// notes are the lines under a sink. A required sink's error is among the problems.
func (p *printer) notes(k *Sink) {
	const deeper = "    "
	if c := k.CatchUp; c != nil {
		text := fmt.Sprintf("%.1f %% caught up from %s: at %s, %s to go to %s", c.Progress*100, orDash(c.Source), lsn(c.PositionLSN), Bytes(c.RemainingBytes), lsn(c.TargetLSN))
		if c.Error != "" {
			text += "; held up: " + c.Error
		}
		p.wrapped(deeper, deeper, text)
	}
	if b := k.Backup; b != nil {
		p.wrapped(deeper, deeper, b.text())
	}
	down := k.State == stream.SinkDown || k.State == stream.SinkCrashLoop || k.State == stream.SinkOff
	if k.Error != "" && !(down && k.Required) {
		p.wrapped(deeper, deeper, k.Error)
	}
}

// pad fills a text up with spaces.
func pad(text string, width int, right bool) string {
	fill := strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0))
	if right {
		return fill + text
	}
	return text + fill
}

func (b *Backup) text() string {
	text := "base backup: " + string(b.Phase)
	if b.TotalBytes != 0 {
		text += fmt.Sprintf(", %s of about %s", Bytes(b.Bytes), Bytes(b.TotalBytes))
	}
	if b.StartLSN != 0 {
		text += fmt.Sprintf(", from %s on timeline %d", lsn(b.StartLSN), b.Timeline)
	}
	if b.Error != "" {
		text += "; held up: " + b.Error
	}
	return text
}
