package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// Stream is one stream and its sinks. Run runs it; Status may be called at any
// time.
type Stream struct {
	cfg  Config
	log  *slog.Logger
	pool *pool

	// Owned by the loop.
	sinks     []sink
	chain     *chain.Chain // nil before the first connection
	held      map[chain.BlockID]*buffer
	actions   []chain.Action
	here      *session // the connection that streams, nil between two
	target    wal.LSN  // of Until; 0 none
	reached   bool     // the target
	from      wal.LSN  // S of the start rule, once it is known
	corruptAt wal.LSN  // where the WAL was corrupt, and how often in a row
	corruptN  int
	reported  replication.Status

	happened chan happening
	changes  chan change
	poked    chan struct{}  // a change waits: no need to go on connecting
	done     chan struct{}  // closed when the loop is gone
	opens    sync.WaitGroup // the goroutines that start sinks

	hist     wal.History // of the server's timeline, as of the last connection
	gapStart wal.LSN     // where the live stream begins when the server has removed what all sinks need

	mu       sync.Mutex
	sys      replication.System // of the last connection; every other must be of the same cluster
	timeline wal.TimelineID     // of the live stream
	files    map[wal.TimelineID]historyFile
	view     Status
	ages     ages
}

// sink is what the loop knows of a sink beside the chain's state.
type sink struct {
	gone       bool  // removed by a reload
	generation int   // counts its settings
	life       *life // nil while it is down
	backoff    backoff
	opening    bool  // a goroutine is starting it
	off        error // it will not be started again
	tries      int
	known      wal.Position // what it has flushed, as it told; zero: nothing
	best       wal.LSN      // the highest position that it has flushed in any of its lives
	begin      wal.LSN      // S of the start rule for this sink, while it is new
	stalled    time.Time    // since when it holds the stream up, zero: it does not
	seen       chain.SinkPositions
	deaths     int            // in a row, without having flushed anything new
	blocked    time.Duration  // for how long of late it has held the stream up
	timeline   wal.TimelineID // on which it is
	switching  *switchPoint   // it was told of, and has not answered yet
	feed       *feeder        // serves it beside the live stream, nil: nobody does
	aside      aside
	backup     *backup // the base backup that it gets before it has a place in the chain; nil: none
	fresh      bool    // it has begun with a base backup, and was not live since
}

// session is what a running session knows of the server.
type session struct {
	sys     replication.System
	history wal.History
	slot    wal.LSN // the slot's restart_lsn
}

func (s *Stream) system() replication.System {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sys
}

// Run runs the stream until it is done (Until), until drain is closed and all
// sinks have flushed what they have, or until a person must act, which is the
// error. The end of ctx ends everything at once.
func (s *Stream) Run(ctx context.Context, drain <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.endAll(cancel)
	var b backoff
	for {
		began := time.Now()
		err := s.session(ctx, drain)
		switch {
		case err == nil:
			s.setState(Stopped, nil)
			return s.unreached()
		case ctx.Err() != nil:
			return ctx.Err()
		case (errors.Is(err, errRewind) || errors.Is(err, errReload)) && !closed(drain):
			continue
		}
		err = s.judge(ctx, err)
		if !permanent(err) && !closed(drain) {
			if time.Since(began) > backoffMax {
				b.reset()
			}
			d := b.delay()
			s.log.Warn("the stream is interrupted; trying again", "error", err, "in", d.Round(time.Millisecond))
			s.setState(Reconnecting, err)
			if err = s.pause(ctx, drain, d); err == nil || errors.Is(err, errReload) {
				continue
			}
		}
		return s.stop(ctx, err)
	}
}

// stop ends a stream that has no connection: what the sinks were given is theirs
// to keep. err is why, and is the answer when it is permanent.
func (s *Stream) stop(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fault := permanent(err)
	if fault {
		s.setState(Failed, err)
	}
	var received wal.LSN
	if s.chain != nil {
		received = s.chain.Received()
	}
	derr := s.drainSinks(ctx, received)
	switch {
	case !fault:
		s.setState(Stopped, nil)
		return errors.Join(derr, s.unreached())
	case derr != nil:
		s.log.Warn("a sink did not end in order", "error", derr)
	}
	return err
}

