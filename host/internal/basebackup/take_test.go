package basebackup_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/basebackup"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/durable"
)

func options(t *testing.T, c *postgres.Cluster, dir string) basebackup.Options {
	return basebackup.Options{
		Server: replication.Config{DSN: c.DSN()}, To: dir, Format: basebackup.Plain, Compression: "none", Label: "test", Fast: true,
		Checksums: basebackup.SHA256, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Progress: new(basebackup.Progress),
	}
}

func take(t *testing.T, o basebackup.Options) (*basebackup.Summary, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return basebackup.Take(ctx, o)
}

func mustTake(t *testing.T, o basebackup.Options) *basebackup.Summary {
	t.Helper()
	s, err := take(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// names is what lies in a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func verifyBackup(t *testing.T, c *postgres.Cluster, dir string) {
	t.Helper()
	cmd := c.Tool(t.Context(), "pg_verifybackup", "--no-parse-wal", dir)
	cmd.SysProcAttr = nil // the backup is ours, not the server's user's
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("pg_verifybackup: %v\n%s", err, out)
	}
}

// TestPlain: the directory is what PostgreSQL's own tool takes for a good backup,
// with the server's modes, and the summary lies beside it.
func TestPlain(t *testing.T) {
	c := pgtest.Start(t)
	parent := t.TempDir()
	dir := filepath.Join(parent, "backup")
	o := options(t, c, dir)
	s := mustTake(t, o)
	if got := names(t, parent); got != "backup backup.backup.json" {
		t.Errorf("there are %s", got)
	}
	verifyBackup(t, c, dir)
	for name, want := range map[string]fs.FileMode{"": 0o700, "base": 0o700, "PG_VERSION": 0o600, "backup_manifest": 0o600, "pg_wal": 0o700} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	b, err := os.ReadFile(dir + ".backup.json")
	if err != nil {
		t.Fatal(err)
	}
	var read basebackup.Summary
	if err := json.Unmarshal(b, &read); err != nil || read.StartLSN != s.StartLSN || read.SystemID != s.SystemID || read.Label != "test" || read.Version != 1 {
		t.Errorf("%v, %s", err, b)
	}
	if done, total := o.Progress.Done(); done != s.Bytes || total == 0 {
		t.Errorf("progress says %d of %d, the backup has %d bytes", done, total, s.Bytes)
	}
	// An empty directory is taken, a full one is not.
	o.To = filepath.Join(parent, "empty")
	if err := os.Mkdir(o.To, 0o755); err != nil {
		t.Fatal(err)
	}
	mustTake(t, o)
	o.To = dir
	if _, err := take(t, o); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second backup to the same directory: %v", err)
	}
}

