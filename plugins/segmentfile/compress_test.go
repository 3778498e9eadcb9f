package segmentfile_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// startAs opens the archive with other settings.
func startAs(t *testing.T, disk durable.FS, w *waltest.Writer, c *segmentfile.Config) (*life, error) {
	t.Helper()
	sink := segmentfile.New(c, disk)
	sys := system()
	sys.SegmentSize = w.Options().SegmentSize
	session, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), sink, sys, sinktest.Options{Start: w.Options().Start, LockWait: 1})
	return &life{session, sink, t}, err
}

// Finished segments are compressed as the commands do it, and found, continued
// and read again, by a sink that does not compress as well.
func TestCompression(t *testing.T) {
	for _, c := range []struct {
		compression, suffix string
		level               int
		command             string
	}{
		{"zstd", ".zst", 0, "zstd"}, {"zstd", ".zst", 19, "zstd"},
		{"lz4", ".lz4", 0, "lz4"}, {"lz4", ".lz4", 9, "lz4"},
		{"gzip", ".gz", 0, "gzip"}, {"gzip", ".gz", 1, "gzip"},
	} {
		dir := t.TempDir()
		cfg := &segmentfile.Config{Directory: dir, Compression: c.compression, CompressionLevel: c.level}
		w := source(3300)
		l, err := startAs(t, durable.OS{}, w, cfg)
		must(t, err)
		l.mustDeliver(w, w.End())
		l.mustFlush()
		must(t, l.Close(t.Context()))
		for n := wal.LSN(1); n <= 3; n++ {
			file := filepath.Join(dir, name(n<<20)+c.suffix)
			b, err := os.ReadFile(file)
			must(t, err)
			plain, err := decode(c.suffix, b)
			if err != nil || !bytes.Equal(plain, w.Bytes()[(n-1)<<20:n<<20]) {
				t.Errorf("%s holds %d bytes, or others: %v", file, len(plain), err)
			}
			if command, err := exec.LookPath(c.command); err == nil {
				if out, err := exec.Command(command, "-t", file).CombinedOutput(); err != nil {
					t.Errorf("%s -t: %v\n%s", c.command, err, out)
				}
			}
		}
		got, err := filepath.Glob(filepath.Join(dir, "0*"))
		if err != nil || len(got) != 4 {
			t.Errorf("files %v", got)
		}
		from := w.End()
		messages(w, 2000)
		if l, err = startAs(t, durable.OS{}, w, config(dir)); err != nil || l.position() != from {
			t.Fatalf("position %s, want %s: %v", l.position(), from, err)
		}
		l.mustDeliver(w, w.End())
		l.mustFlush()
		wantWAL(t, l, 1, w, w.Options().Start, 0)
		wantWAL(t, l, 1, w, w.Options().Start+5000, w.Options().Start+wal.LSN(segSize)+77)
		must(t, l.Close(t.Context()))
	}
}

