package archive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/walplex/walplex/sdk/wal"
)

// Kind is what a file of an archive is to PostgreSQL.
type Kind uint8

// The kinds; the zero Kind is none of PostgreSQL's.
const (
	Segment Kind = 1 + iota // a finished segment
	Partial                 // a segment of which the rest is still to come, or never came
	History                 // a timeline's history file
	Backup                  // a backup history file, which pg_backup_stop writes
)

// File is the name of a file, taken apart.
type File struct {
	Name   string // in its directory
	Base   string // PostgreSQL's name for it: without .partial, without the suffix of a compression
	Kind   Kind
	Suffix string // of the compression, "" when plain
}

// maxWindow is the most memory that a zstd stream may ask for, bytes.
const maxWindow = 64 << 20

// codec is a compression.
type codec struct {
	suffix string
	open   func(io.Reader) (io.Reader, func(), error)
}

// codecs are the ways in which a file may be compressed, by the suffix; plain
// comes first. None reads before it is read from.
var codecs = []codec{
	{"", func(r io.Reader) (io.Reader, func(), error) { return r, func() {}, nil }},
	{".gz", func(r io.Reader) (io.Reader, func(), error) { return &lazyGzip{from: r}, func() {}, nil }},
	{".lz4", func(r io.Reader) (io.Reader, func(), error) { return lz4.NewReader(r), func() {}, nil }},
	{".zst", func(r io.Reader) (io.Reader, func(), error) {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}},
}

// lazyGzip reads gzip's header with the first bytes, so that a file that has
// none yet can be opened.
type lazyGzip struct {
	from io.Reader
	z    *gzip.Reader
}

func (g *lazyGzip) Read(p []byte) (int, error) {
	if g.z == nil {
		z, err := gzip.NewReader(g.from)
		if errors.Is(err, io.EOF) {
			return 0, io.ErrUnexpectedEOF // an empty file is no gzip file
		}
		if err != nil {
			return 0, err
		}
		g.z = z
	}
	return g.z.Read(p)
}

// ParseName takes a file's name apart; false for a name that no file of an
// archive has.
func ParseName(name string) (File, bool) {
	f := File{Name: name, Base: name}
	cut := func() {
		for _, c := range codecs[1:] {
			if s, ok := strings.CutSuffix(f.Base, c.suffix); ok && f.Suffix == "" {
				f.Base, f.Suffix = s, c.suffix
			}
		}
	}
	cut()
	// pg_receivewal compresses NAME.gz.partial, everybody else NAME.partial.gz.
	base, partial := strings.CutSuffix(f.Base, wal.PartialSuffix)
	f.Base = base
	if partial {
		cut()
	}
	f.Kind = kindOf(f.Base)
	if partial && f.Kind == Segment {
		f.Kind = Partial
	} else if partial {
		return File{}, false
	}
	return f, f.Kind != 0
}

// kindOf tells the kinds of PostgreSQL's own names apart (IsXLogFileName,
// IsTLHistoryFileName, IsBackupHistoryFileName in access/xlog_internal.h).
func kindOf(base string) Kind {
	const tliLen = 8
	digits := strings.TrimLeft(base, "0123456789ABCDEF")
	switch n := len(base) - len(digits); {
	case n == wal.SegmentNameLen && digits == "" && base[:tliLen] != "00000000":
		return Segment
	case n == tliLen && digits == ".history":
		return History
	case n == wal.SegmentNameLen && strings.HasSuffix(digits, ".backup"):
		return Backup
	}
	return 0
}

// Timeline is the timeline in the file's name.
func (f File) Timeline() wal.TimelineID {
	tli, err := strconv.ParseUint(f.Base[:8], 16, 32)
	if err != nil {
		return 0
	}
	return wal.TimelineID(tli)
}

// Names are the names under which a file of PostgreSQL's may lie, the plain one
// first.
func Names(base string) []string {
	var names []string
	for _, c := range codecs {
		names = append(names, base+c.suffix)
	}
	return names
}

// PartialNames are the names under which a segment may lie that is not finished.
func PartialNames(segment string) []string {
	names := Names(segment + wal.PartialSuffix)
	for _, c := range codecs[1:] {
		names = append(names, segment+c.suffix+wal.PartialSuffix)
	}
	return names
}

// Content reads a file, decompressed.
type Content struct {
	io.Reader
	name    string
	file    *os.File
	plain   bool
	partial bool
	close   func()
}

// OpenFile opens a file as its name says that it is compressed. What is wrong
// with its compression is an error of the first Read or a later one.
func OpenFile(path string) (*Content, error) {
	parsed, ok := ParseName(filepath.Base(path))
	if !ok {
		return nil, fmt.Errorf("%s is not the name of a file of an archive", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(codecs, func(c codec) bool { return c.suffix == parsed.Suffix })
	r, done, err := codecs[i].open(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &Content{Reader: r, name: path, file: f, plain: i == 0, partial: parsed.Kind == Partial, close: done}, nil
}

// Name is the path under which the file was opened.
func (c *Content) Name() string { return c.name }

// File is the file as it lies there.
func (c *Content) File() *os.File { return c.file }

// Plain says that the file is not compressed: what Reader gives is what File holds.
func (c *Content) Plain() bool { return c.plain }

// Close closes the file.
func (c *Content) Close() error {
	c.close()
	return c.file.Close()
}
