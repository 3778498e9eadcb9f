package stream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// Base backups. A new sink may wish for one. It is taken over a connection of its
// own, by a goroutine of its own, while the stream serves the others: the sink has
// no place in the chain meanwhile, so that of a required one the server is told
// nothing, and its slot stays where it is. When the sink holds the backup, its
// position is the backup's start. It is then served beside the stream, from another
// sink's Read or over a second connection, until it has caught up.
//
// Nothing is kept of a backup that fails, on either side: the sink's process is
// ended, is new at its next Open, and gets another one.

// backup is a base backup on its way to a sink. The goroutine that takes it and the
// loop share it.
type backup struct {
	sink   chain.SinkID
	life   *life
	ctx    context.Context
	cancel context.CancelFunc
	began  time.Time
	free   chan []byte // buffers that were sent
	freed  chan struct{}

	sent  atomic.Uint64 // chunks
	taken atomic.Uint64 // of them, as the sink has told

	phase       atomic.Int32
	done, total atomic.Int64 // bytes of files
	start       atomic.Pointer[wal.Position]
	end         wal.LSN                // set before the phase is finishing
	problem     atomic.Pointer[string] // why it does not go on at this moment
}

// phases of a backup.
const (
	connecting int32 = iota
	checkpointing
	copying
	finishing // all was sent; the sink makes it durable
)

// BackupPhase is what a base backup is waiting for.
type BackupPhase string

// The phases of a base backup.
const (
	BackupConnecting BackupPhase = "connecting" // to the server
	BackupCheckpoint BackupPhase = "checkpoint" // the server makes one
	BackupCopying    BackupPhase = "copying"
	BackupFinishing  BackupPhase = "finishing" // all was sent and verified; the sink makes it durable
)

// BackupStatus is how far a sink's base backup is.
type BackupStatus struct {
	Phase BackupPhase
	Start wal.Position // zero: not known yet
	Done  int64        // bytes of files that were sent
	Total int64        // that there will be, as the server estimates; 0 unknown
	Since time.Time
	Error string // why it does not go on at this moment
}

func (b *backup) status() *BackupStatus {
	st := &BackupStatus{Phase: [...]BackupPhase{BackupConnecting, BackupCheckpoint, BackupCopying, BackupFinishing}[b.phase.Load()],
		Done: b.done.Load(), Total: b.total.Load(), Since: b.began}
	if p := b.start.Load(); p != nil {
		st.Start = *p
	}
	if p := b.problem.Load(); p != nil {
		st.Error = *p
	}
	return st
}

// startBackup begins the backup that an opened sink wishes for.
func (s *Stream) startBackup(ctx context.Context, id chain.SinkID, here *session) error {
	k, cfg := &s.sinks[id], &s.cfg.Sinks[id]
	if s.cfg.Archive != nil {
		s.giveUp(id)
		return s.lost(ctx, id, faultf("sink %q is new and wants a base backup, which an archive cannot give. "+
			"Let it begin with a stream from the server, or set it to begin without a backup", cfg.Name))
	}
	if why, remedy := s.unheld(id, here); why != "" {
		s.log.Warn("base backup: the server may remove WAL that follows the backup before the sink has got it: "+why, "sink", cfg.Name, "remedy", remedy)
	}
	b := &backup{sink: id, life: k.life, began: time.Now(), free: make(chan []byte, wire.BackupWindow+1), freed: make(chan struct{}, 1)}
	b.ctx, b.cancel = context.WithCancel(ctx)
	k.life.backup = b
	// Where delivery begins is known only when the backup is.
	if err := k.life.begin(ctx, 0, 0, s.happened); err != nil {
		b.cancel()
		s.giveUp(id)
		return s.lost(ctx, id, err)
	}
	k.backup = b
	server, want := s.cfg.Server, s.system()
	s.opens.Go(func() {
		if err := b.run(b.ctx, server, want); err != nil && !errors.Is(err, errSinkEnded) {
			s.tell(b.ctx, happening{sink: id, backup: b, err: err})
		}
	})
	return nil
}

// unheld says why nobody may keep the WAL from a backup's start on until the sink has
// got it, and what to do about that; empty where somebody does.
func (s *Stream) unheld(id chain.SinkID, here *session) (why, remedy string) {
	for i := range s.sinks {
		if l := s.sinks[i].life; chain.SinkID(i) != id && l != nil && l.can(wire.CapRead) {
			return "", ""
		}
	}
	switch {
	case len(s.cfg.Fallbacks) > 0:
		return "", ""
	case s.cfg.Slot == "":
		return "the stream has no slot", "set slot and create_slot"
	case here.slot == 0:
		return "the slot has kept none so far", "drop it, and have create_slot make one that does from the start"
	case !s.cfg.Sinks[id].Required:
		return "the sink is not required, so the slot does not wait for it", "set required = true, or add a sink that keeps WAL, such as segment_file"
	}
	return "", ""
}

