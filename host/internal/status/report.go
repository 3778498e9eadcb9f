package status

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/walplex/walplex/host/internal/primary"
	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/sdk/wal"
)

// Version is that of the JSON's shape.
const Version = 1

// Report is how a host stands.
type Report struct {
	Version  int       `json:"version"`
	At       time.Time `json:"at"`
	OK       bool      `json:"ok"`
	Ready    bool      `json:"ready"`
	Problems []Problem `json:"problems"`
	NotReady []Problem `json:"not_ready"`
	Host     Host      `json:"host"`
	Streams  []Stream  `json:"streams"`
}

// Problem is something that is not as it should be.
type Problem struct {
	Stream string `json:"stream"`
	Sink   string `json:"sink"` // empty: the stream itself
	Text   string `json:"text"`
}

// Host is the process.
type Host struct {
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
}

// Stream is how a stream stands.
type Stream struct {
	Name             string         `json:"name"`
	Source           string         `json:"source"`
	Slot             string         `json:"slot"`
	State            stream.State   `json:"state"`
	StateAt          *time.Time     `json:"state_at"`
	Error            string         `json:"error"`
	Gap              bool           `json:"gap"`
	SystemIdentifier string         `json:"system_identifier"` // digits, more than a float64 holds; empty: not known
	Timeline         wal.TimelineID `json:"timeline"`          // 0: not known
	ReceivedLSN      LSN            `json:"received_lsn"`
	ServerLSN        LSN            `json:"server_lsn"`
	ConfirmedLSN     LSN            `json:"confirmed_lsn"`
	LagBytes         int64          `json:"lag_bytes"`
	LagSeconds       Seconds        `json:"lag_seconds"`
	ReceivedBytes    int64          `json:"received_bytes"`
	ReceivedRecords  int64          `json:"received_records"`
	Reconnects       int            `json:"reconnects"`
	HeldBytes        int64          `json:"held_bytes"` // of memory, for the sinks
	RingBytes        int64          `json:"ring_bytes"`
	RingUsedBytes    int64          `json:"ring_used_bytes"`
	Primary          *Primary       `json:"primary"`
	Sinks            []Sink         `json:"sinks"`
}

// Primary is how the stream's slot stands on its server.
type Primary struct {
	Slot               string        `json:"slot"`
	Known              bool          `json:"known"` // else Error says why, and the rest is nothing
	Error              string        `json:"error"`
	Level              primary.Level `json:"level"`
	Why                string        `json:"why"`
	Remedy             string        `json:"remedy"`
	Exists             bool          `json:"exists"`
	Active             bool          `json:"active"`
	PID                int           `json:"pid"`
	WALStatus          string        `json:"wal_status"`
	InvalidationReason string        `json:"invalidation_reason"`
	RestartLSN         LSN           `json:"restart_lsn"`
	WALLSN             LSN           `json:"wal_lsn"`
	HeldBytes          int64         `json:"held_bytes"`
	LeftBytes          *int64        `json:"left_bytes"` // until End; null: no end is known
	End                primary.End   `json:"end"`        // "slot lost", "disk full", empty
	LeftSeconds        *Seconds      `json:"left_seconds"`
	WALBytesPerSecond  float64       `json:"wal_bytes_per_second"`
	SafeWALBytes       *int64        `json:"safe_wal_bytes"` // safe_wal_size
	KeepBytes          *int64        `json:"keep_bytes"`     // max_slot_wal_keep_size; null: no limit
	DiskFreeBytes      *int64        `json:"disk_free_bytes"`
	DiskBytes          *int64        `json:"disk_bytes"`
	Holder             string        `json:"holder"` // the required sink whose flush position holds the slot
	At                 *time.Time    `json:"at"`
}

// Sink is how a sink stands.
type Sink struct {
	Name       string           `json:"name"`
	Type       string           `json:"type"`
	State      stream.SinkState `json:"state"`
	Required   bool             `json:"required"`
	OnLag      stream.OnLag     `json:"on_lag"`
	Filtered   bool             `json:"filtered"`
	Transport  string           `json:"transport"`
	PID        int              `json:"pid"`
	Error      string           `json:"error"`
	Restarts   int              `json:"restarts"`
	SentLSN    LSN              `json:"sent_lsn"`
	WrittenLSN LSN              `json:"written_lsn"`
	FlushedLSN LSN              `json:"flushed_lsn"`
	AppliedLSN LSN              `json:"applied_lsn"`
	LagBytes   int64            `json:"lag_bytes"`
	LagSeconds Seconds          `json:"lag_seconds"`
	QueueBytes int64            `json:"queue_bytes"`
	CatchUp    *CatchUp         `json:"catch_up"`
	Backup     *Backup          `json:"base_backup"`
	// Metrics are the sink's own, as it told them last.
	Metrics []stream.SinkMetric `json:"metrics,omitempty"`
}

