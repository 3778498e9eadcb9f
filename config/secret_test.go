package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"github.com/walplex/walplex/sdk/wire"
)

// secretMarks are what must never be printed, one for each place that a secret
// can be in. No part of 5 bytes of one occurs in any message of this package.
var secretMarks = map[string]string{
	"dsn":       "Zq7xKvWm2",
	"default":   "Jp4RtYb8n",
	"sensitive": "Hg6LwQc3z",
	"env":       "Xk9DfUe5v",
	"fallback":  "Tn2MsOj7q",
	"file":      "Bv8CyIa4x",
	"plugenv":   "Rw3GzEh6k",
	"attr":      "Qd5NuPl9j",
	"nested":    "Yf7SxKo2w",
	"heredoc":   "Mz4VbTr8h",
	"comment":   "Lc6JqHg3y",
	"unknown":   "Ux9WkDn5p",
	"clivar":    "Ej2FvRy7b",
}

const secretConfig = `variable "plain" { default = "@default" }
variable "hidden" {
  default   = "@sensitive"
  sensitive = true
}
variable "cli" {}
# @comment
plugin "p" {
  path = "/bin/p"
  env  = { TOKEN = "@plugenv", OTHER = var.plain }
}
stream "s" {
  postgres {
    dsn  = "postgres://u:@dsn@h/db?x=${var.hidden}&y=${var.plain}&z=${var.cli}"
    slot = "good"
  }
  sink "test" "one" {
    filter = record.xid == 5
    config {
      password = "@attr"
      key      = <<EOT
@heredoc
EOT
      token    = env("TOKEN")
      other    = env("UNSET", "@fallback")
      text     = "${trimspace(file("secret.txt"))}"
      number   = 5
      inner {
        password = "@nested" /* @comment */
      }
    }
  }
}
`

func withMarks(text string) string {
	for name, mark := range secretMarks {
		text = strings.ReplaceAll(text, "@"+name, mark)
	}
	return text
}

func secretSchema() *wire.Schema {
	str := []byte(`"string"`)
	return &wire.Schema{
		Attributes: []*wire.Attribute{
			{Name: "password", TypeJson: str, Sensitive: true},
			{Name: "key", TypeJson: str, Sensitive: true},
			{Name: "token", TypeJson: str},
			{Name: "other", TypeJson: str},
			{Name: "text", TypeJson: str},
			{Name: "number", TypeJson: []byte(`"number"`)},
		},
		Blocks: []*wire.NestedBlock{{Name: "inner", MaxItems: 1, Schema: &wire.Schema{
			Attributes: []*wire.Attribute{{Name: "password", TypeJson: str, Sensitive: true}},
		}}},
	}
}

// secretLoader loads texts from memory, with secrets all around them.
type secretLoader struct{ dir string }

func newSecretLoader(t testing.TB) *secretLoader {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret.txt"), []byte(secretMarks["file"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &secretLoader{dir}
}

func (s *secretLoader) options() Options {
	return Options{
		Vars: map[string]string{"cli": secretMarks["clivar"]},
		Env: func(name string) (string, bool) {
			return secretMarks["env"], name == "TOKEN"
		},
		Builtins: []string{"audit"},
	}
}

func (s *secretLoader) load(text string) (*Config, Diagnostics) {
	l := newLoader(s.options())
	l.files = []*file{{name: "main.hcl", dir: s.dir, text: []byte(text)}}
	return l.load()
}

// everything is all that could be printed of a configuration.
func (s *secretLoader) everything(text string) string {
	c, out := s.diagnostics(text)
	printConfig(out, c)
	return out.String()
}

// diagnostics loads, decodes, and collects all problems.
func (s *secretLoader) diagnostics(text string) (*Config, *strings.Builder) {
	c, diags := s.load(text)
	var out strings.Builder
	schema := secretSchema()
	for _, stream := range c.Streams {
		for _, sink := range stream.Sinks {
			_, more := sink.Decode(schema)
			diags = append(diags, more...)
			diags = append(diags, sink.UnknownType([]string{"tset"}))
		}
	}
	out.WriteString(diags.String())
	_ = diags.WriteJSON(&out)
	return c, &out
}

// wrapper is somebody's unexported field, into which fmt looks without methods.
type wrapper struct {
	config *Config
	pg     Postgres
	plugin Plugin
}

