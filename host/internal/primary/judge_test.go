package primary

import (
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

const mib = int64(1 << 20)

func p[T any](v T) *T { return &v }

// at is a sample of a slot of 100 MiB allowance that holds these.
func at(seconds int, heldMiB int64) Sample {
	restart := wal.LSN(1 << 30)
	return Sample{
		At: time.Unix(int64(seconds), 0), Exists: true, Active: true, Restart: restart, Current: restart + wal.LSN(heldMiB*mib),
		WALStatus: "reserved", Safe: p((100 - heldMiB) * mib), KeepSize: 100 * mib, MaxWALSize: 1 << 30,
	}
}

func TestThresholds(t *testing.T) {
	disk := func(s Sample, free int64) Sample {
		s.Disk = &Disk{Path: "/d", Free: free, Size: 1 << 40}
		return s
	}
	unlimited := func(s Sample) Sample {
		s.Safe, s.KeepSize = nil, -1
		return s
	}
	status := func(s Sample, st string) Sample {
		s.WALStatus = st
		return s
	}
	for _, c := range []struct {
		name  string
		s     Sample
		level Level
		end   End
		left  int64
	}{
		{"half is left", at(0, 50), OK, SlotLost, 50 * mib},
		{"less than half", at(0, 51), Warning, SlotLost, 49 * mib},
		{"a fifth", at(0, 80), Warning, SlotLost, 20 * mib},
		{"less than a fifth", at(0, 81), Critical, SlotLost, 19 * mib},
		{"beyond the end", at(0, 120), Critical, SlotLost, 0},
		{"unreserved", status(at(0, 10), "unreserved"), Critical, SlotLost, 90 * mib},
		{"lost", status(at(0, 10), "lost"), Critical, SlotLost, 90 * mib},
		{"the disk comes first", disk(at(0, 10), 9*mib), Warning, DiskFull, 9 * mib},
		{"the slot comes first", disk(at(0, 10), 1<<40), OK, SlotLost, 90 * mib},
		{"only the disk", disk(unlimited(at(0, 10)), 2*mib), Critical, DiskFull, 2 * mib},
		{"no end known", unlimited(at(0, 10)), OK, Planned, 4<<30 - 10*mib},
		{"no end known, very much", unlimited(at(0, 5000)), Warning, Planned, 0},
		{"nothing held yet", Sample{Exists: true, Current: 1 << 30, Safe: p(mib)}, OK, SlotLost, mib},
		{"no slot", Sample{Current: 1 << 30}, Unknown, NoEnd, 0},
		{"invalidated", Sample{Exists: true, Current: 1 << 30, Invalidation: "idle_timeout"}, Critical, NoEnd, 0},
	} {
		var j Judge
		v := j.Add(c.s)
		if v.Level != c.level || v.End != c.end || v.Left != c.left {
			t.Errorf("%s: %s, %s, %d left, want %s, %s, %d", c.name, v.Level, v.End, v.Left, c.level, c.end, c.left)
		}
		if (v.Why == "") != (v.Level == OK) {
			t.Errorf("%s: level %s because %q", c.name, v.Level, v.Why)
		}
		if v.TimeLeft != nil {
			t.Errorf("%s: %s left after a single sample", c.name, v.TimeLeft)
		}
	}
}

// TestTimeLeft: a slot that stands while the server writes runs out of time long
// before it runs out of half of its bytes; one that keeps up never does.
func TestTimeLeft(t *testing.T) {
	var j Judge
	j.Add(at(0, 10))
	v := j.Add(at(10, 20)) // 1 MiB a second, 80 s left
	if v.Level != Critical || v.TimeLeft == nil || *v.TimeLeft != 80*time.Second {
		t.Errorf("got %+v (%v left), want critical, 80 s", v, v.TimeLeft)
	}
	var slow Judge
	slow.Add(at(0, 10))
	if v := slow.Add(at(600, 30)); v.Level != Warning || *v.TimeLeft != 2100*time.Second {
		t.Errorf("got %s, %v left, want warning, 35 min", v.Level, v.TimeLeft)
	}
	var early Judge
	early.Add(at(0, 0))
	if v := early.Add(at(1, 5)); v.Level != OK {
		t.Errorf("%s at 5 %% of the allowance: %s", v.Level, v.Why)
	}
	var keeps Judge
	for i := range 20 {
		s := at(i*10, 10)
		s.Restart += wal.LSN(int64(i) * 100 * mib)
		s.Current += wal.LSN(int64(i) * 100 * mib)
		if v = keeps.Add(s); v.Level != OK || v.TimeLeft != nil {
			t.Fatalf("a slot that keeps up: %s, %v left", v.Level, v.TimeLeft)
		}
	}
	if v.WALRate != float64(10*mib) {
		t.Errorf("the server writes %f bytes a second, want %d", v.WALRate, 10*mib)
	}
}

// TestSmoothing: one sample changes a speed by its weight only.
func TestSmoothing(t *testing.T) {
	var j Judge
	for i := range 10 {
		j.Add(at(i*10, 10))
	}
	v := j.Add(at(100, 20))
	if want := smoothing * float64(mib); v.Growth != want || v.WALRate != want {
		t.Errorf("growth %f, rate %f, want %f", v.Growth, v.WALRate, want)
	}
}

// TestFall: the level rises at once and falls after CalmSamples.
func TestFall(t *testing.T) {
	var j Judge
	if v := j.Add(at(0, 90)); v.Level != Critical {
		t.Fatal(v.Level)
	}
	for i := 1; i < CalmSamples; i++ {
		if v := j.Add(at(i*10, 10)); v.Level != Critical || v.Why == "" {
			t.Fatalf("calm sample %d: %s %q", i, v.Level, v.Why)
		}
	}
	if v := j.Add(at(100, 10)); v.Level != OK || v.Why != "" {
		t.Fatalf("after %d calm samples: %s %q", CalmSamples, v.Level, v.Why)
	}
}

// TestAnew: a slot made anew does not count as progress.
func TestAnew(t *testing.T) {
	var j Judge
	j.Add(at(0, 10))
	j.Add(at(10, 50))
	v := j.Add(Sample{At: time.Unix(20, 0), Current: 2 << 30})
	if v.Level != Unknown || v.Growth != 0 {
		t.Fatalf("without a slot: %+v", v)
	}
	if v = j.Add(at(30, 10)); v.Level != OK || v.Growth != 0 || v.TimeLeft != nil {
		t.Fatalf("made anew: %+v", v)
	}
}
