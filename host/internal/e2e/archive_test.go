package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const fromArchive = `
stream "replay" {
  archive { directory = "ROOT/archive" }
  sink "audit" "trail" {
    config { directory = "ROOT/trail2" }
  }
  sink "segment_file" "copy" {
    config { directory = "ROOT/copy" }
  }
}`

// TestArchiveAsSource fills new sinks from what an archive holds, twice: the
// second time from a longer archive, where the first has ended.
func TestArchiveAsSource(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	conf := d.write(archiveOnly, c.DSN())
	replay := d.path("replay.hcl")
	if err := os.WriteFile(replay, []byte(strings.ReplaceAll(fromArchive, "ROOT", d.root)), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "run", "--until", "caught-up", conf).wants(0)
	start(t, "run", "--until", "caught-up", replay).wants(0, "the archive ends here")
	initPgbench(t, c)
	end := flushLSN(t, c)
	start(t, "run", "--until", "caught-up", conf).wants(0)
	start(t, "run", replay).wants(0, "new=false")
	compareArchive(t, c, d.path("copy"), end)
	verifyTrail(t, c, d.path("trail2"), end)

	// An LSN that the archive does not hold is a failure, and so is a hole.
	start(t, "run", "--until", (end+1<<30).String(), replay).wants(1, "the archive ends at "+end.String())
	names, err := filepath.Glob(d.path("archive/0*"))
	if err != nil || len(names) < 4 {
		t.Fatalf("%d segments, %v", len(names), err)
	}
	for _, dir := range []string{"trail2", "copy"} {
		if err := os.RemoveAll(d.path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(names[len(names)/2]); err != nil {
		t.Fatal(err)
	}
	start(t, "run", replay).wants(1, "hole in")
}

// TestReplayExample runs the example that needs Go alone: no server, a small
// sample of WAL.
func TestReplayExample(t *testing.T) {
	trail := filepath.Join(t.TempDir(), "trail")
	t.Setenv("WALPLEX_TRAIL", trail)
	start(t, "run", "../../../examples/replay.hcl").wants(0, "the archive ends here")
	h := start(t, "audit", "verify", trail)
	h.wants(0, "no record is missing")
	if n, err := filepath.Glob(filepath.Join(trail, "*.jsonl")); err != nil || len(n) == 0 {
		t.Errorf("no trail was written: %v", err)
	}
}
