package plan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/plan"
	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

// TestMain serves a sink where this binary is started as one: with the arguments
// "sink TYPE", or under a name that a plugin directory knows it by.
func TestMain(m *testing.M) {
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "walplex-sink-"); ok {
		serve(name)
	}
	if len(os.Args) == 3 && os.Args[1] == "sink" {
		serve(os.Args[2])
	}
	os.Exit(m.Run())
}

func serve(typeName string) {
	takes := sdk.Records()
	if typeName == "segment_file" {
		takes = sdk.RawWAL()
	}
	sdk.Serve(sdk.Define(typeName, func(*settings) sdk.Sink { return nil }, takes))
}

type settings struct {
	Directory string  `walplex:"directory,required" format:"path" doc:"where it all lies"`
	Size      int64   `walplex:"size" format:"bytes" default:"1MiB"`
	Token     string  `walplex:"token,sensitive"`
	Routes    []route `walplex:"route"`
}

type route struct {
	To string `walplex:"to,required"`
}

// Validate objects to all that the tests call bad.
func (s *settings) Validate() (out []sdk.ConfigError) {
	if strings.HasSuffix(s.Directory, "/bad") {
		out = append(out, sdk.ConfigError{Path: []any{"directory"}, Summary: "Bad directory", Detail: "Choose another."})
	}
	for i, r := range s.Routes {
		if r.To == "bad" {
			out = append(out, sdk.ConfigError{Path: []any{"route", i, "to"}, Summary: "Bad route", Detail: "It cannot go there."})
		}
	}
	if s.Token != "" {
		out = append(out, sdk.ConfigError{Path: []any{"token"}, Summary: "Weak token " + s.Token, Detail: "Use more than " + s.Token, Warning: true})
	}
	if s.Size == 7 {
		out = append(out, sdk.ConfigError{Summary: "Odd as a whole", Detail: "Think again."})
	}
	return out
}

// the two types that this host has itself.
var builtins = []string{"segment_file", "audit"}

type planned struct {
	streams []stream.Config
	diags   config.Diagnostics
	dir     string // of the configuration
}

// text are the problems, as the user reads them.
func (p *planned) text() string {
	return strings.ReplaceAll(p.diags.String(), p.dir+"/", "")
}

// make plans the configuration, which the file main.hcl holds.
func makePlan(t *testing.T, ctx context.Context, text string) *planned {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "plan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(sockets); err != nil || len(left) > 0 {
			t.Errorf("left in the directory of the sockets: %v, %v", left, err)
		}
		_ = os.RemoveAll(sockets)
	})
	p := &planned{dir: t.TempDir()}
	file := filepath.Join(p.dir, "main.hcl")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "SELF", self)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(p.dir, "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(p.dir, "plugins/walplex-sink-found")); err != nil {
		t.Fatal(err)
	}
	cfg, diags := config.Load([]string{file}, config.Options{Builtins: builtins})
	if cfg == nil || diags.HasErrors() {
		t.Fatalf("the configuration is wrong in itself:\n%s", diags)
	}
	p.streams, p.diags = plan.Make(ctx, cfg, plan.Options{
		Builtin: func(typeName string) (supervisor.Spec, bool) {
			return supervisor.Spec{Path: self, Args: []string{"sink", typeName}}, slices.Contains(builtins, typeName)
		},
		Builtins: builtins, SocketDir: sockets, Log: slog.New(slog.DiscardHandler),
	})
	p.diags = append(diags, p.diags...)
	p.diags.Sort()
	return p
}

// sinks is a stream with these sinks.
func sinks(text string) string {
	return "stream \"main\" {\n  postgres { dsn = \"host=/run/postgresql\" }\n" + text + "}\n"
}

