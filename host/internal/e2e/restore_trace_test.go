package e2e

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// syncOrRename finds what strace -y prints of a sync that is done or begins, and of
// the rename of a backup.
var syncOrRename = regexp.MustCompile(`(?:fsync|fdatasync)\(\d+<([^>]*)>|rename(?:at2?)?\(.*"([^"]*)", .*"([^"]*)"`)

// TestBackupIsDurable: before a backup gets its name, every file and directory of
// it was synced, and afterwards the directory of the name.
func TestBackupIsDurable(t *testing.T) {
	c := server(t)
	for _, format := range []string{"plain", "tar"} {
		t.Run(format, func(t *testing.T) {
			parent, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			dir, trace := filepath.Join(parent, "b"), filepath.Join(t.TempDir(), "trace")
			cmd := exec.CommandContext(t.Context(), "strace", "-f", "-qq", "-y", "-s", "4096", "-o", trace, "-e", "trace=fsync,fdatasync,rename,renameat,renameat2",
				program, "archive", "base-backup", "--checkpoint", "fast", "--format", format, "--dsn", c.DSN(), "--to", dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			lines, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			before, after := map[string]bool{}, map[string]bool{}
			named := false
			for line := range strings.Lines(string(lines)) {
				m := syncOrRename.FindStringSubmatch(line)
				switch {
				case m == nil:
				case m[3] == dir:
					named = true
				case m[3] != "" && before[m[2]]:
					before[m[3]] = true // a file that was synced under another name
				case m[1] != "" && named:
					after[m[1]] = true
				case m[1] != "":
					before[m[1]] = true
				}
			}
			if !named || !after[parent] {
				t.Errorf("renamed: %t; its directory synced after that: %t", named, after[parent])
			}
			n := 0
			err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
				n++
				if was := filepath.Join(dir+".tmp", "data", strings.TrimPrefix(path, dir)); !before[was] {
					t.Errorf("%s was not synced before the backup got its name", was)
				}
				return err
			})
			if err != nil || n < 3 {
				t.Errorf("%d files, %v", n, err)
			}
		})
	}
}