// printConfig prints every part of the configuration in every careless way.
func printConfig(out *strings.Builder, c *Config) {
	logger := slog.New(slog.NewJSONHandler(out, nil))
	texts := slog.New(slog.NewTextHandler(out, nil))
	show := func(v any) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		fmt.Fprintln(out, string(b), err)
		logger.Info("x", "v", v)
		texts.Info("x", "v", v)
	}
	show(c)
	show(*c)
	for _, p := range c.Plugins {
		show(p)
		show(*p)
		show(wrapper{plugin: *p})
	}
	for _, s := range c.Streams {
		show(s)
		show(*s)
		show(wrapper{config: c, pg: s.Postgres})
		show(s.Postgres.DSN)
		show(&s.Postgres.DSN)
		for _, k := range s.Sinks {
			show(k)
			show(*k)
		}
	}
}

// leaked finds any part of 5 bytes of a secret, in plain or in hexadecimal.
func leaked(out string) string {
	for name, mark := range secretMarks {
		for i := 0; i+5 <= len(mark); i++ {
			if part := mark[i : i+5]; strings.Contains(out, part) || strings.Contains(out, fmt.Sprintf("%x", part)) {
				return name
			}
		}
	}
	return ""
}

func TestSecretsOfSoundConfig(t *testing.T) {
	s := newSecretLoader(t)
	c, diags := s.load(withMarks(secretConfig))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	out, diags := c.Streams[0].Sinks[0].Decode(secretSchema())
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	// The secrets do arrive where they belong.
	for _, name := range []string{"attr", "heredoc", "env", "fallback", "file", "nested"} {
		if !bytes.Contains(out, []byte(secretMarks[name])) {
			t.Errorf("%s has not reached the sink", name)
		}
	}
	dsn := c.Streams[0].Postgres.DSN.Reveal()
	for _, name := range []string{"dsn", "default", "sensitive", "clivar"} {
		if !strings.Contains(dsn, secretMarks[name]) {
			t.Errorf("%s has not reached the dsn", name)
		}
	}
	if got := c.Plugins[0].Env["TOKEN"].Reveal(); got != secretMarks["plugenv"] {
		t.Errorf("TOKEN=%s has reached the plugin", got)
	}
	if name := leaked(s.everything(withMarks(secretConfig))); name != "" {
		t.Errorf("%s is printed", name)
	}
	// All of them are known, and cut out of what others write.
	for name, mark := range secretMarks {
		if name == "comment" || name == "unknown" {
			continue
		}
		text := "before " + mark + " after"
		if got := c.Redact(text); got != "before (sensitive) after" {
			t.Errorf("%s: Redact answers %q", name, got)
		}
		d := c.ErrorAt(c.Streams[0].Postgres.DSNRange, text, text)
		if leaked(d.String()) != "" {
			t.Errorf("%s: ErrorAt answers %s", name, d)
		}
	}
}

// TestSecretsOfBrokenConfig breaks the configuration in one place after the
// other, in every way that a slip of the finger can, and looks for secrets in
// everything that could be printed then.
func TestSecretsOfBrokenConfig(t *testing.T) {
	s := newSecretLoader(t)
	text := withMarks(secretConfig)
	insertions := []string{`"`, "\n", "{", "}", "${", "%{", "=", "<<X\n", "#", "\xff", ".1.2 "}
	broken := 0
	try := func(mutant string) {
		_, text := s.diagnostics(mutant)
		out := text.String()
		if strings.Contains(out, `"valid": false`) {
			broken++
		}
		if name := leaked(out); name != "" {
			t.Fatalf("%s is printed\n%s\nof\n%s", name, out, mutant)
		}
	}
	for i := range text {
		try(text[:i])
		try(text[:i] + text[i+1:])
		for _, ins := range insertions {
			try(text[:i] + ins + text[i:])
		}
	}
	if broken < len(text) {
		t.Fatalf("only %d mutants were broken", broken)
	}
	t.Logf("%d mutants with problems", broken)
}

