package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/walplex/walplex"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath  string
	Doc         string
	Name        string
	Imports     []string
	TestImports []string
	GoFiles     []string
}

// packages lists the module.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Name,Imports,TestImports,GoFiles", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		all = append(all, p)
	}
	if len(all) < 15 {
		t.Fatalf("go list knows only %d packages", len(all))
	}
	return all
}

// rule says that packages below from import nothing below not, but for those
// below except.
type rule struct {
	from, why   string
	not, except []string
}

var rules = []rule{
	{from: "sdk/wal", why: "the vocabulary of WAL knows nobody",
		not: []string{module}, except: []string{module + "/sdk/wal"}},
	{from: "sdk/wal/xlogreader", why: "the reader is pure: no I/O, no clock, no goroutine's lock, no log",
		not: []string{"os", "io", "time", "log", "log/slog", "net", "sync", "context"}},
	{from: "sdk/wal", why: "the vocabulary is pure; only its decompressors come from outside",
		not:    []string{"os", "net", "log", "log/slog", "sync", "context", "google.golang.org", "github.com"},
		except: []string{module + "/sdk/wal", "github.com/klauspost/compress", "github.com/pierrec/lz4"}},
	{from: "sdk", why: "authors get the SDK without the host",
		not: []string{module}, except: []string{module + "/sdk"}},
	{from: "plugins", why: "built-in sinks have what every author has",
		not: []string{module}, except: []string{module + "/sdk", module + "/plugins"}},
	{from: "config", why: "the configuration knows neither host nor sinks",
		not: []string{module}, except: []string{module + "/config", module + "/sdk/wal", module + "/sdk/wire"}},
	{from: "host/internal/filter", why: "filters are pure: no I/O, no clock, no lock, no log",
		not: []string{"os", "io", "time", "log", "log/slog", "net", "sync", "context", module}, except: []string{"sync/atomic", module + "/sdk/wal", module + "/config"}},
	{from: "host/internal/chain", why: "the chain is pure: no I/O, no clock, no goroutine's lock, no log",
		not: []string{"os", "io", "time", "log", "log/slog", "net", "sync", "context", module}, except: []string{module + "/sdk/wal"}},
	{from: "host/internal/tablerecover/pgtext", why: "text of stored values is pure: no I/O, no clock, no lock, no log",
		not: []string{"os", "io", "time", "log", "log/slog", "net", "sync", "context", module}, except: []string{module + "/sdk/wal"}},
	{from: "host/internal/status", why: "a report is data: whoever makes it does the I/O",
		not: []string{"os", "net", "log", "log/slog", "context", "github.com"}, except: []string{module}},
}

// only says that nobody but these imports what.
var only = []struct {
	what, why string
	by        []string
}{
	{"github.com/jackc/pglogrepl", "one package speaks the replication protocol", []string{"host/internal/replication"}},
	{"github.com/jackc/pgx/v5/pgconn", "one package speaks the replication protocol", []string{"host/internal/replication", "host/internal/postgres"}},
	{"github.com/hashicorp/hcl/v2/hclsyntax", "one package parses HCL", []string{"config"}},
	{"github.com/hashicorp/hcl/v2/hclparse", "one package parses HCL", []string{"config"}},
	{"github.com/prometheus/client_golang/prometheus", "one package makes metrics of reports", []string{"host/internal/metrics"}},
	{"github.com/hashicorp/go-plugin", "starting and serving sinks have one place each", []string{"host/internal/supervisor", "sdk", "sdk/wire", "sdk/sinktest"}},
}

func below(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, r := range rules {
			if below(p.ImportPath, r.from) {
				r.check(t, p)
			}
		}
		for _, o := range only {
			if slices.Contains(p.Imports, o.what) && !slices.Contains(o.by, p.ImportPath) {
				t.Errorf("%s imports %s: %s (%s)", p.ImportPath, o.what, o.why, strings.Join(o.by, ", "))
			}
		}
	}
}

func (r rule) check(t *testing.T, p pkg) {
	t.Helper()
	for _, imp := range p.Imports {
		forbidden := slices.ContainsFunc(r.not, func(n string) bool { return below(imp, n) })
		excepted := slices.ContainsFunc(r.except, func(e string) bool { return below(imp, e) })
		if forbidden && !excepted {
			t.Errorf("%s imports %s: %s", p.ImportPath, imp, r.why)
		}
	}
}

// TestPackageComments: a package comment is the package's contract, and `go doc`
// prints it.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