func TestMake(t *testing.T) {
	p := makePlan(t, t.Context(), `
plugin "counter" {
  path      = "SELF"
  args      = ["sink", "counter"]
  env       = { TOKEN = "x" }
  auto_mtls = false
}
host { plugin_dirs = ["nothing", "plugins"] }
stream "main" {
  postgres {
    dsn             = "host=/run/postgresql port=1"
    slot            = "s"
    create_slot     = true
    status_interval = "3s"
    start           = "0/2000000"
  }
  sink "audit" "third" {
    after    = [sink.second, sink.first]
    required = false
    config { directory = "a" }
  }
  sink "counter" "second" {
    after = [sink.first]
    config {
      directory = "/b"
      size      = "2MiB"
      token     = "t"
      route { to = "x" }
    }
  }
  sink "found" "first" {
    config { directory = "c" }
  }
}
stream "other" {
  postgres { dsn = "host=/run/other" }
  sink "segment_file" "archive" {
    config { directory = "d" }
  }
}
`)
	if p.diags.HasErrors() || len(p.streams) != 2 {
		t.Fatalf("%d streams:\n%s", len(p.streams), p.text())
	}
	s := p.streams[0]
	if s.Name != "main" || s.Server.DSN != "host=/run/postgresql port=1" || s.Slot != "s" || !s.CreateSlot || s.StatusInterval.String() != "3s" || s.Start != 0x2000000 {
		t.Errorf("%+v", s)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		name, typeName, path string
		args, env            []string
		required, mtls       bool
		after                []int
		config               string
	}{
		{"first", "found", p.dir + "/plugins/walplex-sink-found", nil, nil, true, true, nil, `{"directory":"DIR/c","size":1048576,"token":null,"route":[]}`},
		{"second", "counter", self, []string{"sink", "counter"}, []string{"TOKEN=x"}, true, false, []int{0}, `{"directory":"/b","size":2097152,"token":"t","route":[{"to":"x"}]}`},
		{"third", "audit", self, []string{"sink", "audit"}, nil, false, true, []int{1, 0}, `{"directory":"DIR/a","size":1048576,"token":null,"route":[]}`},
	} {
		k := s.Sinks[i]
		if k.Name != want.name || k.Required != want.required || !slices.Equal(k.After, want.after) {
			t.Errorf("sink %d is %+v", i, k)
		}
		if sp := k.Spec; sp.Type != want.typeName || sp.Path != want.path || !slices.Equal(sp.Args, want.args) || !slices.Equal(sp.Env, want.env) || sp.AutoMTLS != want.mtls || sp.SocketDir == "" {
			t.Errorf("sink %s is started by %+v", k.Name, sp)
		}
		if got := compact(t, k.ConfigJSON); got != compact(t, []byte(strings.ReplaceAll(want.config, "DIR", p.dir))) {
			t.Errorf("sink %s is configured by %s, want %s", k.Name, got, want.config)
		}
	}
	if o := p.streams[1]; o.Name != "other" || len(o.Sinks) != 1 || o.Sinks[0].Spec.Type != "segment_file" || !strings.Contains(string(o.Sinks[0].ConfigJSON), p.dir+"/d") {
		t.Errorf("%+v", o)
	}
}

