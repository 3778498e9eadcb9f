package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzLoad holds that no text makes loading, decoding or printing panic, that
// every problem has a place in the file, and that an answer is UTF-8.
func FuzzLoad(f *testing.F) {
	f.Add(withMarks(secretConfig))
	goldens, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(goldens) == 0 {
		f.Fatal("no golden files", err)
	}
	for _, g := range goldens {
		text, err := os.ReadFile(g)
		if err != nil {
			f.Fatal(err)
		}
		for scenario := range strings.SplitSeq(string(text), "\nload") {
			_, scenario, _ = strings.Cut(scenario, "\n")
			scenario, _, _ = strings.Cut(scenario, "\n----")
			f.Add(scenario)
		}
	}
	for _, body := range []string{
		`key = "${upper(var.plain)}"`, `number = 1e4000`, `number = "1e999999999"`, `token = { (env("TOKEN")) = [1, null] }`,
		`text = <<-X` + "\n  a ${1}\n  X", `text = "%{ if true }a%{ else }b%{ endif }"`, `text = ["a"].*.b`, `text = "\u0000\x1b[2J"`,
	} {
		f.Add(strings.Replace(secretConfig, "number   = 5", body, 1))
	}
	s := newSecretLoader(f)
	f.Fuzz(func(t *testing.T, text string) {
		c, diags := s.load(text)
		for _, stream := range c.Streams {
			for _, sink := range stream.Sinks {
				_, more := sink.Decode(secretSchema())
				diags = append(diags, more...)
			}
		}
		lines := strings.Count(text, "\n") + 1
		for _, d := range diags {
			if strings.HasPrefix(d.Range.Filename, "--var ") {
				continue
			}
			if d.Range.Filename != "main.hcl" || d.Range.Start.Line < 1 || d.Range.Start.Line > lines || d.Range.Start.Column < 1 {
				t.Errorf("no place: %s", d)
			}
			if strings.ContainsAny(d.Summary, "\n\x1b\x00") || !utf8.ValidString(d.String()) {
				t.Errorf("not printable: %q", d)
			}
		}
		if diags.HasErrors() == (len(diags) == 0) {
			t.Errorf("errors that are none: %v", diags)
		}
	})
}
