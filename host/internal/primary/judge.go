package primary

import (
	"fmt"
	"math"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// The thresholds.
const (
	// WarnLeft and CriticalLeft are shares of the allowance that are left.
	WarnLeft     = 0.5
	CriticalLeft = 0.2
	// WarnTime and CriticalTime are times left. They count once MinHeld of the
	// allowance is held: before, the growth of a moment says nothing.
	WarnTime     = time.Hour
	CriticalTime = 10 * time.Minute
	MinHeld      = 0.1
	// UnboundedFactor × max_wal_size may be held where no end is known.
	UnboundedFactor = 4
	// CalmSamples is after how many better samples in a row the level falls.
	CalmSamples = 3
	// smoothing is the weight of the newest sample in the speeds.
	smoothing = 0.3
)

// Level says how close the end is.
type Level string

// The levels.
const (
	Unknown  Level = "unknown"
	OK       Level = "ok"
	Warning  Level = "warning"
	Critical Level = "critical"
)

// Levels are all levels, from the least.
func Levels() []Level { return []Level{Unknown, OK, Warning, Critical} }

// rank orders levels by urgency.
func (l Level) rank() int {
	switch l {
	case Critical:
		return 3
	case Warning:
		return 2
	case OK:
		return 1
	}
	return 0
}

// Sample is what was read of a slot and its server at a time.
type Sample struct {
	At       time.Time
	Exists   bool
	Physical bool
	Active   bool
	PID      int // of the walsender, 0: none
	Restart  wal.LSN
	Current  wal.LSN // the server's: written, on a standby received

	WALStatus    string // reserved, extended, unreserved, lost; empty: the slot holds nothing yet
	Invalidation string // why the server has invalidated it, since PG17
	Safe         *int64 // safe_wal_size, bytes; nil: no limit, or lost
	KeepSize     int64  // max_slot_wal_keep_size, bytes; -1: no limit
	MaxWALSize   int64  // max_wal_size, bytes
	Disk         *Disk  // nil: cannot be seen
}

// Disk is the file system of pg_wal.
type Disk struct {
	Path string
	Free int64 // bytes that the server may use
	Size int64
}

// held is how much WAL the slot keeps the server from removing, bytes.
func (s *Sample) held() int64 {
	if s.Restart == 0 || s.Restart > s.Current {
		return 0
	}
	return int64(s.Current - s.Restart)
}

// End is what comes when nothing is left.
type End string

// The ends.
const (
	NoEnd    End = ""
	SlotLost End = "slot lost" // the server removes WAL that the slot needs
	DiskFull End = "disk full" // the server stops
	// Planned is no end, only more than anybody will have planned for; it has no
	// time left.
	Planned End = "max_wal_size"
)

// Judgement is how a slot stands.
type Judgement struct {
	Level     Level
	Why       string  // a clause, empty at OK
	Held      int64   // bytes
	Growth    float64 // bytes a second by which Held grows, smoothed
	WALRate   float64 // bytes a second that the server writes, smoothed
	End       End
	Allowance int64 // bytes, of the nearest end
	Left      int64 // bytes of it
	// TimeLeft is until the end at this growth; nil: held does not grow, or no end
	// is known.
	TimeLeft *time.Duration
}

// Judge makes judgements of a slot's samples. The zero value is ready.
type Judge struct {
	last    *Sample
	rate    speed
	growth  speed
	level   Level
	calm    int
	reasons string
}

// speed is smoothed exponentially.
type speed struct {
	value float64
	known bool
}

func (s *speed) add(v float64) {
	if !s.known {
		s.value, s.known = v, true
		return
	}
	s.value += smoothing * (v - s.value)
}

// Add takes the next sample and judges.
func (j *Judge) Add(s Sample) Judgement {
	j.measure(&s)
	v := Judgement{Held: s.held(), Growth: j.growth.value, WALRate: j.rate.value}
	v.nearest(&s)
	v.Level, v.Why = v.judge(&s)
	j.settle(&v)
	return v
}

// measure takes the speeds. A server or slot that has gone back begins anew.
func (j *Judge) measure(s *Sample) {
	last := j.last
	j.last = s
	if last == nil || !s.Exists || !last.Exists || s.Current < last.Current || s.Restart < last.Restart || last.Restart == 0 {
		j.rate, j.growth = speed{}, speed{}
		return
	}
	seconds := s.At.Sub(last.At).Seconds()
	if seconds <= 0 {
		return
	}
	j.rate.add(float64(s.Current-last.Current) / seconds)
	j.growth.add(float64(s.held()-last.held()) / seconds)
}

// nearest finds the end that comes first.
func (v *Judgement) nearest(s *Sample) {
	take := func(end End, left int64) {
		left = max(left, 0)
		if v.End == NoEnd || left < v.Left {
			v.End, v.Left, v.Allowance = end, left, v.Held+left
		}
	}
	if s.Safe != nil {
		take(SlotLost, *s.Safe)
	}
	if s.Disk != nil {
		take(DiskFull, s.Disk.Free)
	}
	if v.End == NoEnd && s.MaxWALSize > 0 && s.Restart != 0 {
		v.End, v.Allowance = Planned, UnboundedFactor*s.MaxWALSize
		v.Left = max(v.Allowance-v.Held, 0)
	}
	if v.End != NoEnd && v.End != Planned && v.Growth >= 1 {
		seconds := float64(v.Left) / v.Growth
		d := time.Duration(math.MaxInt64)
		if seconds < d.Seconds() {
			d = time.Duration(seconds * float64(time.Second)).Truncate(time.Second)
		}
		v.TimeLeft = &d
	}
}

// judge compares with the thresholds.
func (v *Judgement) judge(s *Sample) (Level, string) {
	switch {
	case !s.Exists:
		return Unknown, "the slot does not exist"
	case s.WALStatus == "lost" || s.Invalidation != "":
		why := "the slot is lost: the server may have removed WAL that it needs"
		if s.Invalidation != "" {
			why += " (" + s.Invalidation + ")"
		}
		return Critical, why
	case s.WALStatus == "unreserved":
		return Critical, "the server removes WAL that the slot needs at its next checkpoint"
	case s.Restart == 0:
		return OK, "" // it holds nothing yet
	case v.End == Planned:
		if v.Left == 0 {
			return Warning, fmt.Sprintf("it holds more than %d × max_wal_size, and nothing limits it but the disk, which cannot be seen from here", UnboundedFactor)
		}
		return OK, ""
	case v.End == NoEnd:
		return OK, ""
	}
	share := float64(v.Left) / float64(max(v.Allowance, 1))
	soon := func(limit time.Duration) bool {
		return 1-share >= MinHeld && v.TimeLeft != nil && *v.TimeLeft < limit
	}
	switch {
	case share < CriticalLeft || soon(CriticalTime):
		return Critical, v.end()
	case share < WarnLeft || soon(WarnTime):
		return Warning, v.end()
	}
	return OK, ""
}

func (v *Judgement) end() string {
	if v.End == DiskFull {
		return "the disk of pg_wal fills up, and the server stops when it is full"
	}
	return "the slot comes close to max_slot_wal_keep_size, and is lost there"
}

// settle lets the level rise at once and fall only after CalmSamples.
func (j *Judge) settle(v *Judgement) {
	if v.Level.rank() >= j.level.rank() || v.Level == Unknown {
		j.level, j.calm, j.reasons = v.Level, 0, v.Why
		return
	}
	if j.calm++; j.calm >= CalmSamples {
		j.level, j.calm, j.reasons = v.Level, 0, v.Why
		return
	}
	v.Level = j.level
	if v.Why == "" {
		v.Why = j.reasons
	}
}