// TestGroupAccess: the modes are those of a cluster that its group may read.
func TestGroupAccess(t *testing.T) {
	c := pgtest.New(t)
	if out, err := exec.Command("chmod", "-R", "g+rX", c.DataDir()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	mustTake(t, options(t, c, dir))
	for name, want := range map[string]fs.FileMode{"base": 0o750, "PG_VERSION": 0o640} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

// TestTablespaces: they go where the mapping says, or not at all; what was begun
// is removed.
func TestTablespaces(t *testing.T) {
	c := pgtest.Start(t)
	place := filepath.Join(c.Dir(), "place")
	pgtest.Exec(t, c, "COPY (SELECT 1) TO PROGRAM 'mkdir "+place+"'", "CREATE TABLESPACE other LOCATION '"+place+"'",
		"CREATE TABLE there TABLESPACE other AS SELECT generate_series(1, 1000) AS a")
	parent := t.TempDir()
	o := options(t, c, filepath.Join(parent, "backup"))
	if _, err := take(t, o); err == nil || !strings.Contains(err.Error(), "--tablespace-mapping") {
		t.Errorf("over the server's own tablespace: %v", err)
	}
	o.Mapping = map[string]string{"/nowhere": filepath.Join(parent, "x")}
	if _, err := take(t, o); err == nil {
		t.Error("a tablespace is mapped that is not there")
	}
	if got := names(t, parent); got != "" {
		t.Errorf("left: %s", got)
	}
	o.Mapping = map[string]string{place: filepath.Join(parent, "moved")}
	s := mustTake(t, o)
	verifyBackup(t, c, o.To)
	if len(s.Tablespaces) != 1 || s.Tablespaces[0].Directory != filepath.Join(parent, "moved") {
		t.Errorf("%+v", s.Tablespaces)
	}
	links, err := filepath.Glob(filepath.Join(o.To, "pg_tblspc", "*"))
	if err != nil || len(links) != 1 {
		t.Fatalf("%v, %v", links, err)
	}
	if to, err := os.Readlink(links[0]); err != nil || to != filepath.Join(parent, "moved") {
		t.Errorf("the link leads to %s, %v", to, err)
	}
}

// TestTar: every compression unpacks to a backup that pg_verifybackup takes.
func TestTar(t *testing.T) {
	c := pgtest.Start(t)
	for compression, command := range map[string]string{"none": "cat", "gzip": "gzip -dc", "zstd": "zstd -dcq", "lz4": "lz4 -dcq"} {
		t.Run(compression, func(t *testing.T) {
			dir, out := filepath.Join(t.TempDir(), "backup"), t.TempDir()
			o := options(t, c, dir)
			o.Format, o.Compression = basebackup.Tar, compression
			mustTake(t, o)
			script := command + ` "$1"/base.tar* | tar -x -C "$2" && cp "$1/backup_manifest" "$2"`
			if b, err := exec.Command("sh", "-c", script, "sh", dir, out).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, b)
			}
			verifyBackup(t, c, out)
		})
	}
}

// TestBrokenOff: whatever ends a backup, nothing of it stays.
func TestBrokenOff(t *testing.T) {
	c := pgtest.Start(t)
	for name, test := range map[string]struct {
		format string
		end    func(cancel func())
		want   string
	}{
		"server, plain": {basebackup.Plain, func(func()) { pgtest.Exec(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication") }, "57P01"},
		"caller, plain": {basebackup.Plain, func(cancel func()) { cancel() }, "canceled"},
		"server, tar":   {basebackup.Tar, func(func()) { pgtest.Exec(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication") }, "57P01"},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			o := options(t, c, filepath.Join(parent, "backup"))
			o.MaxRate, o.Format = replication.MinBackupRate, test.format
			if o.Format == basebackup.Tar {
				o.Compression = "zstd"
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			// The server may not have noticed yet that the one before has gone.
			if err := c.WaitFor(t.Context(), "SELECT count(*) FROM pg_stat_replication", "0"); err != nil {
				t.Fatal(err)
			}
			result := make(chan error, 1)
			go func() {
				_, err := basebackup.Take(ctx, o)
				result <- err
			}()
			if err := c.WaitFor(t.Context(), "SELECT backup_streamed > 0 FROM pg_stat_progress_basebackup", "t"); err != nil {
				t.Fatal(err)
			}
			test.end(cancel)
			if err := <-result; err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if got := names(t, parent); got != "" {
				t.Errorf("left: %s", got)
			}
		})
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLeftovers: what a killed run has left is removed, or finished where only its
// last steps were missing; what is not a run's stays.
func TestLeftovers(t *testing.T) {
	c := pgtest.Start(t)
	t.Run("half a backup", func(t *testing.T) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "backup")
		write(t, dir+".tmp/unfinished", "1\n")
		write(t, dir+".tmp/data/PG_VERSION", "15\n")
		write(t, dir+".tmp/tablespaces", parent+"/space\n"+parent+"/cut")
		write(t, parent+"/space/PG_15/1", "x")
		write(t, parent+"/cut/keep", "x")
		mustTake(t, options(t, c, dir))
		verifyBackup(t, c, dir)
		if got := names(t, parent) + "; " + names(t, parent+"/space") + "; " + names(t, parent+"/cut"); got != "backup backup.backup.json cut space; ; keep" {
			t.Errorf("there are %s", got)
		}
	})
	t.Run("all but the last steps", func(t *testing.T) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "backup")
		mustTake(t, options(t, c, dir))
		write(t, dir+".tmp/unfinished", "1\n")
		if err := os.Rename(dir+".backup.json", dir+".tmp/backup.json"); err != nil {
			t.Fatal(err)
		}
		if _, err := take(t, options(t, c, dir)); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("got %v", err)
		}
		if got := names(t, parent); got != "backup backup.backup.json" {
			t.Errorf("there are %s", got)
		}
	})
	t.Run("somebody else's", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "backup")
		write(t, dir+".tmp/data/mine", "x")
		if _, err := take(t, options(t, c, dir)); err == nil || !strings.Contains(err.Error(), "not of a base backup") {
			t.Errorf("got %v", err)
		}
		if got := names(t, dir+".tmp/data"); got != "mine" {
			t.Errorf("there are %s", got)
		}
	})
	t.Run("a run that lives", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "backup")
		write(t, dir+".tmp/data/PG_VERSION", "15\n")
		lock, err := durable.OS{}.Lock(t.Context(), dir+".tmp/unfinished", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
		if _, err := take(t, options(t, c, dir)); !errors.Is(err, durable.ErrLocked) {
			t.Errorf("got %v", err)
		}
		if got := names(t, dir+".tmp/data"); got != "PG_VERSION" {
			t.Errorf("there are %s", got)
		}
	})
}

