package archiveverify_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/walplex/walplex/host/internal/archiveverify"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

const size = wal.SegmentSize(1 << 20)

// partSizes cut an archive in different ways, which must not make a difference.
var partSizes = []int{1 << 20, 3 << 20, 0}

// files are an archive's, by name.
type files map[string][]byte

// add adds the WAL of w as segments of timeline tli; the last is padded, and named
// .partial if it is not whole. It leaves out segments before lsn from.
func (f files) add(w *waltest.Writer, tli wal.TimelineID, from wal.LSN) files {
	p := w.Bytes()
	for no := size.SegNo(w.Options().Start); len(p) > 0; no++ {
		seg := make([]byte, size)
		n := copy(seg, p)
		p = p[n:]
		name := size.FileName(tli, no)
		if n < int(size) {
			name += wal.PartialSuffix
		}
		if size.LSN(no) >= size.Start(from) {
			f[name] = seg
		}
	}
	return f
}

// with is a copy with some files changed; nil removes one.
func (f files) with(change files) files {
	g := maps.Clone(f)
	for name, b := range change {
		if b == nil {
			delete(g, name)
		} else {
			g[name] = b
		}
	}
	return g
}

// flipped is a copy in which a bit of the byte at lsn is inverted.
func (f files) flipped(tli wal.TimelineID, lsn wal.LSN, bit int) files {
	name := size.FileName(tli, size.SegNo(lsn))
	if f[name] == nil {
		name += wal.PartialSuffix
	}
	b := bytes.Clone(f[name])
	b[size.Offset(lsn)] ^= 1 << bit
	return f.with(files{name: b})
}

func (f files) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range f {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// verify verifies the archive in every cut, and answers what all say.
func (f files) verify(t *testing.T) *archiveverify.Report {
	t.Helper()
	dir := f.write(t)
	var first *archiveverify.Report
	var text string
	for _, n := range partSizes {
		r, err := archiveverify.Verify(t.Context(), dir, archiveverify.Options{PartSize: n, Jobs: 3})
		if err != nil {
			t.Fatal(err)
		}
		r.Directory = "DIR"
		var b bytes.Buffer
		if err := r.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first, text = r, b.String()
		} else if b.String() != text {
			t.Errorf("parts of %d bytes say\n%sparts of %d say\n%s", n, &b, partSizes[0], text)
		}
	}
	return first
}

func text(t *testing.T, r *archiveverify.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// one asserts that there is one fault, of a file, at an LSN, with a text.
func one(t *testing.T, r *archiveverify.Report, file string, lsn wal.LSN, reason string) {
	t.Helper()
	if len(r.Faults) != 1 || r.FaultsTotal != 1 || r.Whole || r.Faults[0].File != file || r.Faults[0].LSN != lsn || !strings.Contains(r.Faults[0].Reason, reason) {
		t.Errorf("want one fault of %s at %s with %q, got\n%s", file, lsn, reason, text(t, r))
	}
}

func whole(t *testing.T, r *archiveverify.Report) {
	t.Helper()
	if !r.Whole || r.FaultsTotal != 0 || r.Holes != 0 {
		t.Errorf("want a whole archive, got\n%s", text(t, r))
	}
}

func pack(t *testing.T, suffix string, p []byte) []byte {
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

// messages writes WAL of n bytes: records of up to 9,000 bytes.
func messages(n int) *waltest.Writer {
	w := waltest.New(waltest.Options{})
	fillUp(w, n)
	return w
}

func fillUp(w *waltest.Writer, n int) {
	for i := 0; len(w.Bytes()) < n; i++ {
		w.LogicalMessage("sample", i*7919%9000)
	}
}

// promoted goes on with w on timeline tli, as a promoted standby does, and answers
// the switch point.
func promoted(w *waltest.Writer, tli, old wal.TimelineID) wal.LSN {
	point := w.End()
	w.SetTimeline(tli)
	main := make([]byte, 16)
	binary.LittleEndian.PutUint32(main[8:], uint32(tli))
	binary.LittleEndian.PutUint32(main[12:], uint32(old))
	w.Append(waltest.Record{Rmgr: wal.RmgrXLOG, Info: 0x90, Main: main})
	return point
}

func history(at wal.LSN) []byte {
	return []byte(fmt.Sprintf("1\t%s\tno recovery target specified\n", at))
}

func last(w *waltest.Writer) waltest.Appended { return w.Records()[len(w.Records())-1] }
