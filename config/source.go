package config

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty/function"
)

// source is the text of the files, and which parts of it may be shown. Safe for
// concurrent use: sinks are decoded side by side.
type source struct {
	mu    sync.Mutex
	files map[string]*file
}

// file is one file that was read.
type file struct {
	name string // as the user wrote it
	dir  string // absolute: where its relative paths start
	text []byte
	// functions are those of the language, with relative paths as in this file.
	functions map[string]function.Function

	body *hclsyntax.Body // nil: it could not be parsed, and nothing of it is shown
	// hidden are the values of attributes and the comments, in order. A value
	// that has been revealed is taken out.
	hidden []span
}

// span is [start, end) in bytes of a file.
type span struct{ start, end int }

// hide finds everything in the file that may hold a secret.
func (f *file) hide(tokens hclsyntax.Tokens) {
	for _, t := range tokens {
		if t.Type == hclsyntax.TokenComment {
			f.hidden = append(f.hidden, span{t.Range.Start.Byte, t.Range.End.Byte})
		}
	}
	f.hideValues(f.body)
	slices.SortFunc(f.hidden, func(a, b span) int { return a.start - b.start })
}

func (f *file) hideValues(body *hclsyntax.Body) {
	for _, a := range body.Attributes {
		f.hidden = append(f.hidden, f.valueSpan(a))
	}
	for _, b := range body.Blocks {
		f.hideValues(b.Body)
	}
}

// valueSpan is everything of an attribute after the = and the spaces that follow.
func (f *file) valueSpan(a *hclsyntax.Attribute) span {
	start := a.EqualsRange.End.Byte
	for start < len(f.text) && f.text[start] == ' ' {
		start++
	}
	return span{start, max(a.SrcRange.End.Byte, a.Expr.Range().End.Byte)}
}

// reveal allows an attribute's expression to be shown.
func (s *source) reveal(a *hclsyntax.Attribute) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[a.SrcRange.Filename]
	if f == nil {
		return
	}
	shown := f.valueSpan(a)
	f.hidden = slices.DeleteFunc(f.hidden, func(h span) bool { return h == shown })
}

// diagnostic makes a problem with its snippet.
func (s *source) diagnostic(severity Severity, at hcl.Range, summary, detail string) *Diagnostic {
	d := &Diagnostic{Severity: severity, Summary: oneLine(summary), Detail: printable(detail), Range: at}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[at.Filename]; f != nil && f.body != nil && at.Start.Line > 0 {
		f.snippet(d)
	}
	return d
}

// maxSnippet is the width in characters beyond which a line is not shown.
const maxSnippet = 160

// snippet renders the line in which the problem begins.
func (f *file) snippet(d *Diagnostic) {
	at := d.Range.Start.Byte
	if at < 0 || at > len(f.text) {
		return
	}
	lo := bytes.LastIndexByte(f.text[:at], '\n') + 1
	hi := len(f.text)
	if n := bytes.IndexByte(f.text[at:], '\n'); n >= 0 {
		hi = at + n
	}
	end := min(max(d.Range.End.Byte, at+1), hi)

	var line strings.Builder
	width, caret, caretEnd := 0, -1, 0
	for pos := lo; pos < hi; {
		text, next := f.shownAt(pos, hi)
		if next > at && caret < 0 {
			caret = width
		}
		line.WriteString(text)
		width += utf8.RuneCountInString(text)
		if pos < end {
			caretEnd = width
		}
		pos = next
	}
	trimmed := strings.TrimRightFunc(line.String(), unicode.IsSpace)
	if width > maxSnippet || strings.TrimSpace(trimmed) == "" {
		return
	}
	if caret < 0 { // at the line's end
		caret, caretEnd = width, width
	}
	d.Snippet, d.Caret, d.CaretLen = trimmed, caret, max(caretEnd-caret, 1)
}

// shownAt is what is shown for the text at pos, and where to go on.
func (f *file) shownAt(pos, limit int) (string, int) {
	for _, h := range f.hidden {
		if h.start > pos {
			break
		}
		if pos < h.end {
			return "…", min(h.end, limit)
		}
	}
	r, size := utf8.DecodeRune(f.text[pos:limit])
	return printable(string(r)), pos + size
}

// printable replaces what would act on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return r
		case r == '\r':
			return -1
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(printable(s)), " ")
}
