package house

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// topLevel is all that may lie at the top.
var topLevel = []string{"host", "plugins", "sdk", "examples", "config", "go.mod", "go.sum", "README.md", "ARCHITECTURE.md",
	"CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile", ".ci", ".gitignore"}

// maxLines is the longest that a file of code may be: one concept a file.
const maxLines = 700

// unwanted is what no Go file holds: waiting for time instead of a condition,
// skipped tests, notes to self, package state made at start.
var unwanted = []struct {
	re    *regexp.Regexp
	why   string
	tests bool // in tests too
}{
	{regexp.MustCompile(`\btime\.Sleep\(`), "wait for a condition", true},
	{regexp.MustCompile(`\bt\.Skip|\bb\.Skip`), "a test that is skipped tells nothing", true},
	{regexp.MustCompile(`//.*\b(TODO|FIXME|XXX)\b`), "do it, or say so in an issue", true},
	{regexp.MustCompile(`^func init\(`), "no init: whoever needs it makes it", true},
	{regexp.MustCompile(`context\.(Background|TODO)\(\)`), "only main has a context of its own", false},
}

func TestFiles(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	out, err := exec.Command("git", "-C", root, "ls-files").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	names := strings.Fields(string(out))
	if len(names) < 50 {
		t.Fatalf("git knows only %d files", len(names))
	}
	for _, name := range names {
		top, _, _ := strings.Cut(name, "/")
		if !slices.Contains(topLevel, top) {
			t.Errorf("%s: nothing but %s lies at the top", name, strings.Join(topLevel, ", "))
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".pb.go") && name != "host/internal/house/files_test.go" {
			checkGoFile(t, root, name)
		}
	}
}

func checkGoFile(t *testing.T, root, name string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if os.IsNotExist(err) {
		return // removed in the work tree, not committed yet
	}
	if err != nil {
		t.Fatal(err)
	}
	isTest := strings.HasSuffix(name, "_test.go")
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		n++
		for _, u := range unwanted {
			if (u.tests || !isTest && !strings.HasPrefix(name, "host/cmd/") && !strings.HasPrefix(name, "examples/")) && u.re.Match(lines.Bytes()) {
				t.Errorf("%s:%d: %s: %s", name, n, strings.TrimSpace(lines.Text()), u.why)
			}
		}
	}
	if n > maxLines && !isTest {
		t.Errorf("%s has %d lines, more than %d: one concept a file", name, n, maxLines)
	}
}
