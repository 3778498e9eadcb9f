package basebackup

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/durable"
)

// compression is a way to compress a tar archive.
type compression struct {
	name, suffix string
	writer       func(io.Writer) (io.WriteCloser, error)
}

// compressions are the ways, each readable by the command of its name.
var compressions = []compression{
	{"none", "", nil},
	{"gzip", ".gz", func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }},
	{"zstd", ".zst", func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }},
	{"lz4", ".lz4", func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil }},
}

func compressionNamed(name string) (compression, error) {
	if i := slices.IndexFunc(compressions, func(c compression) bool { return c.name == name }); i >= 0 {
		return compressions[i], nil
	}
	var names []string
	for _, c := range compressions {
		names = append(names, c.name)
	}
	return compression{}, fmt.Errorf("the compression %q is none of %s", name, strings.Join(names, ", "))
}

// tarball writes the archives as they come, and looks at no file.
type tarball struct {
	root         string // DIR.tmp/data
	compress     compression
	unterminated bool // the server leaves the two blocks of zeros out that end an archive (before PG15)
	progress     *Progress
	open         *archiveFile
}

// archiveFile is an archive that is written.
type archiveFile struct {
	t    *tarball
	file *os.File
	buf  *bufio.Writer
	z    io.WriteCloser // nil: not compressed
}

const (
	tarBuffer = 1 << 20  // bytes
	tarEnd    = 2 * 512  // bytes of zeros
	tarMode   = fileMode // whatever the data directory's
)

// Archive implements Archiver.
func (t *tarball) Archive(part replication.BackupPart) (io.WriteCloser, error) {
	f, err := os.OpenFile(filepath.Join(t.root, part.Name+t.compress.suffix), os.O_WRONLY|os.O_CREATE|os.O_EXCL, tarMode)
	if err != nil {
		return nil, err
	}
	a := &archiveFile{t: t, file: f, buf: bufio.NewWriterSize(f, tarBuffer)}
	t.open = a
	if t.compress.writer != nil {
		if a.z, err = t.compress.writer(a.buf); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *archiveFile) Write(p []byte) (int, error) {
	if a.z != nil {
		return a.z.Write(p)
	}
	return a.buf.Write(p)
}

// Close makes the archive durable.
func (a *archiveFile) Close() error {
	if a.t.unterminated {
		if _, err := a.Write(make([]byte, tarEnd)); err != nil {
			return err
		}
	}
	if a.z != nil {
		if err := a.z.Close(); err != nil {
			return err
		}
	}
	if err := a.buf.Flush(); err != nil {
		return err
	}
	if err := a.file.Sync(); err != nil {
		return err
	}
	a.t.open = nil
	return a.file.Close()
}

// Directory implements Receiver.
func (t *tarball) Directory(string, fs.FileMode) error { return nil }

// Link implements Receiver.
func (t *tarball) Link(string, string) error { return nil }

// File implements Receiver.
func (t *tarball) File(string, int64, fs.FileMode) error { return nil }

// Data implements Receiver.
func (t *tarball) Data(b []byte) error {
	t.progress.add(len(b))
	return nil
}

// End implements Receiver.
func (t *tarball) End() error { return nil }

// Manifest implements Receiver.
func (t *tarball) Manifest(data []byte) error {
	return durable.WriteFileAtomic(durable.OS{}, filepath.Join(t.root, manifestFile), data, fileMode)
}

func (t *tarball) sync() error { return durable.OS{}.SyncDir(t.root) }

func (t *tarball) discard() {
	if t.open == nil {
		return
	}
	if z, ok := t.open.z.(*zstd.Encoder); ok {
		z.Reset(nil) // ends its goroutines; nothing more is written
	}
	_ = t.open.file.Close() // it is removed
}
