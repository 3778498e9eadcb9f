package stream

import (
	"cmp"
	"errors"
	"sort"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/sdk/wal"
)

// State is what a stream is doing.
type State string

// The states of a stream.
const (
	Starting     State = "starting"     // sinks are being opened
	CatchingUp   State = "catching up"  // behind what the server had flushed at the connect
	Streaming    State = "streaming"    // caught up
	Reconnecting State = "reconnecting" // interrupted, with Error
	Draining     State = "draining"     // sinks flush what they have
	Stopped      State = "stopped"
	Failed       State = "failed" // until a person has acted, with Error
)

// Status is how a stream stands.
type Status struct {
	Name       string
	Source     string // whom it reads from, without secrets
	Slot       string // replication slot, empty: none
	State      State
	Since      time.Time // of the state
	Error      string
	Gap        bool // Error says that WAL which is needed is gone
	SystemID   uint64
	Timeline   wal.TimelineID
	Received   wal.LSN // after the last byte received
	Server     wal.LSN // the server's end of WAL as it last told
	Confirmed  wal.LSN // the flush position that the server was last told
	Bytes      int64   // of WAL received since the start, with what was read again
	Records    int64
	Reconnects int
	HeldBytes  int64 // of blocks that the host holds for its sinks
	RingBytes  int64 // size of the shared ring, 0: none
	RingUsed   int64 // bytes of it that sinks hold
	Sinks      []SinkStatus
	At         time.Time
}

// LagBytes is how much WAL the server has that was not received yet.
func (s *Status) LagBytes() int64 { return behind(s.Server, s.Received) }

// SinkStatus is how a sink stands.
type SinkStatus struct {
	Name      string
	Type      string
	State     SinkState
	Required  bool
	Up        bool
	OnLag     OnLag
	Filtered  bool
	Transport string // ring or grpc, empty while it is down
	PID       int    // 0 while it is down
	Error     string // why it is down, or was last
	Starts    int
	// Lag is the age of the oldest WAL received that it has not flushed.
	Lag time.Duration
	// LagBytes is how far its flush position is behind the server's end of WAL.
	LagBytes int64
	// CatchUp is how it is served beside the live stream, nil while it is not.
	CatchUp *CatchUpStatus
	// Backup is how far the base backup is with which it begins, nil while it gets none.
	Backup  *BackupStatus
	Metrics []SinkMetric // the sink's own
	chain.SinkPositions

	gone bool // removed by a reload
}

// CatchUpStatus is how a lagging sink is served.
type CatchUpStatus struct {
	Source   string  // the sink, or the server, whose WAL it is served from
	From     wal.LSN // where this began
	Position wal.LSN // up to where it was served
	Target   wal.LSN // the live stream's position
	Since    time.Time
	Error    string // why it does not go on at this moment
}

// SinkState is what a sink is doing.
type SinkState string

// The states of a sink.
const (
	SinkStarting   SinkState = "starting"
	SinkLive       SinkState = "live"
	SinkCatchingUp SinkState = "catching up"
	SinkBackup     SinkState = "base backup" // it is new and receives one
	SinkDown       SinkState = "down"        // it is started again soon, with Error
	SinkCrashLoop  SinkState = "crash loop"  // it dies again and again without getting any further, with Error
	SinkOff        SinkState = "off"         // until a person has acted, with Error
)

// behind is b's distance to a, 0 where it is not behind.
func behind(a, b wal.LSN) int64 {
	if b >= a {
		return 0
	}
	return int64(a - b)
}

// showEvery is how often the loop publishes its positions.
const showEvery = 200 * time.Millisecond

// Status is the last published state.
func (s *Stream) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view
	v.Sinks = nil
	for _, k := range s.view.Sinks {
		if !k.gone {
			v.Sinks = append(v.Sinks, k)
		}
	}
	return v
}

// show publishes the loop's positions.
func (s *Stream) show() {
	size, used := s.pool.usage()
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &s.view
	v.At, v.SystemID, v.Timeline = time.Now(), s.sys.SystemID, cmp.Or(s.timeline, s.sys.Timeline)
	v.RingBytes, v.RingUsed = size, used
	if s.chain == nil {
		return
	}
	v.Received, v.Confirmed, v.HeldBytes = s.chain.Received(), s.chain.Confirmed(), s.chain.Held()
	s.ages.note(v.At, v.Received)
	s.sinkViews()
	for i := range s.sinks {
		s.showSink(chain.SinkID(i), v)
	}
}