// Whatever a crash has left of a compression, Open settles it, and never at the
// cost of the only copy.
func TestCompressionAdopted(t *testing.T) {
	w := source(2500) // segments 1, 2 and part of 3
	seg := func(n int) []byte { return w.Bytes()[(n-1)*int(segSize):][:segSize] }
	one, two, rest := name(1<<20), name(2<<20), name(3<<20)+".partial"
	gz := func(b []byte) []byte { return encode(t, "gzip", b) }
	zst := func(b []byte) []byte { return encode(t, "zstd", b) }
	other := bytes.Clone(seg(2))
	other[70_000] ^= 1
	for what, c := range map[string]struct {
		files       map[string][]byte
		compression string
		want        string // files
		err         []string
	}{
		"all plain":                 {map[string][]byte{one: seg(1), two: seg(2)}, "zstd", one + ".zst " + two + ".zst", nil},
		"all plain, not compressed": {map[string][]byte{one: seg(1), two: seg(2)}, "none", one + " " + two, nil},
		"two files of one":          {map[string][]byte{one + ".zst": zst(seg(1)), two: seg(2), two + ".zst": zst(seg(2))}, "zstd", one + ".zst " + two + ".zst", nil},
		"two files, not compressed": {map[string][]byte{one: seg(1), two: seg(2), two + ".gz": gz(seg(2))}, "none", one + " " + two + ".gz", nil},
		"unfinished":                {map[string][]byte{one: seg(1), two: seg(2), two + ".zst.tmp": zst(seg(2))[:100]}, "zstd", one + ".zst " + two + ".zst", nil},
		"three files of one":        {map[string][]byte{one: seg(1), two: seg(2), two + ".partial": seg(2), two + ".zst": zst(seg(2)), two + ".zst.tmp": nil}, "zstd", one + ".zst " + two + ".zst", nil},
		"partial and compressed":    {map[string][]byte{one: seg(1), two + ".gz": gz(seg(2)), two + ".partial": padded(seg(2)[:9999])}, "none", one + " " + two + ".gz", nil},
		"another compression":       {map[string][]byte{one + ".gz": gz(seg(1)), two: seg(2)}, "lz4", one + ".gz " + two + ".lz4", nil},
		"other bytes":               {map[string][]byte{one: seg(1), two: seg(2), two + ".zst": zst(other)}, "zstd", "", []string{sum(seg(2)), sum(other), two + ".zst", "never replaced"}},
		"cut off":                   {map[string][]byte{one: seg(1), two + ".zst": zst(seg(2))[:5000]}, "zstd", "", []string{two + ".zst", "damaged"}},
		"cut off, gzip":             {map[string][]byte{one: seg(1), two + ".gz": gz(seg(2))[:5000]}, "zstd", "", []string{two + ".gz", "damaged"}},
		"cut off, and plain":        {map[string][]byte{one: seg(1), two: seg(2), two + ".zst": zst(seg(2))[:5000]}, "zstd", "", []string{two + ".zst", "damaged"}},
		"too short":                 {map[string][]byte{one: seg(1), two + ".gz": gz(seg(2)[:5000])}, "zstd", "", []string{two + ".gz", "5000 bytes instead of 1048576"}},
		"left by pg_receivewal":     {map[string][]byte{one + ".gz": gz(seg(1)), two + ".gz": gz(seg(2)), name(3<<20) + ".gz.partial": gz(w.Bytes()[2*segSize:])[:3000]}, "none", one + ".gz " + two + ".gz " + name(3<<20) + ".gz.partial", nil},
	} {
		disk := crashfs.New()
		at := wal.LSN(3 << 20)
		if !strings.Contains(what, "pg_receivewal") {
			put(t, disk, rest, padded(w.Bytes()[2*segSize:]))
			at = w.End()
		}
		for name, data := range c.files {
			put(t, disk, name, data)
		}
		before := names(t, disk)
		l, err := startAs(t, disk, w, &segmentfile.Config{Directory: archive, Compression: c.compression, Preallocate: true})
		if c.err != nil {
			if err == nil {
				t.Errorf("%s: no error", what)
				continue
			}
			wantError(t, err, true, c.err...)
			if got := names(t, disk); got != before {
				t.Errorf("%s: files %s, before %s", what, got, before)
			}
			continue
		}
		if err != nil || l.position() != at {
			t.Errorf("%s: position %s, want %s: %v", what, l.position(), at, err)
			continue
		}
		l.mustDeliver(w, w.End())
		l.mustFlush()
		wantWAL(t, l, 1, w, w.Options().Start, 0)
		must(t, l.Close(t.Context()))
		if got, want := strings.Join(strings.Fields(strings.Replace(names(t, disk), rest, "", 1)), " "), c.want; got != want {
			t.Errorf("%s: files %s, want %s", what, got, want)
		}
	}
}

// A directory in which there is nothing but the beginning of a compressed segment:
// its segment is received again from its start.
func TestOnlyCompressedPartial(t *testing.T) {
	w := source(100)
	disk := crashfs.New()
	put(t, disk, name(1<<20)+".lz4.partial", encode(t, "lz4", w.Bytes()))
	l := mustStart(t, disk, w)
	if l.Result().New || l.position() != w.Options().Start {
		t.Fatalf("answer %+v", l.Result())
	}
	l.mustDeliver(w, w.End())
	l.mustFlush()
	if l = mustStart(t, disk.Kill(), w); l.position() != w.End() {
		t.Errorf("position %s", l.position())
	}
}

func encode(t *testing.T, compression string, data []byte) []byte {
	t.Helper()
	b, err := segmentfile.Encode(compression, data)
	must(t, err)
	return b
}

