package segmentfile

import (
	"context"
	"errors"
	"io/fs"
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
	s.log, s.metrics = req.Logger, req.Metrics
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
		if err := req.MustHold(s.dir.path); err != nil {
			return sdk.OpenResult{}, err
		}
		return sdk.OpenResult{New: true}, s.start(ctx, req)
	}
	if s.run, err = s.dir.newest(ctx, list, &id); err != nil {
		return sdk.OpenResult{}, err
	}
	return s.resume(ctx, req, list)
}

// start prepares a directory that holds nothing.
func (s *Sink) start(ctx context.Context, req *sdk.OpenRequest) error {
	s.new, s.ours = true, true
	s.run = run{systemID: req.System.ID, size: req.System.SegmentSize}
	if err := writeFormat(&s.dir); err != nil {
		return err
	}
	s.startCompressor(ctx)
	return s.keepHistory(req)
}

// keepHistory puts the history file of the timeline that is streamed into the
// archive.
func (s *Sink) keepHistory(req *sdk.OpenRequest) error {
	if req.System.Timeline <= 1 || len(req.History) == 0 {
		return nil
	}
	return s.dir.writeHistory(req.System.Timeline, req.History)
}

func (s *Sink) startCompressor(ctx context.Context) {
	if z, _ := codecNamed(s.config.Compression); z != nil {
		s.compressor = newCompressor(ctx, s.dir, s.run.size, z, s.config.CompressionLevel, &s.names, s.inline)
	}
}

// acquire makes the directory and locks it, and refuses one of a later format.
func (s *Sink) acquire(ctx context.Context, req *sdk.OpenRequest) error {
	var err error
	if s.dir.access, err = s.config.access(); err != nil {
		return err
	}
	if _, err := s.dir.fs.Stat(s.dir.path); errors.Is(err, fs.ErrNotExist) {
		if err := req.MustHold(s.dir.path); err != nil {
			return err
		}
	}
	if err := s.makeDirectory(); err != nil {
		return err
	}
	lock, err := s.dir.fs.Lock(ctx, s.dir.join(lockFile), req.LockWait)
	if errors.Is(err, durable.ErrLocked) {
		return explain(err, "use the directory: only one sink at a time may write to it; end the other one, or use another directory")
	}
	if err != nil {
		return explain(err, "lock the directory")
	}
	s.lock = lock
	if s.dir.info, err = s.dir.fs.Stat(s.dir.path); err != nil {
		return explain(err, "use the directory")
	}
	return checkFormat(&s.dir)
}

// resume finds the position in the run. WAL of another cluster, or of a timeline
// that the streamed one does not descend from, is left exactly as it is: the host
// explains, and nothing will be written.
func (s *Sink) resume(ctx context.Context, req *sdk.OpenRequest, list listing) (sdk.OpenResult, error) {
	sys := &req.System
	same := s.run.systemID == sys.ID
	if same && s.run.size != sys.SegmentSize {
		return sdk.OpenResult{}, sdk.Permanentf("the archive %s has segments of %d bytes, the server now has wal_segment_size %d (changed by pg_resetwal): "+
			"segments of two sizes cannot share a directory: use a new one, and take a new base backup", s.dir.path, uint32(s.run.size), uint32(sys.SegmentSize))
	}
	ancestor, ended, err := descends(s.run.timeline, sys.Timeline, req.History)
	if err != nil {
		return sdk.OpenResult{}, err
	}
	if s.ours = same && ancestor; s.ours {
		if err := s.mend(ctx, req, list); err != nil {
			return sdk.OpenResult{}, err
		}
	}
	at, err := s.dir.validEnd(ctx, &s.run)
	if err != nil {
		return sdk.OpenResult{}, err
	}
	if s.ours {
		if err := s.adopt(ctx, at, ended != 0 && at >= ended); err != nil {
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
func (s *Sink) mend(ctx context.Context, req *sdk.OpenRequest, list listing) error {
	for _, h := range s.run.holes {
		s.log.Warn("WAL is missing in the archive: nothing can be restored across the hole",
			"from", h.from.String(), "to", h.to.String(), "timeline", uint32(s.run.timeline))
	}
	if last := list.entries[0]; last.kind == compressedPartial {
		s.log.Info("another program has left an incomplete segment that is compressed, to which nothing can be added: it is received again from its start",
			"file", s.dir.join(last.file))
	}
	// This syncs the directory as well: the names that were found may be known to
	// nobody but the kernel until then.
	if err := writeFormat(&s.dir); err != nil {
		return err
	}
	if err := s.keepHistory(req); err != nil {
		return err
	}
	for _, file := range list.temps {
		if err := s.dir.fs.Remove(s.dir.join(file)); err != nil {
			return explain(err, "remove what a crash has left of a compression")
		}
	}
	for _, no := range s.run.both {
		name := s.run.name(no)
		if err := s.dir.removeTwins(ctx, &s.run, list, name, name+wal.PartialSuffix); err != nil {
			return err
		}
	}
	for _, e := range list.entries {
		if e.kind == compressed && list.plain(e.segment) {
			if err := s.dir.removeTwin(ctx, &s.run, e.file, e.segment); err != nil {
				return err
			}
		}
	}
	return nil
}

// adopt makes everything before at durable and goes on from there. Where its
// timeline has ended before at, nothing is written to it any more: what lies
// behind stays too.
func (s *Sink) adopt(ctx context.Context, at wal.LSN, ended bool) error {
	start := s.run.size.LSN(s.run.end)
	s.startCompressor(ctx)
	if err := s.compressRest(ctx); err != nil {
		return err
	}
	if s.run.partial {
		name := s.run.name(s.run.end)
		f, err := s.dir.fs.OpenFile(s.dir.join(name+wal.PartialSuffix), os.O_RDWR|s.syncFlag(), 0)
		if err != nil {
			return explain(err, "continue the archive")
		}
		s.cur = &segment{f: f, start: start, end: start + wal.LSN(s.run.size), name: name}
		if s.cur.info, err = f.Stat(); err != nil {
			return explain(err, "continue the archive")
		}
		if err := s.settle(ctx, at, ended); err != nil {
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

// compressRest queues the segments that waited for their compression when the
// sink ended: the newest ones. Older ones that are plain are of a time when the
// archive was not compressed, and stay as they are.
func (s *Sink) compressRest(ctx context.Context) error {
	if s.compressor == nil {
		return nil
	}
	// Besides those that waited there is one in work, and one for which there was no
	// room.
	no := s.run.first
	if s.run.end-no > maxPending+2 {
		no = s.run.end - maxPending - 2
	}
	for ; no < s.run.end; no++ {
		if err := s.compressor.add(ctx, &s.run, no); err != nil {
			return err
		}
	}
	return nil
}
