package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/walplex/walplex/sdk/wire"
)

// TestGolden runs testdata/golden: a configuration in, its diagnostics or what
// was read of it out. -rewrite writes the answers anew. Commands:
//
//	load              loads the input; with=stream adds a file with a sound stream, json prints JSON
//	schema NAME       defines a schema: lines attr NAME TYPE [options], block NAME MIN MAX … end
//	decode NAME       loads a stream around a sink of which the input is the config block's
//	                  content, and decodes it with the schema
//	diagnose          objections of the last decoded sink: lines STEP/STEP…|summary|detail
//
// Input of load and decode may begin with lines env NAME=VALUE, var NAME=VALUE,
// path PATH, and be several files, each headed by "-- NAME --".
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		g := &golden{schemas: map[string]*wire.Schema{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "load":
				return g.load(t, d)
			case "schema":
				g.schemas[d.CmdArgs[0].Key] = parseSchema(t, d.Input)
				return ""
			case "decode":
				return g.decode(t, d)
			case "diagnose":
				return g.diagnose(t, d)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

type golden struct {
	schemas map[string]*wire.Schema
	sink    *Sink
	dir     string
}

// testInput is the input of a command, taken apart.
type testInput struct {
	options Options
	paths   []string
	files   map[string]string
}

var fileHeader = regexp.MustCompile(`^-- (.+) --$`)

func parseInput(input string) testInput {
	in := testInput{files: map[string]string{}}
	env := map[string]string{}
	in.options = Options{
		Vars:     map[string]string{},
		Env:      func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Builtins: []string{"segment_file", "page_cache", "audit"},
	}
	name := "main.hcl"
	var text strings.Builder
	options := true
	for line := range strings.Lines(input + "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		key, value, _ := strings.Cut(rest, "=")
		if options {
			switch word {
			case "env":
				env[key] = value
				continue
			case "var":
				in.options.Vars[key] = value
				continue
			case "path":
				in.paths = append(in.paths, rest)
				continue
			}
		}
		options = false
		if m := fileHeader.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			if text.Len() > 0 {
				in.files[name] = text.String()
			}
			name = m[1]
			text.Reset()
			in.files[name] = ""
			continue
		}
		text.WriteString(line)
	}
	in.files[name] = text.String()
	return in
}

func (in testInput) write(t *testing.T) (dir string, paths []string) {
	dir = t.TempDir()
	for name, text := range in.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range in.paths {
		paths = append(paths, filepath.Join(dir, p))
	}
	if paths == nil {
		paths = []string{dir}
	}
	return dir, paths
}

const soundStream = `stream "sound" {
  postgres { dsn = "host=sound" }
  sink "audit" "sound" {}
}
`

func (g *golden) load(t *testing.T, d *datadriven.TestData) string {
	in := parseInput(d.Input)
	if d.HasArg("with") {
		in.files["zz_sound.hcl"] = soundStream
	}
	dir, paths := in.write(t)
	g.dir = dir
	c, diags := Load(paths, in.options)
	checkPositions(t, diags, in.files, dir)
	if d.HasArg("json") {
		var b bytes.Buffer
		if err := diags.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		return g.strip(b.String())
	}
	if diags.HasErrors() {
		return g.strip(diags.String())
	}
	return g.strip(diags.String() + describe(t, c))
}

// strip takes the directory of the test out.
func (g *golden) strip(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, g.dir+"/", ""), g.dir, "DIR")
}

// checkPositions holds that a problem with a file names file:line,col, and that
// the line and column are there.
func checkPositions(t *testing.T, diags Diagnostics, files map[string]string, dir string) {
	t.Helper()
	position := regexp.MustCompile(`^(.*):([0-9]+),([0-9]+): (error|warning): .`)
	for _, d := range diags {
		if strings.HasPrefix(d.Range.Filename, "--var ") || strings.HasPrefix(d.Summary, "cannot be read") ||
			strings.HasPrefix(d.Summary, "same file as") || strings.HasPrefix(d.Summary, "directory without") {
			continue
		}
		m := position.FindStringSubmatch(d.String())
		if m == nil {
			t.Errorf("no file:line,col in %q", d.String())
			continue
		}
		text := files[strings.TrimPrefix(m[1], dir+"/")]
		line, _ := strconv.Atoi(m[2])
		column, _ := strconv.Atoi(m[3])
		lines := strings.Split(text, "\n")
		if line < 1 || line > len(lines) || column < 1 || column > len([]rune(lines[line-1]))+1 {
			t.Errorf("no such place: %s", d.Position())
		}
	}
}