// compact has the object's keys in order.
func compact(t *testing.T, b []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// A sink comes after those that it names, and otherwise where the file has it.
func TestOrder(t *testing.T) {
	for after, want := range map[string]string{
		"":              "a b c d",
		"a:d":           "b c d a",
		"a:b b:c c:d":   "d c b a",
		"a:c,d":         "b c d a",
		"b:a c:b d:c":   "a b c d",
		"a:d b:d c:a":   "d a b c",
		"d:a a:c":       "b c a d",
		"a:b,c,d b:c,d": "c d b a",
	} {
		waits := map[string]string{}
		for pair := range strings.FieldsSeq(after) {
			name, list, _ := strings.Cut(pair, ":")
			waits[name] = "after = [sink." + strings.ReplaceAll(list, ",", ", sink.") + "]"
		}
		text := ""
		for _, name := range []string{"a", "b", "c", "d"} {
			text += fmt.Sprintf("  sink \"audit\" %q {\n    %s\n    config { directory = %q }\n  }\n", name, waits[name], name)
		}
		p := makePlan(t, t.Context(), sinks(text))
		if len(p.diags) > 0 {
			t.Fatal(p.text())
		}
		var got []string
		for i, k := range p.streams[0].Sinks {
			got = append(got, k.Name)
			if slices.ContainsFunc(k.After, func(a int) bool { return a < 0 || a >= i }) {
				t.Errorf("%s: sink %s at %d comes after %v", after, k.Name, i, k.After)
			}
			if !strings.Contains(string(k.ConfigJSON), "/"+k.Name+`"`) {
				t.Errorf("%s: sink %s has another's configuration: %s", after, k.Name, k.ConfigJSON)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: the order is %s, want %s", after, got, want)
		}
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name, config string
		want         []string // in this order
		absent       string
	}{
		{"unknown type with hint", sinks("  sink \"audti\" \"a\" {}\n"), []string{
			`main.hcl:3,8: error: unknown sink type "audti"`, `did you mean "audit"?; known types: audit, segment_file`,
			"as walplex-sink-audti in host.plugin_dirs", `sink "audti" "a"`}, ""},
		{"unknown type among plugins", "host { plugin_dirs = [\"plugins\"] }\nplugin \"counter\" { path = \"SELF\" }\n" + sinks("  sink \"fund\" \"a\" {}\n"), []string{
			`main.hcl:5,8: error: unknown sink type "fund"`, `did you mean "found"?; known types: audit, counter, found, segment_file`}, ""},
		{"attributes against the schema", sinks("  sink \"audit\" \"a\" {\n    config {\n      directry = \"x\"\n      size = \"much\"\n    }\n  }\n"), []string{
			"main.hcl:4,5: error: ", "directory", `main.hcl:5,7: error: unknown attribute "directry"`, `did you mean "directory"?`, "main.hcl:6,14: error: "}, ""},
		{"the sink's own objections", sinks("  sink \"audit\" \"a\" {\n    config {\n      directory = \"bad\"\n      route { to = \"good\" }\n      route { to = \"bad\" }\n    }\n  }\n"), []string{
			"main.hcl:5,19: error: Bad directory\n  Choose another.", "main.hcl:7,20: error: Bad route\n  It cannot go there."}, ""},
		{"an objection to the whole", sinks("  sink \"audit\" \"a\" {\n    config {\n      directory = \"x\"\n      size = 7\n    }\n  }\n"), []string{
			"main.hcl:4,5: error: Odd as a whole\n  Think again."}, ""},
		{"a warning with a secret", sinks("  sink \"audit\" \"a\" {\n    config {\n      directory = \"x\"\n      token = \"hush-hush\"\n    }\n  }\n"), []string{
			"main.hcl:6,15: warning: Weak token "}, "hush-hush"},
		{"two places", sinks("  sink \"audit\" \"a\" {\n    config { directory = \"bad\" }\n  }\n  sink \"segment_file\" \"b\" {\n    config { size = 1 }\n  }\n  sink \"none\" \"c\" {}\n"), []string{
			"main.hcl:4,26: error: Bad directory", "main.hcl:7,5: error: ", "directory", `main.hcl:9,8: error: unknown sink type "none"`}, ""},
		{"two streams", sinks("  sink \"audit\" \"a\" {\n    config { directory = \"bad\" }\n  }\n") + "stream \"other\" {\n  postgres { dsn = \"host=/x\" }\n  sink \"audit\" \"a\" {\n    config { directory = \"bad\" }\n  }\n}\n", []string{
			"main.hcl:4,26: error: Bad directory", "main.hcl:10,26: error: Bad directory"}, ""},
		{"filter of raw WAL", sinks("  sink \"segment_file\" \"a\" {\n    trusted = false\n    filter  = record.xid == 5\n    config { directory = \"x\" }\n  }\n"), []string{
			`main.hcl:4,15: warning: a sink of type "segment_file" takes raw WAL, all of which it is shown`, `main.hcl:5,15: error: filter: a sink of type "segment_file" takes raw WAL`}, ""},
		{"filter with wrong type", sinks("  sink \"audit\" \"a\" {\n    filter = record.xid == \"a\"\n    config { directory = \"x\" }\n  }\n"), []string{
			`main.hcl:4,28: error: filter: record.xid is a number, "a" is text`, `4 |     filter = record.xid == "a"`}, ""},
		{"filter that picks nothing", sinks("  sink \"audit\" \"a\" {\n    filter = record.rmgr == \"Heap\" && record.operation == \"COMMIT\"\n    config { directory = \"x\" }\n  }\n"), []string{
			`main.hcl:4,14: warning: the filter picks no record`}, ""},
		{"name in a filter of an archive", "stream \"main\" {\n  archive { directory = \"x\" }\n  sink \"audit\" \"a\" {\n    filter = record.relation == \"public.a\"\n    config { directory = \"x\" }\n  }\n}\n", []string{
			`main.hcl:4,33: error: filter: a relation's name where there is no server`, "pg_relation_filenode()"}, ""},
		{"connection string", "stream \"main\" {\n  postgres { dsn = \"host=db sslmode=perhaps password=hush-hush\" }\n  sink \"audit\" \"a\" {\n    config { directory = \"x\" }\n  }\n}\n", []string{
			"main.hcl:2,20: error: the connection string cannot be read\n  ", "sslmode"}, "hush-hush"},
		{"program is missing", "plugin \"counter\" {\n  path = \"counter\"\n}\n" + sinks("  sink \"counter\" \"a\" {}\n"), []string{
			`main.hcl:2,10: error: sink type "counter" cannot be started`, "counter does not exist; correct the plugin block's path"}, ""},
		{"program is of another type", "plugin \"counter\" {\n  path = \"SELF\"\n  args = [\"sink\", \"audit\"]\n}\n" + sinks("  sink \"counter\" \"a\" {}\n"), []string{
			`main.hcl:2,10: error: sink type "counter" cannot be started`, `is the sink "audit"; name the plugin block so`}, ""},
		{"program was changed", "plugin \"counter\" {\n  path = \"SELF\"\n  sha256 = \"" + strings.Repeat("ab", 32) + "\"\n}\n" + sinks("  sink \"counter\" \"a\" {}\n"), []string{
			`main.hcl:2,10: error: sink type "counter" cannot be started`, "SHA-256 checksum", "correct sha256"}, ""},
		{"program fails with a secret", "plugin \"counter\" {\n  path = \"/bin/sh\"\n  args = [\"-c\", \"echo it is $TOKEN >&2\"]\n  env = { TOKEN = \"hush-hush\" }\n}\n" + sinks("  sink \"counter\" \"a\" {}\n"), []string{
			`main.hcl:2,10: error: sink type "counter" cannot be started`, "ended before the handshake (exit status 0)", "it is "}, "hush-hush"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := makePlan(t, t.Context(), c.config)
			text := p.text()
			rest := text
			for _, w := range c.want {
				_, after, ok := strings.Cut(rest, w)
				if !ok {
					t.Fatalf("%q is missing, or not in its place, in:\n%s", w, text)
				}
				rest = after
			}
			if c.absent != "" && strings.Contains(text, c.absent) {
				t.Errorf("%q is shown:\n%s", c.absent, text)
			}
			if errors := strings.Count(text, ": error: "); errors != strings.Count(strings.Join(c.want, "\n"), ": error: ") {
				t.Errorf("there are %d errors:\n%s", errors, text)
			}
		})
	}
}

// What the streams take of the settings of delivery.
func TestDelivery(t *testing.T) {
	p := makePlan(t, t.Context(), `
host { ring = "32MiB" }
plugin "counter" {
  path    = "SELF"
  args    = ["sink", "counter"]
  trusted = false
}
variable "db" { default = 5 }
stream "main" {
  postgres { dsn = "host=/run/postgresql" }
  sink "segment_file" "archive" {
    config { directory = "a" }
  }
  sink "audit" "trail" {
    required = false
    filter   = record.rmgr == "Transaction" || record.database == var.db
    on_lag   = "detach"
    max_lag  = "1GiB"
    config { directory = "b" }
  }
  sink "counter" "count" {
    required = false
    filter   = record.relation == "public.orders"
    config { directory = "c" }
  }
}
`)
	if p.diags.HasErrors() || len(p.streams) != 1 {
		t.Fatal(p.text())
	}
	s := p.streams[0]
	if s.Ring != 32<<20 {
		t.Errorf("the ring has %d bytes", s.Ring)
	}
	archive, trail, count := s.Sinks[0], s.Sinks[1], s.Sinks[2]
	if archive.Filter != nil || archive.FilterText != "" || archive.OnLag != stream.Block || archive.MaxLag != 0 || archive.Untrusted {
		t.Errorf("%+v", archive)
	}
	if trail.FilterText != `((record.rmgr == "Transaction") || (record.database == 5))` || trail.OnLag != stream.Detach || trail.MaxLag != 1<<30 || trail.Untrusted {
		t.Errorf("%+v", trail)
	}
	commit := &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrTransaction}
	insert := &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrHeap, Blocks: []wal.BlockRef{{Rel: wal.RelFileLocator{DB: 6}}}}
	if !trail.Filter.Match(commit) || trail.Filter.Match(insert) {
		t.Error("the filter picks other records than it says")
	}
	if _, ok := count.Filter.(interface {
		Start(context.Context)
		Stop()
	}); !ok {
		t.Error("nobody looks the relation up that the filter names")
	}
	if count.Filter == nil || count.OnLag != stream.CatchUp || !count.Untrusted {
		t.Errorf("%+v", count)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := makePlan(t, ctx, sinks("  sink \"audit\" \"a\" {\n    config { directory = \"x\" }\n  }\n"))
	if !p.diags.HasErrors() || len(p.streams[0].Sinks[0].ConfigJSON) > 0 {
		t.Errorf("%s%+v", p.text(), p.streams)
	}
}
