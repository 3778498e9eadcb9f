package filter_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/filter"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// read reads an expression as a sink's filter; nil: it is none.
func read(t testing.TB, expression string) (*config.Config, *config.Filter, config.Diagnostics) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.hcl")
	text := "stream \"s\" {\n  postgres { dsn = \"host=x\" }\n  sink \"audit\" \"a\" {\n    filter = " + expression + "\n  }\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, diags := config.Load([]string{file}, config.Options{Env: func(name string) (string, bool) { return "hush-hush", name == "TOKEN" }})
	if diags.HasErrors() || len(cfg.Streams) != 1 || len(cfg.Streams[0].Sinks) != 1 {
		return cfg, nil, diags
	}
	return cfg, cfg.Streams[0].Sinks[0].Filter, diags
}

// compile compiles an expression that is right.
func compile(t testing.TB, expression string) *filter.Filter {
	t.Helper()
	_, in, diags := read(t, expression)
	if in == nil {
		t.Fatalf("%s:\n%s", expression, diags)
	}
	f, problems := filter.Compile(in)
	if f == nil {
		t.Fatalf("%s: %+v", expression, problems)
	}
	return f
}

// records decodes what the writer wrote.
func records(t testing.TB, w *waltest.Writer) []*wal.Record {
	t.Helper()
	var out []*wal.Record
	for _, a := range w.Records() {
		rec := &wal.Record{StartLSN: a.Start, EndLSN: a.End, Version: w.Options().Version, Data: a.Raw}
		if err := rec.Decode(a.Raw); err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

// random are records of every version.
func random(t testing.TB, n int) []*wal.Record {
	t.Helper()
	var out []*wal.Record
	for v := wal.PG14; v <= wal.PG18; v++ {
		out = append(out, records(t, waltest.Random(uint64(v), waltest.Options{Version: v}, n))...)
	}
	return out
}

func describe(r *wal.Record) string {
	return fmt.Sprintf("%s %s at %s, %s, xid %d, info %02x, %d blocks", r.RmgrID, r.Operation(), r.StartLSN, r.Version, r.XID, r.Info, len(r.Blocks))
}