// describe prints what was read.
func describe(t *testing.T, c *Config) string {
	var b strings.Builder
	h := c.Host
	fmt.Fprintf(&b, "host control=%q http=%q plugin_dirs=%q ring=%d\n", h.Control, h.HTTP, h.PluginDirs, h.Ring)
	for _, p := range c.Plugins {
		env := map[string]string{}
		for k, v := range p.Env {
			env[k] = v.Reveal()
		}
		fmt.Fprintf(&b, "plugin %s path=%q sha256=%q args=%q env=%q auto_mtls=%v\n", p.Type, p.Path, p.SHA256, p.Args, env, p.AutoMTLS)
	}
	for _, s := range c.Streams {
		p := s.Postgres
		fmt.Fprintf(&b, "stream %s dsn=%q slot=%q create_slot=%v status_interval=%s receiver_timeout=%s start=%s\n",
			s.Name, p.DSN.Reveal(), p.Slot, p.CreateSlot, p.StatusInterval, p.ReceiverTimeout, p.Start)
		for _, k := range s.Sinks {
			fmt.Fprintf(&b, "  sink %s %s required=%v after=%q on_lag=%s max_lag=%d trusted=%v\n", k.Type, k.Name, k.Required, k.After, k.OnLag, k.MaxLag, k.Trusted)
			if f := k.Filter; f != nil {
				fmt.Fprintf(&b, "    filter %s at %s\n", f.Text, place(f.Range))
			}
		}
	}
	return b.String()
}

func (g *golden) decode(t *testing.T, d *datadriven.TestData) string {
	in := parseInput(d.Input)
	body := in.files["main.hcl"]
	in.files["main.hcl"] = "stream \"s\" {\n  postgres { dsn = \"host=sound\" }\n  sink \"test\" \"it\" {\n  config {\n" + body + "}\n}\n}\n"
	if d.HasArg("bare") {
		in.files["main.hcl"] = "stream \"s\" {\n  postgres { dsn = \"host=sound\" }\n  sink \"test\" \"it\" {}\n}\n" + body
	}
	dir, paths := in.write(t)
	g.dir = dir
	c, diags := Load(paths, in.options)
	if diags.HasErrors() {
		t.Fatalf("%s: %s", d.Pos, diags)
	}
	g.sink = c.Streams[0].Sinks[0]
	schema := g.schemas[d.CmdArgs[0].Key]
	if schema == nil {
		t.Fatalf("%s: no schema %s", d.Pos, d.CmdArgs[0].Key)
	}
	out, diags := g.sink.Decode(schema)
	checkPositions(t, diags, in.files, dir)
	if diags.HasErrors() {
		if out != nil {
			t.Errorf("%s: an answer beside errors", d.Pos)
		}
		return g.strip(diags.String())
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, out, "", "  "); err != nil {
		t.Fatalf("%s: not JSON: %s", d.Pos, out)
	}
	return g.strip(indented.String())
}

func (g *golden) diagnose(t *testing.T, d *datadriven.TestData) string {
	var list []*wire.Diagnostic
	for line := range strings.SplitSeq(d.Input, "\n") {
		parts := append(strings.SplitN(line, "|", 3), "", "")
		w := &wire.Diagnostic{Summary: parts[1], Detail: parts[2]}
		if d.HasArg("warning") {
			w.Severity = wire.Diagnostic_WARNING
		}
		for step := range strings.SplitSeq(parts[0], "/") {
			n, err := strconv.ParseInt(step, 10, 64)
			switch {
			case step == "":
			case err == nil:
				w.Path = append(w.Path, &wire.PathStep{Step: &wire.PathStep_Index{Index: n}})
			case strings.HasPrefix(step, "."):
				w.Path = append(w.Path, &wire.PathStep{Step: &wire.PathStep_Key{Key: step[1:]}})
			default:
				w.Path = append(w.Path, &wire.PathStep{Step: &wire.PathStep_Name{Name: step}})
			}
		}
		list = append(list, w)
	}
	return g.strip(g.sink.Diagnose(list).String())
}

// parseSchema reads lines: attr NAME TYPE [required] [sensitive] [format=F]
// [default=JSON], block NAME MIN MAX, end.
func parseSchema(t *testing.T, input string) *wire.Schema {
	root := &wire.Schema{}
	stack := []*wire.Schema{root}
	for line := range strings.SplitSeq(input, "\n") {
		f := strings.Fields(line)
		top := stack[len(stack)-1]
		switch f[0] {
		case "attr":
			a := &wire.Attribute{Name: f[1], TypeJson: []byte(f[2])}
			for _, option := range f[3:] {
				key, value, _ := strings.Cut(option, "=")
				switch key {
				case "required":
					a.Required = true
				case "sensitive":
					a.Sensitive = true
				case "format":
					a.Format = value
				case "default":
					a.DefaultJson = []byte(value)
				case "about":
					a.Description = strings.ReplaceAll(value, "_", " ")
				default:
					t.Fatalf("unknown option %s", option)
				}
			}
			top.Attributes = append(top.Attributes, a)
		case "block":
			least, _ := strconv.ParseUint(f[2], 10, 32)
			most, _ := strconv.ParseUint(f[3], 10, 32)
			inner := &wire.Schema{}
			top.Blocks = append(top.Blocks, &wire.NestedBlock{Name: f[1], MinItems: uint32(least), MaxItems: uint32(most), Schema: inner})
			stack = append(stack, inner)
		case "end":
			stack = stack[:len(stack)-1]
		default:
			t.Fatalf("unknown line %s", line)
		}
	}
	return root
}
