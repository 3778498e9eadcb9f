package archiveget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
)

// partialFile is a segment that is there only in part.
type partialFile struct {
	path   string
	header archive.Header
	start  wal.LSN // of the segment
	end    wal.LSN // up to here its WAL holds
	whole  bool    // the WAL runs on to the segment's end; a record may be incomplete there
}

// holeError says that WAL is missing behind a partial segment, unless it got its
// final name meanwhile.
type holeError struct {
	path string
	end  wal.LSN
	more string // why there must be more
}

func (e *holeError) Error() string {
	return fmt.Sprintf("%s holds WAL up to %s only, but %s: what lies between is missing; put the whole segment into the archive", e.path, e.end, e.more)
}

// partial gives the valid part of a partial segment, the longest of those that
// are there.
func (s *search) partial(ctx context.Context) (Served, error) {
	best, err := s.longest(ctx)
	if err != nil {
		return Served{}, err
	}
	later, any, err := s.laterSegment()
	switch {
	case err != nil:
		return Served{}, err
	case best == nil && !any:
		return Served{}, &NotThereError{s.o.File, "there is no WAL segment at all; is it mounted?"}
	case best == nil && later != "":
		return Served{}, &NotThereError{s.o.File, "this is a hole, later segments are there, the next is " + later}
	case best == nil:
		return Served{}, &NotThereError{File: s.o.File}
	}
	cut, err := s.switchPoint()
	if err != nil {
		return Served{}, err
	}
	left := cut.lsn != 0 && cut.lsn <= best.end
	if left {
		why := fmt.Sprintf("timeline %d was left at %s (%s); to recover to the end of timeline %d itself, say --timeline %d", s.tli, cut.lsn, cut.file, s.tli, s.tli)
		if cut.lsn <= best.start {
			return Served{}, &NotThereError{s.o.File, filepath.Base(best.path) + " is not given, because " + why}
		}
		if cut.lsn < best.end {
			s.warnings = append(s.warnings, fmt.Sprintf("%s is given up to %s: %s", best.path, cut.lsn, why))
		}
		best.end, best.whole = cut.lsn, false
	}
	if !best.whole && !left && later != "" {
		return Served{}, &holeError{best.path, best.end, "the later segment " + later + " is there"}
	}
	if size := best.header.SegmentSize; !best.whole && !left && cut.lsn >= best.start+wal.LSN(size) {
		return Served{}, &holeError{best.path, best.end, fmt.Sprintf("timeline %d went on up to %s (%s)", s.tli, cut.lsn, cut.file)}
	}
	if err := s.givePartial(ctx, best); err != nil {
		return Served{}, err
	}
	return Served{From: best.path, End: best.end}, nil
}

// longest is the partial segment that holds most, nil if there is none that
// holds any WAL.
func (s *search) longest(ctx context.Context) (*partialFile, error) {
	var best *partialFile
	for _, dir := range s.o.Directories {
		for _, name := range archive.PartialNames(s.o.File) {
			p, err := s.inspect(ctx, filepath.Join(dir, name))
			if err != nil {
				return nil, err
			}
			if p != nil && (best == nil || p.end > best.end) {
				best = p
			}
		}
	}
	return best, nil
}

// inspect finds out how far a partial segment holds; nil if it is not there, or
// holds nothing.
func (s *search) inspect(ctx context.Context, path string) (*partialFile, error) {
	c, err := archive.OpenFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var b [archive.HeaderSize]byte
	if _, err := io.ReadFull(c, b[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err == nil && b == [archive.HeaderSize]byte{} {
		return nil, nil // nothing was received yet
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p := &partialFile{path: path, header: archive.ParseHeader(b[:])}
	if err := p.header.CheckName(s.o.File); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it if it is not the newest segment", path, err)
	}
	p.start = p.header.PageAddr
	if err := s.measure(ctx, p); err != nil {
		return nil, err
	}
	if p.end <= p.start {
		return nil, nil
	}
	return p, nil
}

// givePartial writes the valid part, and zeros behind it.
func (s *search) givePartial(ctx context.Context, p *partialFile) error {
	c, err := archive.OpenFile(p.path)
	if err != nil {
		return err
	}
	defer c.Close()
	size := int64(p.header.SegmentSize)
	n := int64(p.end - p.start)
	if p.whole {
		n = size
	}
	return writeDest(s.o.Dest, func(d *dest) error {
		got, err := d.copyN(ctx, c, n)
		if err != nil {
			return err
		}
		if got != n {
			return fmt.Errorf("%s has become shorter while it was read", p.path)
		}
		if err := allocate(d.File, size); err != nil {
			return &destError{err}
		}
		return nil
	})
}

// switched is where a timeline was left.
type switched struct {
	lsn  wal.LSN // 0: it was not
	file string  // the history file that says so
}

// switchPoint is the least LSN at which a history leaves the timeline: any in the
// archive, or that of Options.Timeline.
func (s *search) switchPoint() (switched, error) {
	if s.o.Timeline == s.tli {
		return switched{}, nil
	}
	var least switched
	found := false
	for _, dir := range s.o.Directories {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return least, err
		}
		for _, e := range entries {
			f, ok := archive.ParseName(e.Name())
			if !ok || f.Kind != archive.History || s.o.Timeline != 0 && f.Timeline() != s.o.Timeline {
				continue
			}
			h, err := readHistory(filepath.Join(dir, f.Name), f.Timeline())
			if err != nil {
				return least, err
			}
			found = true
			if lsn, ok := h.SwitchPoint(s.tli); ok && lsn != 0 && (least.lsn == 0 || lsn < least.lsn) {
				least = switched{lsn, f.Name}
			}
		}
	}
	if s.o.Timeline > 1 && !found {
		return least, fmt.Errorf("the archive has no %s, the history of the timeline given by --timeline", wal.HistoryFileName(s.o.Timeline))
	}
	return least, nil
}

func readHistory(path string, tli wal.TimelineID) (wal.History, error) {
	c, err := archive.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b, err := readSmall(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := checkHistory(tli, b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return wal.ParseHistory(tli, b)
}
