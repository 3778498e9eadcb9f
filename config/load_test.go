package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/walplex/walplex/sdk/wire"
)

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// only asserts that there is one problem, and that it holds the text.
func only(t *testing.T, diags Diagnostics, want string) {
	t.Helper()
	if len(diags) != 1 || !strings.Contains(diags.String(), want) {
		t.Errorf("want one problem with %q, got %d:\n%s", want, len(diags), diags)
	}
}

func TestLoadWithoutPath(t *testing.T) {
	c, diags := Load(nil, Options{})
	only(t, diags, "no PATH given")
	if c == nil {
		t.Error("Load answers no Config")
	}
}

func TestFileBounds(t *testing.T) {
	dir := t.TempDir()
	sound := soundStream + strings.Repeat("#", maxFileSize-len(soundStream))
	if _, diags := Load([]string{writeFile(t, filepath.Join(dir, "full.hcl"), sound)}, Options{}); len(diags) != 0 {
		t.Errorf("a file of %d bytes: %s", maxFileSize, diags)
	}
	_, diags := Load([]string{writeFile(t, filepath.Join(dir, "over.hcl"), sound+"#")}, Options{})
	only(t, diags, "over.hcl: error: cannot be read: larger than 1048576 bytes")

	many := t.TempDir()
	for i := range maxFiles + 1 {
		writeFile(t, filepath.Join(many, fmt.Sprintf("%04d.hcl", i)), "")
	}
	_, diags = Load([]string{many}, Options{})
	only(t, diags, "1000.hcl: error: more than 1000 files")
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "broken.hcl")); err != nil {
		t.Fatal(err)
	}
	_, diags := Load([]string{dir}, Options{})
	only(t, diags, "broken.hcl: error: cannot be read: no such file or directory")

	writeFile(t, filepath.Join(dir, "real.hcl"), soundStream)
	if err := os.Remove(filepath.Join(dir, "broken.hcl")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.hcl", filepath.Join(dir, "zlink.hcl")); err != nil {
		t.Fatal(err)
	}
	_, diags = Load([]string{dir}, Options{})
	only(t, diags, "zlink.hcl: error: same file as "+filepath.Join(dir, "real.hcl"))
}

// TestRelativePaths: a path in a file starts at the directory of that file, also
// when the file itself was named by a relative path.
func TestRelativePaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("conf", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "conf/dsn", "host=x\n")
	writeFile(t, "conf/main.hcl", `
host {
  control     = "c.sock"
  plugin_dirs = ["../p"]
}
plugin "p" { path = "bin/p" }
stream "s" {
  postgres { dsn = chomp(file("dsn")) }
  sink "p" "x" {
    config { directory = "data" }
  }
}`)
	c, diags := Load([]string{"conf"}, Options{})
	if len(diags) != 0 {
		t.Fatal(diags)
	}
	out, diags := c.Streams[0].Sinks[0].Decode(&wire.Schema{Attributes: []*wire.Attribute{
		{Name: "directory", TypeJson: []byte(`"string"`), Format: "path"},
	}})
	if len(diags) != 0 {
		t.Fatal(diags)
	}
	got := []string{c.Host.Control, c.Host.PluginDirs[0], c.Plugins[0].Path, c.Streams[0].Postgres.DSN.Reveal(), string(out)}
	want := []string{dir + "/conf/c.sock", dir + "/p", dir + "/conf/bin/p", "host=x", `{"directory":"` + dir + `/conf/data"}`}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %s, want %s", got[i], want[i])
		}
	}
}

// TestDeepExpressions holds that what is within the bounds is evaluated, and what
// is beyond them refused, without exhausting the stack.
func TestDeepExpressions(t *testing.T) {
	load := func(expr string) Diagnostics {
		l := newLoader(Options{})
		l.files = []*file{{name: "main.hcl", text: []byte(soundStream + "variable \"v\" {\n  default = " + expr + "\n}\n")}}
		_, diags := l.load()
		return diags
	}
	repeat := strings.Repeat
	for name, expr := range map[string]string{
		"sum":     "1" + repeat("+1", 9900),
		"not":     repeat("!", 9900) + "true",
		"minus":   repeat("-", 9900) + "1",
		"choice":  repeat("false ? 1 : ", 4900) + "1",
		"lists":   repeat("[", 90) + repeat("]", 90),
		"calls":   repeat("upper(", 90) + `""` + repeat(")", 90),
		"strings": repeat(`"${`, 90) + "1" + repeat(`}"`, 90),
	} {
		if diags := load(expr); len(diags) != 0 {
			t.Errorf("%s: %.300s", name, diags)
		}
	}
	for name, tt := range map[string]struct{ expr, want string }{
		"sum":     {"1" + repeat("+1", 30000), "more than 10000 operators"},
		"not":     {repeat("!", 60000) + "true", "more than 10000 operators"},
		"index":   {"a" + repeat("[0]", 30000), "more than 10000 operators"},
		"dots":    {"a" + repeat(".b", 30000), "more than 10000 operators"},
		"lists":   {repeat("[", 60000), "more than 100 blocks and brackets"},
		"strings": {repeat(`"${`, 30000), "more than 100 blocks and brackets"},
		"braces":  {repeat("{a=", 30000), "more than 100 blocks and brackets"},
	} {
		if diags := load(tt.expr); len(diags) != 1 || !strings.Contains(diags.String(), tt.want) {
			t.Errorf("%s: %.300s", name, diags)
		}
	}
}

func TestManyProblems(t *testing.T) {
	l := newLoader(Options{})
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "unknown%d = 1\n", i)
	}
	l.files = []*file{{name: "main.hcl", text: []byte(text.String())}}
	_, diags := l.load()
	if len(diags) != maxDiagnostics+1 || !strings.Contains(diags.String(), "more than 1000 problems: the rest is not shown") {
		t.Errorf("%d problems", len(diags))
	}
}

// TestDecodeSideBySide decodes the sinks of a configuration at once, as the host
// does while it starts their programs; the race detector watches.
func TestDecodeSideBySide(t *testing.T) {
	var text strings.Builder
	text.WriteString("variable \"pw\" { default = \"secret\" }\nstream \"s\" {\n  postgres { dsn = \"host=x\" }\n")
	for i := range 20 {
		fmt.Fprintf(&text, "  sink \"audit\" \"s%d\" {\n    config {\n      number = \"x\"\n      password = env(\"P\")\n    }\n  }\n", i)
	}
	text.WriteString("}\n")
	l := newLoader(Options{Env: func(string) (string, bool) { return "secret", true }})
	l.files = []*file{{name: "main.hcl", text: []byte(text.String())}}
	c, diags := l.load()
	if len(diags) != 0 {
		t.Fatal(diags)
	}
	var wg sync.WaitGroup
	for _, s := range c.Streams[0].Sinks {
		wg.Go(func() {
			_, diags := s.Decode(secretSchema())
			only(t, diags, "number: must be a number")
			only(t, s.Diagnose([]*wire.Diagnostic{{Summary: "no secret"}}), "no (sensitive)")
		})
	}
	wg.Wait()
}