// unreached is the error of a stream that was to run until a position and was
// stopped before it.
func (s *Stream) unreached() error {
	switch {
	case s.cfg.Until == (Until{}) || s.reached:
		return nil
	case s.target == 0:
		return faultf("stopped before the server's position was known")
	}
	return faultf("stopped before %s was reached", s.target)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// judge makes a fault of an error that has come back too often, and explains
// what only the stream knows.
func (s *Stream) judge(ctx context.Context, err error) error {
	var c *corruptError
	if errors.As(err, &c) {
		s.reopenRaw(ctx, c)
		if c.wal.LSN == s.corruptAt {
			s.corruptN++
		} else {
			s.corruptAt, s.corruptN = c.wal.LSN, 1
		}
		if s.corruptN >= corruptTries {
			return faultf("%w; it was read %d times with the same result, so it is so on the server: "+
				"what the sinks hold is valid up to there. Check the server's storage, and restore it from a backup", err, s.corruptN)
		}
	}
	var hole *archive.HoleError
	if errors.As(err, &hole) && !s.cfg.Archive.Follow {
		return &Fault{Reason: err.Error(), Gap: true, cause: err}
	}
	var r *replication.Error
	if isGap(err) && errors.As(err, &r) {
		return s.gapFault(r)
	}
	return err
}

// gapFault names both ends of the gap.
func (s *Stream) gapFault(r *replication.Error) error {
	need, who := wal.LSN(0), ""
	if s.chain != nil {
		for i := range s.sinks {
			p := s.chain.Positions(chain.SinkID(i))
			if p.Attached && (who == "" || p.Flushed < need) {
				need, who = p.Flushed, s.cfg.Sinks[i].Name
			}
		}
	}
	return &Fault{Gap: true, cause: r, Reason: fmt.Sprintf(
		"the server has removed WAL that is needed: sink %q needs WAL from %s on, and the server, whose WAL goes up to %s, has it no more (%s). "+
			"Nothing was skipped. Put the missing segments back into the server's pg_wal from another archive, or give the sink a new directory to begin anew; a slot (slot, create_slot) keeps the server from removing WAL",
		who, need, s.system().FlushLSN, r.Message)}
}

// pause waits between two sessions, but goes on listening to the sinks, whose
// progress must not be held up. An error ends the stream: errDrain, or a sink's.
func (s *Stream) pause(ctx context.Context, drain <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return nil
		case <-drain:
			return errDrain
		case <-ctx.Done():
			return ctx.Err()
		case c := <-s.changes:
			if err := s.reload(ctx, c); err != nil {
				return err
			}
		case h := <-s.happened:
			if err := s.heard(ctx, h); err != nil && !errors.Is(err, errRewind) {
				return err
			}
			if s.chain == nil {
				continue
			}
			if err := s.act(ctx); err != nil {
				return err
			}
		}
	}
}

// session is one connection: connect, see who is there, open the sinks that are
// not open, stream.
func (s *Stream) session(ctx context.Context, drain <-chan struct{}) error {
	// A server that does not answer must not hold up the end.
	until, cancel := s.untilDrain(ctx, drain)
	defer cancel()
	conn, sys, err := s.connect(until)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	slot, err := s.slot(until, conn)
	if err != nil {
		return err
	}
	history, err := s.histories(until, conn, sys)
	if err != nil {
		return err
	}
	if s.chain != nil && s.hist.Timeline() != sys.Timeline {
		// Another server, or one that was promoted: of its slot nothing was confirmed.
		s.chain.Reconfirm(0)
	}
	s.hist = history
	if s.chain == nil {
		if err := s.setUp(ctx, drain, sys); err != nil {
			return err
		}
	}
	s.chain.SetRestartLSN(slot.RestartLSN) // of one made anew, it is not the old one's
	here := &session{sys: sys, history: history, slot: slot.RestartLSN}
	for {
		err := s.streamTimeline(ctx, until, drain, conn, here)
		var ended *switchError
		if !errors.As(err, &ended) {
			return err
		}
		if err := s.timelineEnded(until, conn, here); err != nil {
			return err
		}
		if err := s.switchOver(ctx, drain, switchPoint{old: s.timeline, next: ended.NextTimeline, lsn: ended.SwitchLSN}); err != nil {
			return err
		}
	}
}

