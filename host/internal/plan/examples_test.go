package plan_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const examples = "../../../examples"

// run runs a program in dir and answers what it printed, which must be followed
// by exit status 0.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "WALPLEX_DSN=host=/run/postgresql user=postgres password=hidden", "WEBHOOK_URL=http://127.0.0.1:8080/", "WEBHOOK_TOKEN=hidden", "GOFLAGS=-mod=readonly", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// configurations are the .hcl files that match, at least one.
func configurations(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(examples, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no example matches %s: %v", pattern, err)
	}
	return files
}

// Every example is valid for the program as it is built from this source.
func TestExamplesAreValid(t *testing.T) {
	walplex := filepath.Join(t.TempDir(), "walplex")
	run(t, ".", "go", "build", "-o", walplex, "github.com/walplex/walplex/host/cmd/walplex")
	for _, file := range configurations(t, "*.hcl") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if out := run(t, ".", walplex, "validate", file); !strings.Contains(out, "is valid") {
				t.Errorf("validate prints %q", out)
			}
		})
	}
	program := regexp.MustCompile(`path\s+= "([^"]+)"`)
	for _, file := range configurations(t, "*/*.hcl") {
		dir := filepath.Dir(file)
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue // of another language: its own test builds and runs it
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			// The configuration names the program beside it; here both are in another directory.
			work := t.TempDir()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := program.FindSubmatch(text)
			if name == nil {
				t.Fatalf("%s names no program", file)
			}
			run(t, dir, "go", "build", "-buildvcs=false", "-o", filepath.Join(work, string(name[1])), ".")
			place := filepath.Join(work, filepath.Base(file))
			if err := os.WriteFile(place, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if out := run(t, ".", walplex, "validate", place); !strings.Contains(out, "is valid") {
				t.Errorf("validate prints %q", out)
			}
			left, err := os.ReadDir(work)
			if err != nil || len(left) != 2 {
				t.Errorf("validate left %v behind, %v", left, err)
			}
		})
	}
}

// The examples that are modules of their own are out of reach of ./... here.
func TestExamplesPassTheirTests(t *testing.T) {
	modules, err := filepath.Glob(filepath.Join(examples, "*/go.mod"))
	if err != nil || len(modules) == 0 {
		t.Fatalf("no example is a module: %v", err)
	}
	for _, m := range modules {
		run(t, filepath.Dir(m), "go", "vet", "./...")
		run(t, filepath.Dir(m), "go", "test", "./...")
	}
}
