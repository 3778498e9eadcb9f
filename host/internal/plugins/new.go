package plugins

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed template/*
var templates embed.FS

// NewOptions say how a new sink's project begins.
type NewOptions struct {
	Name    string // of the sink type, and of the program
	Dir     string // that is made
	Version string // of the SDK that it requires
	SDK     string // a checkout of walplex that is used instead; empty: none
}

// ErrName is the error of a name that cannot be a sink type's.
var ErrName = errors.New("a sink type's name begins with a letter, goes on with letters, digits, _ and -, and has at most 63 characters")

var nameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

// CheckName is [ErrName] for what cannot name a sink type.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%q: %w", name, ErrName)
	}
	return nil
}

// module is what a sink's project requires.
const module = "github.com/walplex/walplex"

// New writes a project that builds and passes its tests, and answers the names of
// its files. Dir must not be there, or be empty. With SDK its go.mod requires what
// that checkout requires, with the same checksums; without it go.mod names the
// SDK alone, and `go mod tidy` has to be run.
func New(o NewOptions) ([]string, error) {
	if err := CheckName(o.Name); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty; choose another directory with --dir", o.Dir)
	}
	v, err := o.values()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	return o.write(v)
}

// values are what the templates are filled in with.
type values struct {
	Name, Program, Module, Version, SDK, Go, Requires string
	goSum                                             []byte
}

func (o NewOptions) values() (values, error) {
	v := values{Name: o.Name, Program: ProgramPrefix + o.Name, Module: module, Version: o.Version, SDK: o.SDK, Go: "1.26.0"}
	if o.SDK == "" {
		return v, nil
	}
	mod, err := os.ReadFile(filepath.Join(o.SDK, "go.mod"))
	if err != nil || !strings.Contains(string(mod), "module "+module+"\n") {
		return v, fmt.Errorf("--sdk %s is no checkout of %s: it has no go.mod that says so", o.SDK, module)
	}
	v.Requires = requires(string(mod))
	v.goSum, err = os.ReadFile(filepath.Join(o.SDK, "go.sum"))
	return v, err
}

// requires are the lines of a go.mod's require blocks, as indirect ones.
func requires(mod string) string {
	var b strings.Builder
	inside := false
	lines := bufio.NewScanner(strings.NewReader(mod))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "require (":
			inside = true
		case line == ")":
			inside = false
		case inside && line != "":
			line, _, _ = strings.Cut(line, " //")
			fmt.Fprintf(&b, "\t%s // indirect\n", line)
		}
	}
	return b.String()
}

func (o NewOptions) write(v values) ([]string, error) {
	all, err := template.ParseFS(templates, "template/*.tmpl")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range all.Templates() {
		name := strings.TrimSuffix(t.Name(), ".tmpl")
		name = strings.Replace(name, "NAME", o.Name, 1)
		if name == "gitignore" {
			name = ".gitignore"
		}
		var b strings.Builder
		if err := t.Execute(&b, v); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(b.String()), 0o644); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if v.goSum != nil {
		names = append(names, "go.sum")
		err = os.WriteFile(filepath.Join(o.Dir, "go.sum"), v.goSum, 0o644)
	}
	return names, err
}
