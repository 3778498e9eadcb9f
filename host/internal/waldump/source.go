package waldump

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/walplex/walplex/sdk/wal"
)

// Sizes of what is read at once, in bytes.
const (
	// mapSize is how much of a segment is mapped at a time: a multiple of any
	// system's page, and a divisor of every segment size above it. Unmapping
	// interrupts every CPU on which a goroutine runs, so it is not less.
	mapSize = 16 << 20
	// readSize is what is read into memory where a file is not mapped.
	readSize = 256 << 10
)

// Waiting for the next segment while following, as pg_waldump does.
const (
	openTries    = 10
	openInterval = 500 * time.Millisecond
)

// source gives the bytes of a timeline's WAL from the segments of a directory.
// It is for one goroutine.
type source struct {
	place
	timeline wal.TimelineID
	words    wording
	follow   bool   // the segments grow: they are not mapped, and waited for
	hint     string // why a segment may be missing, or empty

	file   *os.File
	segno  wal.SegNo
	length int64  // of the file, bytes
	mapped []byte // or nil
	from   wal.LSN
	buf    []byte
}

// at answers bytes from lsn on, at most up to limit or the end of the segment,
// and at least one. They are valid until the next call. An error is a *fatal.
func (s *source) at(ctx context.Context, lsn, limit wal.LSN) ([]byte, error) {
	if s.file == nil || s.segno != s.size.SegNo(lsn) {
		if err := s.open(ctx, s.size.SegNo(lsn)); err != nil {
			return nil, err
		}
	}
	limit = min(limit, s.size.End(lsn))
	offset := int64(s.size.Offset(lsn))
	if s.follow || s.length < int64(s.size) {
		return s.read(offset, min(int64(limit-lsn), readSize))
	}
	start := lsn &^ wal.LSN(min(mapSize, s.size)-1)
	if s.mapped == nil || s.from != start {
		if err := s.mapPart(start); err != nil {
			return nil, err
		}
	}
	b := s.mapped[lsn-start:]
	return b[:min(uint64(len(b)), uint64(limit-lsn))], nil
}

// read reads up to n bytes at the offset into memory.
func (s *source) read(offset, n int64) ([]byte, error) {
	if s.buf == nil {
		s.buf = make([]byte, readSize)
	}
	got, err := s.file.ReadAt(s.buf[:n], offset)
	switch {
	case got >= wal.PageSize && got < int(n):
		// What there is in whole pages comes first; then the error.
		return s.buf[:got&^(wal.PageSize-1)], nil
	case errors.Is(err, io.EOF):
		return nil, fatalf("could not read from file %s, offset %d: read %d of %d", s.name(), offset, got, min(n, wal.PageSize))
	case err != nil:
		return nil, fatalf("could not read from file %s, offset %d: %s", s.name(), offset, strerror(err))
	}
	return s.buf[:got], nil
}

func (s *source) name() string { return s.words.file(s.size.FileName(s.timeline, s.segno)) }

// mapPart maps the part of the segment from start on.
func (s *source) mapPart(start wal.LSN) error {
	s.unmap()
	n := min(mapSize, int(s.size))
	offset := int64(s.size.Offset(start))
	b, err := unix.Mmap(int(s.file.Fd()), offset, n, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fatalf("could not read from file %s, offset %d: %s", s.name(), offset, strerror(err))
	}
	s.mapped, s.from = b, start
	return nil
}

func (s *source) unmap() {
	if s.mapped != nil {
		_ = unix.Munmap(s.mapped) // of a mapping of ours, it cannot fail
		s.mapped = nil
	}
}

// open turns to another segment.
func (s *source) open(ctx context.Context, segno wal.SegNo) error {
	s.close()
	name := s.size.FileName(s.timeline, segno)
	for try := 1; ; try++ {
		f, err := openSegment(s.dir, name)
		if err != nil {
			var f *fatal
			if errors.As(err, &f) {
				return f
			}
			return err
		}
		if f != nil {
			st, err := f.Stat()
			if err != nil {
				return errors.Join(fatalf("could not open file \"%s\": %s", name, strerror(err)), f.Close())
			}
			s.file, s.segno, s.length = f, segno, st.Size()
			return nil
		}
		if !s.follow || try == openTries || !wait(ctx, openInterval) {
			missing := fatalf("could not find file \"%s\": %s", name, strerror(unix.ENOENT))
			missing.detail = s.hint
			return missing
		}
	}
}

// close lets go of what at answered last.
func (s *source) close() {
	s.unmap()
	if s.file != nil {
		_ = s.file.Close() // it was only read
		s.file = nil
	}
}

// wait waits, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
