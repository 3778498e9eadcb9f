//go:build matrix

package matrix

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

const allSinks = `
stream "main" {
  postgres {
    dsn   = %q
    start = %q
  }
  sink "segment_file" "archive" {
    config { directory = "%[3]s/archive" }
  }
  sink "page_cache" "pages" {
    after = [sink.archive]
    config { directory = "%[3]s/pages" }
  }
  sink "audit" "trail" {
    config { directory = "%[3]s/trail" }
  }
}`

// compareStream streams from the server into all three sinks: the archive is the
// server's WAL, the trail has each of its records once.
func compareStream(t *testing.T, c *postgres.Cluster, start, end wal.LSN) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "walplex.hcl")
	if err := os.WriteFile(conf, fmt.Appendf(nil, allSinks, c.DSN(), start.String(), dir), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "run", "--until", end.String(), conf).CombinedOutput()
	if err != nil {
		t.Fatalf("walplex run: %v\n%s", err, out)
	}
	for lsn := start; lsn < end; lsn += wal.LSN(segment) {
		name := segment.FileName(1, segment.SegNo(lsn))
		want, err := os.ReadFile(filepath.Join(c.WALDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		if end-lsn < wal.LSN(segment) {
			name += wal.PartialSuffix
		}
		got, err := os.ReadFile(filepath.Join(dir, "archive", name))
		if err != nil {
			t.Fatal(err)
		}
		n := min(end-lsn, wal.LSN(segment))
		if !bytes.Equal(got[:n], want[:n]) {
			t.Errorf("%s is not the server's", name)
		}
	}
	want := map[string]bool{}
	records(t, c, start, end, func(r *wal.Record) { want[r.StartLSN.String()] = true })
	compareTrail(t, filepath.Join(dir, "trail"), end, want)
}

func compareTrail(t *testing.T, dir string, end wal.LSN, want map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var line struct {
				Start string  `json:"start_lsn"`
				End   wal.LSN `json:"end_lsn"`
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if line.Start == "" || line.End > end {
				continue
			}
			if !want[line.Start] {
				t.Errorf("the trail has a record at %s, which the WAL has not, or twice", line.Start)
			}
			delete(want, line.Start)
			got++
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d records in the trail", got)
	if len(want) > 0 {
		t.Errorf("the trail lacks %d records", len(want))
	}
}
