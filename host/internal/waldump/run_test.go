package waldump

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// segments writes the WAL to files in a new directory.
func segments(t testing.TB, w *waltest.Writer) string {
	t.Helper()
	dir := t.TempDir()
	o, b := w.Options(), w.Bytes()
	size := int(o.SegmentSize)
	for at := 0; at < len(b); at += size {
		file := make([]byte, size)
		copy(file, b[at:])
		name := o.SegmentSize.FileName(1, o.SegmentSize.SegNo(o.Start+wal.LSN(at)))
		if err := os.WriteFile(filepath.Join(dir, name), file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func small(t testing.TB, records int) *waltest.Writer {
	t.Helper()
	w := waltest.New(waltest.Options{SegmentSize: wal.MinSegmentSize, Start: 0x1000000})
	rel := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}
	for i := range records {
		w.Append(waltest.HeapInsert(wal.XID(700+i), rel, wal.BlockNumber(i/100), uint16(1+i%100), make([]byte, 70)))
	}
	return w
}

// TestVersions: the magic number of the pages chooses the words.
func TestVersions(t *testing.T) {
	for _, c := range []struct {
		magic uint16
		want  string
	}{
		{wal.PG18.Magic(), "could not find a valid record after 0/1000000"},
		{0xD121, "could not find a valid record after 0/1000000: invalid magic number D121 in WAL segment 000000010000000000000010, LSN 0/1000000, offset 0 (a page of an unsupported version: PostgreSQL 14 to 18 can be read)"},
	} {
		w := small(t, 1)
		dir := segments(t, w)
		path := filepath.Join(dir, "000000010000000000000010")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint16(b, c.magic)
		b[8] ^= 1 // xlp_pageaddr
		if c.magic == 0xD121 {
			b[8] ^= 1
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got := ours(t, "-p", dir, "-s", "0/1000000")
		if want := "pg_waldump: error: " + c.want + "\n"; got.status != 1 || got.stderr != want {
			t.Errorf("magic %04X: status %d, %s\nwant %s", c.magic, got.status, got.stderr, want)
		}
	}
}

// TestNames refuses a file whose name is no segment's.
func TestNames(t *testing.T) {
	dir := segments(t, small(t, 1))
	if err := os.Rename(filepath.Join(dir, "000000010000000000000010"), filepath.Join(dir, "wal")); err != nil {
		t.Fatal(err)
	}
	got := ours(t, filepath.Join(dir, "wal"))
	if got.status != 1 || !strings.Contains(got.stderr, `"wal" is not the name of a WAL segment`) {
		t.Errorf("status %d, %s", got.status, got.stderr)
	}
}

// TestCutShort: a file that shrinks while it is mapped ends the dump with an
// error, not the process with a signal.
func TestCutShort(t *testing.T) {
	for _, headers := range []bool{false, true} {
		dir := segments(t, small(t, 5000))
		src := source{place: place{dir: dir, size: wal.MinSegmentSize}, timeline: 1, words: wordingOf(wal.PG18)}
		w := newWalker(src, 0x1000000, unbounded, headers)
		records := 0
		w.each(t.Context(), unbounded, func(*wal.Record) bool {
			if records++; records == 1 {
				if err := os.Truncate(filepath.Join(dir, "000000010000000000000010"), 0); err != nil {
					t.Fatal(err)
				}
			}
			return true
		})
		if w.err == nil || !strings.Contains(w.err.Error(), `"000000010000000000000010": it was cut short meanwhile`) {
			t.Errorf("after %d records: %v", records, w.err)
		}
		w.close()
	}
}

// TestAllocations: a record costs none, in statistics and in text.
func TestAllocations(t *testing.T) {
	const records = 30000
	for _, option := range []string{"-z", "-b", "--json"} {
		few, many := segments(t, small(t, 100)), segments(t, small(t, records))
		run := func(dir string) float64 {
			return testing.AllocsPerRun(3, func() {
				Program{Name: "x", Stdout: discard{}, Stderr: discard{}}.Run(t.Context(), []string{"--jobs=1", "-p", dir, "-s", "0/1000000", option})
			})
		}
		if more := run(many) - run(few); more > records/100 {
			t.Errorf("%s: %v allocations for %d records", option, more, records)
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkDump(b *testing.B) {
	w := waltest.New(waltest.Options{SegmentSize: wal.DefaultSegmentSize, Start: 0x1000000})
	rel := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}
	page := waltest.HeapPage(100, 0x5A)
	for i := 0; len(w.Bytes()) < 64<<20; i++ {
		switch {
		case i%8 == 0:
			w.Append(waltest.FullPageImage(rel, wal.BlockNumber(i), page))
		case i%8 == 7:
			w.Append(waltest.Commit(wal.XID(i), time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)))
		default:
			w.Append(waltest.HeapInsert(wal.XID(i), rel, wal.BlockNumber(i), 1, make([]byte, 90)))
		}
	}
	dir := segments(b, w)
	for _, c := range []struct{ name, option, jobs string }{
		{"statistics", "-z", "--jobs=1"}, {"statistics of two", "-z", "--jobs=2"}, {"text", "-b", "--jobs=1"}, {"text of two", "-b", "--jobs=2"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(w.Bytes())))
			for b.Loop() {
				Program{Name: "x", Stdout: discard{}, Stderr: discard{}}.Run(b.Context(), []string{c.jobs, "-p", dir, "-s", "0/1000000", c.option})
			}
		})
	}
}
