package primary

import (
	"errors"
	"testing"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// TestDrop: a slot in use is kept, unless it is forced.
func TestDrop(t *testing.T) {
	c := server(t)
	o := connect(t, c)
	if err := Drop(patient(t), o, "nothing", true); !errors.Is(err, ErrNoSlot) {
		t.Errorf("a slot that does not exist: %v", err)
	}
	conn, err := replication.Connect(patient(t), replication.Config{DSN: c.DSN("application_name=reader")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	sys, err := conn.IdentifySystem(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	start := sys.FlushLSN - sys.FlushLSN%wal.LSN(sys.SegmentSize)
	if _, err := conn.StartPhysical(patient(t), replication.StartOptions{Slot: "held", LSN: start, Timeline: sys.Timeline}); err != nil {
		t.Fatal(err)
	}
	var active *ActiveError
	if err := Drop(patient(t), o, "held", false); !errors.As(err, &active) || active.PID == 0 || active.Application != "reader" {
		t.Fatalf("in use: %v (%+v)", err, active)
	}
	if err := Drop(patient(t), o, "held", true); err != nil {
		t.Fatal(err)
	}
	if s, err := Read(patient(t), o, "held", 0); err != nil || s.Exists {
		t.Errorf("after the drop: %+v, %v", s, err)
	}
}
