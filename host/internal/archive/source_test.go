package archive_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

const size = wal.SegmentSize(1 << 20)

// compress packs a segment as the command of the suffix does.
func compress(t *testing.T, suffix string, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch suffix {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".lz4":
		w = lz4.NewWriter(&b)
	case ".zst":
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return p
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fill writes WAL as segments into a new directory; suffix answers how each is
// stored. The last is padded with zeros, as a .partial is.
func fill(t *testing.T, w *waltest.Writer, suffix func(i int) string) string {
	t.Helper()
	dir := t.TempDir()
	p, at := w.Bytes(), w.Options().Start
	for i := 0; len(p) > 0; i++ {
		seg := make([]byte, size)
		n := copy(seg, p)
		p = p[n:]
		name := size.FileName(1, size.SegNo(at)+wal.SegNo(i))
		if n < int(size) {
			name += wal.PartialSuffix
		}
		write(t, filepath.Join(dir, name+suffix(i)), compress(t, suffix(i), seg))
	}
	return dir
}

func write(t *testing.T, name string, p []byte) {
	t.Helper()
	if err := os.WriteFile(name, p, 0o600); err != nil {
		t.Fatal(err)
	}
}

// read reads the source to its end.
func read(ctx context.Context, s *archive.Source, from wal.LSN) ([]byte, error) {
	if _, err := s.StartPhysical(ctx, replication.StartOptions{LSN: from}); err != nil {
		return nil, err
	}
	var out []byte
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			return out, err
		}
		if m.Kind == replication.End {
			return out, nil
		}
		if m.WALStart != from+wal.LSN(len(out)) {
			return out, errors.New("a gap at " + m.WALStart.String())
		}
		out = append(out, m.Data...)
	}
}

func plain(int) string { return "" }

// TestEveryForm reads segments that are plain, compressed in every way, and a
// padded partial one.
func TestEveryForm(t *testing.T) {
	w := waltest.Random(7, waltest.Options{}, 5<<20+300_000)
	start := w.Options().Start
	dir := fill(t, w, func(i int) string { return []string{"", ".gz", ".lz4", ".zst"}[i%4] })
	write(t, filepath.Join(dir, "notes.txt"), []byte("not a segment"))
	write(t, filepath.Join(dir, "00000002.history"), nil)
	s, err := archive.Open(archive.Options{Directory: dir})
	if err != nil {
		t.Fatal(err)
	}
	sys, _ := s.IdentifySystem(t.Context())
	if sys.SegmentSize != size || sys.Timeline != 1 || sys.SystemID != w.Options().SystemID || s.From() != start {
		t.Errorf("the archive is taken for %+v from %s", sys, s.From())
	}
	got, err := read(t.Context(), s, start)
	if err != nil {
		t.Fatal(err)
	}
	if end := lastEnd(w); !bytes.Equal(got, w.Bytes()[:end-start]) {
		t.Errorf("read %d bytes, the last record ends after %d", len(got), end-start)
	}
	if !s.Drained() {
		t.Error("at the end something is left")
	}
}

func lastEnd(w *waltest.Writer) wal.LSN {
	r := w.Records()
	return r[len(r)-1].End
}

