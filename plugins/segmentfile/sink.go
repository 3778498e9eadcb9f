package segmentfile

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// Definition is the sink type segment_file.
func Definition() *sdk.Definition {
	return sdk.Define("segment_file", func(c *Config) sdk.Sink { return New(c, durable.OS{}) }, sdk.RawWAL(), sdk.KeepsWAL(), sdk.Rewinds())
}

// Sink is a segment_file sink.
type Sink struct {
	config  Config
	dir     directory
	log     *slog.Logger
	metrics *sdk.Metrics
	lock    io.Closer
	run     run  // what was there at Open; of a new sink, what the first batch says
	new     bool // nothing was there, and nothing was written yet
	ours    bool // what is there can be continued with the WAL that is streamed

	cur       *segment // being received, nil between two
	pos       wal.LSN  // end of what was written
	syncUntil wal.LSN  // end of the record whose beginning is not kept, see ahead.go
	head      [shortHeaderSize]byte
	seam      *seam
	seamDone  bool
	fork      *fork // nil but at the beginning of a new timeline
	failed    error // of a write or sync: nothing is certain any more

	direct bool   // large blocks are written past the page cache
	zeros  []byte // never changed, nil until it is needed

	compressor *compressor // nil: segments stay as they are
	keeper     *keeper     // nil: nothing is removed
	inline     bool        // see compressor and keeper
	names      sync.Mutex  // held while a segment's files change their names beside the sink

	mu   sync.Mutex // held is read by ReadWAL at any time
	held held
}

// held is what the archive holds durably, up to flushed.
type held struct {
	systemID uint64
	timeline wal.TimelineID
	size     wal.SegmentSize
	flushed  wal.LSN
}

var (
	_ sdk.Sink     = (*Sink)(nil)
	_ sdk.Reader   = (*Sink)(nil)
	_ sdk.Rewinder = (*Sink)(nil)
	_ sdk.Retainer = (*Sink)(nil)
)

// New makes a sink whose directory is on fsys.
func New(c *Config, fsys durable.FS) *Sink {
	return &Sink{config: *c, direct: c.direct(), dir: directory{fs: fsys, path: c.Directory}}
}

// Write implements [sdk.Sink].
func (s *Sink) Write(ctx context.Context, b *sdk.Batch) error {
	if s.failed != nil {
		return s.failed
	}
	p, lsn := b.WAL(), b.WALStart()
	if len(p) == 0 {
		return nil
	}
	if s.failed = s.compressor.fault(); s.failed != nil {
		return s.failed
	}
	if err := s.expect(ctx, b.Timeline(), lsn, p); err != nil {
		return err
	}
	s.failed = s.write(ctx, p)
	return s.failed
}

// expect checks that the WAL p at lsn is what comes next.
func (s *Sink) expect(ctx context.Context, tli wal.TimelineID, lsn wal.LSN, p []byte) error {
	if s.new {
		if s.run.size.Offset(lsn) != 0 || lsn == 0 {
			return sdk.Permanentf("a new archive begins at the start of a segment, not at %s", lsn)
		}
		s.begin(tli, lsn)
	}
	switch {
	case !s.ours || tli != s.run.timeline:
		return sdk.Permanentf("WAL of timeline %d does not belong into the archive %s, which has WAL of cluster %d, timeline %d: use another directory",
			tli, s.dir.path, s.run.systemID, s.run.timeline)
	case lsn != s.pos:
		return errors.New("gap in the stream: WAL up to " + s.pos.String() + " is followed by WAL from " + lsn.String())
	}
	if s.fork != nil {
		return s.checkFork(p)
	}
	return s.checkSeam(ctx, p)
}

// begin starts a new archive.
func (s *Sink) begin(tli wal.TimelineID, lsn wal.LSN) {
	s.new, s.pos = false, lsn
	s.run.timeline, s.run.first = tli, s.run.size.SegNo(lsn)
	s.run.end = s.run.first
	s.setHeld(lsn)
}

// write puts p at the position, over the ends of segments.
func (s *Sink) write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		if err := s.openSegment(); err != nil {
			return err
		}
		n := min(len(p), int(s.cur.end-s.pos), s.ahead(p))
		if err := s.writeAt(p[:n], int64(s.pos-s.cur.start)); err != nil {
			return explain(err, "write WAL at "+s.pos.String())
		}
		p = p[n:]
		s.pos += wal.LSN(n)
		if s.pos == s.syncUntil {
			if err := s.sync(); err != nil {
				return err
			}
		}
		if s.pos == s.cur.end {
			if err := s.finish(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush implements [sdk.Sink].
func (s *Sink) Flush(context.Context) (wal.LSN, error) {
	if s.failed != nil {
		return 0, s.failed
	}
	if s.pos == s.flushed() || !s.ours {
		return s.flushed(), nil
	}
	if s.failed = s.sync(); s.failed != nil {
		return 0, s.failed
	}
	// Of less than its header nobody can tell where an archive began.
	if s.pos >= s.run.start()+longHeaderSize {
		s.setHeld(s.pos)
	}
	return s.flushed(), nil
}

// Close implements [sdk.Sink]. It makes nothing durable, but waits for segments
// that are being compressed.
func (s *Sink) Close(ctx context.Context) error {
	s.compressor.close(ctx, s.failed != nil)
	s.compressor = nil
	s.keeper.close()
	s.keeper = nil
	err := s.closeFork()
	if s.cur != nil {
		err = errors.Join(err, s.cur.f.Close())
		s.cur = nil
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	return err
}

func (s *Sink) flushed() wal.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held.flushed
}

func (s *Sink) setHeld(flushed wal.LSN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held{systemID: s.run.systemID, timeline: s.run.timeline, size: s.run.size, flushed: flushed}
}
