package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// archiveAs is a configuration with an archive in a directory, with settings.
func archiveAs(dir, settings string) string {
	return strings.Replace(archiveOnly, `config { directory = "ROOT/archive" }`, fmt.Sprintf("config {\ndirectory = %q\n%s\n}", dir, settings), 1)
}

// readable lets the server's user restore from the archive.
const readable = "file_mode = \"0644\"\n"

// wantFinished checks that all finished segments have the suffix and, where the
// command is installed, that it finds nothing wrong with them.
func wantFinished(t *testing.T, dir, suffix, command string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "0*"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, ".history"), strings.HasSuffix(name, ".partial"):
		case filepath.Ext(name) != suffix:
			t.Errorf("%s is not compressed as it should be", name)
		default:
			n++
		}
	}
	if n < 5 {
		t.Fatalf("only %d finished segments: %v", n, names)
	}
	path, err := exec.LookPath(command)
	if suffix == "" || err != nil {
		return
	}
	args := []string{"-t"} // lz4 takes more than one file only when it is told
	if command == "lz4" {
		args = append(args, "-m")
	}
	for _, name := range names {
		if filepath.Ext(name) == suffix {
			args = append(args, name)
		}
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Errorf("%s -t: %v\n%s", command, err, out)
	}
}

// TestSegmentFileRestores: under load, with a sink that is killed, each way to
// write gives an archive that is whole and from which a server recovers all.
func TestSegmentFileRestores(t *testing.T) {
	for _, x := range []struct{ name, settings, suffix, command string }{
		{"zstd", `compression = "zstd"`, ".zst", "zstd"},
		{"lz4", "compression = \"lz4\"\ncompression_level = 3\npreallocate = false", ".lz4", "lz4"},
		{"gzip", "compression = \"gzip\"\ncompression_level = 1", ".gz", "gzip"},
		{"o_dsync", `sync = "o_dsync"`, "", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := server(t)
			initPgbench(t, c)
			archive := archiveDir(t, c, "archive")
			d := newDirs(t)
			conf := d.write(archiveAs(archive, readable+x.settings), c.DSN())
			start(t, "run", "--until", "caught-up", conf).wants(0) // makes the slot
			r := recovery(t, c, map[string]string{"restore_command": restoreCommand(t, "--from", archive)})
			h := start(t, "run", conf)
			wait := load(t, c, 3)
			h.killSink("archive")
			wait()
			insert(t, c, "late", 20_000)
			slotReaches(t, c, "walplex", flushLSN(t, c))
			h.stop()
			wantFinished(t, archive, x.suffix, x.command)
			start(t, "archive", "verify", archive).wants(0, "the archive is whole")
			recovered(t, r)
			if got, want := content(t, r), content(t, c); got != want {
				t.Errorf("the table holds %s, want %s", got, want)
			}
		})
	}
}

// TestSegmentFilePromotionRestores: a compressed archive follows two promotions,
// and a backup of the first timeline is recovered through all of it.
func TestSegmentFilePromotionRestores(t *testing.T) {
	c := server(t)
	insert(t, c, "first", 10_000)
	archive := archiveDir(t, c, "archive")
	d := newDirs(t)
	settings := readable + `compression = "zstd"`
	start(t, "run", "--until", "caught-up", d.write(archiveAs(archive, settings), c.DSN())).wants(0)
	r := recovery(t, c, map[string]string{"restore_command": restoreCommand(t, "--from", archive)})
	h := start(t, "run", d.write(archiveAs(archive, settings), c.DSN()))
	insert(t, c, "before the switch", 20_000)
	source := c
	for i := range 2 {
		next := pgtest.Standby(t, source, keepWAL)
		end := flushLSN(t, source)
		caughtUp(t, next, end)
		slotReaches(t, source, "walplex", end)
		h.stop()
		if err := source.Stop(t.Context(), postgres.Immediate); err != nil {
			t.Fatal(err)
		}
		if err := next.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		h = start(t, "run", d.write(archiveAs(archive, settings), next.DSN()))
		h.says("the sink follows the switch of timelines", 1)
		insert(t, next, fmt.Sprint("after switch ", i+1), 20_000)
		source = next
	}
	slotReaches(t, source, "walplex", flushLSN(t, source))
	h.stop()
	wantFinished(t, archive, ".zst", "zstd")
	for _, name := range []string{"00000002.history", "00000003.history"} {
		if _, err := os.Stat(filepath.Join(archive, name)); err != nil {
			t.Error(err)
		}
	}
	start(t, "archive", "verify", archive).wants(0, "the archive is whole")
	recovered(t, r)
	if got, want := content(t, r), content(t, source); got != want {
		t.Errorf("the table holds %s, want %s", got, want)
	}
}
