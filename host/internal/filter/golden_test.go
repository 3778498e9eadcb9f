package filter_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/filter"
)

// TestGolden runs testdata/golden: a filter in, what is wrong with it out.
// -rewrite writes the answers anew. Each line of the input of compile is a filter.
func TestGolden(t *testing.T) {
	datadriven.RunTest(t, "testdata/golden", func(t *testing.T, d *datadriven.TestData) string {
		var b strings.Builder
		for line := range strings.SplitSeq(d.Input, "\n") {
			b.WriteString(compileLine(t, line))
		}
		return b.String()
	})
}

func compileLine(t *testing.T, line string) string {
	cfg, in, diags := read(t, line)
	if in == nil {
		t.Fatalf("%s:\n%s", line, diags)
	}
	f, problems := filter.Compile(in)
	errors := false
	for _, p := range problems {
		errors = errors || !p.Warning
		one := cfg.ErrorAt(p.At, p.Summary, p.Hint)
		if p.Warning {
			one.Severity = config.Warning
		}
		diags = append(diags, one)
	}
	if errors != (f == nil) {
		t.Errorf("%s: %v beside %+v", line, f, problems)
	}
	out := diags.String()
	for _, d := range diags {
		out = strings.ReplaceAll(out, filepath.Dir(d.Range.Filename)+"/", "")
	}
	if f == nil {
		return out
	}
	if out == "" {
		out = "sound\n"
	}
	if n := f.Names(); n != nil {
		out += fmt.Sprintf("names %v\n", n.List())
	}
	return out
}
