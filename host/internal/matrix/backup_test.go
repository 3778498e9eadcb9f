//go:build matrix

package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/golden/servers"
	"github.com/walplex/walplex/host/internal/postgres"
)

const baseBeside = `
stream "main" {
  postgres {
    dsn         = %q
    slot        = "walplex"
    create_slot = true
  }
  sink "segment_file" "archive" {
    config {
      directory = "%[2]s/archive"
      file_mode = "0644"
    }
  }
  sink "base" "base" {
    config { directory = "%[2]s/base" }
  }
}
plugin "base" { path = %[3]q }`

// TestBaseBackups: a sink that begins with a base backup gets every file that a
// server of each major names in its manifest, and with the archive beside it such a
// server recovers from them.
func TestBaseBackups(t *testing.T) {
	cache, err := servers.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	sink := filepath.Join(t.TempDir(), "basesink")
	if out, err := exec.Command("go", "build", "-o", sink, "github.com/walplex/walplex/host/internal/e2e/basesink").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for major := 14; major <= 18; major++ {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			in, err := servers.NPM(t.Context(), cache, major)
			if err != nil {
				t.Fatal(err)
			}
			c, err := postgres.New(t.Context(), postgres.Options{Install: in, SegmentSizeMB: 1, Conf: map[string]string{"wal_keep_size": "1GB"}})
			if err != nil {
				t.Fatal(err)
			}
			destroyAfter(t, c)
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			exec1(t, c, "CREATE TABLE t AS SELECT n, md5(n::text) AS filler FROM generate_series(1, 20000) n", "CREATE INDEX ON t (n)")
			backUpToSink(t, c, sink)
		})
	}
}

func backUpToSink(t *testing.T, c *postgres.Cluster, sink string) {
	dir, err := os.MkdirTemp("", "walplex-matrix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	conf := filepath.Join(dir, "walplex.hcl")
	if err := os.WriteFile(conf, fmt.Appendf(nil, baseBeside, c.DSN(), dir, sink), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time the sink has its backup
		if out, err := exec.CommandContext(t.Context(), program, "run", "--until", "caught-up", conf).CombinedOutput(); err != nil {
			t.Fatalf("walplex run: %v\n%s", err, out)
		}
		exec1(t, c, "UPDATE t SET filler = filler || 'x' WHERE n % 3 = 0", "INSERT INTO t SELECT n, 'new' FROM generate_series(1, 5000) n")
	}
	backup := filepath.Join(dir, "base", "backup")
	compareManifest(t, backup)
	for _, dir := range []string{filepath.Dir(program), dir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The archive needs the last rows too.
	if out, err := exec.CommandContext(t.Context(), program, "run", "--until", "caught-up", conf).CombinedOutput(); err != nil {
		t.Fatalf("walplex run: %v\n%s", err, out)
	}
	if out, err := exec.Command("chmod", "-R", "a+rX", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	opt := postgres.Options{Install: c.Install(), Conf: map[string]string{
		"restore_command": program + " archive get --from " + filepath.Join(dir, "archive") + " %f %p", "recovery_target_action": "promote"}}
	r, err := postgres.Restore(t.Context(), opt, func(ctx context.Context, r *postgres.Cluster) error {
		return asUser(ctx, r, "sh", "-euc", `cp -r "$2" "$1"; chmod -R go= "$1"; touch "$1/recovery.signal"`, "sh", r.DataDir(), backup)
	})
	if err != nil {
		t.Fatal(err)
	}
	destroyAfter(t, r)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.WaitFor(ctx, "SELECT pg_is_in_recovery()", "f"); err != nil {
		t.Fatal(err)
	}
	const sum = "SELECT count(*) || ' ' || md5(string_agg(t::text, ',' ORDER BY t::text)) FROM t"
	want, err := c.QueryString(t.Context(), sum)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.QueryString(t.Context(), sum); err != nil || got != want {
		t.Errorf("the table is %s, want %s (%v)", got, want, err)
	}
}

// compareManifest holds the files that a sink has stored against the manifest.
func compareManifest(t *testing.T, backup string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(backup, "backup_manifest"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Files []struct {
			Path string
			Size int64
		}
	}
	if err := json.Unmarshal(text, &m); err != nil || len(m.Files) < 900 {
		t.Fatalf("the manifest names %d files (%v)", len(m.Files), err)
	}
	for _, f := range m.Files {
		if st, err := os.Stat(filepath.Join(backup, f.Path)); err != nil || st.Size() != f.Size {
			t.Errorf("%s: %v, want %d bytes", f.Path, err, f.Size)
		}
	}
}
