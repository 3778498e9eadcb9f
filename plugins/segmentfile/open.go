package segmentfile

import (
	"context"
	"errors"
	"os"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// Open implements [sdk.Sink].
func (s *Sink) Open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	res, err := s.open(ctx, req)
	if err != nil {
		_ = s.Close(ctx) // nothing was written that could be lost
	}
	return res, err
}

func (s *Sink) open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	s.log = req.Logger
	if err := s.acquire(ctx, req); err != nil {
		return sdk.OpenResult{}, err
	}
	list, err := s.dir.list()
	if err != nil {
		return sdk.OpenResult{}, err
	}
	id, none, err := s.dir.identity(list)
	if err != nil {
		return sdk.OpenResult{}, err
	}
	if none {
		s.new, s.ours = true, true
		s.run = run{systemID: req.System.ID, size: req.System.SegmentSize}
		return sdk.OpenResult{New: true}, writeFormat(s.dir.fs, s.dir.path)
	}
	if s.run, err = s.dir.newest(list, &id); err != nil {
		return sdk.OpenResult{}, err
	}
	return s.resume(ctx, &req.System)
}

// acquire makes the directory and locks it, and refuses one of a later format.
func (s *Sink) acquire(ctx context.Context, req *sdk.OpenRequest) error {
	if err := durable.MkdirAll(s.dir.fs, s.dir.path, dirPerm); err != nil {
		return explain(err, "make the directory")
	}
	lock, err := s.dir.fs.Lock(ctx, s.dir.join(lockFile), req.LockWait)
	if errors.Is(err, durable.ErrLocked) {
		return explain(err, "use the directory: only one sink at a time may write to it; end the other one, or use another directory")
	}
	if err != nil {
		return explain(err, "lock the directory")
	}
	s.lock = lock
	return checkFormat(s.dir.fs, s.dir.path)
}

// resume finds the position in the run. WAL of another cluster or timeline is
// left exactly as it is: the host explains, and nothing will be written.
func (s *Sink) resume(ctx context.Context, sys *sdk.System) (sdk.OpenResult, error) {
	same := s.run.systemID == sys.ID
	if same && s.run.size != sys.SegmentSize {
		return sdk.OpenResult{}, sdk.Permanentf("the archive %s has segments of %d bytes, the server now has wal_segment_size %d (changed by pg_resetwal): "+
			"segments of two sizes cannot share a directory: use a new one, and take a new base backup", s.dir.path, uint32(s.run.size), uint32(sys.SegmentSize))
	}
	s.ours = same && s.run.timeline == sys.Timeline
	if s.ours {
		if err := s.mend(ctx); err != nil {
			return sdk.OpenResult{}, err
		}
	}
	at, err := s.dir.validEnd(ctx, &s.run)
	if err != nil {
		return sdk.OpenResult{}, err
	}
	if s.ours {
		if err := s.adopt(ctx, at); err != nil {
			return sdk.OpenResult{}, err
		}
	}
	s.pos = at
	if s.ours {
		s.setHeld(at)
	} else {
		s.setHeld(s.run.size.LSN(s.run.end)) // the rest may not be durable
	}
	return sdk.OpenResult{SystemID: s.run.systemID, Position: wal.Position{Timeline: s.run.timeline, LSN: at}}, nil
}

// mend settles what a crash can have left between the names of a segment, and
// says what is missing.
func (s *Sink) mend(ctx context.Context) error {
	for _, h := range s.run.holes {
		s.log.Warn("WAL is missing in the archive: nothing can be restored across the hole",
			"from", h.from.String(), "to", h.to.String(), "timeline", uint32(s.run.timeline))
	}
	// This syncs the directory as well: the names that were found may be known to
	// nobody but the kernel until then.
	if err := writeFormat(s.dir.fs, s.dir.path); err != nil {
		return err
	}
	for _, no := range s.run.both {
		if err := s.dir.removeTwin(ctx, &s.run, no); err != nil {
			return err
		}
	}
	return nil
}

// adopt makes everything before at durable and goes on from there.
func (s *Sink) adopt(ctx context.Context, at wal.LSN) error {
	start := s.run.size.LSN(s.run.end)
	if s.run.partial {
		f, err := s.dir.fs.OpenFile(s.dir.join(s.run.name(s.run.end)+wal.PartialSuffix), os.O_RDWR, 0)
		if err != nil {
			return explain(err, "continue the archive")
		}
		s.cur = &segment{f: f, start: start, end: start + wal.LSN(s.run.size), name: s.run.name(s.run.end)}
		if err := s.dir.settle(ctx, f, &s.run, at); err != nil {
			return err
		}
	}
	s.pos = at
	if err := s.aheadAtOpen(); err != nil {
		return err
	}
	if s.cur != nil && at == s.cur.end {
		return s.finish(ctx)
	}
	return nil
}
