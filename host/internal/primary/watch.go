package primary

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/walplex/walplex/host/internal/replication"
)

// The rhythm of a watcher.
const (
	// Interval is the time between two samples, ± Jitter of it, so that the streams
	// of a server do not ask at once.
	Interval = 10 * time.Second
	Jitter   = 0.1
	// RefusedInterval is the time between two tries at a server that refuses
	// ordinary connections: each is a line in its log.
	RefusedInterval = 5 * time.Minute
	// MissingInterval is the time between two looks for a slot that is not there: the
	// stream is about to make it.
	MissingInterval = time.Second
	// firstWait is how long the first look waits for the stream to know its server.
	firstWait = 5 * time.Second
	// sampleTimeout bounds connecting and asking.
	sampleTimeout = 20 * time.Second
)

// Standing is what a watcher has to know of its stream.
type Standing struct {
	SystemID uint64 // 0: not known yet
	// Holder is the required sink whose flush position holds the slot; empty: none.
	Holder string
}

// Config says what to watch.
type Config struct {
	Stream   string
	Server   replication.Config
	Slot     string
	Standing func() Standing
	Interval time.Duration // 0: Interval
}

// Status is how the slot stands, as of the last sample.
type Status struct {
	Slot  string
	Known bool   // Sample and Judgement hold
	Error string // why it is not known; empty before the first sample
	Sample
	Judgement
	Holder string // the required sink whose flush position holds the slot
}

// Watcher watches one slot.
type Watcher struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex
	view Status

	// The rest belongs to Run's goroutine.
	conn    *replication.Ordinary
	judge   Judge
	refused bool // said
}

// NewWatcher makes a watcher that does not run yet.
func NewWatcher(cfg Config, log *slog.Logger) *Watcher {
	if cfg.Interval <= 0 {
		cfg.Interval = Interval
	}
	return &Watcher{cfg: cfg, log: log.With("stream", cfg.Stream, "slot", cfg.Slot),
		view: Status{Slot: cfg.Slot, Judgement: Judgement{Level: Unknown}}}
}

// Status is how the slot stood at the last sample.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view
}

// Run watches until ctx ends. It fails never: what it cannot read is unknown.
func (w *Watcher) Run(ctx context.Context) {
	defer w.disconnect(ctx)
	for began := time.Now(); w.cfg.Standing().SystemID == 0 && time.Since(began) < firstWait; {
		if pause(ctx, firstWait/20) != nil {
			return
		}
	}
	for {
		wait := w.cfg.Interval
		switch refused := w.look(ctx); {
		case refused:
			wait = max(wait, RefusedInterval)
		case w.missing():
			wait = min(wait, MissingInterval)
		}
		wait += time.Duration((2*rand.Float64() - 1) * Jitter * float64(wait))
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// missing reports whether the server has no such slot.
func (w *Watcher) missing() bool {
	s := w.Status()
	return s.Known && !s.Exists
}

// look takes a sample; refused says that trying again soon is of no use.
func (w *Watcher) look(ctx context.Context) (refused bool) {
	standing := w.cfg.Standing()
	sample, err := w.sample(ctx, standing.SystemID)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		w.disconnect(ctx)
		return w.unknown(err)
	}
	before := w.Status()
	if w.refused {
		w.refused = false
		w.log.Info("the server lets its replication slot be watched again")
	}
	v := Status{Slot: w.cfg.Slot, Known: true, Sample: sample, Judgement: w.judge.Add(sample), Holder: standing.Holder}
	w.mu.Lock()
	w.view = v
	w.mu.Unlock()
	w.say(before, v)
	return false
}

func (w *Watcher) sample(ctx context.Context, systemID uint64) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	if w.conn == nil {
		conn, err := replication.ConnectOrdinary(ctx, w.cfg.Server)
		if err != nil {
			return Sample{}, err
		}
		w.conn = conn
	}
	return Read(ctx, w.conn, w.cfg.Slot, systemID)
}

// unknown notes why there is no sample. A server that is down is the stream's to
// report; one that refuses is reported here, once.
func (w *Watcher) unknown(err error) (refused bool) {
	var e *replication.Error
	refused = !errors.As(err, &e) || e.Permanent
	w.mu.Lock()
	w.view = Status{Slot: w.cfg.Slot, Error: err.Error(), Judgement: Judgement{Level: Unknown}}
	w.mu.Unlock()
	if refused && !w.refused {
		w.refused = true
		w.log.Warn("the server's replication slot cannot be watched: how much WAL it holds back, and whether the disk fills up, stays unknown; the stream is not affected", "error", err)
	}
	return refused
}

func (w *Watcher) disconnect(ctx context.Context) {
	if w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	w.conn.Close(ctx)
	w.conn = nil
}

// say logs a change of the level, with the numbers and what to do.
func (w *Watcher) say(before, v Status) {
	if v.Level == before.Level || v.Level == Unknown {
		return
	}
	args := []any{"level", v.Level, "wal_status", v.WALStatus, "held_bytes", v.Held, "restart_lsn", v.Restart, "wal_bytes_per_second", int64(v.WALRate)}
	if v.End == SlotLost || v.End == DiskFull {
		args = append(args, "end", string(v.End), "left_bytes", v.Left)
	}
	if v.TimeLeft != nil {
		args = append(args, "left_time", v.TimeLeft.String())
	}
	if v.Disk != nil {
		args = append(args, "disk_free_bytes", v.Disk.Free)
	}
	switch v.Level {
	case OK:
		if before.Level.rank() > OK.rank() {
			w.log.Info("the replication slot is out of danger", args...)
		}
	case Warning:
		w.log.Warn("the replication slot holds back much WAL: "+v.Why, append(args, "remedy", v.Remedy())...)
	case Critical:
		w.log.Error("the server is in danger: "+v.Why, append(args, "remedy", v.Remedy())...)
	}
}

// Remedy is what to do, empty where nothing is to be done.
func (s *Status) Remedy() string {
	if !s.Known || s.Level.rank() < Warning.rank() {
		return ""
	}
	drop := "release the WAL with walplex slot drop"
	switch {
	case s.WALStatus == "lost" || s.Invalidation != "":
		return "drop the slot with walplex slot drop; it is made anew with create_slot. What sinks miss must come from an archive or a base backup"
	case s.Holder != "":
		return "see why sink " + s.Holder + " does not flush, or " + drop
	case !s.Active:
		return "see why the stream is not connected, or " + drop
	}
	return "see which sink does not flush, or " + drop
}