// CatchUp is how a lagging sink is served beside the live stream.
type CatchUp struct {
	Source         string     `json:"source"`
	FromLSN        LSN        `json:"from_lsn"`
	PositionLSN    LSN        `json:"position_lsn"`
	TargetLSN      LSN        `json:"target_lsn"`
	Progress       float64    `json:"progress"` // 0 to 1
	RemainingBytes int64      `json:"remaining_bytes"`
	SinceAt        *time.Time `json:"since_at"`
	Error          string     `json:"error"`
}

// Backup is how far the base backup is with which a new sink begins.
type Backup struct {
	Phase      stream.BackupPhase `json:"phase"`
	StartLSN   LSN                `json:"start_lsn"`
	Timeline   wal.TimelineID     `json:"timeline"` // 0: not known yet
	Bytes      int64              `json:"bytes"`
	TotalBytes int64              `json:"total_bytes"` // as the server estimates; 0: not known yet
	SinceAt    *time.Time         `json:"since_at"`
	Error      string             `json:"error"`
}

// LSN is text in JSON, null where it is 0.
type LSN wal.LSN

func (l LSN) String() string { return wal.LSN(l).String() }

// MarshalJSON writes "0/3000148" or null.
func (l LSN) MarshalJSON() ([]byte, error) {
	if l == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(l.String())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *LSN) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s == nil {
		*l = 0
		return nil
	}
	v, err := wal.ParseLSN(*s)
	*l = LSN(v)
	return err
}

// Seconds is a duration as a number of seconds, to the millisecond.
type Seconds float64

func seconds(d time.Duration) Seconds {
	return Seconds(math.Round(d.Seconds()*1000) / 1000)
}

// Duration is the same as a duration.
func (s Seconds) Duration() time.Duration {
	f := float64(s) * float64(time.Second)
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(f)
}

// Input is what a report is made of.
type Input struct {
	At      time.Time
	Host    Host
	Streams []StreamInput
}

// StreamInput is a stream, and its slot where one is watched.
type StreamInput struct {
	Stream  stream.Status
	Primary *primary.Status
}

// Make makes the report.
func Make(in Input) Report {
	r := Report{Version: Version, At: in.At.UTC().Truncate(time.Millisecond), Host: in.Host, Streams: []Stream{}}
	r.Host.StartedAt = r.Host.StartedAt.UTC().Truncate(time.Second)
	for _, s := range in.Streams {
		r.Streams = append(r.Streams, makeStream(in.At, &s.Stream, s.Primary))
	}
	r.Problems, r.NotReady = r.problems(), r.unready()
	r.OK, r.Ready = len(r.Problems) == 0, len(r.NotReady) == 0
	return r
}

func makeStream(now time.Time, s *stream.Status, p *primary.Status) Stream {
	v := Stream{
		Name: s.Name, Source: s.Source, Slot: s.Slot, State: s.State, StateAt: timeOf(s.Since), Error: s.Error, Gap: s.Gap,
		Timeline: s.Timeline, ReceivedLSN: LSN(s.Received), ServerLSN: LSN(s.Server), ConfirmedLSN: LSN(s.Confirmed),
		ReceivedBytes: s.Bytes, ReceivedRecords: s.Records, Reconnects: s.Reconnects,
		HeldBytes: s.HeldBytes, RingBytes: s.RingBytes, RingUsedBytes: s.RingUsed, Sinks: []Sink{},
	}
	if s.SystemID != 0 {
		v.SystemIdentifier = strconv.FormatUint(s.SystemID, 10)
	}
	if p != nil {
		v.Primary = makePrimary(p)
	}
	told := LSN(max(s.Server, s.Received))
	if v.Primary != nil {
		// A server whose stream is held up, or that is not connected, goes on meanwhile
		// and tells nobody else.
		v.ServerLSN = max(v.ServerLSN, v.Primary.WALLSN)
	}
	if v.ReceivedLSN != 0 {
		v.LagBytes = behind(v.ServerLSN, v.ReceivedLSN)
	}
	var lag time.Duration
	for i := range s.Sinks {
		k := makeSink(s, &s.Sinks[i])
		k.LagBytes += behind(v.ServerLSN, told)
		v.Sinks = append(v.Sinks, k)
		if k.Required {
			lag = max(lag, s.Sinks[i].Lag)
		}
	}
	apart := s.State == stream.Reconnecting || s.State == stream.Failed
	if apart && !s.Since.IsZero() {
		lag = max(lag, now.Sub(s.Since))
	}
	v.LagSeconds = seconds(lag)
	return v
}

