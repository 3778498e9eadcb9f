package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// Options say what to read.
type Options struct {
	Directory string
	Timeline  wal.TimelineID // 0: the highest that is there
	Start     wal.LSN        // where a new sink begins; 0: with the first segment
	End       wal.LSN        // nothing behind it is read; 0: all that is there
	Follow    bool           // wait for more at the end
	// Whole hands out a finished segment to its end, though its last record goes on in
	// a segment that is not there: for a reader that has that one from elsewhere.
	Whole bool
}

// pollInterval is how often a directory that is followed is looked at.
const pollInterval = 250 * time.Millisecond

// chunkSize is how much WAL one message holds, bytes.
const chunkSize = 128 << 10

// Source reads the directory. It has the methods of a replication connection, and
// like one it belongs to one goroutine.
type Source struct {
	o    Options
	sys  replication.System
	from wal.LSN // start of the first segment

	history  wal.History    // of the newest timeline, as far as it is known
	timeline wal.TimelineID // that is read
	until    wal.LSN        // where it ends because another follows; 0: nothing follows

	reader *xlogreader.Reader
	rec    wal.Record
	seg    *Content // being read, nil between two
	pos    wal.LSN  // of the next byte that is read
	given  wal.LSN  // end of what was handed out
	ready  []byte   // read, and not yet handed out: it begins at given
	valid  wal.LSN  // up to here the WAL was seen to hold
	ended  error    // why nothing follows valid; nil: not known yet
	server string
}

// Open looks at the directory: which timelines, which segments, whose WAL.
func Open(o Options) (*Source, error) {
	all, err := list(o.Directory)
	if err != nil {
		return nil, err
	}
	tli := o.Timeline
	if tli == 0 {
		for t := range all {
			tli = max(tli, t)
		}
	}
	names := all[tli]
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no segment of timeline %d", o.Directory, tli)
	}
	s := &Source{o: o, server: o.Directory}
	s.sys.Timeline = tli
	if err := s.identify(names[0]); err != nil {
		return nil, err
	}
	size := s.sys.SegmentSize
	_, first, err := size.ParseFileName(names[0])
	if err != nil {
		return nil, err
	}
	_, last, err := size.ParseFileName(names[len(names)-1])
	if err != nil {
		return nil, err
	}
	if err := s.readHistory(); err != nil {
		return nil, err
	}
	s.from = min(size.LSN(first), s.oldest(all))
	s.sys.FlushLSN = size.LSN(last) + wal.LSN(size)
	if o.End != 0 {
		s.sys.FlushLSN = min(s.sys.FlushLSN, o.End)
	}
	if o.Start != 0 && size.Start(o.Start) < s.from {
		return nil, fmt.Errorf("%s begins with %s, start is %s", o.Directory, s.from, o.Start)
	}
	return s, nil
}

// readHistory reads the newest timeline's history file. Without it only the
// timeline itself is known.
func (s *Source) readHistory() error {
	_, content, err := s.historyOf(s.sys.Timeline)
	if err != nil {
		return err
	}
	s.history, err = wal.ParseHistory(s.sys.Timeline, content)
	return err
}

// oldest is where the WAL begins that the history's timelines have here without a
// hole.
func (s *Source) oldest(all inventory) wal.LSN {
	size := s.sys.SegmentSize
	from := wal.LSN(1<<64 - 1)
	for i := len(s.history) - 1; i >= 0; i-- {
		names := all[s.history[i].Timeline]
		if len(names) == 0 {
			break
		}
		if _, no, err := size.ParseFileName(names[0]); err == nil {
			from = min(from, size.LSN(no))
		}
		if from > size.Start(s.history[i].Begin) {
			break // it begins after its own start: what came before is not reached
		}
	}
	return from
}

// identify reads the long header of a segment's first page (XLogLongPageHeader
// in access/xlog_internal.h).
func (s *Source) identify(segment string) error {
	f, err := openSegment(s.o.Directory, segment)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [HeaderSize]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	h := ParseHeader(b[:])
	version, ok := wal.VersionOfMagic(h.Magic)
	if !ok {
		return fmt.Errorf("%s: the page magic is %04X, of no PostgreSQL version known here (%d to %d)", f.name, h.Magic, wal.PG14, wal.PG18)
	}
	s.sys.SystemID = h.SystemID
	s.sys.SegmentSize = h.SegmentSize
	s.sys.ServerVersion = int(version) * 10000
	if !s.sys.SegmentSize.Valid() {
		return fmt.Errorf("%s: the segment size in its header is %d, not a power of two from 1 MiB to 1 GiB", f.name, s.sys.SegmentSize)
	}
	return nil
}

