package segmentfile

import (
	"context"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

// run is the newest segments of the directory that follow each other without a
// hole: finished ones, and perhaps a partial one behind them.
type run struct {
	systemID uint64
	size     wal.SegmentSize
	timeline wal.TimelineID
	first    wal.SegNo // of the segments; the partial one's where none is finished
	end      wal.SegNo // after the last finished one
	partial  bool      // segment end is there as a partial one
	both     []wal.SegNo
	holes    []hole
}

// hole is WAL that is missing between segments.
type hole struct{ from, to wal.LSN }

func (r *run) start() wal.LSN { return r.size.LSN(r.first) }

func (r *run) name(no wal.SegNo) string { return r.size.FileName(r.timeline, no) }

// newest finds the run in the directory's list. A partial segment that does not
// follow a finished one and has no valid header holds nothing: it is as if it
// were not there.
func (d *directory) newest(ctx context.Context, l listing, id *header) (run, error) {
	r := run{systemID: id.systemID, size: id.segmentSize}
	top := -1
	for i, e := range l.entries {
		tli, no, err := r.size.ParseFileName(e.segment)
		if err != nil {
			continue
		}
		if e.kind >= partial && !l.finished[r.size.FileName(tli, no-1)] {
			if _, ok, err := d.header(e); err != nil {
				return r, err
			} else if !ok {
				continue
			}
		}
		r.timeline, r.first, r.end, top = tli, no, no, i
		r.partial = e.kind == partial
		if e.kind < partial {
			r.end++
		}
		break
	}
	for r.first > 0 && l.finished[r.name(r.first-1)] {
		r.first--
	}
	if top < 0 {
		return r, nil // of one timeline alone there may be nothing that counts
	}
	r.lookBelow(l.entries[top:])
	return r, d.checkLast(ctx, &r)
}

// newestOf is the run of one timeline. ok is false where there is none.
func (d *directory) newestOf(ctx context.Context, l listing, tli wal.TimelineID, id *header) (r run, ok bool, err error) {
	of := listing{finished: l.finished}
	for _, e := range l.entries {
		if t, _, err := id.segmentSize.ParseFileName(e.segment); err == nil && t == tli {
			of.entries = append(of.entries, e)
		}
	}
	if len(of.entries) == 0 {
		return r, false, nil
	}
	r, err = d.newest(ctx, of, id)
	return r, r.timeline == tli, err
}

// lookBelow notes what else there is of the run's timeline: holes, and segments
// that lie there under both names.
func (r *run) lookBelow(list []entry) {
	low := r.first
	for _, e := range list {
		tli, no, err := r.size.ParseFileName(e.segment)
		if err != nil || tli != r.timeline {
			continue
		}
		switch {
		case e.kind == partial && no < r.end && no >= r.first:
			r.both = append(r.both, no)
		case e.kind < partial && no < low:
			if no+1 < low {
				r.holes = append(r.holes, hole{r.size.LSN(no + 1), r.size.LSN(low)})
			}
			low = no
		}
	}
}

// checkLast looks at the last finished segment: its size, and whose it is.
func (d *directory) checkLast(ctx context.Context, r *run) error {
	if r.end == r.first {
		return nil
	}
	c, err := d.open(r.name(r.end - 1))
	if err != nil {
		return err
	}
	file := c.name
	if err := c.Close(); err != nil {
		return explain(err, "read the archive")
	}
	n, err := d.length(ctx, file, int64(r.size)+1)
	if err != nil {
		return err
	}
	if n != int64(r.size) {
		return sdk.Permanentf("segment %s has %d bytes instead of %d: it is not whole, although its name says so: move it out of the directory; it is received again then, if the server still has it",
			d.join(file), n, uint32(r.size))
	}
	h, ok, err := d.header(entry{segment: r.name(r.end - 1), file: file})
	if err != nil {
		return err
	}
	if !ok || h.systemID != r.systemID || h.segmentSize != r.size {
		return sdk.Permanentf("segments %s and %s are not of the same cluster (system identifiers %d and %d): the directory was used for two: move the segments of one elsewhere",
			d.join(file), d.join(r.name(r.end)+wal.PartialSuffix), h.systemID, r.systemID)
	}
	return nil
}
