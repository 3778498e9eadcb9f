package segmentfile_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// config is the default one.
func config(dir string) *segmentfile.Config {
	return &segmentfile.Config{Directory: dir, Preallocate: true}
}

// source is WAL from segment 1 on: n records of about 1 kB.
func source(n int) *waltest.Writer {
	w := waltest.New(waltest.Options{})
	messages(w, n)
	return w
}

func messages(w *waltest.Writer, n int) {
	for range n {
		w.LogicalMessage("test", 1000)
	}
}

// until is the source's WAL from its first byte to lsn.
func until(w *waltest.Writer, lsn wal.LSN) []byte { return w.Bytes()[:lsn-w.Options().Start] }

// life is one life of a sink on a disk.
type life struct {
	*sinktest.Session
	sink *segmentfile.Sink
	t    *testing.T
}

func start(t *testing.T, disk durable.FS, w *waltest.Writer) (*life, error) {
	t.Helper()
	sink := segmentfile.New(config(archive), disk)
	session, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), sink, system(), sinktest.Options{Start: w.Options().Start, LockWait: 1})
	return &life{session, sink, t}, err
}

func mustStart(t *testing.T, disk durable.FS, w *waltest.Writer) *life {
	t.Helper()
	l, err := start(t, disk, w)
	must(t, err)
	return l
}

// deliver hands over the source's WAL up to lsn.
func (l *life) deliver(w *waltest.Writer, lsn wal.LSN) error {
	return l.Deliver(l.t.Context(), w.Bytes()[l.Next()-w.Options().Start:lsn-w.Options().Start])
}

func (l *life) mustDeliver(w *waltest.Writer, lsn wal.LSN) {
	l.t.Helper()
	must(l.t, l.deliver(w, lsn))
}

func (l *life) mustFlush() wal.LSN {
	l.t.Helper()
	lsn, err := l.Flush(l.t.Context())
	must(l.t, err)
	return lsn
}

func (l *life) position() wal.LSN { return l.Result().Position.LSN }

// put makes a file of the archive, durably.
func put(t *testing.T, disk durable.FS, name string, data []byte) {
	t.Helper()
	must(t, durable.MkdirAll(disk, archive, 0o700))
	must(t, durable.WriteFileAtomic(disk, filepath.Join(archive, name), data, 0o600))
}

// putSegments makes files of the source's WAL: finished segments, and one padded
// with zeros as a partial one.
func putSegments(t *testing.T, disk durable.FS, w *waltest.Writer) {
	t.Helper()
	for from := w.Options().Start; from < w.End(); from = segSize.End(from) {
		name, to := name(from), segSize.End(from)
		data := make([]byte, segSize)
		if to > w.End() {
			name, to = name+wal.PartialSuffix, w.End()
		}
		copy(data, w.Bytes()[from-w.Options().Start:to-w.Options().Start])
		put(t, disk, name, data)
	}
}

func name(lsn wal.LSN) string { return segSize.FileName(1, segSize.SegNo(lsn)) }

func get(t *testing.T, disk durable.FS, name string) []byte {
	t.Helper()
	b, err := readFile(disk, filepath.Join(archive, name))
	must(t, err)
	return b
}

// names of the archive's files but for those of the sink's own.
func names(t *testing.T, disk durable.FS) string {
	t.Helper()
	list, err := disk.ReadDir(archive)
	must(t, err)
	var out []string
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".walplex") {
			out = append(out, e.Name())
		}
	}
	return strings.Join(out, " ")
}

// changes of the disk since the log was cleared, but for those of the sink's own
// files.
func changes(disk *crashfs.FS) string {
	var out []string
	for _, c := range disk.Log() {
		if !strings.HasPrefix(filepath.Base(c.Name), ".walplex") && strings.HasPrefix(c.Name, archive) {
			out = append(out, c.String())
		}
	}
	return strings.Join(slices.Compact(out), "\n")
}

// openLogged opens a sink and answers what it logged.
func openLogged(t *testing.T, disk durable.FS, sys sdk.System) (*segmentfile.Sink, sdk.OpenResult, string, error) {
	t.Helper()
	var log strings.Builder
	sink := segmentfile.New(config(archive), disk)
	res, err := sink.Open(t.Context(), &sdk.OpenRequest{System: sys,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	return sink, res, log.String(), err
}

// wantError checks an error's kind and words.
func wantError(t *testing.T, err error, permanent bool, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if sdk.IsPermanent(err) != permanent {
		t.Errorf("permanent %v: %v", !permanent, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error without %q: %v", w, err)
		}
	}
}

// flip inverts a byte of a file, durably.
func flip(t *testing.T, disk durable.FS, name string, off int64) {
	t.Helper()
	f, err := disk.OpenFile(filepath.Join(archive, name), os.O_RDWR, 0)
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], off)
	must(t, err)
	b[0] = ^b[0]
	_, err = f.WriteAt(b[:], off)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// readAll reads back what ReadWAL gives.
func readAll(ctx context.Context, sink *segmentfile.Sink, tli wal.TimelineID, from, to wal.LSN) ([]byte, error) {
	var out []byte
	err := sink.ReadWAL(ctx, tli, from, to, func(lsn wal.LSN, p []byte) error {
		if lsn != from+wal.LSN(len(out)) {
			panic("not consecutive")
		}
		out = append(out, p...)
		return nil
	})
	return out, err
}

// sum is a file's SHA-256 as it is printed.
func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// decode decompresses as the suffix says.
func decode(suffix string, data []byte) ([]byte, error) {
	var r io.Reader = bytes.NewReader(data)
	var err error
	switch suffix {
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r); err == nil {
			defer z.Close()
			r = z
		}
	case ".lz4":
		r = lz4.NewReader(r)
	case ".gz":
		r, err = gzip.NewReader(r)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