// streamTimeline attaches the sinks that were opened and streams one timeline, to
// its end, which a switchError tells.
func (s *Stream) streamTimeline(ctx, until context.Context, drain <-chan struct{}, conn origin, here *session) error {
	if err := s.attach(ctx, here); err != nil {
		return err
	}
	if sw, due := s.switchDue(here); due {
		return &switchError{replication.TimelineSwitch{NextTimeline: sw.next, SwitchLSN: sw.lsn}}
	}
	sys := here.sys
	sys.Timeline = s.timeline
	start, err := s.startPhysical(until, conn, sys)
	if isGap(err) && (s.aroundGap(ctx, here) || s.dropBehind(ctx, err)) {
		return errRewind
	}
	if err != nil {
		return err
	}
	s.here = here
	defer func() { s.here = nil }()
	return s.streamFrom(ctx, drain, conn, sys, start)
}

// timelineEnded learns the history anew: the server was promoted while it
// streamed.
func (s *Stream) timelineEnded(ctx context.Context, conn origin, here *session) error {
	sys, err := conn.IdentifySystem(ctx)
	if err == nil {
		err = s.sameSystem(sys)
	}
	if err != nil {
		return err
	}
	here.sys = sys
	here.history, err = s.histories(ctx, conn, sys)
	if err == nil {
		s.hist = here.history
	}
	return err
}

// untilDrain is a context that also ends with the wish to stop, or with a new
// configuration.
func (s *Stream) untilDrain(ctx context.Context, drain <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-drain:
			cancel()
		case <-s.poked:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (s *Stream) connect(ctx context.Context) (origin, replication.System, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Times.Connect)
	defer cancel()
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, replication.System{}, err
	}
	sys, err := conn.IdentifySystem(ctx)
	if err == nil {
		err = s.sameSystem(sys)
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, sys, err
	}
	s.mu.Lock()
	s.view.Source, s.view.Slot = conn.Server(), s.cfg.Slot
	s.mu.Unlock()
	s.log.Info("connected", "server", conn.Server(), "system_identifier", sys.SystemID, "timeline", sys.Timeline,
		"server_version", sys.ServerVersion, "flush_lsn", sys.FlushLSN, "wal_segment_size", sys.SegmentSize, "standby", sys.InRecovery)
	return conn, sys, nil
}

// sameSystem makes sure that a reconnect has found the cluster that was there
// before, and remembers it.
func (s *Stream) sameSystem(sys replication.System) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.sys
	switch {
	case sys.SegmentSize == 0:
		return faultf("the server does not tell its wal_segment_size")
	case old.SystemID == 0 || s.chain == nil:
	case old.SystemID != sys.SystemID:
		return faultf("the server has the system identifier %d, it was %d before: another cluster answers at this address. Nothing of it was written", sys.SystemID, old.SystemID)
	case sys.Timeline < max(old.Timeline, s.timeline):
		// It may be a former primary that a name still leads to: trying again finds the
		// right one.
		return fmt.Errorf("the server is on timeline %d, the stream is on %d already: a former primary answers at this address", sys.Timeline, max(old.Timeline, s.timeline))
	case old.SegmentSize != sys.SegmentSize:
		return faultf("the server has wal_segment_size %d, it was %d before", sys.SegmentSize, old.SegmentSize)
	}
	s.sys = sys
	return nil
}

// slot reads the slot, and makes it where it is missing and may be made.
func (s *Stream) slot(ctx context.Context, from origin) (replication.SlotInfo, error) {
	conn, ok := from.(slotKeeper)
	if s.cfg.Slot == "" || !ok {
		return replication.SlotInfo{}, nil
	}
	info, err := conn.Slot(ctx, s.cfg.Slot)
	switch {
	case err != nil:
		return info, err
	case info.Exists && !info.Physical:
		return info, faultf("the replication slot %q is a logical one; name another in slot", s.cfg.Slot)
	case info.Exists:
		return info, nil
	case !s.cfg.CreateSlot:
		return info, faultf("the replication slot %q does not exist; create it with SELECT pg_create_physical_replication_slot('%s', true), or set create_slot = true", s.cfg.Slot, s.cfg.Slot)
	case s.chain != nil:
		s.log.Warn("the replication slot was dropped while it was in use; making it again", "slot", s.cfg.Slot)
	}
	info, err = conn.CreateSlot(ctx, s.cfg.Slot)
	if err == nil {
		s.log.Info("replication slot created", "slot", s.cfg.Slot, "restart_lsn", info.RestartLSN)
	}
	return info, err
}
