package segmentfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

// Rewind implements [sdk.Rewinder]. What is there of the old timeline stays as it
// is, also what lies behind the switch point: its last segment keeps the name
// .partial. The new timeline has the switch point's segment from its start.
func (s *Sink) Rewind(ctx context.Context, e *sdk.Epoch) (wal.LSN, error) {
	if s.failed != nil {
		return 0, s.failed
	}
	lsn, err := s.rewind(ctx, e)
	s.failed = err
	return lsn, err
}

func (s *Sink) rewind(ctx context.Context, e *sdk.Epoch) (wal.LSN, error) {
	if err := checkEpoch(e); err != nil {
		return 0, err
	}
	start := s.run.size.Start(e.SwitchLSN)
	switch {
	case s.new:
		return start, s.keepEpoch(e)
	case s.ours && s.run.timeline == e.NewTimeline && s.pos == start:
		return start, nil // told twice
	case !s.ours || s.run.timeline != e.OldTimeline:
		return 0, sdk.Permanentf("timeline %d follows timeline %d, but the archive %s is at timeline %d: use another directory", e.NewTimeline, e.OldTimeline, s.dir.path, s.run.timeline)
	case s.pos < start:
		return 0, fmt.Errorf("gap in the stream: timeline %d ends at %s, and its WAL from %s to %s has not come", e.OldTimeline, e.SwitchLSN, s.pos, start)
	}
	if err := s.endTimeline(ctx); err != nil {
		return 0, err
	}
	// From here on a restart may find the new timeline's first segment, and not be
	// told again: its history file is durable before that.
	if err := s.keepEpoch(e); err != nil {
		return 0, err
	}
	old := s.run
	no := old.size.SegNo(start)
	s.run = run{systemID: old.systemID, size: old.size, timeline: e.NewTimeline, first: no, end: no}
	held := s.pos
	s.pos, s.syncUntil, s.seam, s.seamDone = start, 0, nil, true
	s.setHeld(start)
	return start, s.openFork(&old, start, min(held, e.SwitchLSN))
}

// keepEpoch keeps the new timeline's history file. A server may have lost that of a
// timeline that has ended since: the next one's says the same and more.
func (s *Sink) keepEpoch(e *sdk.Epoch) error {
	if len(e.History) > 0 {
		return s.dir.writeHistory(e.NewTimeline, e.History)
	}
	s.log.Warn("the server has no history file of this timeline: to restore to it, its successor has to be the target", "timeline", uint32(e.NewTimeline))
	return nil
}

// checkEpoch holds an epoch against its history file, if there is one.
func checkEpoch(e *sdk.Epoch) error {
	if len(e.History) == 0 && e.OldTimeline < e.NewTimeline {
		return nil
	}
	h, err := wal.ParseHistory(e.NewTimeline, e.History)
	if err != nil {
		return sdk.Permanent(err)
	}
	at, ok := h.SwitchPoint(e.OldTimeline)
	if !ok || at != e.SwitchLSN || e.OldTimeline >= e.NewTimeline || e.HistoryFile != wal.HistoryFileName(e.NewTimeline) {
		return sdk.Permanentf("timeline %d is said to leave timeline %d at %s, and its history file %s does not say so", e.NewTimeline, e.OldTimeline, e.SwitchLSN, e.HistoryFile)
	}
	return nil
}

// endTimeline makes what was received durable and lets go of the segment that
// was being received, whose name stays.
func (s *Sink) endTimeline(ctx context.Context) error {
	if err := s.sync(); err != nil {
		return err
	}
	if s.cur != nil {
		if err := s.cur.f.Close(); err != nil {
			return notDurable(err, "make segment "+s.cur.name)
		}
		s.cur = nil
	}
	// The next Open looks for segments that wait on the newest timeline alone.
	return s.compressor.drain(ctx)
}

// fork compares the new timeline's first segment up to the switch point with the
// old timeline's: the server has copied it from there.
type fork struct {
	old      *content
	at, end  wal.LSN
	held, in hash.Hash
	buf      []byte
}

// openFork opens the segment of the old timeline. There is none where nothing of
// it was received.
func (s *Sink) openFork(old *run, start, end wal.LSN) error {
	if end <= start {
		return nil
	}
	no := old.size.SegNo(start)
	name := old.name(no)
	if no == old.end {
		name += wal.PartialSuffix
	}
	c, err := s.dir.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.fork = &fork{old: c, at: start, end: end, held: sha256.New(), in: sha256.New(), buf: make([]byte, readSize)}
	return nil
}

// checkFork compares p, which comes at the position.
func (s *Sink) checkFork(p []byte) error {
	f := s.fork
	for len(p) > 0 && f.at < f.end {
		n := min(len(p), len(f.buf), int(f.end-f.at))
		got, err := s.dir.read(f.old, f.buf[:n])
		if err != nil {
			return err
		}
		if got < n {
			f.end = f.at // what the file does not hold cannot be compared
			break
		}
		f.held.Write(f.buf[:n])
		f.in.Write(p[:n])
		if !bytes.Equal(f.buf[:n], p[:n]) {
			differs := f.at + wal.LSN(commonPrefix(f.buf[:n], p[:n]))
			return sdk.Permanentf("timeline %d has other WAL before its switch point than the archive %s holds in %s, from LSN %s on (SHA-256 from %s to %s: %x, held: %x): "+
				"the server has not taken this timeline from the one that is archived: keep this archive as it is and use a new directory for the server",
				s.run.timeline, s.dir.path, f.old.name, differs, s.run.start(), f.at+wal.LSN(n), f.in.Sum(nil), f.held.Sum(nil))
		}
		f.at += wal.LSN(n)
		p = p[n:]
	}
	if f.at < f.end {
		return nil
	}
	return s.closeFork()
}

func (s *Sink) closeFork() error {
	if s.fork == nil {
		return nil
	}
	err := s.fork.old.Close()
	s.fork = nil
	return err
}