// TestSecretsOfWrongUse puts secrets where they provoke each kind of error.
func TestSecretsOfWrongUse(t *testing.T) {
	s := newSecretLoader(t)
	secretExprs := []string{
		`"@dsn"`, `@dsn`, `'@dsn'`, `["@dsn"]`, `{ "@dsn" = 1 }`, `"@dsn" + 1`, `!"@dsn"`, `"@dsn".x`, `"@dsn"[0]`,
		`"${"@dsn" + 1}"`, `"%{ if "@dsn" }x%{ endif }"`, `"%{@dsn}"`, `upper("@dsn", 2)`, `@dsn("x")`, `x::@dsn()`,
		`{ a = 1 }["@dsn"]`, `{ a = 1 }.@dsn`, `["a"]["@dsn"]`, `format("%d", "@dsn")`, `format("%@dsn", 1)`,
		`bytes("@dsn")`, `duration("@dsn")`, `lsn("@dsn")`, `join("@dsn", 1)`, `coalesce()`, `concat("@dsn")`,
		`substr("@dsn", "@dsn", 1)`, `"\@dsn"`, `"@dsn`, `<<EOT` + "\n@dsn\n", `var.@dsn`, `var["@dsn"]`, `1.@dsn`,
		`true ? "@dsn" : {}`, `"@dsn" ? 1 : 2`, `null["@dsn"]`, `[for x in "@dsn" : x]`, `length(upper("@dsn"), 1)`,
		`"@dsn"...`, `-"@dsn"`, `"@dsn" == 1 ? [] : 5`, `contains("@dsn", 1)`, `split("@dsn", ["@dsn"])`, `[@dsn]`, `{@dsn=1}`,
		`{ "@dsn" = 1, "@dsn" = null }`, `env("@dsn@")`, `title(["@dsn"])`, `trim("@dsn")`, `replace("@dsn", "", 1, 2)`,
	}
	fromOutside := []string{
		`env("TOKEN")`, `file("secret.txt")`, `var.plain`, `var.hidden`, `var.cli`, `env(env("TOKEN"))`, `file(env("TOKEN"))`,
		`{ a = 1 }[env("TOKEN")]`, `{ (env("TOKEN")) = 1 }`, `bytes(env("TOKEN"))`, `upper(env("TOKEN"), 1)`, `var.cli.x`, `var.hidden[0]`,
		`format("%d", env("TOKEN"))`, `format(env("TOKEN"), 1)`, `"${env("TOKEN") + 1}"`, `env("TOKEN") ? 1 : 2`, `[env("TOKEN")]`,
		`{ a = 1 }[var.cli]`, `{ (var.cli) = 1 }`, `substr(var.cli, var.cli, 1)`, `var.plain + 1`, `lsn(var.cli)`, `!var.cli`,
		`coalesce(env("TOKEN"), 1) + 1`, `concat([env("TOKEN")], 1)`, `env("UNSET", env("TOKEN")) * 2`, `file("secret.txt") + 1`,
		`join(env("TOKEN"), 1)`, `lower(upper(var.hidden)) + 1`, `{ b = 1 }[lower(env("TOKEN"))]`, `env(var.cli, 1, 2)`,
		`record.xid == env("TOKEN") + 1`, `contains(concat([env("TOKEN")], [var.hidden]), record.rmgr)`, `record.relation == "${var.plain}"[0]`,
		`upper(record.rmgr, env("TOKEN"))`, `record.xid == var.cli ? 1 : var.cli`, `contains([var.hidden], record.relation)`, `record[env("TOKEN")] == 1`,
	}
	secretPlaces := []string{
		`    dsn  = "postgres://u:@dsn@h/db?x=${var.hidden}&y=${var.plain}&z=${var.cli}"`,
		`      password = "@attr"`, `        password = "@nested" /* @comment */`,
		`  default   = "@sensitive"`, `variable "plain" { default = "@default" }`,
		`  env  = { TOKEN = "@plugenv", OTHER = var.plain }`,
	}
	publicPlaces := []string{
		`    slot = "good"`, `  path = "/bin/p"`, `      number   = 5`, `      token    = env("TOKEN")`, `    filter = record.xid == 5`,
	}
	try := func(place, expr string) {
		text := secretConfig
		i := strings.Index(place, "= ") + 2
		replaced := place[:i] + expr
		if strings.HasSuffix(place, "}") && strings.HasPrefix(place, "variable") {
			replaced += " }"
		}
		if !strings.Contains(text, place) {
			t.Fatalf("no %q", place)
		}
		text = withMarks(strings.Replace(text, place, replaced, 1))
		show := s.everything
		if slices.Contains(publicPlaces, place) || strings.Contains(place, "TOKEN =") {
			// A slot, a path, a filter and the name of a variable are printed with the
			// configuration, whatever they are made of.
			show = func(text string) string {
				_, out := s.diagnostics(text)
				return out.String()
			}
		}
		if name := leaked(show(text)); name != "" {
			t.Errorf("%s is printed with %s", name, replaced)
		}
	}
	for _, expr := range secretExprs {
		for _, place := range secretPlaces {
			try(place, expr)
		}
	}
	for _, expr := range fromOutside {
		for _, place := range append(publicPlaces, secretPlaces...) {
			try(place, expr)
		}
	}
	// A setting that the sink does not know may be anything.
	for _, expr := range secretExprs {
		try(`      password = "@attr"`, "5\n      passwort = "+expr)
	}
}

