package stream

import (
	"context"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// origin is what a session reads from: a connection to a server, or a directory.
type origin interface {
	receiver
	Server() string
	IdentifySystem(ctx context.Context) (replication.System, error)
	TimelineHistory(ctx context.Context, tli wal.TimelineID) (name string, content []byte, err error)
	StartPhysical(ctx context.Context, o replication.StartOptions) (*replication.TimelineSwitch, error)
	SendStatus(ctx context.Context, st replication.Status) error
	EndCopy(ctx context.Context) (*replication.TimelineSwitch, error)
	Close(ctx context.Context) error
}

// slotKeeper is an origin that has replication slots.
type slotKeeper interface {
	Slot(ctx context.Context, name string) (replication.SlotInfo, error)
	CreateSlot(ctx context.Context, name string) (replication.SlotInfo, error)
}

// dial connects to the server, or opens the directory.
func (s *Stream) dial(ctx context.Context) (origin, error) {
	if s.cfg.Archive == nil {
		return replication.Connect(ctx, s.cfg.Server)
	}
	a, err := archive.Open(*s.cfg.Archive)
	if err != nil {
		// What lies in a directory changes by hand, not by waiting.
		return nil, faultf("the archive cannot be read: %w", err)
	}
	s.cfg.Start = a.From()
	return a, nil
}

// archiveEnded is called at the end of an archive: the sinks flush, and the
// stream is done.
func (l *loop) archiveEnded(a *archive.Source) error {
	s := l.s
	end := s.chain.Received()
	s.log.Info("the archive ends here", "lsn", end, "because", a.Why())
	if want := s.cfg.Until.LSN; want > end {
		return faultf("the archive ends at %s, before %s: %v", end, want, a.Why())
	}
	if s.cfg.Until.CaughtUp {
		s.target, s.reached = end, true // an archive's end is known only now
	}
	l.stop()
	return nil
}