// TestHistoryFile: what is written into the archive is what PostgreSQL itself
// writes for the same backup, where it archives.
func TestHistoryFile(t *testing.T) {
	c := pgtest.Start(t, func(o *postgres.Options) {
		o.SegmentSizeMB = 1
		o.Conf = map[string]string{"archive_mode": "on", "archive_command": "false", "wal_keep_size": "1GB"}
	})
	o := options(t, c, filepath.Join(t.TempDir(), "backup"))
	o.Label, o.Archive, o.Wait = "it's a label", t.TempDir(), time.Nanosecond
	s, err := take(t, o)
	var not *basebackup.NotArchivedError
	if !errors.As(err, &not) || not.Summary != s || !strings.Contains(err.Error(), "has not got the segment "+s.FirstSegment) {
		t.Fatalf("with an empty archive: %v", err)
	}
	verifyBackup(t, c, o.To)
	stopTime := regexp.MustCompile(`STOP TIME: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+\n`)
	got, err := os.ReadFile(filepath.Join(o.Archive, s.HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(c.WALDir(), s.HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	if g, w := stopTime.ReplaceAll(got, []byte("T\n")), stopTime.ReplaceAll(want, []byte("T\n")); string(g) != string(w) || string(g) == string(got) {
		t.Errorf("we have written\n%s\nPostgreSQL\n%s", got, want)
	}
}

// TestUsage: options that cannot be are told apart from what fails.
func TestUsage(t *testing.T) {
	c := pgtest.New(t)
	for name, change := range map[string]func(*basebackup.Options){
		"format":      func(o *basebackup.Options) { o.Format = "zip" },
		"compression": func(o *basebackup.Options) { o.Format, o.Compression = basebackup.Tar, "bzip2" },
		"plain":       func(o *basebackup.Options) { o.Compression = "gzip" },
		"rate":        func(o *basebackup.Options) { o.MaxRate = 31 },
		"checksums":   func(o *basebackup.Options) { o.Checksums = "MD5" },
		"mapping":     func(o *basebackup.Options) { o.Mapping = map[string]string{"relative": "/x"} },
		"tar mapping": func(o *basebackup.Options) { o.Format, o.Mapping = basebackup.Tar, map[string]string{"/y": "/x"} },
		"directory":   func(o *basebackup.Options) { o.To = "" },
	} {
		o := options(t, c, filepath.Join(t.TempDir(), "backup"))
		change(&o)
		_, err := take(t, o)
		var usage *basebackup.UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
