package segmentfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
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
		err := r.segment(ctx, from, next)
		if end == 0 && errors.Is(err, errNoFile) {
			return nil // an older timeline ends with its last finished segment
		}
		if err != nil {
			return err
		}
		from = next
	}
	if from < to {
		return fmt.Errorf("%w: WAL from %s on timeline %d: the archive ends at %s", sdk.ErrNotHeld, from, tli, h.flushed)
	}
	return nil
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

// segment emits the WAL of one segment from from to to.
func (r *reading) segment(ctx context.Context, from, to wal.LSN) error {
	f, err := r.open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := r.buf[:min(int(to-from), len(r.buf))]
		n, err := f.ReadAt(p, int64(r.held.size.Offset(from)))
		if err == io.EOF {
			return fmt.Errorf("%w: the file of segment %s ends at %s", sdk.ErrNotHeld, r.name(from), from+wal.LSN(n))
		}
		if err != nil {
			return explain(err, "read WAL at "+from.String())
		}
		if err := r.emit(from, p); err != nil {
			return err
		}
		from += wal.LSN(len(p))
	}
	return nil
}

func (r *reading) name(lsn wal.LSN) string {
	return r.held.size.FileName(r.timeline, r.held.size.SegNo(lsn))
}

// open opens the file that holds the byte at lsn. The segment that was being
// received has its final name before it loses the other one.
func (r *reading) open(lsn wal.LSN) (durable.File, error) {
	name := r.name(lsn)
	names := []string{name}
	if r.timeline == r.held.timeline && r.held.flushed < r.held.size.End(lsn) {
		names = []string{name + wal.PartialSuffix, name}
	}
	for _, n := range names {
		f, err := r.dir.fs.OpenFile(r.dir.join(n), os.O_RDONLY, 0)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, explain(err, "read WAL at "+lsn.String())
		}
	}
	return nil, fmt.Errorf("%w: WAL at %s: segment %s is not in the archive", errNoFile, lsn, name)
}
