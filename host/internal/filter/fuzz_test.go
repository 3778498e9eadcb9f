package filter_test

import (
	"os"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/filter"
)

// FuzzCompile holds that no text makes reading, compiling or matching panic, that
// every problem has a place, and that what compiles means what the documentation
// says.
func FuzzCompile(f *testing.F) {
	golden, err := os.ReadFile("testdata/golden")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		if strings.Contains(line, "record.") && !strings.HasPrefix(line, " ") {
			f.Add(strings.TrimSpace(line))
		}
	}
	for _, text := range mix {
		f.Add(text)
	}
	all := random(f, 10_000)
	f.Fuzz(func(t *testing.T, text string) {
		_, in, _ := read(t, text)
		if in == nil {
			return
		}
		c, problems := filter.Compile(in)
		errors := false
		for _, p := range problems {
			errors = errors || !p.Warning
			if p.At.Start.Line < 4 || p.Summary == "" {
				t.Errorf("no place or no text: %+v", p)
			}
		}
		if errors != (c == nil) {
			t.Fatalf("filter %v, problems %+v", c, problems)
		}
		if c == nil {
			return
		}
		for _, rec := range all {
			if got, want := c.Match(rec), (reference{}).holds(in.Root, rec); got != want {
				t.Fatalf("picks %t, should be %t: %s", got, want, describe(rec))
			}
		}
	})
}
