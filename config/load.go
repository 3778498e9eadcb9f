package config

import (
	"fmt"
	"os"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Load reads the files and directories as one configuration and checks all that
// can be checked without the sinks' programs and the server. It reports every
// problem, sorted by place; where a file cannot be parsed, problems of syntax
// only. The Config is never nil.
func Load(paths []string, o Options) (*Config, Diagnostics) {
	l := newLoader(o)
	l.readFiles(paths)
	return l.load()
}

// loader builds a Config.
type loader struct {
	options Options
	rep     *report
	scope   *scope
	config  *Config
	files   []*file

	hosts     []*hclsyntax.Block
	variables []*hclsyntax.Block
	plugins   []*hclsyntax.Block
	streams   []*hclsyntax.Block
}

func newLoader(o Options) *loader {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	src := &source{files: map[string]*file{}}
	sc := &scope{source: src, secrets: &secrets{}, env: o.Env, vars: &variables{}}
	return &loader{
		options: o,
		rep:     &report{source: src},
		scope:   sc,
		config:  &Config{scope: sc},
	}
}

func (l *loader) readFiles(paths []string) {
	if len(paths) == 0 {
		l.rep.error(atPath("configuration"), "no PATH given", "give *.hcl files, or directories of them")
	}
	set := &fileSet{rep: l.rep}
	for _, p := range paths {
		set.addPath(p)
	}
	l.files = set.files
}

// load parses the files, and goes on only if all of them are there and sound:
// what is missing would bring errors of its own.
func (l *loader) load() (*Config, Diagnostics) {
	ok := l.rep.errors == 0
	for _, f := range l.files {
		l.scope.source.files[f.name] = f
		f.functions = l.scope.functions(f.dir)
		ok = f.parse(l.rep) && ok
	}
	if ok {
		l.loadBlocks()
	}
	l.rep.list.Sort()
	return l.config, l.rep.list
}

func (l *loader) loadBlocks() {
	l.collect()
	l.declareVariables()
	l.loadHost()
	for _, b := range l.plugins {
		l.loadPlugin(b)
	}
	l.checkPlugins()
	for _, b := range l.streams {
		l.loadStream(b)
	}
	l.checkStreams()
}

// shape is what a kind of block may hold.
type shape struct {
	name   string            // as messages call it
	attrs  []string          // known attributes
	blocks map[string]string // known blocks, with their headers as examples
}

var fileShape = &shape{
	name: "a file",
	blocks: map[string]string{
		"variable": `variable "NAME" {`,
		"host":     `host {`,
		"plugin":   `plugin "TYPE" {`,
		"stream":   `stream "NAME" {`,
	},
}

// collect sorts the blocks of all files by kind.
func (l *loader) collect() {
	for _, f := range l.files {
		for _, b := range l.checkShape(fileShape, f.body) {
			switch b.Type {
			case "variable":
				l.variables = append(l.variables, b)
			case "host":
				l.hosts = append(l.hosts, b)
			case "plugin":
				l.plugins = append(l.plugins, b)
			case "stream":
				l.streams = append(l.streams, b)
			}
		}
	}
}

// checkShape reports what does not belong into a body, and answers its blocks
// that do and have the right labels.
func (l *loader) checkShape(sh *shape, body *hclsyntax.Body) []*hclsyntax.Block {
	var blockNames []string
	for name := range sh.blocks {
		blockNames = append(blockNames, name)
	}
	for _, a := range sortedAttributes(body) {
		switch {
		case slices.Contains(sh.attrs, a.Name):
		case sh.blocks[a.Name] != "":
			l.rep.error(a.NameRange, quote(a.Name)+" is a block", "write it without =: "+sh.blocks[a.Name]+" … }")
		default:
			l.rep.error(a.NameRange, "unknown attribute "+quote(a.Name)+" in "+sh.name,
				suggest(a.Name, slices.Concat(sh.attrs, blockNames)))
		}
	}
	var known []*hclsyntax.Block
	for _, b := range body.Blocks {
		example := sh.blocks[b.Type]
		switch {
		case slices.Contains(sh.attrs, b.Type):
			l.rep.error(b.TypeRange, quote(b.Type)+" is an attribute", "write it with =: "+b.Type+" = …")
		case example == "":
			l.rep.error(b.TypeRange, "unknown block "+quote(b.Type)+" in "+sh.name,
				suggest(b.Type, slices.Concat(blockNames, sh.attrs)))
		case l.checkLabels(b, example):
			known = append(known, b)
		}
	}
	return known
}

func sortedAttributes(body *hclsyntax.Body) []*hclsyntax.Attribute {
	var list []*hclsyntax.Attribute
	for _, a := range body.Attributes {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *hclsyntax.Attribute) int {
		return a.NameRange.Start.Byte - b.NameRange.Start.Byte
	})
	return list
}

// checkLabels compares a block's labels with those of the example.
func (l *loader) checkLabels(b *hclsyntax.Block, example string) bool {
	want := 0
	for _, c := range example {
		if c == '"' {
			want++
		}
	}
	want /= 2
	if len(b.Labels) != want {
		at := b.DefRange()
		if len(b.Labels) > want {
			at = b.LabelRanges[want]
		}
		l.rep.errorf(at, "write "+example, "%s takes %s, %d given", b.Type, count(want, "label"), len(b.Labels))
		return false
	}
	ok := true
	for i, label := range b.Labels {
		if !validName(label) {
			l.rep.error(b.LabelRanges[i], quote(label)+" is not a name",
				fmt.Sprintf("begin with a letter, go on with letters, digits, _ and -, at most %d characters", maxLabel))
			ok = false
		}
	}
	return ok
}

// maxLabel is the length of a name in bytes, as of PostgreSQL's identifiers.
const maxLabel = 63

// validName reports whether the label can be written in a traversal and in a
// file name.
func validName(s string) bool {
	if s == "" || len(s) > maxLabel {
		return false
	}
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun
	case 1:
		return "one " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// fileStart is the place of a problem with the configuration as a whole.
func (l *loader) fileStart() hcl.Range {
	return hcl.Range{Filename: l.files[0].name, Start: hcl.InitialPos, End: hcl.InitialPos}
}