// TestDamage: WAL ends at the last record that holds.
func TestDamage(t *testing.T) {
	w := waltest.Random(8, waltest.Options{}, 3<<20)
	start := w.Options().Start
	recs := w.Records()
	hurt := recs[len(recs)*2/3]
	w.Flip(hurt.Start + 26)
	s, err := archive.Open(archive.Options{Directory: fill(t, w, plain)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(t.Context(), s, start)
	if err != nil {
		t.Fatal(err)
	}
	if want := int(recs[len(recs)*2/3-1].End - start); len(got) != want {
		t.Errorf("read %d bytes, want %d: up to the damaged record", len(got), want)
	}
	if s.Why() == nil || !strings.Contains(s.Why().Error(), hurt.Start.String()) {
		t.Errorf("the end is explained by %v, want the record at %s", s.Why(), hurt.Start)
	}
}

// TestHole names a segment that is missing between others.
func TestHole(t *testing.T) {
	w := waltest.Random(9, waltest.Options{}, 4<<20)
	dir := fill(t, w, plain)
	missing := size.FileName(1, size.SegNo(w.Options().Start)+2)
	if err := os.Remove(filepath.Join(dir, missing)); err != nil {
		t.Fatal(err)
	}
	s, err := archive.Open(archive.Options{Directory: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, err = read(t.Context(), s, w.Options().Start)
	if err == nil || !strings.Contains(err.Error(), "hole") {
		t.Errorf("a hole is answered by %v", err)
	}
}

// TestEnd stops at a configured LSN.
func TestEnd(t *testing.T) {
	w := waltest.Random(10, waltest.Options{}, 3<<20)
	start := w.Options().Start
	end := w.Records()[len(w.Records())/2].End
	s, err := archive.Open(archive.Options{Directory: fill(t, w, plain), End: end})
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(t.Context(), s, start)
	if err != nil || !bytes.Equal(got, w.Bytes()[:end-start]) {
		t.Errorf("read %d bytes (%v), want %d", len(got), err, end-start)
	}
}

// TestFollow goes on when a partial segment grows, gets its final name, and the
// next one appears.
func TestFollow(t *testing.T) {
	w := waltest.New(waltest.Options{})
	for len(w.Bytes()) < 2<<20+500_000 {
		w.LogicalMessage("test", 3000)
	}
	start := w.Options().Start
	dir := t.TempDir()
	all := w.Bytes()
	name := func(i int) string { return filepath.Join(dir, size.FileName(1, size.SegNo(start)+wal.SegNo(i))) }
	padded := func(p []byte) []byte { return append(append([]byte(nil), p...), make([]byte, int(size)-len(p))...) }
	write(t, name(0)+wal.PartialSuffix, padded(all[:300_000]))
	s, err := archive.Open(archive.Options{Directory: dir, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StartPhysical(t.Context(), replication.StartOptions{LSN: start}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []byte
	steps := []func(){
		func() { write(t, name(0)+wal.PartialSuffix, padded(all[:900_000])) },
		func() {
			write(t, name(0), all[:size])
			if err := os.Remove(name(0) + wal.PartialSuffix); err != nil {
				t.Fatal(err)
			}
		},
		func() {
			write(t, name(1), all[size:2*size])
			write(t, name(2)+wal.PartialSuffix, padded(all[2*size:]))
		},
	}
	marks := []int{250_000, 850_000, int(size) - 100_000}
	for len(got) < int(lastEnd(w)-start) {
		for len(marks) > 0 && len(got) > marks[0] {
			steps[0]()
			steps, marks = steps[1:], marks[1:]
		}
		m, err := s.Receive(ctx)
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v (%v)", len(got), lastEnd(w)-start, err, s.Why())
		}
		if m.WALStart != start+wal.LSN(len(got)) {
			t.Fatalf("got WAL from %s after %d bytes", m.WALStart, len(got))
		}
		got = append(got, m.Data...)
	}
	if !bytes.Equal(got, all[:len(got)]) {
		t.Error("what was read differs")
	}
}

// TestRefused: directories that are no archives.
func TestRefused(t *testing.T) {
	empty := t.TempDir()
	strange := t.TempDir()
	write(t, filepath.Join(strange, "000000010000000000000001"), bytes.Repeat([]byte{0x77}, 8192))
	w := waltest.Random(1, waltest.Options{}, 1<<20)
	for _, test := range []struct {
		o    archive.Options
		want string
	}{
		{archive.Options{Directory: empty}, "holds no WAL segment"},
		{archive.Options{Directory: filepath.Join(empty, "absent")}, "no such file"},
		{archive.Options{Directory: strange}, "page magic is 7777"},
		{archive.Options{Directory: fill(t, w, plain), Timeline: 3}, "no segment of timeline 3"},
		{archive.Options{Directory: fill(t, w, plain), Start: 100}, "start is 0/64"},
	} {
		if _, err := archive.Open(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v is answered by %v, want %q", test.o, err, test.want)
		}
	}
}
