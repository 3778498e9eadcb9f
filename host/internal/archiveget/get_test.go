package archiveget_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/walplex/walplex/host/internal/archiveget"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

const size = wal.SegmentSize(1 << 20)

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

func put(t *testing.T, dir, name string, p []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), p, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sample is WAL of timeline 1: whole segments from 1 on, and the rest in the last.
type sample struct {
	*waltest.Writer
	segs  [][]byte // the last is padded with zeros
	names []string
	end   wal.LSN // of the last record
}

func newSample(n int) sample {
	s := sample{Writer: waltest.New(waltest.Options{})}
	for i := 0; len(s.Bytes()) < n; i++ {
		s.LogicalMessage("sample", i*7919%9000)
	}
	records := s.Records()
	s.end = records[len(records)-1].End
	for i, p := 0, s.Bytes(); len(p) > 0; i++ {
		seg := make([]byte, size)
		p = p[copy(seg, p):]
		s.segs = append(s.segs, seg)
		s.names = append(s.names, size.FileName(1, wal.SegNo(1+i)))
	}
	return s
}

func (s sample) last() string { return s.names[len(s.names)-1] }

// valid is the last segment as it is to be given: up to end, zeros behind it.
func (s sample) valid(end wal.LSN) []byte {
	seg := bytes.Clone(s.segs[len(s.segs)-1])
	clear(seg[size.Offset(end):])
	return seg
}

// get gets a file, and holds that DEST and its directory are as they should be.
func get(t *testing.T, o archiveget.Options) ([]byte, archiveget.Served, error) {
	t.Helper()
	dir := t.TempDir()
	o.Dest = filepath.Join(dir, "RECOVERYXLOG")
	served, err := archiveget.Get(t.Context(), o)
	entries, rerr := os.ReadDir(dir)
	if rerr != nil {
		t.Fatal(rerr)
	}
	if want := map[bool]int{true: 1, false: 0}[err == nil]; len(entries) != want {
		t.Errorf("DEST's directory holds %v after %v", entries, err)
	}
	if err != nil {
		return nil, served, err
	}
	b, rerr := os.ReadFile(o.Dest)
	if rerr != nil {
		t.Fatal(rerr)
	}
	return b, served, nil
}

func from(dirs ...string) archiveget.Options { return archiveget.Options{Directories: dirs} }

func with(o archiveget.Options, file string) archiveget.Options {
	o.File = file
	return o
}

// gives asserts that a file is given with this content.
func gives(t *testing.T, o archiveget.Options, want []byte) archiveget.Served {
	t.Helper()
	got, served, err := get(t, o)
	if err != nil {
		t.Errorf("%s: %v", o.File, err)
	} else if !bytes.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Errorf("%s from %s: %d bytes, want %d, they differ from %d on", o.File, served.From, len(got), len(want), i)
	}
	return served
}

// misses asserts that PostgreSQL is told that the file does not exist.
func misses(t *testing.T, o archiveget.Options, text string) {
	t.Helper()
	_, _, err := get(t, o)
	var notThere *archiveget.NotThereError
	if !errors.As(err, &notThere) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want a file that is not there, with %q", o.File, err, text)
	}
}

// stops asserts an error that stops a recovery.
func stops(t *testing.T, o archiveget.Options, text string) {
	t.Helper()
	_, _, err := get(t, o)
	var notThere *archiveget.NotThereError
	var usage *archiveget.UsageError
	if err == nil || errors.As(err, &notThere) || errors.As(err, &usage) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want an error that stops the recovery, with %q", o.File, err, text)
	}
}