// stopBackup ends a backup that is not to go on; the sink has to be ended with it.
func (s *Stream) stopBackup(id chain.SinkID) {
	if k := &s.sinks[id]; k.backup != nil {
		k.backup.cancel()
		k.backup = nil
	}
}

// stopBackups ends the sinks that are in the middle of one: they hold nothing.
func (s *Stream) stopBackups() {
	for i := range s.sinks {
		if s.sinks[i].backup != nil {
			s.log.Info("base backup: given up, the stream ends; the sink gets another one at the next start", "sink", s.cfg.Sinks[i].Name)
			s.giveUp(chain.SinkID(i))
		}
	}
}

// asideAfterBackup takes aside the sinks that come after one which gets a backup, or
// catches up after it: that may take hours, for which the others need not wait too.
func (s *Stream) asideAfterBackup(ctx context.Context) {
	for i := range s.sinks {
		id, cfg := chain.SinkID(i), &s.cfg.Sinks[i]
		if p := s.chain.Positions(id); !p.Attached || p.Aside {
			continue
		}
		for _, a := range cfg.After {
			if before := &s.sinks[a]; before.backup != nil || before.fresh {
				s.log.Info("the sink comes after one that begins with a base backup; it is served beside the stream meanwhile", "sink", cfg.Name, "after", s.cfg.Sinks[a].Name)
				s.goAside(ctx, id)
				break
			}
		}
	}
}

// anyBeside reports whether a sink gets a backup, or is served beside the stream:
// there is a stream for it to join, though nobody else may be there.
func (s *Stream) anyBeside() bool {
	for i := range s.sinks {
		if s.sinks[i].backup != nil || s.chain.Positions(chain.SinkID(i)).Aside {
			return true
		}
	}
	return false
}

// onlyBeside reports, before a session attaches the sinks, whether every one that is
// open will get a backup or is served beside the stream.
func (s *Stream) onlyBeside() bool {
	any := false
	for i := range s.sinks {
		k := &s.sinks[i]
		if k.life == nil {
			continue
		}
		if any = true; k.backup == nil && !k.life.opened.wishes && !s.chain.Positions(chain.SinkID(i)).Aside {
			return false
		}
	}
	return any
}

// backupFailed ends the sink, which is tried again with another backup. An error ends
// the session or the stream.
func (s *Stream) backupFailed(ctx context.Context, h happening) error {
	if s.sinks[h.sink].backup != h.backup {
		return nil // it was given up
	}
	s.giveUp(h.sink)
	err := h.err
	switch name := s.cfg.Sinks[h.sink].Name; {
	case h.backup.start.Load() != nil:
		// What a server refuses for good it refuses at the beginning: a standby that is
		// promoted in the middle has the same SQLSTATE as a wal_level that is too low.
		err = fmt.Errorf("sink %q: its base backup failed: %v", name, err)
	case !permanent(err):
		err = fmt.Errorf("sink %q: its base backup failed: %w", name, err)
	}
	if err := s.lost(ctx, h.sink, err); err != nil {
		return err
	}
	var r *replication.Error
	if s.here != nil && errors.As(h.err, &r) && (r.ServerEnds || r.SQLSTATE == "") {
		// A server that shuts down would wait for the stream's connection, on which it
		// is told nothing as long as a required sink has no position.
		return fmt.Errorf("the server has ended a base backup: %w", h.err)
	}
	return nil
}

// backedUp takes in that a sink holds its backup, and has it served from the backup's
// start on.
func (s *Stream) backedUp(ctx context.Context, id chain.SinkID, done *wire.BackupDone) error {
	k, cfg, b := &s.sinks[id], &s.cfg.Sinks[id], s.sinks[id].backup
	at := wal.Position{Timeline: wal.TimelineID(done.Timeline), LSN: wal.LSN(done.Lsn)}
	if !b.endsAt(at, s.system().SegmentSize) {
		s.giveUp(id)
		return s.lost(ctx, id, faultf("sink %q answers that it holds a base backup from %s on, which it was not given; this is a fault of the sink's program", cfg.Name, at))
	}
	s.stopBackup(id)
	s.log.Info("base backup: the sink holds it; WAL follows from its start on", "sink", cfg.Name, "start", at, "bytes", b.done.Load(),
		"after", time.Since(b.began).Round(time.Millisecond))
	k.life.opened.isNew, k.life.opened.wishes = false, false
	k.life.opened.systemID, k.life.opened.position = s.system().SystemID, at
	k.fresh, k.deaths, k.best, k.known = true, 0, max(k.best, at.LSN), at
	k.backoff.reset()
	if s.cfg.Until.CaughtUp && cfg.Required {
		s.target = max(s.target, b.end) // without that WAL the backup is not consistent
	}
	return s.cameBack(ctx, id)
}

// endsAt reports whether all of the backup was sent, and the sink is at this position
// with it.
func (b *backup) endsAt(at wal.Position, size wal.SegmentSize) bool {
	if b == nil || b.phase.Load() != finishing {
		return false
	}
	want := *b.start.Load()
	if b.life.wal {
		want.LSN = size.Start(want.LSN)
	}
	return at == want
}