// From is where the archive begins, or the configured start.
func (s *Source) From() wal.LSN { return max(s.from, s.o.Start) }

// Server is the directory.
func (s *Source) Server() string { return s.server }

// IdentifySystem answers whose WAL this is. FlushLSN is the end of the last
// segment, a bound: where the WAL ends is seen when it is read.
func (s *Source) IdentifySystem(context.Context) (replication.System, error) { return s.sys, nil }

// TimelineHistory reads a history file of the directory.
func (s *Source) TimelineHistory(_ context.Context, tli wal.TimelineID) (string, []byte, error) {
	return s.historyOf(tli)
}

func (s *Source) historyOf(tli wal.TimelineID) (string, []byte, error) {
	name := wal.HistoryFileName(tli)
	b, err := os.ReadFile(s.o.Directory + string(os.PathSeparator) + name)
	if errors.Is(err, os.ErrNotExist) {
		// Without it only the timeline itself is known.
		return name, nil, nil
	}
	return name, b, err
}

// StartPhysical begins at a segment's start.
func (s *Source) StartPhysical(_ context.Context, o replication.StartOptions) (*replication.TimelineSwitch, error) {
	s.stop()
	s.timeline = s.sys.Timeline
	if o.Timeline != 0 {
		s.timeline = o.Timeline
	}
	s.until, _ = s.history.SwitchPoint(s.timeline)
	if s.until != 0 && o.LSN >= s.until {
		s.ended = errSwitch
		return s.Switch(), nil
	}
	s.reader = xlogreader.New(o.LSN, xlogreader.Options{SystemID: s.sys.SystemID, SegmentSize: s.sys.SegmentSize, Timeline: s.timeline, File: true})
	s.pos, s.given, s.valid, s.ready, s.ended = o.LSN, o.LSN, o.LSN, nil, nil
	return nil, nil
}

// errSwitch ends the reading of a timeline that another follows.
var errSwitch = errors.New("the timeline ends here")

// Switch is where the timeline that was read has ended and which one follows; nil:
// that is not why the reading has ended.
func (s *Source) Switch() *replication.TimelineSwitch {
	if s.ended != errSwitch {
		return nil
	}
	for _, e := range s.history {
		if e.Timeline > s.timeline {
			return &replication.TimelineSwitch{NextTimeline: e.Timeline, SwitchLSN: s.until}
		}
	}
	return nil
}

func (s *Source) stop() {
	if s.seg != nil {
		_ = s.seg.Close()
		s.seg = nil
	}
}

// Receive answers the next piece of WAL; at the end End, or, when the directory
// is followed, it waits.
func (s *Source) Receive(ctx context.Context) (replication.Message, error) {
	for {
		if n := min(len(s.ready), chunkSize, int(s.valid-s.given)); n > 0 {
			m := replication.Message{Kind: replication.XLogData, WALStart: s.given, ServerWALEnd: s.sys.FlushLSN, ServerTime: time.Now(), Data: s.ready[:n]}
			s.ready, s.given = s.ready[n:], s.given+wal.LSN(n)
			return m, nil
		}
		switch {
		case ctx.Err() != nil:
			return replication.Message{}, ctx.Err()
		case s.ended == nil:
			if err := s.read(); err != nil {
				return replication.Message{}, err
			}
		case s.ended == errSwitch || !s.o.Follow || s.o.End != 0 && s.given >= s.o.End:
			return replication.Message{Kind: replication.End}, nil
		default:
			if err := s.again(ctx); err != nil {
				return replication.Message{}, err
			}
		}
	}
}

// again looks for more after a while: the segment in which the WAL ended is read
// once more.
func (s *Source) again(ctx context.Context) error {
	t := time.NewTimer(pollInterval)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	given := s.given
	if err := s.lookForTimeline(); err != nil {
		return err
	}
	if _, err := s.StartPhysical(ctx, replication.StartOptions{LSN: s.sys.SegmentSize.Start(given), Timeline: s.timeline}); err != nil {
		return err
	}
	for s.ended == nil && s.valid <= given {
		if err := s.read(); err != nil {
			return err
		}
	}
	if s.valid <= given {
		s.given, s.ready = given, nil
		return nil
	}
	s.ready, s.given = s.ready[given-s.given:], given
	return nil
}