func TestWholeFiles(t *testing.T) {
	s := newSample(3 << 20)
	for _, suffix := range []string{"", ".gz", ".lz4", ".zst"} {
		t.Run("suffix "+suffix, func(t *testing.T) {
			dir := t.TempDir()
			history := []byte("1\t0/30000A0\tno recovery target specified\n")
			put(t, dir, s.names[0]+suffix, pack(t, suffix, s.segs[0]))
			put(t, dir, "00000002.history"+suffix, pack(t, suffix, history))
			put(t, dir, s.names[0]+".00000028.backup"+suffix, pack(t, suffix, []byte("START WAL LOCATION: …\n")))
			gives(t, with(from(dir), s.names[0]), s.segs[0])
			gives(t, with(from(dir), "00000002.history"), history)
			gives(t, with(from(dir), s.names[0]+".00000028.backup"), []byte("START WAL LOCATION: …\n"))
			misses(t, with(from(dir), s.names[1]), "")
			misses(t, with(from(dir), "00000003.history"), "")
			if suffix == "" {
				return
			}
			packed := pack(t, suffix, s.segs[1])
			put(t, dir, s.names[1]+suffix, packed[:len(packed)/2])
			stops(t, with(from(dir), s.names[1]), s.names[1]+suffix)
			put(t, dir, s.names[1]+suffix, pack(t, suffix, s.segs[1][:500_000]))
			stops(t, with(from(dir), s.names[1]), "it has 500000 bytes, its header says 1048576")
			packed[len(packed)/2] ^= 0xFF
			put(t, dir, s.names[1]+suffix, packed)
			if suffix != ".zst" { // its default has a checksum of the content only where the writer asks for it
				stops(t, with(from(dir), s.names[1]), s.names[1]+suffix)
			}
		})
	}
}

// TestPlainFirst: of several forms, the plain one; of several directories, the
// first; a damaged file is passed over, and named.
func TestPlainFirst(t *testing.T) {
	s := newSample(2 << 20)
	one, two := t.TempDir(), t.TempDir()
	put(t, two, s.names[0]+".zst", pack(t, ".zst", s.segs[0]))
	if served := gives(t, with(from(one, two), s.names[0]), s.segs[0]); served.From != filepath.Join(two, s.names[0]+".zst") {
		t.Errorf("given from %s", served.From)
	}
	put(t, two, s.names[0], s.segs[0])
	if served := gives(t, with(from(one, two), s.names[0]), s.segs[0]); served.From != filepath.Join(two, s.names[0]) {
		t.Errorf("given from %s", served.From)
	}
	put(t, one, s.names[0], s.segs[0][:1000])
	served := gives(t, with(from(filepath.Join(one, "absent"), one, two), s.names[0]), s.segs[0])
	if w := strings.Join(served.Warnings, "\n"); !strings.Contains(w, "absent") || !strings.Contains(w, "it has 1000 bytes") {
		t.Errorf("the warnings are %q", served.Warnings)
	}
	stops(t, with(from(one), s.names[0]), "it has 1000 bytes")
}

// TestNotKnown: where it cannot be told whether the file exists, recovery stops.
func TestNotKnown(t *testing.T) {
	s := newSample(2 << 20)
	dir := t.TempDir()
	put(t, dir, s.names[0], s.segs[0])
	absent, file := filepath.Join(dir, "absent"), filepath.Join(dir, s.names[0])
	for _, name := range []string{s.names[1], "00000002.history"} {
		stops(t, with(from(absent), name), "absent")
		stops(t, with(from(dir, absent), name), "absent")
		stops(t, with(from(file), name), "not a directory")
	}
	misses(t, with(from(t.TempDir()), s.names[1]), "is it mounted?")
	put(t, dir, s.names[2], s.segs[2])
	misses(t, with(from(dir), s.names[1]), "this is a hole, later segments are there, the next is "+s.names[2])

	put(t, dir, s.names[1], s.segs[2])
	stops(t, with(from(dir), s.names[1]), "it holds the WAL at 0/300000, its name says 0/200000")
	put(t, dir, s.names[1], nil)
	stops(t, with(from(dir), s.names[1]), "it ends after 0 bytes")
	put(t, dir, s.names[1], append(bytes.Clone(s.segs[1]), 0))
	stops(t, with(from(dir), s.names[1]), "more than the 1048576 bytes")
	put(t, dir, s.names[1], bytes.Repeat([]byte{0x77}, int(size)))
	stops(t, with(from(dir), s.names[1]), "page magic 7777")
	for _, bad := range []string{"", "1\t0/x\n", "# nothing\n"} {
		put(t, dir, "00000002.history", []byte(bad))
		stops(t, with(from(dir), "00000002.history"), "00000002.history")
	}
	o := with(from(dir), s.names[0])
	o.Dest = filepath.Join(absent, "RECOVERYXLOG")
	_, err := archiveget.Get(t.Context(), o)
	var notThere *archiveget.NotThereError
	if err == nil || errors.As(err, &notThere) || !strings.Contains(err.Error(), "data directory") {
		t.Errorf("DEST cannot be written: %v", err)
	}
}

