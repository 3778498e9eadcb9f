package basebackup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/basebackup"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
)

// begin begins a backup of the server.
func begin(t *testing.T, c *postgres.Cluster, checksums string) *replication.BaseBackup {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	conn, err := replication.Connect(ctx, replication.Config{DSN: c.DSN()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) }) // a backup that was given up may have closed it
	b, err := conn.BaseBackup(ctx, replication.BaseBackupOptions{Fast: true, ManifestChecksums: checksums})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// memory keeps a backup's files.
type memory struct {
	files    map[string]*bytes.Buffer
	sizes    map[string]int64
	dirs     int
	open     string
	manifest []byte
}

func newMemory() *memory {
	return &memory{files: map[string]*bytes.Buffer{}, sizes: map[string]int64{}}
}

func (m *memory) Directory(string, fs.FileMode) error { m.dirs++; return nil }
func (m *memory) Link(string, string) error           { return errors.New("there is no tablespace") }
func (m *memory) File(name string, size int64, mode fs.FileMode) error {
	if m.open != "" || mode != 0o600 {
		return errors.New("a file in a file, or of mode " + mode.String())
	}
	m.open, m.files[name], m.sizes[name] = name, new(bytes.Buffer), size
	return nil
}
func (m *memory) Data(p []byte) error { _, err := m.files[m.open].Write(p); return err }
func (m *memory) End() error          { m.open = ""; return nil }
func (m *memory) Manifest(b []byte) error {
	m.manifest = b
	return nil
}

// TestReceive gives every file whole, with either checksum.
func TestReceive(t *testing.T) {
	c := pgtest.Start(t)
	id, err := strconv.ParseUint(query(t, c, "SELECT system_identifier FROM pg_control_system()"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, sums := range []string{basebackup.SHA256, basebackup.CRC32C} {
		m := newMemory()
		got, err := basebackup.Receive(begin(t, c, sums), m, sums, id)
		if err != nil {
			t.Fatal(err)
		}
		if got.Files != len(m.files) || got.Files < 500 || m.dirs < 20 || len(got.Manifest.Files) != got.Files || len(m.manifest) == 0 {
			t.Errorf("%d files, %d given, %d in the manifest, %d directories", got.Files, len(m.files), len(got.Manifest.Files), m.dirs)
		}
		for name, b := range m.files {
			if m.sizes[name] != int64(b.Len()) {
				t.Errorf("%s has %d bytes of %d", name, b.Len(), m.sizes[name])
			}
		}
		want, err := os.ReadFile(filepath.Join(c.DataDir(), "global", "pg_filenode.map"))
		if err != nil || !bytes.Equal(want, m.files["global/pg_filenode.map"].Bytes()) {
			t.Errorf("global/pg_filenode.map is not the server's, %v", err)
		}
		if !bytes.Equal(got.Label, m.files["backup_label"].Bytes()) {
			t.Errorf("the label is %q", got.Label)
		}
	}
}

// damaged is a backup with one byte changed on the way.
type damaged struct {
	*replication.BaseBackup
	manifest bool // in the manifest, else in the data directory
	at       int64
	inside   bool
	off      int64
}

func (d *damaged) Next() (replication.BackupPart, error) {
	p, err := d.BaseBackup.Next()
	d.inside, d.off = p.Manifest == d.manifest, 0
	return p, err
}

func (d *damaged) Read(p []byte) (int, error) {
	n, err := d.BaseBackup.Read(p)
	if d.inside && d.at >= d.off && d.at < d.off+int64(n) {
		p[d.at-d.off] ^= 0x20
	}
	d.off += int64(n)
	return n, err
}

// TestDamage: a byte that is changed anywhere is found, with what is wrong.
func TestDamage(t *testing.T) {
	c := pgtest.Start(t)
	for name, test := range map[string]struct {
		d    damaged
		sums string
		want string
	}{
		"file, SHA256":            {damaged{at: 512 + 30}, basebackup.SHA256, "the SHA256 checksum of backup_label is"},
		"file, CRC32C":            {damaged{at: 512 + 30}, basebackup.CRC32C, "the CRC32C checksum of backup_label is"},
		"tar header":              {damaged{at: 3}, basebackup.SHA256, "base.tar, which the server sends, is damaged"},
		"manifest's file":         {damaged{manifest: true, at: 100}, basebackup.SHA256, "the manifest is damaged"},
		"manifest's first letter": {damaged{manifest: true, at: 0}, basebackup.SHA256, "the manifest is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			test.d.BaseBackup = begin(t, c, test.sums)
			_, err := basebackup.Receive(&test.d, newMemory(), test.sums, 0)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	t.Run("another cluster", func(t *testing.T) {
		// Before PG17 the manifest does not say whose it is.
		id, err := strconv.ParseUint(query(t, c, "SELECT system_identifier FROM pg_control_system()"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		got, err := basebackup.Receive(begin(t, c, basebackup.SHA256), newMemory(), basebackup.SHA256, id+1)
		if known := c.Install().Major() >= 17; known != (err != nil) {
			t.Errorf("%v, %+v", err, got)
		}
	})
}

// cut is a backup that ends in the middle of its first archive.
type cut struct {
	*replication.BaseBackup
	left int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.BaseBackup.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// TestCutArchive: an archive that ends too early is no archive.
func TestCutArchive(t *testing.T) {
	c := pgtest.Start(t)
	for _, left := range []int{0, 512, 700, 1 << 20} {
		if _, err := basebackup.Receive(&cut{begin(t, c, basebackup.SHA256), left}, newMemory(), basebackup.SHA256, 0); err == nil {
			t.Errorf("an archive of %d bytes is taken for a whole one", left)
		}
	}
}

// TestReceiverFails: the receiver's error ends the backup and is passed on.
func TestReceiverFails(t *testing.T) {
	c := pgtest.Start(t)
	full := errors.New("the sink is full")
	_, err := basebackup.Receive(begin(t, c, basebackup.SHA256), failing{newMemory(), full}, basebackup.SHA256, 0)
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

type failing struct {
	*memory
	err error
}

func (f failing) Data([]byte) error { return f.err }

func query(t *testing.T, c *postgres.Cluster, sql string) string {
	t.Helper()
	s, err := c.QueryString(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
