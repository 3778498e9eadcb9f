package segmentfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

// ReadWAL implements [sdk.Reader].
func (s *Sink) ReadWAL(ctx context.Context, tli wal.TimelineID, from, to wal.LSN, emit func(lsn wal.LSN, p []byte) error) error {
	s.mu.Lock()
	h := s.held
	s.mu.Unlock()
	if !h.size.Valid() {
		return fmt.Errorf("%w: the archive is empty", sdk.ErrNotHeld)
	}
	r := reading{dir: s.dir, held: h, timeline: tli, emit: emit, buf: make([]byte, readSize)}
	end := to
	if tli == h.timeline && (to == 0 || to > h.flushed) {
		end = h.flushed
	}
	for from < end || end == 0 {
		next := h.size.End(from)
		if end != 0 {
			next = min(next, end)
		}
		at, err := r.segment(ctx, from, next)
		if end == 0 && errors.Is(err, errNoFile) {
			return nil // an older timeline ends with its last finished segment
		}
		if err != nil {
			return err
		}
		if from = at; from < next {
			break // an older timeline ends in a partial one
		}
	}
	switch {
	case from >= to:
		return nil
	case tli == h.timeline:
		return fmt.Errorf("%w: WAL from %s on timeline %d: the archive ends at %s", sdk.ErrNotHeld, from, tli, h.flushed)
	}
	return fmt.Errorf("%w: WAL from %s on timeline %d: the archive holds no more of it", sdk.ErrNotHeld, from, tli)
}

// errNoFile is ErrNotHeld where the whole segment is missing.
var errNoFile = fmt.Errorf("%w", sdk.ErrNotHeld)

// reading is one ReadWAL.
type reading struct {
	dir      directory
	held     held
	timeline wal.TimelineID
	emit     func(lsn wal.LSN, p []byte) error
	buf      []byte
}

// segment emits the WAL of one segment from from to to, or up to where a timeline
// ends that is no longer received, and answers how far it came.
func (r *reading) segment(ctx context.Context, from, to wal.LSN) (wal.LSN, error) {
	c, to, err := r.open(ctx, from, to)
	if err != nil {
		return from, err
	}
	defer c.Close()
	if err := r.dir.skip(c, int64(r.held.size.Offset(from))); err != nil {
		return from, err
	}
	for from < to {
		if err := ctx.Err(); err != nil {
			return from, err
		}
		p := r.buf[:min(int(to-from), len(r.buf))]
		n, err := r.dir.read(c, p)
		if err != nil {
			return from, err
		}
		if n < len(p) {
			return from, fmt.Errorf("%w: the file of segment %s ends at %s", sdk.ErrNotHeld, r.name(from), from+wal.LSN(n))
		}
		if err := r.emit(from, p); err != nil {
			return from, err
		}
		from += wal.LSN(len(p))
	}
	return from, nil
}

func (r *reading) name(lsn wal.LSN) string {
	return r.held.size.FileName(r.timeline, r.held.size.SegNo(lsn))
}

// open opens the file that holds the byte at lsn, and answers how far of up to to
// it holds WAL. The segment that was being received has its final name before it
// loses the other one.
func (r *reading) open(ctx context.Context, lsn, to wal.LSN) (*content, wal.LSN, error) {
	name := r.name(lsn)
	names := []string{name}
	if r.timeline == r.held.timeline && r.held.flushed < r.held.size.End(lsn) {
		names = []string{name + wal.PartialSuffix, name}
	}
	for _, n := range names {
		c, err := r.dir.open(n)
		if !errors.Is(err, fs.ErrNotExist) {
			return c, to, err
		}
	}
	if r.timeline != r.held.timeline {
		end, err := r.endOfTimeline(ctx, r.held.size.SegNo(lsn))
		if err != nil {
			return nil, 0, err
		}
		if end > lsn {
			c, err := r.dir.open(name + wal.PartialSuffix)
			return c, min(to, end), err
		}
	}
	return nil, 0, fmt.Errorf("%w: WAL at %s: segment %s is not in the archive", errNoFile, lsn, name)
}

// endOfTimeline is where the WAL ends of a timeline that is no longer received,
// if that is in its partial segment no, and 0 elsewhere.
func (r *reading) endOfTimeline(ctx context.Context, no wal.SegNo) (wal.LSN, error) {
	list, err := r.dir.list()
	if err != nil {
		return 0, err
	}
	run, ok, err := r.dir.newestOf(ctx, list, r.timeline, &header{systemID: r.held.systemID, segmentSize: r.held.size})
	if err != nil || !ok || !run.partial || run.end != no {
		return 0, err
	}
	return r.dir.validEnd(ctx, &run)
}