// A compressed segment of the same name that comes from elsewhere is not
// overruled.
func TestFinishMeetsCompressed(t *testing.T) {
	w := source(2500)
	first := name(w.Options().Start)
	same := until(w, segSize.End(w.Options().Start))
	other := bytes.Clone(same)
	other[5000] ^= 0xFF
	for _, data := range [][]byte{same, other} {
		disk := crashfs.New()
		l := mustStart(t, disk, w)
		l.mustDeliver(w, w.Options().Start+100_000)
		put(t, disk, first+".lz4", encode(t, "lz4", data))
		err := l.deliver(w, w.End())
		if bytes.Equal(data, same) {
			must(t, err)
			continue
		}
		wantError(t, err, true, first+".lz4", sum(other), sum(same), "never replaced", (w.Options().Start + 5000).String())
	}
}

// gated is a file system on which the making of compressed files waits.
type gated struct {
	durable.FS
	gate chan struct{}
}

func (g gated) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	if strings.HasSuffix(name, ".tmp") && flag&os.O_CREATE != 0 && strings.Contains(name, ".zst") {
		<-g.gate
	}
	return g.FS.OpenFile(name, flag, perm)
}

// Where compression is slower than the WAL that comes, the WAL waits, and can be
// flushed and read meanwhile.
func TestCompressionHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := source(1000 * (segmentfile.MaxPending + 5))
		disk := crashfs.New()
		gate := make(chan struct{})
		l, err := startAs(t, gated{disk, gate}, w, &segmentfile.Config{Directory: archive, Compression: "zstd"})
		must(t, err)
		done := make(chan error, 1)
		go func() { done <- l.deliver(w, w.End()) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("nothing was held back: %v", err)
		default:
		}
		// One in work, those that wait, and the one for which there is no room.
		if got := len(strings.Fields(names(t, disk))); got != segmentfile.MaxPending+2 {
			t.Errorf("%d segments: %s", got, names(t, disk))
		}
		wantWAL(t, l, 1, w, w.Options().Start, w.Options().Start+wal.LSN(segmentfile.MaxPending+2)*wal.LSN(segSize))
		close(gate)
		must(t, <-done)
		l.mustFlush()
		must(t, l.Close(t.Context()))
		wantWAL(t, l, 1, w, w.Options().Start, 0)
		if strings.Count(names(t, disk), ".zst") != len(strings.Fields(names(t, disk)))-1 {
			t.Errorf("files %s", names(t, disk))
		}
	})
}

// The disk is too full for a compressed file: the segments stay, plain; what was
// flushed stays flushed; the next life makes up for it.
func TestCompressionFails(t *testing.T) {
	w := source(9000)
	disk := crashfs.New()
	cfg := &segmentfile.Config{Directory: archive, Compression: "zstd", Preallocate: true}
	l, err := startAs(t, disk, w, cfg)
	must(t, err)
	disk.Inject(crashfs.Always(crashfs.OpWrite, "*.zst.tmp", &crashfs.Fault{Err: syscall.ENOSPC}))
	err = l.deliver(w, w.End())
	wantError(t, err, false, "compress segment", "make room", "it is safe")
	if sdk.IsPermanent(err) {
		t.Fatal(err)
	}
	must(t, l.Close(t.Context()))
	if got := names(t, disk); strings.Contains(got, ".zst") || !strings.Contains(got, name(1<<20)) {
		t.Errorf("files %s", got)
	}
	disk.Inject(nil)
	l, err = startAs(t, disk, w, cfg)
	must(t, err)
	l.mustDeliver(w, w.End())
	l.mustFlush()
	must(t, l.Close(t.Context()))
	wantWAL(t, l, 1, w, w.Options().Start, 0)
	for _, n := range strings.Fields(names(t, disk)) {
		if wal.IsSegmentName(n) {
			t.Errorf("%s is not compressed", n)
		}
	}
}

// WAL is read while it is written and compressed.
func TestReadWhileCompressing(t *testing.T) {
	w := source(9000)
	l, err := startAs(t, crashfs.New(), w, &segmentfile.Config{Directory: archive, Compression: "lz4"})
	must(t, err)
	for l.Next() < w.End() {
		l.mustDeliver(w, min(l.Next()+300_000, w.End()))
		at := l.mustFlush()
		wantWAL(t, l, 1, w, max(w.Options().Start, at-min(at, 3<<20)), at)
	}
	must(t, l.Close(t.Context()))
}
