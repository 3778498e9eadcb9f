package replication_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
)

// TestBaseBackup reads a backup with a tablespace through: its parts, its files,
// its positions; then the connection takes commands again.
func TestBaseBackup(t *testing.T) {
	c := pgtest.Start(t, smallSegments)
	place := filepath.Join(c.Dir(), "a tablespace")
	mkdir(t, c, place)
	pgtest.Exec(t, c, "CREATE TABLESPACE other LOCATION '"+place+"'",
		"CREATE TABLE there TABLESPACE other AS SELECT generate_series(1, 1000) AS a")
	conn := connect(t, c, replication.Config{})
	b, err := conn.BaseBackup(testContext(t), replication.BaseBackupOptions{Label: "it's me", Fast: true, ManifestChecksums: "CRC32C", TablespaceMap: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(b.Tablespaces()); n != 2 || b.Tablespaces()[0].Location != place || b.Tablespaces()[1].Size < 1<<20 {
		t.Errorf("tablespaces %+v", b.Tablespaces())
	}
	files := map[string]string{}
	var names []string
	for {
		part, err := b.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, part.Name)
		if part.Manifest {
			manifest, err := io.ReadAll(b)
			if err != nil || !strings.Contains(string(manifest), `"Checksum-Algorithm": "CRC32C"`) {
				t.Errorf("%v, manifest: %.200s", err, manifest)
			}
			continue
		}
		for r := tar.NewReader(b); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files[h.Name] = string(content)
		}
	}
	if len(names) != 3 || names[2] != "backup_manifest" {
		t.Errorf("parts %v", names)
	}
	if label := files["backup_label"]; !strings.Contains(label, "LABEL: it's me\n") || !strings.Contains(label, "START WAL LOCATION: "+b.Start().LSN.String()) {
		t.Errorf("backup_label: %q", label)
	}
	if !strings.Contains(files["tablespace_map"], place) {
		t.Errorf("tablespace_map: %q", files["tablespace_map"])
	}
	control, err := os.ReadFile(filepath.Join(c.DataDir(), "PG_VERSION"))
	if err != nil || files["PG_VERSION"] != string(control) {
		t.Errorf("PG_VERSION %q, want %q, %v", files["PG_VERSION"], control, err)
	}
	if b.End().LSN <= b.Start().LSN || b.End().LSN > flushLSN(t, c) || b.End().Timeline != 1 || b.Start().Timeline != 1 {
		t.Errorf("from %+v to %+v", b.Start(), b.End())
	}
	if _, err := b.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %v", err)
	}
	if _, err := conn.IdentifySystem(testContext(t)); err != nil {
		t.Errorf("the connection after the backup: %v", err)
	}
}

func mkdir(t *testing.T, c *postgres.Cluster, dir string) {
	t.Helper()
	pgtest.Exec(t, c, "COPY (SELECT 1) TO PROGRAM $$mkdir \""+dir+"\"$$")
}

// TestBaseBackupPartsAreSkipped: Next throws away what was not read.
func TestBaseBackupPartsAreSkipped(t *testing.T) {
	c := pgtest.Start(t, smallSegments)
	b, err := connect(t, c, replication.Config{}).BaseBackup(testContext(t), replication.BaseBackupOptions{Fast: true, ManifestChecksums: "SHA256"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil; n++ {
		_, err = b.Next()
	}
	if !errors.Is(err, io.EOF) || n != 3 || b.End().LSN == 0 {
		t.Errorf("%d parts, %v", n-1, err)
	}
}

// TestBaseBackupEnds: the server, the caller and a bad command end it with an
// error that says so.
func TestBaseBackupEnds(t *testing.T) {
	c := pgtest.Start(t, smallSegments)
	o := replication.BaseBackupOptions{Fast: true, ManifestChecksums: "SHA256", MaxRate: replication.MinBackupRate}
	t.Run("server", func(t *testing.T) {
		b, err := connect(t, c, replication.Config{}).BaseBackup(testContext(t), o)
		if err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
		for err == nil {
			_, err = b.Next()
		}
		if e := checkError(t, err, wantError{code: "57P01"}); !e.ServerEnds {
			t.Errorf("the server ends no connection: %#v", e)
		}
		if _, again := b.Next(); again == nil || errors.Is(again, io.EOF) {
			t.Errorf("after the error: %v", again)
		}
	})
	t.Run("caller", func(t *testing.T) {
		ctx, cancel := context.WithCancel(testContext(t))
		b, err := connect(t, c, replication.Config{}).BaseBackup(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		for err == nil {
			_, err = b.Next()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("command", func(t *testing.T) {
		bad := o
		bad.ManifestChecksums = "MD5"
		_, err := connect(t, c, replication.Config{}).BaseBackup(testContext(t), bad)
		var e *replication.Error
		if !errors.As(err, &e) || e.SQLSTATE == "" {
			t.Errorf("got %v", err)
		}
		bad = o
		bad.Label = "two\nlines"
		_, err = connect(t, c, replication.Config{}).BaseBackup(testContext(t), bad)
		checkError(t, err, wantError{permanent: true})
	})
	t.Run("role", func(t *testing.T) {
		pgtest.Exec(t, c, "CREATE ROLE plain LOGIN")
		_, err := replication.Connect(testContext(t), replication.Config{DSN: c.DSN("user=plain")})
		checkError(t, err, wantError{code: "42501", permanent: true})
	})
}