func TestUsage(t *testing.T) {
	for _, name := range []string{"", "x", "../000000010000000000000001", "000000010000000000000001.gz", "000000010000000000000001.partial", "0000000100000000000000", "postgresql.conf"} {
		_, _, err := get(t, with(from(t.TempDir()), name))
		var usage *archiveget.UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%q: %v, want a usage error", name, err)
		}
	}
}

// TestPartial gives what is valid of the newest segment, in every form, where it
// is padded, cut short, or has an incomplete record at its end.
func TestPartial(t *testing.T) {
	s := newSample(2<<20 + 300_000)
	last := s.segs[2]
	n := size.Offset(s.end)
	records := s.Records()
	before := records[len(records)-2].End
	for _, suffix := range []string{".partial", ".partial.gz", ".gz.partial", ".partial.zst", ".zst.partial", ".partial.lz4", ".lz4.partial"} {
		dir := t.TempDir()
		put(t, dir, s.names[0], s.segs[0])
		put(t, dir, s.names[1]+".gz", pack(t, ".gz", s.segs[1]))
		codec := strings.ReplaceAll(suffix, ".partial", "")
		for _, content := range []struct {
			p   []byte
			end wal.LSN
		}{{last, s.end}, {last[:n], s.end}, {last[:n-1], before}, {append(bytes.Clone(last[:n-9]), make([]byte, 5000)...), before}} {
			put(t, dir, s.last()+suffix, pack(t, codec, content.p))
			if served := gives(t, with(from(dir), s.last()), s.valid(content.end)); served.End != content.end {
				t.Errorf("%s: the end is told as %s, want %s", suffix, served.End, content.end)
			}
		}
		if codec != "" {
			// As pg_receivewal leaves it while it runs: no end of the stream yet.
			packed := pack(t, codec, last)
			put(t, dir, s.last()+suffix, packed[:len(packed)*2/3])
			got, _, err := get(t, with(from(dir), s.last()))
			var notThere *archiveget.NotThereError
			if err == nil && (len(got) != int(size) || !bytes.Equal(got[:8192], last[:8192])) || err != nil && !errors.As(err, &notThere) {
				t.Errorf("%s cut short: %d bytes, %v", suffix, len(got), err)
			}
		}
	}
}

// TestPartialAcross: a record that began one or more segments before ends in the
// partial one, and nothing follows it.
func TestPartialAcross(t *testing.T) {
	for _, length := range []int{200_000, 2_500_000} {
		w := waltest.New(waltest.Options{})
		w.FillToSegmentEnd(4000)
		_, end := w.LogicalMessage("across", length)
		dir := t.TempDir()
		p := w.Bytes()
		n := 1
		for ; len(p) > int(size); n++ {
			put(t, dir, size.FileName(1, wal.SegNo(n)), p[:size])
			p = p[size:]
		}
		want := make([]byte, size)
		copy(want, p)
		name := size.FileName(1, wal.SegNo(n))
		put(t, dir, name+".partial", want)
		gives(t, with(from(dir), name), want)

		// With a damaged byte it is not valid, and nothing of the segment is.
		hurt := bytes.Clone(want)
		hurt[5000] ^= 1
		put(t, dir, name+".partial", hurt)
		misses(t, with(from(dir), name), "")
		if err := os.Remove(filepath.Join(dir, name+".partial")); err != nil {
			t.Fatal(err)
		}
		_ = end
	}
}

