package demo

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// Two whole segments and a part of a third, as a server and an archive hold them.
const (
	second  = "000000010000000000000002"
	third   = "000000010000000000000003"
	last    = "000000010000000000000004"
	lastLen = 300_000
)

func threeSegments() span {
	return span{timeline: 1, size: wal.MinSegmentSize, from: 0x234560, to: 0x400000 + lastLen}
}

// writeSegments writes random segments; those of the archive lie in another
// directory, and its last one is partial.
func writeSegments(t *testing.T) (walDir, archiveDir string) {
	t.Helper()
	walDir, archiveDir = t.TempDir(), t.TempDir()
	r := rand.NewChaCha8([32]byte{1})
	for _, name := range []string{second, third, last} {
		b := make([]byte, wal.MinSegmentSize)
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(walDir, name), b)
		if name == last {
			b = bytes.Clone(b)
			clear(b[lastLen:]) // what lies behind the end is nobody's business
			name += wal.PartialSuffix
		}
		writeFile(t, filepath.Join(archiveDir, name), b)
	}
	return walDir, archiveDir
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func flip(t *testing.T, path string, at int) {
	t.Helper()
	b := readFile(t, path)
	b[at] ^= 1
	writeFile(t, path, b)
}

func TestArchiveIsCompared(t *testing.T) {
	walDir, archiveDir := writeSegments(t)
	a, err := compareArchive(t.Context(), walDir, archiveDir, threeSegments())
	if want := (archived{segments: 3, bytes: 2*wal.MinSegmentSize + lastLen}); err != nil || a != want {
		t.Fatalf("compared %+v, %v; want %+v", a, err, want)
	}
}

func TestDamagedArchiveIsFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   string // in the error
	}{
		{"first byte of all", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, second), 0) }, second + " at byte 0, LSN 0/200000: it has "},
		{"byte in the middle", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, third), compareSize+77) }, third + " at byte 262221, LSN 0/34004D: it has "},
		{"last byte of WAL", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, last+wal.PartialSuffix), lastLen-1) }, last + " at byte 299999, LSN 0/4493DF: it has "},
		{"a segment is missing", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, third)) }, third + ": no such file"},
		{"a segment was not finished", func(t *testing.T, dir string) { rename(t, dir, third, third+wal.PartialSuffix) }, third + ": no such file"},
		{"the last segment is called finished", func(t *testing.T, dir string) { rename(t, dir, last+wal.PartialSuffix, last) }, last + ".partial: no such file"},
		{"a segment too much", func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "000000010000000000000005"), make([]byte, wal.MinSegmentSize))
		}, "000000010000000000000005 is not of the WAL from 0/234560 to 0/4493E0"},
		{"a segment is short", func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, second), readFile(t, filepath.Join(dir, second))[:wal.MinSegmentSize-1])
		}, second + " has less than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			walDir, archiveDir := writeSegments(t)
			c.damage(t, archiveDir)
			_, err := compareArchive(t.Context(), walDir, archiveDir, threeSegments())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want an error with %q", err, c.want)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}
