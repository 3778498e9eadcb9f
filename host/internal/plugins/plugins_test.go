package plugins_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/plugins"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	write(t, filepath.Join(a, "walplex-sink-two"), "")
	write(t, filepath.Join(b, "walplex-sink-two"), "")
	write(t, filepath.Join(b, "walplex-sink-one"), "")
	write(t, filepath.Join(b, "walplex-sink-"), "")
	write(t, filepath.Join(b, "another"), "")
	write(t, filepath.Join(b, "walplex-sink-dir", "x"), "")
	got := plugins.Find([]string{a, filepath.Join(root, "missing"), b})
	want := []plugins.Found{{"one", filepath.Join(b, "walplex-sink-one")}, {"two", filepath.Join(a, "walplex-sink-two")}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The file is the same whoever has written it; other platforms' sums stay.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	one, two := write(t, filepath.Join(dir, "one"), "1"), write(t, filepath.Join(dir, "two"), "2")
	path := plugins.LockPath(one)
	if path != filepath.Join(dir, plugins.LockName) || plugins.LockPath(dir) != path {
		t.Errorf("the lock lies at %s", path)
	}
	if l, err := plugins.ReadLock(path); l != nil || err != nil {
		t.Errorf("%v, %v", l, err)
	}
	sum := func(path string) string {
		s, err := plugins.Sum(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	texts := map[string]bool{}
	for _, order := range [][]string{{one, two}, {two, one}} {
		l := plugins.NewLock(path)
		for _, p := range order {
			if !l.Set(filepath.Base(p), sum(p)) || l.Set(filepath.Base(p), sum(p)) {
				t.Error("what is new is not told from what is not")
			}
		}
		l.Plugins["one"]["plan9/mips"] = "sha256:ab"
		l.Plugins["gone"] = map[string]string{"plan9/mips": "sha256:ab"}
		l.Keep(map[string]bool{"one": true, "two": true})
		if err := l.Write(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[string(b)] = true
	}
	if len(texts) != 1 {
		t.Errorf("the file depends on who has written it: %v", texts)
	}
	l, err := plugins.ReadLock(path)
	if err != nil || l.Plugins["one"]["plan9/mips"] == "" || l.Plugins["gone"] != nil {
		t.Fatalf("%v, %v", l, err)
	}
	if got, err := l.Check("one", one); err != nil || got != sum(one) {
		t.Errorf("%s, %v", got, err)
	}
	write(t, one, "changed")
	for _, c := range []struct{ typeName, path, want string }{
		{"one", one, "was changed"}, {"three", two, "has no checksum of the sink type \"three\" for " + plugins.Platform()}, {"two", dir + "/missing", "no such file"},
	} {
		if _, err := l.Check(c.typeName, c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	for text, want := range map[string]string{`{"format":9}`: "has the format 9", `{`: "cannot be read as a lock file"} {
		write(t, path, text)
		if _, err := plugins.ReadLock(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What New refuses it leaves no trace of. That what it writes works is a test of
// the walplex program.
func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"", "9x", "a b", "a/b", strings.Repeat("x", 64)} {
		if _, err := plugins.New(plugins.NewOptions{Name: name, Dir: filepath.Join(dir, "new"), Version: "v1.0.0"}); !errors.Is(err, plugins.ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	write(t, filepath.Join(dir, "full", "file"), "")
	if _, err := plugins.New(plugins.NewOptions{Name: "x", Dir: filepath.Join(dir, "full"), Version: "v1.0.0"}); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("%v", err)
	}
	if _, err := plugins.New(plugins.NewOptions{Name: "x", Dir: filepath.Join(dir, "new"), SDK: dir}); err == nil || !strings.Contains(err.Error(), "is no checkout") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory was made: %v", err)
	}
}

// Without a checkout the project requires the version, and nothing is replaced.
func TestNewOfAVersion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	names, err := plugins.New(plugins.NewOptions{Name: "x", Dir: dir, Version: "v1.2.3"})
	if err != nil || !slices.Contains(names, "go.mod") || !slices.Contains(names, "x.hcl") {
		t.Fatalf("%v, %v", names, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || string(b) != "module example.com/x\n\ngo 1.26.0\n\nrequire github.com/walplex/walplex v1.2.3\n" {
		t.Errorf("%q, %v", b, err)
	}
}
