package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// Severity says whether a configuration can run in spite of a diagnostic.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one problem of a configuration, and where it is. None of its
// texts holds a secret.
type Diagnostic struct {
	Severity Severity
	Summary  string // what is wrong, one line
	Detail   string // what to do, lines; may be empty
	// Range is the place, columns counted from 1. Without a line it names a path
	// or a command-line option.
	Range hcl.Range
	// Snippet is the line of the file, with … for what is not shown; empty where
	// nothing of it may be shown. The caret is a column of Snippet, counted in
	// characters from 0.
	Snippet  string
	Caret    int
	CaretLen int
}

// Position is file:line,col, or the file alone where there is no line.
func (d *Diagnostic) Position() string {
	if d.Range.Start.Line == 0 {
		return d.Range.Filename
	}
	return fmt.Sprintf("%s:%d,%d", d.Range.Filename, d.Range.Start.Line, d.Range.Start.Column)
}

// String is the diagnostic as [Diagnostics.WriteText] writes it.
func (d *Diagnostic) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s\n", d.Position(), d.Severity, d.Summary)
	if d.Detail != "" {
		for line := range strings.SplitSeq(d.Detail, "\n") {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	if d.Snippet != "" {
		number := fmt.Sprintf("%5d", d.Range.Start.Line)
		fmt.Fprintf(&b, "%s | %s\n", number, d.Snippet)
		fmt.Fprintf(&b, "%s | %s%s\n", strings.Repeat(" ", len(number)), d.caretIndent(), strings.Repeat("^", max(d.CaretLen, 1)))
	}
	return b.String()
}

// caretIndent keeps tabs, so that the caret stands right whatever their width.
func (d *Diagnostic) caretIndent() string {
	var b strings.Builder
	n := 0
	for _, r := range d.Snippet {
		if n == d.Caret {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// Diagnostics are the problems of a configuration, in the order of its files.
type Diagnostics []*Diagnostic

// HasErrors reports that the configuration cannot run.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d *Diagnostic) bool { return d.Severity == Error })
}

// Sort orders the problems by file and place, as they come from several stages.
func (ds Diagnostics) Sort() {
	slices.SortStableFunc(ds, func(a, b *Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.Range.Filename, b.Range.Filename),
			cmp.Compare(a.Range.Start.Byte, b.Range.Start.Byte),
		)
	})
}

// WriteText writes the problems for people:
//
//	main.hcl:3,5: error: unknown attribute "slto" in postgres
//	  did you mean "slot"?
//	    3 |     slto = …
//	      |     ^^^^
func (ds Diagnostics) WriteText(w io.Writer) error {
	for _, d := range ds {
		if _, err := io.WriteString(w, d.String()); err != nil {
			return err
		}
	}
	return nil
}

// String is the text of [Diagnostics.WriteText].
func (ds Diagnostics) String() string {
	var b strings.Builder
	_ = ds.WriteText(&b) // a Builder does not fail
	return b.String()
}

type jsonReport struct {
	Valid       bool             `json:"valid"`
	Diagnostics []jsonDiagnostic `json:"diagnostics"`
}

type jsonDiagnostic struct {
	Severity  Severity `json:"severity"`
	Summary   string   `json:"summary"`
	Detail    string   `json:"detail,omitempty"`
	File      string   `json:"file"`
	Line      int      `json:"line,omitempty"`
	Column    int      `json:"column,omitempty"`
	EndLine   int      `json:"end_line,omitempty"`
	EndColumn int      `json:"end_column,omitempty"`
	Snippet   string   `json:"snippet,omitempty"`
}

// WriteJSON writes one object: valid, and diagnostics as a list.
func (ds Diagnostics) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(jsonReport{Valid: !ds.HasErrors(), Diagnostics: ds.jsonList()})
}

// MarshalJSON is the list of [Diagnostics.WriteJSON].
func (ds Diagnostics) MarshalJSON() ([]byte, error) { return json.Marshal(ds.jsonList()) }

func (ds Diagnostics) jsonList() []jsonDiagnostic {
	list := make([]jsonDiagnostic, 0, len(ds))
	for _, d := range ds {
		list = append(list, jsonDiagnostic{
			Severity: d.Severity, Summary: d.Summary, Detail: d.Detail, File: d.Range.Filename,
			Line: d.Range.Start.Line, Column: d.Range.Start.Column,
			EndLine: d.Range.End.Line, EndColumn: d.Range.End.Column,
			Snippet: d.Snippet,
		})
	}
	return list
}

// maxDiagnostics bounds how many problems are reported at once.
const maxDiagnostics = 1000

// report collects problems of the files of one source.
type report struct {
	source *source
	list   Diagnostics
	errors int
	full   bool
}

func (r *report) error(at hcl.Range, summary, detail string) {
	r.errors++
	switch {
	case len(r.list) < maxDiagnostics:
		r.list = append(r.list, r.source.diagnostic(Error, at, summary, detail))
	case !r.full:
		r.full = true
		r.list = append(r.list, r.source.diagnostic(Error, at,
			fmt.Sprintf("more than %d problems: the rest is not shown", maxDiagnostics), ""))
	}
}

func (r *report) errorf(at hcl.Range, detail, format string, args ...any) {
	r.error(at, fmt.Sprintf(format, args...), detail)
}

// maxName is how much of a name is repeated in a message, bytes.
const maxName = 80

// quote puts a name from the file into a message.
func quote(name string) string {
	if len(name) > maxName {
		cut := maxName
		for !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut] + "…"
	}
	return fmt.Sprintf("%q", name)
}

// place names a position inside a message.
func place(r hcl.Range) string {
	return fmt.Sprintf("%s:%d,%d", r.Filename, r.Start.Line, r.Start.Column)
}
