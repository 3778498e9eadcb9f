package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// Switch is what a rewound line says: where the trail left a timeline for
// another. The lines before it whose records end beyond To, which are those up to
// From, are of WAL that is no part of the new timeline.
type Switch struct {
	OldTimeline wal.TimelineID `json:"old_timeline"`
	SwitchLSN   wal.LSN        `json:"switch_lsn"` // where the server's history left the old timeline
	NewTimeline wal.TimelineID `json:"new_timeline"`
	From        wal.LSN        `json:"from_lsn"` // position before
	To          wal.LSN        `json:"to_lsn"`   // position after; at most From and SwitchLSN
}

const rewoundKey = `{"rewound":`

func appendRewound(b []byte, s *Switch) []byte {
	b = appendNumber(append(b, rewoundKey+`{"old_timeline":`...), uint32(s.OldTimeline))
	b = appendLSN(append(b, `,"switch_lsn":"`...), s.SwitchLSN)
	b = appendNumber(append(b, `","new_timeline":`...), uint32(s.NewTimeline))
	b = appendLSN(append(b, `,"from_lsn":"`...), s.From)
	b = appendLSN(append(b, `","to_lsn":"`...), s.To)
	return append(b, "\"}}\n"...)
}

// parseRewound reads a rewound line; ok is false for a line of another kind.
func parseRewound(line []byte) (s Switch, ok bool, err error) {
	if !bytes.HasPrefix(line, []byte(rewoundKey)) {
		return Switch{}, false, nil
	}
	var l struct {
		Rewound Switch `json:"rewound"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return Switch{}, true, fmt.Errorf("it does not parse: %w", err)
	}
	s = l.Rewound
	if s.OldTimeline == 0 || s.NewTimeline <= s.OldTimeline || s.To > s.From || s.To > s.SwitchLSN {
		return Switch{}, true, fmt.Errorf("from timeline %d at %s to timeline %d, from %s back to %s: no walplex writes that",
			s.OldTimeline, s.SwitchLSN, s.NewTimeline, s.From, s.To)
	}
	return s, true, nil
}

// Rewind goes over to another timeline. No line is lost: one more says which of
// them count no more.
func (s *sink) Rewind(ctx context.Context, e *sdk.Epoch) (wal.LSN, error) {
	if s.err != nil {
		return 0, s.err
	}
	if err := s.rewind(ctx, e); err != nil {
		s.err = s.explain(err)
		return 0, s.err
	}
	return s.to.LSN, nil
}

func (s *sink) rewind(ctx context.Context, e *sdk.Epoch) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if s.to.Timeline == e.NewTimeline && s.to.LSN != 0 {
		return s.flush(ctx) // it was told before, and the answer was lost
	}
	if s.to.Timeline > e.NewTimeline && s.to.LSN != 0 {
		return sdk.Permanentf("timeline %d was to follow timeline %d: nothing was written", e.NewTimeline, s.to.Timeline)
	}
	// A trail that holds nothing yet goes on where the new timeline begins.
	to := wal.Position{Timeline: e.NewTimeline, LSN: e.SwitchLSN}
	if s.to.LSN != 0 {
		limit, err := e.SwitchPoint(s.to.Timeline)
		if err != nil {
			return err
		}
		if to.LSN, err = s.endBefore(ctx, limit); err != nil {
			return err
		}
		s.log.Info("the trail follows a switch of timelines", "from", s.to.String(), "to", to.String(), "switch", limit.String())
		if s.trail.f != nil {
			s.trail.buf = appendRewound(s.trail.buf, &Switch{OldTimeline: s.to.Timeline, SwitchLSN: limit, NewTimeline: e.NewTimeline, From: s.to.LSN, To: to.LSN})
		}
	}
	s.to, s.last, s.pending.start = to, to.LSN, 0
	return s.flush(ctx)
}

// endBefore is the position at or before limit: the end of the last record there.
func (s *sink) endBefore(ctx context.Context, limit wal.LSN) (wal.LSN, error) {
	if s.to.LSN <= limit {
		return s.to.LSN, nil
	}
	if s.trail.f == nil {
		return limit, nil
	}
	if err := s.trail.write(); err != nil {
		return 0, err
	}
	names, _, err := listFiles(s.fsys, s.trail.dir)
	if err != nil {
		return 0, err
	}
	for len(names) > 0 && names[len(names)-1] > s.trail.name {
		names = names[:len(names)-1]
	}
	last, found, err := lastBefore(ctx, s.fsys, s.trail.dir, names, s.trail.off, limit)
	if err != nil || found {
		return last.end, err
	}
	// The trail leaves records out, or the files that have them were moved away.
	// PostgreSQL ends a timeline behind the last record that it has replayed
	// (EndOfLog in StartupXLOG), so that a record ends at the switch point itself.
	return limit, nil
}

// lastBefore finds the line of the last record of the trail's history that ends
// at or before limit, in these files, the last of which counts up to size. found
// is false where such a line is not there, or not known to be the last, because
// records are left out.
func lastBefore(ctx context.Context, fsys durable.FS, dir string, names []string, size int64, limit wal.LSN) (last scanned, found bool, err error) {
	for i := len(names) - 1; i >= 0; i-- {
		name := filepath.Join(dir, names[i])
		var p passed
		for again := true; again; {
			if p, err = passFile(ctx, fsys, name, size, limit); err != nil {
				return scanned{}, false, fmt.Errorf("%s: %w", name, err)
			}
			// Rewound lines end a file: they hold for all that is before them.
			again = p.lowest < limit && p.last.end > p.lowest
			limit = min(limit, p.lowest)
		}
		if p.partial {
			return scanned{}, false, nil
		}
		if p.last.end != 0 {
			return p.last, true, nil
		}
		size = -1
	}
	return scanned{}, false, nil
}

// passed is what a file has of records up to a limit.
type passed struct {
	last    scanned // end 0: none
	lowest  wal.LSN // to which a rewound line goes back, else the limit
	partial bool    // records are left out
}

// passFile reads a file up to size, if that is not negative. Lines that are wrong
// are Verify's to find.
func passFile(ctx context.Context, fsys durable.FS, name string, size int64, limit wal.LSN) (p passed, err error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return passed{}, err
	}
	defer f.Close()
	if size < 0 {
		info, err := f.Stat()
		if err != nil {
			return passed{}, err
		}
		size = info.Size()
	}
	p.lowest = limit
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), bufferSize)
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		switch {
		case err == io.EOF:
			return p, nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return passed{}, err
		case n%1024 == 0 && ctx.Err() != nil:
			return passed{}, ctx.Err()
		case n == 0:
			h, err := parseHeader(line)
			p.partial = err != nil || h.partial()
			continue
		}
		if s, ok, err := parseRewound(line); ok && err == nil {
			p.lowest = min(p.lowest, s.To)
		}
		if l, ok := scanLine(line); ok && l.end <= limit {
			p.last = l
		}
	}
}
