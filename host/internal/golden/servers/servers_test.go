package servers

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWanted(t *testing.T) {
	plan := `Reading package lists...
'http://x/libicu70_70.1-2_amd64.deb' libicu70_70.1-2_amd64.deb 10581942 MD5Sum:1
'http://x/libllvm14_amd64.deb' libllvm14_1%3a14.0.0-1ubuntu1.1_amd64.deb 23967046 MD5Sum:2
'http://x/libjson-perl_all.deb' libjson-perl_4.04000-1_all.deb 81802 MD5Sum:3
'http://x/perl_amd64.deb' perl_5.34.0-3ubuntu1.10_amd64.deb 231658 MD5Sum:4
'http://x/zlib1g_amd64.deb' zlib1g_1%3a1.2.11.dfsg-2ubuntu9.2_amd64.deb 58406 MD5Sum:5
'http://x/postgresql-common_all.deb' postgresql-common_238_all.deb 168996 MD5Sum:6
'http://x/postgresql-14_amd64.deb' postgresql-14_14.24-0ubuntu0.22.04.1_amd64.deb 16300718 MD5Sum:7
`
	if got, want := wanted(plan), []string{"libicu70", "zlib1g", "postgresql-14"}; !slices.Equal(got, want) {
		t.Errorf("wanted %q, want %q", got, want)
	}
}

// A directory whose filling fails leaves nothing; what is complete is not filled again.
func TestObtain(t *testing.T) {
	cache := t.TempDir()
	broken := errors.New("broken off")
	if _, err := obtain(cache, "x", func(string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	fills := 0
	for range 2 {
		dir, err := obtain(cache, "x", func(dir string) error {
			fills++
			return os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
			t.Error(err)
		}
	}
	if fills != 1 {
		t.Errorf("filled %d times", fills)
	}
}

// A wrapper starts the program of its name with the release's own libraries, as
// if it lay in the wrapper's place.
func TestWrapper(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"root/usr/lib/postgresql/17/bin/postgres":            "",
		"root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": "#!/bin/sh\necho \"$@\"\n",
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := wrap(dir, 17); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root")
	program := filepath.Join(root, "usr/lib/postgresql/17/bin/postgres")
	out, err := exec.Command(program, "--version", "two words").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lib := filepath.Join(root, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(root, "lib/x86_64-linux-gnu")
	want := "--argv0 " + program + " --library-path " + lib + " " + filepath.Join(root, "usr/lib/postgresql/17/bin.real/postgres") + " --version two words"
	if got := strings.TrimSpace(string(out)); got != want {
		t.Errorf("it starts\n%s\nwant\n%s", got, want)
	}
}