func makeSink(s *stream.Status, k *stream.SinkStatus) Sink {
	v := Sink{
		Name: k.Name, Type: k.Type, State: k.State, Required: k.Required, OnLag: k.OnLag, Filtered: k.Filtered,
		Transport: k.Transport, PID: k.PID, Error: k.Error, Restarts: max(k.Starts-1, 0),
		SentLSN: LSN(k.Sent), WrittenLSN: LSN(k.Written), FlushedLSN: LSN(k.Flushed), AppliedLSN: LSN(k.Applied),
		LagBytes: k.LagBytes, LagSeconds: seconds(k.Lag), QueueBytes: k.InFlight, Metrics: k.Metrics,
	}
	if v.State == "" { // not told: what follows from being up
		switch {
		case k.Up:
			v.State = stream.SinkLive
		case k.Error != "":
			v.State = stream.SinkDown
		default:
			v.State = stream.SinkStarting
		}
		v.LagBytes = behind(LSN(max(s.Server, s.Received)), v.FlushedLSN)
	}
	if v.OnLag == "" {
		v.OnLag = stream.Block
	}
	if v.State == stream.SinkLive || v.State == stream.SinkCatchingUp || v.State == stream.SinkBackup {
		v.Error = "" // of its last death; the restarts tell
	}
	if c := k.CatchUp; c != nil {
		v.CatchUp = &CatchUp{
			Source: c.Source, FromLSN: LSN(c.From), PositionLSN: LSN(c.Position), TargetLSN: LSN(c.Target),
			RemainingBytes: behind(LSN(c.Target), LSN(c.Position)), SinceAt: timeOf(c.Since), Error: c.Error,
		}
		v.CatchUp.Progress = progress(c.From, c.Position, c.Target)
	}
	if b := k.Backup; b != nil {
		v.Backup = &Backup{Phase: b.Phase, StartLSN: LSN(b.Start.LSN), Timeline: b.Start.Timeline, Bytes: b.Done, TotalBytes: b.Total,
			SinceAt: timeOf(b.Since), Error: b.Error}
	}
	return v
}

// progress is the part of the way from from to target, to a thousandth, downwards:
// 1 only at the end.
func progress(from, position, target wal.LSN) float64 {
	switch {
	case position >= target:
		return 1
	case position <= from:
		return 0
	}
	return math.Floor(float64(position-from)/float64(target-from)*1000) / 1000
}

func makePrimary(p *primary.Status) *Primary {
	v := &Primary{Slot: p.Slot, Known: p.Known, Error: p.Error, Level: p.Level}
	if !p.Known {
		return v
	}
	v.Why, v.Remedy, v.Exists, v.Active, v.PID = p.Why, p.Remedy(), p.Exists, p.Active, p.PID
	v.WALStatus, v.InvalidationReason = p.WALStatus, p.Invalidation
	v.RestartLSN, v.WALLSN = LSN(p.Restart), LSN(p.Current)
	v.HeldBytes, v.WALBytesPerSecond = p.Held, math.Round(p.WALRate)
	v.SafeWALBytes, v.Holder, v.At = p.Safe, p.Holder, timeOf(p.At)
	if p.KeepSize >= 0 {
		v.KeepBytes = &p.KeepSize
	}
	if p.End != primary.NoEnd && p.End != primary.Planned {
		v.End, v.LeftBytes = p.End, &p.Left
	}
	if p.TimeLeft != nil {
		left := seconds(*p.TimeLeft)
		v.LeftSeconds = &left
	}
	if p.Disk != nil {
		v.DiskFreeBytes, v.DiskBytes = &p.Disk.Free, &p.Disk.Size
	}
	return v
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

func behind(a, b LSN) int64 {
	if b >= a {
		return 0
	}
	return int64(a - b)
}

// Holder is the required sink whose flush position holds the stream's slot: the
// one that is furthest behind, or was never opened. Empty: all have flushed all.
func Holder(s *stream.Status) string {
	name, least := "", s.Received
	for i := range s.Sinks {
		k := &s.Sinks[i]
		// A sink of records has flushed through to what it was sent, half a record included.
		if through := max(k.Flushed, k.FlushedThrough); k.Required && through < least {
			name, least = k.Name, through
		}
	}
	return name
}
