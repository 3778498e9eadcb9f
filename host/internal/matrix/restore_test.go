//go:build matrix

package matrix

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/golden/servers"
	"github.com/walplex/walplex/host/internal/postgres"
)

const archiveAlone = `
stream "main" {
  postgres {
    dsn         = %q
    slot        = "walplex"
    create_slot = true
  }
  sink "segment_file" "archive" {
    config {
      directory   = %q
      compression = "zstd"
      file_mode   = "0644"
    }
  }
}`

// TestRestores: a backup of each major, plain and tar, and the archive beside it
// are recovered by a server of that major to what the first one held.
func TestRestores(t *testing.T) {
	cache, err := servers.DefaultCache()
	if err != nil {
		t.Fatal(err)
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
			backUpAndRestore(t, c)
		})
	}
}

func destroyAfter(t *testing.T, c *postgres.Cluster) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if t.Failed() {
			t.Logf("the server's log:\n%s", c.Log())
		}
		if err := c.Destroy(ctx); err != nil {
			t.Error(err)
		}
	})
}

// walplex runs the program, as the server's user.
func walplex(t *testing.T, c *postgres.Cluster, args ...string) {
	t.Helper()
	if err := asUser(t.Context(), c, program, args...); err != nil {
		t.Fatal(err)
	}
}

func asUser(ctx context.Context, c *postgres.Cluster, name string, args ...string) error {
	cmd := c.Tool(ctx, "postgres", args...)
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	cmd.Path, cmd.Args[0], cmd.Err = path, name, nil
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return nil
}

func backUpAndRestore(t *testing.T, c *postgres.Cluster) {
	if err := os.Chmod(filepath.Dir(program), 0o711); err != nil {
		t.Fatal(err)
	}
	archive, conf := filepath.Join(c.Dir(), "archive"), filepath.Join(c.Dir(), "walplex.hcl")
	if err := os.WriteFile(conf, fmt.Appendf(nil, archiveAlone, c.DSN(), archive), 0o644); err != nil {
		t.Fatal(err)
	}
	exec1(t, c, "CREATE TABLE t AS SELECT n, md5(n::text) AS filler FROM generate_series(1, 20000) n", "CREATE INDEX ON t (n)")
	place := filepath.Join(c.Dir(), "place")
	if err := asUser(t.Context(), c, "mkdir", place); err != nil {
		t.Fatal(err)
	}
	exec1(t, c, "CREATE TABLESPACE other LOCATION '"+place+"'", "CREATE TABLE u TABLESPACE other AS SELECT n FROM generate_series(1, 20000) n")
	walplex(t, c, "run", "--until", "caught-up", conf) // makes the slot
	for format, args := range map[string][]string{"plain": {"--tablespace-mapping", place + "=" + place + ".plain"}, "tar": {"--max-rate", "100M"}} {
		walplex(t, c, append([]string{"archive", "base-backup", "--checkpoint", "fast", "--format", format, "--to", filepath.Join(c.Dir(), format), conf}, args...)...)
		exec1(t, c, "UPDATE t SET filler = filler || '"+format+"' WHERE n % 3 = 0", "DELETE FROM t WHERE n % 7 = 0", "INSERT INTO t SELECT n, 'new' FROM generate_series(1, 5000) n", "DELETE FROM u WHERE n % 5 = 0")
	}
	walplex(t, c, "run", "--until", "caught-up", conf)
	walplex(t, c, "archive", "verify", archive)
	const sum = "SELECT count(*) || ' ' || md5(string_agg(t::text, ',' ORDER BY t::text)) FROM (SELECT * FROM t UNION ALL SELECT n, 'u' FROM u) t"
	want, err := c.QueryString(t.Context(), sum)
	if err != nil {
		t.Fatal(err)
	}
	for format, script := range map[string]string{
		"plain": `cp -a "$2" "$1"`,
		"tar": `mkdir -m 0700 "$1" "$3.tar"; tar -xf "$2/base.tar" -C "$1"; tar -xf "$2"/[0-9]*.tar -C "$3.tar"
			sed -i "s|$3|$3.tar|" "$1/tablespace_map"`,
	} {
		opt := postgres.Options{Install: c.Install(), Conf: map[string]string{
			"restore_command": program + " archive get --from " + archive + " %f %p", "recovery_target_action": "promote"}}
		r, err := postgres.Restore(t.Context(), opt, func(ctx context.Context, r *postgres.Cluster) error {
			return asUser(ctx, r, "sh", "-euc", script+`; touch "$1/recovery.signal"`, "sh", r.DataDir(), filepath.Join(c.Dir(), format), place)
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
		got, err := r.QueryString(t.Context(), sum)
		if err != nil || got != want {
			t.Errorf("%s: the table is %s, want %s (%v)", format, got, want, err)
		}
		t.Logf("PostgreSQL %d, %s: restored, %s", c.Install().Version, format, got)
	}
}

func exec1(t *testing.T, c *postgres.Cluster, sql ...string) {
	t.Helper()
	if err := c.Exec(t.Context(), sql...); err != nil {
		t.Fatal(err)
	}
}
