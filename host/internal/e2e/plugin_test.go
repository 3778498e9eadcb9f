package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// checkout is the root of this repository.
func checkout(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// command runs a program in a directory and wants it to succeed.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// newSink makes a new sink's project and builds it.
func newSink(t *testing.T, name string) (dir, bin string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), name)
	said := command(t, "", program, "plugin", "new", "--sdk", checkout(t), "--dir", dir, name)
	for _, file := range []string{"go.mod", "main.go", "config.go", "sink.go", "sink_test.go", name + ".hcl", "README.md"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil || !strings.Contains(said, file) {
			t.Errorf("%s: %v\n%s", file, err, said)
		}
	}
	command(t, dir, "go", "build", "-o", "walplex-sink-"+name, ".")
	return dir, filepath.Join(dir, "walplex-sink-"+name)
}

// TestNewSink is a stranger's first ten minutes: new, its own tests, plugin test,
// and a chain.
func TestNewSink(t *testing.T) {
	dir, bin := newSink(t, "my_counter")
	if out := command(t, dir, "gofmt", "-l", "."); out != "" {
		t.Errorf("gofmt would change %s", out)
	}
	command(t, dir, "go", "vet", "./...")
	command(t, dir, "go", "test", "./...")
	out := command(t, dir, program, "plugin", "test", bin)
	if !strings.Contains(out, "ok    kill: ") || !strings.Contains(out, "my_counter: 16 passed, 0 failed, 4 not applicable.") {
		t.Error(out)
	}

	c := server(t)
	initPgbench(t, c)
	t.Setenv("WALPLEX_DSN", c.DSN())
	conf := filepath.Join(dir, "my_counter.hcl")
	start(t, "validate", conf).wants(0, "streams 1, sinks 1")
	start(t, "run", "--until", "caught-up", conf).wants(0, "target reached")
	b, err := os.ReadFile(filepath.Join(dir, "my_counter-data", "position.json"))
	var kept struct{ State map[string]int64 }
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil || kept.State["Heap"] == 0 {
		t.Errorf("%s, %v", b, err)
	}
}

// TestPluginTestFails names the rule, in the exit status too.
func TestPluginTestFails(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "faulty")
	command(t, "", "go", "build", "-o", bin, "./faultysink")
	conf := filepath.Join(t.TempDir(), "faulty.hcl")
	settings := func(text string) {
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings(`config { fault = "flush_lies" }`)
	start(t, "plugin", "test", "--config", conf, "--check", "progress", bin).wants(1, "FAIL  progress: acknowledge only what was sent:", "0 passed, 1 failed")
	settings(`fault = "none"`)
	start(t, "plugin", "test", "--config", conf, "--check", "kill,describe", bin).wants(1, "FAIL  kill: ", "flushed means durable: the sink had flushed", "it is new", "1 passed, 1 failed")
	settings(`fault = "open_lies"`)
	start(t, "plugin", "test", "--config", conf, "--check", "drain", bin).wants(1, "but was sent WAL up to 0/0 only")
	settings(`falt = "x"`)
	start(t, "plugin", "test", "--config", conf, bin).wants(2, "faulty.hcl:1,1", `did you mean "fault"`)
	start(t, "plugin", "test", bin).wants(2, `missing required attribute "fault"`)
	start(t, "plugin", "test", bin+"x").wants(2, "no such file")
	start(t, "plugin", "test", "--check", "kil", bin).wants(2, "is none of describe,")
	start(t, "plugin", "test", program).wants(2, "where the handshake was expected")
	start(t, "plugin", "new", "9").wants(2, "begins with a letter")
}