// TestPartialDamaged: a fault in the midst is not the end of the WAL.
func TestPartialDamaged(t *testing.T) {
	s := newSample(2<<20 + 600_000)
	dir := t.TempDir()
	put(t, dir, s.names[1], s.segs[1])
	records := s.Records()
	hurt := bytes.Clone(s.segs[2])
	var at wal.LSN
	for _, r := range records {
		if r.Start > s.end-300_000 {
			at = r.Start
			break
		}
	}
	hurt[size.Offset(at)+26] ^= 0x10
	put(t, dir, s.last()+".partial", hurt)
	stops(t, with(from(dir), s.last()), "is damaged: incorrect resource manager data checksum in record at "+at.String())
	// What a recycled segment holds behind the end is no WAL that goes on.
	recycled := bytes.Clone(s.segs[1])
	copy(recycled, s.segs[2][:size.Offset(s.end)&^(wal.PageSize-1)+wal.PageSize])
	put(t, dir, s.last()+".partial", recycled)
	gives(t, with(from(dir), s.last()), s.valid(s.end))
}

// TestPartialHole: a partial segment with later ones behind it is not the end.
func TestPartialHole(t *testing.T) {
	s := newSample(4 << 20)
	dir := t.TempDir()
	put(t, dir, s.names[0], s.segs[0])
	half := bytes.Clone(s.segs[1])
	clear(half[len(half)/2:])
	put(t, dir, s.names[1]+".partial", half)
	put(t, dir, s.names[2], s.segs[2])
	stops(t, with(from(dir), s.names[1]), "the later segment "+s.names[2]+" is there")
	// One that is complete but for its name is as good as the whole.
	put(t, dir, s.names[1]+".partial", s.segs[1])
	gives(t, with(from(dir), s.names[1]), s.segs[1])
}

// TestPartialOfEndedTimeline: what the old timeline wrote beyond the switch point
// is given only to who says that it goes there.
func TestPartialOfEndedTimeline(t *testing.T) {
	s := newSample(2<<20 + 600_000)
	dir := t.TempDir()
	put(t, dir, s.names[0], s.segs[0])
	put(t, dir, s.names[1], s.segs[1])
	put(t, dir, s.last()+".partial", s.segs[2])
	var point wal.LSN
	for _, r := range s.Records() {
		if r.Start > s.end-200_000 {
			point = r.Start
			break
		}
	}
	history := func(tli int, at wal.LSN) {
		put(t, dir, fmt.Sprintf("%08X.history", tli), []byte(fmt.Sprintf("1\t%s\tno recovery target specified\n", at)))
	}
	history(2, point)
	o := with(from(dir), s.last())
	served := gives(t, o, s.valid(point))
	if len(served.Warnings) != 1 || !strings.Contains(served.Warnings[0], "--timeline 1") {
		t.Errorf("the warnings are %q", served.Warnings)
	}
	o.Timeline = 1
	gives(t, o, s.segs[2])
	o.Timeline = 2
	gives(t, o, s.valid(point))
	o.Timeline = 3
	stops(t, o, "00000003.history")

	// Left behind this segment: there must be more of it.
	history(2, 0x400100)
	stops(t, with(from(dir), s.last()), "timeline 1 went on up to 0/400100 (00000002.history)")
	history(2, point)

	// Left before this segment: nothing of it is part of the new history.
	history(3, 0x2FFF00)
	misses(t, with(from(dir), s.last()), "timeline 1 was left at 0/2FFF00 (00000003.history)")
	o.Timeline = 2
	gives(t, o, s.valid(point))
	put(t, dir, "00000004.history", nil)
	stops(t, with(from(dir), s.last()), "00000004.history")
}

func TestCancelled(t *testing.T) {
	s := newSample(2 << 20)
	dir := t.TempDir()
	put(t, dir, s.names[0]+".gz", pack(t, ".gz", s.segs[0]))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	to := t.TempDir()
	o := with(from(dir), s.names[0])
	o.Dest = filepath.Join(to, "x")
	if _, err := archiveget.Get(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if e, err := os.ReadDir(to); err != nil || len(e) != 0 {
		t.Errorf("left behind: %v, %v", e, err)
	}
}
