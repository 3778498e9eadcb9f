package archiveget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// firstIsContrecord is XLP_FIRST_IS_CONTRECORD (access/xlog_internal.h).
const firstIsContrecord = 0x0001

// maxBefore bounds how many segments before a partial one are read for the record
// that runs into it: the longest record has 1,020 MiB, and segments 1 MiB at least.
const maxBefore = 1024

// measure finds where the valid WAL of the partial segment ends. It begins where
// the record begins that runs into it, if that is there.
func (s *search) measure(ctx context.Context, p *partialFile) error {
	size := p.header.SegmentSize
	from, h := p.start, p.header
	var before []string // paths of the segments from there on
	for len(before) < maxBefore && h.Info&firstIsContrecord != 0 && (from == p.start || h.RemLen >= uint32(size)/2) && from >= 2*wal.LSN(size) {
		// A record that may fill the segment began in one before it; one that
		// leaves half of it free did not.
		path, prev, err := s.segmentBefore(size, from)
		if err != nil {
			return err
		}
		if path == "" {
			break
		}
		before, from, h = append([]string{path}, before...), from-wal.LSN(size), prev
	}
	w, err := s.read(ctx, p, from, before)
	if err == nil && len(before) > 0 && w.Fed() <= p.start {
		// What lies before is damaged; that is not this segment's fault.
		w, err = s.read(ctx, p, p.start, nil)
	}
	if err != nil {
		return err
	}
	_, last := w.LastRecord()
	switch {
	case last > p.start:
		p.end = last
	case w.SkippedTo() > p.start:
		// Only the rest of a record whose beginning is not there: PostgreSQL
		// will check it.
		p.end = w.SkippedTo()
	}
	p.whole = w.why == nil && w.Fed() == p.start+wal.LSN(size)
	if p.end > p.start+wal.LSN(size) || w.Fed() > p.start+wal.LSN(size) {
		return fmt.Errorf("%s: %w", p.path, sizeError(int64(size)+1, int64(size)))
	}
	return s.checkEnd(p, w)
}

// checkEnd makes sure that the place where the WAL does not hold any more is its
// end, and not damage in its midst.
func (s *search) checkEnd(p *partialFile, w *walk) error {
	if w.why == nil {
		return nil
	}
	at := w.RecordsEnd()
	if e := (*wal.Error)(nil); errors.As(w.why, &e) {
		at = e.LSN
	}
	c, err := archive.OpenFile(p.path)
	if err != nil {
		return err
	}
	defer c.Close()
	on, err := archive.GoesOn(c, w.Version(), p.start, at)
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	if on {
		return fmt.Errorf("%s is damaged: %w, and WAL goes on behind it; put a whole copy of the segment into the archive", p.path, w.why)
	}
	return nil
}

// segmentBefore finds the finished segment before lsn, on the timeline or one
// that it may have begun from, and reads its header; "" if there is none.
func (s *search) segmentBefore(size wal.SegmentSize, lsn wal.LSN) (string, archive.Header, error) {
	for tli := s.tli; tli > 0 && tli+maxTimelinesBack > s.tli; tli-- {
		segment := size.FileName(tli, size.SegNo(lsn-1))
		for _, dir := range s.o.Directories {
			for _, name := range archive.Names(segment) {
				path := filepath.Join(dir, name)
				h, err := readHeader(path)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if err != nil {
					return "", h, fmt.Errorf("%s: %w", path, err)
				}
				if h.SegmentSize == size && h.CheckName(segment) == nil {
					return path, h, nil
				}
			}
		}
	}
	return "", archive.Header{}, nil
}

// maxTimelinesBack is how many timelines back the segment before is looked for.
const maxTimelinesBack = 8

func readHeader(path string) (archive.Header, error) {
	c, err := archive.OpenFile(path)
	if err != nil {
		return archive.Header{}, err
	}
	defer c.Close()
	var b [archive.HeaderSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return archive.Header{}, noEOF(err)
	}
	return archive.ParseHeader(b[:]), nil
}

// readSize is how much is read at a time, bytes.
const readSize = 256 << 10

// walk is a way through some WAL.
type walk struct {
	*xlogreader.Reader
	rec wal.Record
	buf []byte
	why error // that the WAL ends where it does; nil: there are no more bytes
}

var errZeros = errors.New("zeros stand where a record should begin")

// read reads the WAL from the segments before and the partial one, to where it
// ends. An error is one of reading; WAL that does not hold is the end.
func (s *search) read(ctx context.Context, p *partialFile, from wal.LSN, before []string) (*walk, error) {
	o := xlogreader.Options{SystemID: p.header.SystemID, SegmentSize: p.header.SegmentSize, Timeline: s.tli, File: true}
	w := &walk{Reader: xlogreader.New(from, o), buf: make([]byte, readSize)}
	for _, path := range before {
		if err := w.file(ctx, path); err != nil || w.why != nil {
			return w, ctx.Err() // the caller sees how far it came
		}
	}
	return w, w.file(ctx, p.path)
}

// file reads a file.
func (w *walk) file(ctx context.Context, path string) error {
	c, err := archive.OpenFile(path)
	if err != nil {
		return err
	}
	defer c.Close()
	for w.why == nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(c, w.buf)
		w.take(w.buf[:n])
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func (w *walk) take(p []byte) {
	w.Feed(p)
	for len(p) > 0 {
		status, err := w.Next(&w.rec)
		switch {
		case err != nil:
			w.why = err
			return
		case status == xlogreader.EndOfWAL:
			w.why = errZeros
			return
		case status == xlogreader.NeedMore:
			return
		}
	}
}
