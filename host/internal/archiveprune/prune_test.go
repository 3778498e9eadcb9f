package archiveprune_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/walplex/walplex/host/internal/archiveprune"
	"github.com/walplex/walplex/host/internal/archiveverify"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/retention"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

const size = wal.SegmentSize(wal.MinSegmentSize)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// archive makes a directory of segments 1 to 5 and the beginning of 6, of which 2 is
// compressed, with the history file of a backup that begins in segment 3.
func archive(t *testing.T) string {
	t.Helper()
	w := waltest.New(waltest.Options{})
	for range 5000 {
		w.LogicalMessage("test", 1000)
	}
	dir := t.TempDir()
	for at := w.Options().Start; at < w.End(); at = size.End(at) {
		no := size.SegNo(at)
		f, err := os.Create(filepath.Join(dir, size.FileName(1, no)+map[wal.SegNo]string{2: ".gz", 6: ".partial"}[no]))
		must(t, err)
		p := w.Bytes()[at-w.Options().Start : min(size.End(at), w.End())-w.Options().Start]
		if no == 2 {
			z := gzip.NewWriter(f)
			_, err = z.Write(p)
			must(t, errors.Join(err, z.Close()))
		} else {
			_, err = f.Write(p)
			must(t, err)
		}
		if no == 6 {
			must(t, f.Truncate(int64(size)))
		}
		must(t, f.Close())
		must(t, os.Chtimes(f.Name(), time.Time{}, now.Add(-time.Duration(10-no)*24*time.Hour)))
	}
	must(t, os.WriteFile(filepath.Join(dir, backupFile), []byte("START WAL LOCATION: 0/300028 (file 000000010000000000000003)\nLABEL: nightly\n"), 0o600))
	return dir
}

const backupFile = "000000010000000000000003.00000028.backup"

var now = time.Now()

// first is the first segment that is there.
func first(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	return entries[slices.IndexFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "0") && e.Name() != backupFile })].Name()
}

// TestPrune: a dry run names what is then removed, and no more; what is left is a
// whole archive.
func TestPrune(t *testing.T) {
	for _, c := range []struct {
		o       archiveprune.Options
		removed int
		held    retention.Reason
	}{
		{archiveprune.Options{Size: 1}, 4, retention.Needed},
		{archiveprune.Options{Size: 3 << 20}, 3, retention.BySize},
		{archiveprune.Options{Age: 7*24*time.Hour + time.Hour}, 2, retention.ByAge},
		{archiveprune.Options{Backup: "nightly"}, 2, retention.ByBackup},
		{archiveprune.Options{Backup: "newest:1", Size: 3 << 20}, 2, retention.ByBackup},
		{archiveprune.Options{Backup: "000000010000000000000002.00000028.backup"}, 1, retention.ByBackup},
		{archiveprune.Options{}, 0, retention.NoRule},
	} {
		dir := archive(t)
		c.o.Directory, c.o.Now = dir, now
		var dry, real []string
		run := func(names *[]string) archiveprune.Report {
			c.o.Removed = func(path string) { *names = append(*names, path) }
			r, err := archiveprune.Prune(t.Context(), c.o)
			must(t, err)
			return r
		}
		c.o.DryRun = true
		would := run(&dry)
		if got := first(t, dir); got != size.FileName(1, 1) {
			t.Errorf("%+v: the dry run has removed WAL: the first is %s", c.o, got)
		}
		if _, err := os.Stat(filepath.Join(dir, ".walplex.lock")); err == nil {
			t.Error("the dry run has made a file")
		}
		c.o.DryRun = false
		did := run(&real)
		if !slices.Equal(dry, real) || would != did || len(real) != c.removed || did.Segments != int64(c.removed) || did.Held != c.held {
			t.Errorf("%+v: would remove %q, removed %q: %+v", c.o, dry, real, did)
		}
		for _, path := range real {
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("%s: %v", path, err)
			}
		}
		if got := first(t, dir); !strings.HasPrefix(got, did.First) || did.First != size.FileName(1, wal.SegNo(1+c.removed)) {
			t.Errorf("%+v: the first is %s, the report says %s", c.o, got, did.First)
		}
		rep, err := archiveverify.Verify(t.Context(), dir, archiveverify.Options{Jobs: 1})
		must(t, err)
		if !rep.Whole || rep.Holes != 0 || rep.BackupHistory != 1 {
			t.Errorf("%+v: what is left is not whole: %+v", c.o, rep)
		}
	}
}

// TestPruneRefuses: what it refuses, it leaves as it is.
func TestPruneRefuses(t *testing.T) {
	for want, spoil := range map[string]func(t *testing.T, dir string){
		"a sink has the directory open": func(t *testing.T, dir string) {
			lock, err := durable.OS{}.Lock(t.Context(), filepath.Join(dir, ".walplex.lock"), 0)
			must(t, err)
			t.Cleanup(func() { _ = lock.Close() })
		},
		"pg_wal of a server": func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, "archive_status"), 0o700)) },
		"format version 3": func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, ".walplex-segment_file"), []byte(`{"version":3}`), 0o600))
		},
		"does not say the version": func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, ".walplex-segment_file"), []byte(`3`), 0o600))
		},
		"label \"weekly\"": func(t *testing.T, dir string) {},
		"is no WAL segment": func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, size.FileName(2, 1)), make([]byte, 8192), 0o600))
		},
	} {
		dir := archive(t)
		spoil(t, dir)
		o := archiveprune.Options{Directory: dir, Size: 1, Now: now, Removed: func(path string) { t.Errorf("%s: removed %s", want, path) }}
		if strings.HasPrefix(want, "label") {
			o.Backup = "weekly"
		}
		if _, err := archiveprune.Prune(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if got := first(t, dir); got != size.FileName(1, 1) {
			t.Errorf("%s: the first is %s", want, got)
		}
	}
	dir := t.TempDir()
	if _, err := archiveprune.Prune(t.Context(), archiveprune.Options{Directory: dir, Size: 1}); err == nil || !strings.Contains(err.Error(), "no finished WAL segment") {
		t.Error(err)
	}
}

// TestPruneDryRunBesideSink: a dry run does not mind the lock.
func TestPruneDryRunBesideSink(t *testing.T) {
	dir := archive(t)
	lock, err := durable.OS{}.Lock(t.Context(), filepath.Join(dir, ".walplex.lock"), 0)
	must(t, err)
	defer lock.Close()
	n := 0
	r, err := archiveprune.Prune(t.Context(), archiveprune.Options{Directory: dir, Size: 1, DryRun: true, Now: now, Removed: func(string) { n++ }})
	if err != nil || n != 4 || r.Segments != 4 {
		t.Errorf("%d names, %+v, %v", n, r, err)
	}
}

func TestSummary(t *testing.T) {
	r := archiveprune.Report{Segments: 1, Bytes: 1 << 20, KeptSegments: 3, KeptBytes: 3 << 20, First: "000000010000000000000002", Held: retention.BySize}
	if got, want := r.Summary(true), "would remove 1 segment, 1 MiB; 3 segments, 3 MiB stay, from 000000010000000000000002 on: what is left is within --keep-size"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
