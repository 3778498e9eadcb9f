package stream

import (
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
	Name     string
	State    State
	Error    string
	SystemID uint64
	Timeline wal.TimelineID
	Received wal.LSN // after the last byte received
	Server   wal.LSN // the server's end of WAL as it last told
	Bytes    int64   // of WAL received since the start, with what was read again
	Records  int64
	Sinks    []SinkStatus
	At       time.Time
}

// SinkStatus is how a sink stands.
type SinkStatus struct {
	Name     string
	Type     string
	Required bool
	Up       bool
	Error    string // why it is down, or was last
	Starts   int
	chain.SinkPositions
}

// showEvery is how often the loop publishes its positions.
const showEvery = 200 * time.Millisecond

// Status is the last published state.
func (s *Stream) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view
	v.Sinks = append([]SinkStatus(nil), v.Sinks...)
	return v
}

// show publishes the loop's positions.
func (s *Stream) show() {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &s.view
	v.At, v.SystemID, v.Timeline = time.Now(), s.sys.SystemID, s.sys.Timeline
	if s.chain == nil {
		return
	}
	v.Received = s.chain.Received()
	s.sinkViews()
	for i := range s.sinks {
		k := &v.Sinks[i]
		k.SinkPositions = s.chain.Positions(chain.SinkID(i))
		k.Up, k.Starts = s.sinks[i].life != nil, s.sinks[i].tries
	}
}

// sinkViews makes the list once. It needs mu.
func (s *Stream) sinkViews() {
	if s.view.Sinks != nil {
		return
	}
	for _, c := range s.cfg.Sinks {
		s.view.Sinks = append(s.view.Sinks, SinkStatus{Name: c.Name, Type: c.Spec.Type, Required: c.Required})
	}
}

func (s *Stream) setState(st State, err error) {
	s.show()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.State, s.view.Error = st, ""
	if err != nil {
		s.view.Error = err.Error()
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
	s.view.Sinks[id].Error, s.view.Sinks[id].Up = err.Error(), false
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
