package workload

import (
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// A script's error says which line it is.
func TestScriptErrors(t *testing.T) {
	c := pgtest.Start(t, func(o *postgres.Options) { *o = Options(o.Install) })
	for script, want := range map[string]string{
		"\\nonsense\n":                     "workload.sql:1: \\nonsense: no directive",
		"SELECT 1;\n\nSELECT\n1/0;\n":      "workload.sql:4: 1/0;: ERROR: division by zero",
		"\\close x\n":                      "no session x",
		"\\conf fsync\n":                   "fsync is not NAME=VALUE",
		"\\since 14\nSELECT no;\n\\end\n":  "workload.sql:2",
		"DO $$\nBEGIN\nx;\nEND\n$$;\n":     "workload.sql:5",
		"SELECT 1":                         "ends within a statement",
		"\\before 99\nSELECT no;\n\\end\n": "workload.sql:2",
	} {
		r := &runner{c: c, session: mainSession}
		err := r.play(t.Context(), script)
		if closeErr := r.closeAll(t.Context()); closeErr != nil {
			t.Error(closeErr)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", script, err, want)
		}
	}
	skipped := "\\since 99\nSELECT no;\n\\end\n\\before 14\nSELECT no;\n\\end\n\\when nothing\nSELECT no;\n\\end\n"
	if err := (&runner{c: c, session: mainSession}).play(t.Context(), skipped); err != nil {
		t.Error(err)
	}
}

// The workload runs on the installed server without pg_resetwal of its own, and
// leaves complete segments of two timelines.
func TestRun(t *testing.T) {
	c := pgtest.Start(t, func(o *postgres.Options) { *o = Options(o.Install) })
	parts, err := Run(t.Context(), c, postgres.Install{})
	if err != nil {
		t.Fatal(err)
	}
	if len(parts) != 2 || parts[0].Timeline != 1 || parts[1].Timeline != 2 || parts[1].First != parts[0].Last+1 {
		t.Errorf("parts %+v", parts)
	}
	if n := len(parts[0].Names()); n < 4 || n > 12 {
		t.Errorf("%d segments on the first timeline", n)
	}
}