// showSink needs mu.
func (s *Stream) showSink(id chain.SinkID, v *Status) {
	k, cfg, to := &v.Sinks[id], &s.cfg.Sinks[id], &s.sinks[id]
	k.SinkPositions = s.chain.Positions(id)
	k.Up, k.Starts, k.Transport, k.PID = to.life != nil, to.tries, "", 0
	k.Required, k.OnLag, k.Filtered = cfg.Required, cfg.onLag(), cfg.Filter != nil
	if to.life != nil {
		k.Transport, k.PID = to.life.transport, to.life.proc.PID()
		if m := to.life.metrics.Load(); m != nil {
			k.Metrics = *m
		}
	}
	k.LagBytes = behind(max(v.Server, v.Received), k.FlushedThrough)
	k.Lag = s.ages.since(v.At, k.FlushedThrough)
	k.CatchUp, k.Backup = nil, nil
	if to.backup != nil {
		k.Backup = to.backup.status()
		k.LagBytes = 0 // it has no position yet
		if at := k.Backup.Start.LSN; at != 0 {
			k.LagBytes = behind(max(v.Server, v.Received), at)
		}
	}
	switch {
	case to.off != nil:
		k.State = SinkOff
	case k.Aside:
		k.State = SinkCatchingUp
		c := &CatchUpStatus{From: to.aside.from, Position: k.Sent, Target: v.Received, Since: to.aside.since}
		if to.feed != nil {
			c.Source = to.feed.name
		}
		if to.aside.err != nil {
			c.Error = to.aside.err.Error()
		}
		k.CatchUp = c
	case to.deaths >= crashLoop:
		k.State = SinkCrashLoop
	case to.backup != nil:
		k.State = SinkBackup
	case k.Attached:
		k.State = SinkLive
	case to.life == nil && to.tries > 0:
		k.State = SinkDown
	default:
		k.State = SinkStarting
	}
}

// sinkViews makes the list once. It needs mu.
func (s *Stream) sinkViews() {
	if s.view.Sinks != nil {
		return
	}
	for _, c := range s.cfg.Sinks {
		s.view.Sinks = append(s.view.Sinks, newSinkStatus(&c))
	}
}

func newSinkStatus(c *SinkConfig) SinkStatus {
	return SinkStatus{Name: c.Name, Type: c.Spec.Type, State: SinkStarting, Required: c.Required, OnLag: c.onLag(), Filtered: c.Filter != nil}
}

func (s *Stream) setState(st State, err error) {
	s.show()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view.State != st {
		s.view.Since = time.Now()
	}
	if st == Reconnecting && s.view.State != Reconnecting {
		s.view.Reconnects++
	}
	s.view.State, s.view.Error, s.view.Gap = st, "", false
	if err != nil {
		var f *Fault
		s.view.Error, s.view.Gap = err.Error(), errors.As(err, &f) && f.Gap
	}
}

func (s *Stream) caughtUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view.State != CatchingUp
}

func (s *Stream) noteSink(id chain.SinkID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sinkViews()
	k := &s.view.Sinks[id]
	k.Error, k.Up = err.Error(), false
	switch k.State = SinkDown; {
	case s.sinks[id].off != nil:
		k.State = SinkOff
	case s.sinks[id].deaths >= crashLoop:
		k.State = SinkCrashLoop
	}
}

func (s *Stream) seen(serverEnd wal.LSN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.Server = max(s.view.Server, serverEnd)
}

func (s *Stream) count(bytes, records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.Bytes += int64(bytes)
	s.view.Records += int64(records)
}

// ages remembers when WAL was received, to tell how old is what a sink lacks. It
// holds maxAges samples, and keeps every other one when it is full.
type ages struct {
	samples []age
	every   time.Duration
}

type age struct {
	at  time.Time
	end wal.LSN // of the WAL received by then
}

const maxAges = 512

// note remembers what was received up to now.
func (a *ages) note(now time.Time, received wal.LSN) {
	n := len(a.samples)
	if n > 0 && (received <= a.samples[n-1].end || now.Sub(a.samples[n-1].at) < a.every) {
		return
	}
	if n == maxAges {
		for i := range n / 2 {
			a.samples[i] = a.samples[2*i+1]
		}
		a.samples = a.samples[:n/2]
		a.every = max(2*a.every, showEvery)
	}
	a.samples = append(a.samples, age{now, received})
}

// since is how long ago the first WAL behind lsn was received, at least.
func (a *ages) since(now time.Time, lsn wal.LSN) time.Duration {
	i := sort.Search(len(a.samples), func(i int) bool { return a.samples[i].end > lsn })
	if i == len(a.samples) {
		return 0
	}
	return now.Sub(a.samples[i].at)
}