// lookForTimeline finds out whether a newer timeline has come into a directory
// that is followed: its history file and its first segment.
func (s *Source) lookForTimeline() error {
	all, err := list(s.o.Directory)
	if err != nil {
		return err
	}
	newest := s.sys.Timeline
	for tli := range all {
		newest = max(newest, tli)
	}
	if s.o.Timeline != 0 || newest == s.sys.Timeline {
		return nil
	}
	_, content, err := s.historyOf(newest)
	if err != nil {
		return err
	}
	h, err := wal.ParseHistory(newest, content)
	if err != nil {
		return err
	}
	if _, ok := h.SwitchPoint(s.timeline); ok {
		s.sys.Timeline, s.history = newest, h
	}
	return nil
}

// read reads a piece, and sees how far the WAL holds.
func (s *Source) read() error {
	if s.seg == nil {
		if err := s.next(); err != nil || s.ended != nil {
			return err
		}
	}
	left := s.sys.SegmentSize.End(s.pos) - s.pos
	if s.until != 0 {
		left = min(left, s.until-s.pos)
	}
	buf := make([]byte, min(left, chunkSize))
	n, err := io.ReadFull(s.seg, buf)
	name := s.seg.name
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.take(buf[:n])
	if s.until != 0 && s.pos == s.until && s.ended == nil {
		s.valid, s.ended = s.until, errSwitch
	}
	if err != nil && s.ended == nil {
		s.ended = fmt.Errorf("%s ends at %s", name, s.pos)
	}
	if s.pos == s.sys.SegmentSize.Start(s.pos) {
		s.stop()
	}
	return nil
}

// take feeds the reader. What it finds wrong is the end of the WAL.
func (s *Source) take(p []byte) {
	s.pos += wal.LSN(len(p))
	s.ready = append(s.ready, p...)
	if len(p) == 0 {
		return
	}
	s.reader.Feed(p)
	for {
		st, err := s.reader.Next(&s.rec)
		switch {
		case err != nil:
			s.ended = err
		case st == xlogreader.EndOfWAL:
			s.ended = errors.New("zeros")
		case st != xlogreader.NeedMore:
			s.valid = max(s.valid, s.rec.EndLSN)
			continue
		}
		break
	}
	if s.o.Whole && s.ended == nil && !s.seg.partial {
		s.valid = s.pos
	}
	if s.o.End != 0 && s.valid >= s.o.End && s.ended == nil {
		s.valid, s.ended = s.o.End, errors.New("the configured end")
	}
}

// next opens the segment at pos. Where it is missing the WAL ends, unless later
// ones are there.
func (s *Source) next() error {
	size := s.sys.SegmentSize
	n := size.SegNo(s.pos)
	f, err := openSegment(s.o.Directory, size.FileName(s.timeline, n))
	if err == nil {
		s.seg = f
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	all, lerr := list(s.o.Directory)
	if lerr != nil {
		return lerr
	}
	for _, name := range all[s.timeline] {
		if _, later, err := size.ParseFileName(name); err == nil && later > n {
			return &HoleError{Directory: s.o.Directory, From: s.pos, Next: name}
		}
	}
	s.ended = err
	return nil
}

// HoleError says that segments are missing between others.
type HoleError struct {
	Directory string
	From      wal.LSN // the first byte that is missing
	Next      string  // the next segment that is there
}

func (e *HoleError) Error() string {
	return fmt.Sprintf("hole in %s: WAL from %s is missing, the next segment is %s; put the missing segments there, or set start behind the hole for sinks that are to begin anew", e.Directory, e.From, e.Next)
}

// Why says why the WAL ends where it does.
func (s *Source) Why() error { return s.ended }

// Drained reports that what was read has been handed out.
func (s *Source) Drained() bool { return len(s.ready) == 0 || s.valid == s.given }

// SendStatus has nobody to tell.
func (s *Source) SendStatus(context.Context, replication.Status) error { return nil }

// EndCopy ends the reading.
func (s *Source) EndCopy(context.Context) (*replication.TimelineSwitch, error) {
	s.stop()
	return s.Switch(), nil
}

// Close releases the open segment.
func (s *Source) Close(context.Context) error {
	s.stop()
	return nil
}
