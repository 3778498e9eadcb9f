package segmentfile

import (
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/walplex/walplex/sdk/wal"
)

// codec is a way to compress finished segments.
type codec struct {
	name     string // in the configuration
	suffix   string // of the file's name
	maxLevel int
	reader   func(io.Reader) (io.ReadCloser, error)
	writer   func(w io.Writer, level int) (io.WriteCloser, error) // level 0 is the codec's own default
}

// maxWindow is the most memory in bytes that a zstd stream may ask for.
const maxWindow = 64 << 20

// codecs write streams that the commands zstd, lz4 and gzip read, and read theirs.
var codecs = [...]codec{
	{name: "zstd", suffix: ".zst", maxLevel: 22, reader: readZstd, writer: writeZstd},
	{name: "lz4", suffix: ".lz4", maxLevel: 9, reader: readLZ4, writer: writeLZ4},
	{name: "gzip", suffix: ".gz", maxLevel: 9, reader: readGzip, writer: writeGzip},
}

// noCompression is the name of leaving segments as they are.
const noCompression = "none"

// codecNamed finds a codec by its name in the configuration. For none of them it
// is nil; ok is false for a name that is unknown.
func codecNamed(name string) (c *codec, ok bool) {
	for i := range codecs {
		if codecs[i].name == name {
			return &codecs[i], true
		}
	}
	return nil, name == "" || name == noCompression
}

// codecOf finds the codec of a file by its suffix, nil for a plain one.
func codecOf(file string) *codec {
	for i := range codecs {
		if strings.HasSuffix(file, codecs[i].suffix) {
			return &codecs[i]
		}
	}
	return nil
}

// finishedNames are the names that a finished segment may have, the plain one
// first: it is removed only after the other one is there.
func finishedNames(segment string) []string {
	names := []string{segment}
	for i := range codecs {
		names = append(names, segment+codecs[i].suffix)
	}
	return names
}

// codecNames are the values of the setting compression.
func codecNames() string {
	names := []string{noCompression}
	for i := range codecs {
		names = append(names, codecs[i].name)
	}
	return strings.Join(names, ", ")
}

func readZstd(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*wal.MaxSegmentSize), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

func writeZstd(w io.Writer, level int) (io.WriteCloser, error) {
	l := zstd.SpeedDefault
	if level > 0 {
		l = zstd.EncoderLevelFromZstd(level)
	}
	return zstd.NewWriter(w, zstd.WithEncoderLevel(l), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
}

func readLZ4(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(lz4.NewReader(r)), nil }

func writeLZ4(w io.Writer, level int) (io.WriteCloser, error) {
	l := lz4.Fast
	if level > 0 {
		l = lz4.CompressionLevel(1 << (8 + level)) // lz4.Level1 is 1<<9
	}
	z := lz4.NewWriter(w)
	if err := z.Apply(lz4.CompressionLevelOption(l), lz4.ChecksumOption(true), lz4.ConcurrencyOption(1)); err != nil {
		return nil, fmt.Errorf("lz4 level %d: %w", level, err)
	}
	return z, nil
}

func readGzip(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

func writeGzip(w io.Writer, level int) (io.WriteCloser, error) {
	if level == 0 {
		level = gzip.DefaultCompression
	}
	return gzip.NewWriterLevel(w, level)
}