// TestPluginLock: a program that was changed is refused, at its place.
func TestPluginLock(t *testing.T) {
	_, bin := newSink(t, "mine")
	d := newDirs(t)
	if err := os.WriteFile(d.path("walplex-sink-found"), []byte(readFile(t, bin)), 0o755); err != nil {
		t.Fatal(err)
	}
	text := func(host string) string {
		return fmt.Sprintf("host {\n  plugin_dirs = [\"ROOT\"]\n  %s\n}\nplugin \"mine\" {\n  path = %q\n}\n", host, bin) +
			strings.Replace(archiveOnly, `sink "segment_file"`, `sink "mine" "counts" {
    config { directory = "ROOT/counts" }
  }
  sink "segment_file"`, 1)
	}
	conf := d.write(text(""), "host=/nowhere")
	// The program that was found is no sink of its name, which listing it says.
	start(t, "plugin", "list", conf).wants(1, "segment_file  built-in", "mine          configured", "found         discovered", "name the plugin block so", "directory")
	h := start(t, "plugin", "list", "--json", conf)
	h.wants(1)
	var list struct {
		Plugins []struct {
			Type, From, SHA256, Place, Error string
			Settings                         []struct{ Name, Format string }
		}
	}
	if err := json.Unmarshal([]byte(h.log()), &list); err != nil || len(list.Plugins) != 5 {
		t.Fatalf("%v\n%s", err, h.log())
	}
	if p := list.Plugins[4]; p.Type != "mine" || len(p.SHA256) != 64 || !strings.HasSuffix(p.Place, "walplex.hcl:5") || p.Settings[0].Format != "path" {
		t.Errorf("%+v", p)
	}
	start(t, "plugin", "lock", conf).wants(0, "recorded  mine  "+runtime.GOOS+"/"+runtime.GOARCH, "recorded  found")
	before := readFile(t, d.path("walplex.lock.json"))
	start(t, "plugin", "lock", d.root).wants(0, "unchanged  mine")
	if after := readFile(t, d.path("walplex.lock.json")); after != before {
		t.Errorf("the lock is another:\n%s\n%s", before, after)
	}
	start(t, "validate", conf).wants(0)

	// Rebuilt with something else, it is another program.
	if err := os.Rename(bin, bin+"-good"); err != nil {
		t.Fatal(err)
	}
	write := append([]byte(readFile(t, bin+"-good")), "changed"...)
	if err := os.WriteFile(bin, write, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, "validate", conf).wants(2, "walplex.hcl:6,10: error: sink type \"mine\" is not the one that is locked", "was changed: its checksum is sha256:", "walplex plugin lock")
	start(t, "run", conf).wants(2, "walplex.hcl:6,10", "was changed")

	conf = d.write(text(fmt.Sprintf("dev_overrides = { mine = %q }", bin)), "host=/nowhere")
	start(t, "validate", conf).wants(0, "warning: sink type \"mine\" is overridden for development")
	start(t, "plugin", "list", conf).wants(1, "mine          overridden")
	start(t, "plugin", "lock", conf).wants(0, "found")
	conf = d.write(text(""), "host=/nowhere")
	start(t, "validate", conf).wants(2, "was changed") // what was overridden stays as it was locked
	start(t, "plugin", "lock", conf).wants(0, "recorded  mine")
	start(t, "validate", conf).wants(0)
	if err := os.WriteFile(d.path("walplex.lock.json"), []byte(`{"format":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "validate", conf).wants(2, "walplex.hcl:6,10", "has no checksum of the sink type")
	conf = d.write(text(`dev_overrides = { audit = "x" }`), "host=/nowhere")
	start(t, "validate", conf).wants(2, "walplex.hcl:3,", "built-in sink type")
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSinkPanic: a sink's panic is in the host's log with its stack, the sink is
// started again, and the others take what there is.
func TestSinkPanic(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	bin := d.path("faulty")
	command(t, "", "go", "build", "-o", bin, "./faultysink")
	text := fmt.Sprintf("plugin \"faulty\" {\n  path = %q\n}\n", bin) + strings.Replace(archiveOnly, `sink "segment_file"`, `sink "faulty" "bad" {
    required = false
    config { fault = "write_panics" }
  }
  sink "segment_file"`, 1)
	h := start(t, "run", d.write(text, c.DSN()))
	h.says("the sink follows", 0)
	initPgbench(t, c)
	h.says("panic: poisoned", 1)
	h.says("main.(*sink).Write", 1)
	h.says("faultysink/main.go:", 1)
	slotReaches(t, c, "walplex", flushLSN(t, c))
	h.says("panic: poisoned", 2) // in its next life
	h.stop()
}