func TestSecretsInForeignText(t *testing.T) {
	load := func(dsn string) *Config {
		l := newLoader(Options{Env: func(name string) (string, bool) {
			return map[string]string{"A": "ab", "B": "line one is long\n\tline two too\n"}[name], true
		}})
		l.files = []*file{{name: "main.hcl", text: []byte(`
plugin "p" {
  path = "x"
  env  = { DEBUG = "1", B = env("B") }
}
stream "s" {
  postgres { dsn = ` + dsn + ` }
  sink "audit" "a" {}
}`)}}
		c, diags := l.load()
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		return c
	}
	tests := []struct{ dsn, text, want string }{
		{`"host=h password=hunter2"`, "password authentication failed for hunter2", "password authentication failed for (sensitive)"},
		{`"host=h password = 'hun\\'ter two'"`, `failed: hun'ter two`, "failed: (sensitive)"},
		{`"postgres://u:hun%2Fter@h/db"`, "bad hun/ter and hun%2Fter", "bad (sensitive) and (sensitive)"},
		{`"postgres://u:hun/ter@h/db"`, "bad hun/ter", "bad (sensitive)"},
		{`"postgres://h/db?password=hunter2&sslmode=disable"`, "bad hunter2 & sslmode=disable", "bad (sensitive) & sslmode=disable"},
		{`"host=h sslpassword=hunter2"`, `bad "hunter2"`, `bad "(sensitive)"`},
		{`"host=h password=x1"`, "nothing to see", "nothing to see"},
		{`"host=h password=x1"`, "it was x1 indeed", "(sensitive)"}, // too short to be cut out
		{`"host=h user=${env("A")}"`, "about 1 fable", "about 1 fable"},
		{`"host=h"`, "got line two too.", "got (sensitive)."},
	}
	for _, tt := range tests {
		if got := load(tt.dsn).Redact(tt.text); got != tt.want {
			t.Errorf("dsn %s: Redact(%q) = %q, want %q", tt.dsn, tt.text, got, tt.want)
		}
	}
}

func TestErrorAt(t *testing.T) {
	s := newSecretLoader(t)
	c, _ := s.load(withMarks(secretConfig))
	d := c.ErrorAt(c.Streams[0].Postgres.SlotRange, "slot is in use", "by pid 7")
	want := "main.hcl:15,12: error: slot is in use\n  by pid 7\n" +
		"   15 |     slot = \"good\"\n      |            ^^^^^^\n"
	if d.String() != want {
		t.Errorf("got\n%s\nwant\n%s", d, want)
	}
	d = c.ErrorAt(hcl.Range{}, "somewhere", "")
	if d.String() != ": error: somewhere\n" {
		t.Errorf("got %q", d)
	}
}

func TestUnknownType(t *testing.T) {
	s := newSecretLoader(t)
	c, _ := s.load(withMarks(secretConfig))
	d := c.Streams[0].Sinks[0].UnknownType([]string{"tset", "audit"})
	want := "main.hcl:17,8: error: unknown sink type \"test\"\n" +
		"  did you mean \"tset\"?; known types: audit, tset\n" +
		"  a program is made a type by a plugin block, or as walplex-sink-test in host.plugin_dirs\n" +
		"   17 |   sink \"test\" \"one\" {\n      |        ^^^^^^\n"
	if d.String() != want {
		t.Errorf("got\n%s\nwant\n%s", d, want)
	}
}

func TestEmptySecret(t *testing.T) {
	var s Secret
	if !s.Empty() || s.Reveal() != "" || s.String() != withheld {
		t.Errorf("the zero Secret is %q", s.Reveal())
	}
}
