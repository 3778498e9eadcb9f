package archive

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/walplex/walplex/sdk/wal"
)

// codecs are the ways in which a segment may be compressed, by the suffix.
var codecs = []struct {
	suffix string
	open   func(io.Reader) (io.Reader, func(), error)
}{
	{"", func(r io.Reader) (io.Reader, func(), error) { return r, func() {}, nil }},
	{".gz", func(r io.Reader) (io.Reader, func(), error) {
		z, err := gzip.NewReader(r)
		return z, func() {}, err
	}},
	{".lz4", func(r io.Reader) (io.Reader, func(), error) { return lz4.NewReader(r), func() {}, nil }},
	{".zst", func(r io.Reader) (io.Reader, func(), error) {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}},
}

// candidates are the names under which a segment may lie, the surest first.
func candidates(segment string) []string {
	var names []string
	for _, partial := range []string{"", wal.PartialSuffix} {
		for _, c := range codecs {
			names = append(names, segment+partial+c.suffix)
		}
	}
	return names
}

// segmentFile is an open segment.
type segmentFile struct {
	io.Reader
	name  string
	file  *os.File
	close func()
}

// openSegment opens a segment under whatever name it has; fs.ErrNotExist when it
// has none.
func openSegment(dir, segment string) (*segmentFile, error) {
	for _, name := range candidates(segment) {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, c := range slices.Backward(codecs) {
			if !strings.HasSuffix(name, c.suffix) {
				continue
			}
			r, done, err := c.open(f)
			if err != nil {
				_ = f.Close()
				return nil, fmt.Errorf("%s: %w", f.Name(), err)
			}
			return &segmentFile{Reader: r, name: f.Name(), file: f, close: done}, nil
		}
	}
	return nil, fmt.Errorf("segment %s in %s: %w", segment, dir, os.ErrNotExist)
}

func (s *segmentFile) Close() error {
	s.close()
	return s.file.Close()
}

// inventory are the segments of a directory, by timeline.
type inventory map[wal.TimelineID][]string

// list reads the directory's names. A segment that lies there under several is
// counted once.
func list(dir string) (inventory, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	seen := inventory{}
	for _, e := range entries {
		if len(e.Name()) < wal.SegmentNameLen {
			continue
		}
		segment := e.Name()[:wal.SegmentNameLen]
		// The size is not known yet; the smallest accepts every name.
		tli, _, err := wal.SegmentSize(wal.MinSegmentSize).ParseFileName(segment)
		if err != nil || !slices.Contains(candidates(segment), e.Name()) || slices.Contains(seen[tli], segment) {
			continue
		}
		seen[tli] = append(seen[tli], segment)
	}
	for _, names := range seen {
		slices.Sort(names)
	}
	if len(seen) == 0 {
		return nil, fmt.Errorf("%s holds no WAL segment", dir)
	}
	return seen, nil
}
