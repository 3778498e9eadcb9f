package waldump

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// TestBadInput: what cannot be read is named. The first line is pg_waldump 15's
// own, but for names that are no segment's, which it takes for something else,
// and for the reasons behind "could not find a valid record".
func TestBadInput(t *testing.T) {
	const first, second = "000000010000000000000010", "000000020000000000000011"
	good := segments(t, small(t, 20_000)) // three segments
	mixed := segments(t, small(t, 20_000))
	if err := os.Rename(filepath.Join(mixed, "000000010000000000000011"), filepath.Join(mixed, second)); err != nil {
		t.Fatal(err)
	}
	newer := segments(t, small(t, 100))
	spoil(t, filepath.Join(newer, first), func(b []byte) { binary.LittleEndian.PutUint16(b, 0xD1FF) })
	named := segments(t, small(t, 100))
	for _, name := range []string{"wal", "00000001000000000000001g", "00000001000000000000001", "000000010000000100001000"} {
		if err := os.Link(filepath.Join(named, first), filepath.Join(named, name)); err != nil {
			t.Fatal(err)
		}
	}
	empty, short := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(short, first), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	zeros := t.TempDir()
	if err := os.WriteFile(filepath.Join(zeros, first), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	notName := func(name string) string {
		return `error: "` + name + `" is not the name of a WAL segment: want 24 upper-case hexadecimal digits`
	}
	for _, c := range []struct {
		what string
		args []string
		want string
	}{
		{"no directory", []string{"-p", filepath.Join(empty, "none"), "-s", "0/1000000"}, `error: could not open directory "` + filepath.Join(empty, "none") + `": No such file or directory` + "\n" + `pg_waldump: hint: Try "pg_waldump --help" for more information.`},
		{"a directory without segments", []string{"-p", empty, "-s", "0/1000000"}, "error: could not find any WAL file"},
		{"a directory as a segment", []string{empty}, `error: could not read file "` + filepath.Base(empty) + `": Is a directory`},
		{"a short file", []string{filepath.Join(short, first)}, `error: could not read file "` + first + `": read 100 of 8192`},
		{"zeros", []string{filepath.Join(zeros, first)}, `error: invalid WAL segment size in WAL file "` + first + `" (0 bytes)` + "\n" + "pg_waldump: detail: The WAL segment size must be a power of two between 1 MB and 1 GB."},
		{"no name of a segment", []string{filepath.Join(named, "wal")}, notName("wal")},
		{"a wrong digit", []string{filepath.Join(named, "00000001000000000000001g")}, notName("00000001000000000000001g")},
		{"a digit too few", []string{filepath.Join(named, "00000001000000000000001")}, notName("00000001000000000000001")},
		{"a number too large", []string{filepath.Join(named, "000000010000000100001000")}, `error: "000000010000000100001000" is not the name of a WAL segment of 1048576 bytes: its last part must be below 1000`},
		{"two timelines", []string{filepath.Join(mixed, first), filepath.Join(mixed, second)},
			`error: could not find file "000000020000000000000010": No such file or directory` + "\n" +
				"pg_waldump: detail: STARTSEG is of timeline 1 and ENDSEG of timeline 2, which is the one that is read."},
		{"a timeline that is not there", []string{"-p", good, "-t", "3", "-s", "0/1000000"}, `error: could not find file "000000030000000000000010": No such file or directory`},
		{"an unknown magic number", []string{filepath.Join(newer, first)}, "error: could not find a valid record after 0/1000000: invalid magic number D1FF in WAL segment " + first +
			", LSN 0/1000000, offset 0 (a page of an unsupported version: PostgreSQL 14 to 18 can be read)"},
	} {
		got := ours(t, append(c.args, "-q")...)
		if want := "pg_waldump: " + c.want + "\n"; got.status != 1 || got.stdout != "" || got.stderr != want {
			t.Errorf("%s: status %d, %s\nwant %s", c.what, got.status, got.stderr, want)
		}
	}
}

// spoil changes a file.
func spoil(t *testing.T, path string, change func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(b)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
