package stream

import (
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

const mib = wal.SegmentSize(1 << 20)

func at(tli wal.TimelineID, lsn wal.LSN) wal.Position { return wal.Position{Timeline: tli, LSN: lsn} }

func TestStartFrom(t *testing.T) {
	required := func(lsn wal.LSN) opened { return opened{required: true, position: at(1, lsn)} }
	fresh := opened{required: true, isNew: true}
	for name, test := range map[string]struct {
		sinks               []opened
		slot, start, server wal.LSN
		want                wal.LSN
	}{
		"the least of the required sinks":        {[]opened{required(900), fresh, required(700)}, 500, 600, 1000, 700},
		"a sink that is not required has no say": {[]opened{required(900), {position: at(1, 100)}}, 0, 0, 1000, 900},
		"else the slot":                          {[]opened{fresh, {position: at(1, 100)}}, 500, 600, 1000, 500},
		"else the configured":                    {[]opened{fresh}, 0, 600, 1000, 600},
		"else the server's end":                  {[]opened{fresh}, 0, 0, 1000, 1000},
		"below the slot is no error":             {[]opened{required(300)}, 500, 0, 1000, 300},
	} {
		if got := startFrom(test.sinks, test.slot, test.start, test.server); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestBeginOf(t *testing.T) {
	const s = wal.LSN(5<<20 + 4711)
	for name, test := range map[string]struct {
		o    opened
		want wal.LSN
	}{
		"one with a position, there":           {opened{position: at(1, 77)}, 77},
		"a new one of records, at S":           {opened{isNew: true, records: true}, s},
		"a new one of raw WAL, at the segment": {opened{isNew: true}, 5 << 20},
	} {
		if got := beginOf(test.o, s, mib); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestCheckIdentity(t *testing.T) {
	const system = 42
	// The server is on timeline 3; 2 ended at 0/500, 1 at 0/300.
	history, err := wal.ParseHistory(3, []byte("1\t0/300\tno recovery target\n2\t0/500\tno recovery target\n"))
	if err != nil {
		t.Fatal(err)
	}
	sys := replication.System{SystemID: system, Timeline: 3, SegmentSize: mib}
	for name, test := range map[string]struct {
		o    opened
		want string // in the error; empty: none
	}{
		"new":                           {opened{isNew: true, systemID: 1}, ""},
		"same":                          {opened{systemID: system, position: at(3, 0x900)}, ""},
		"other cluster":                 {opened{systemID: 43, position: at(3, 0x900)}, "pg_upgrade"},
		"ancestor":                      {opened{systemID: system, position: at(2, 0x480)}, "was promoted"},
		"ancestor at its end":           {opened{systemID: system, position: at(1, 0x300)}, "was promoted"},
		"ancestor that follows":         {opened{systemID: system, position: at(2, 0x480), rewinds: true}, ""},
		"beyond its end, and follows":   {opened{systemID: system, position: at(2, 0x508), rewinds: true}, ""},
		"later, and follows":            {opened{systemID: system, position: at(4, 0x480), rewinds: true}, "have diverged"},
		"beyond the end of an ancestor": {opened{systemID: system, position: at(2, 0x508)}, "have diverged"},
		"later timeline":                {opened{systemID: system, position: at(4, 0x480)}, "have diverged"},
		"no timeline":                   {opened{systemID: system, position: at(0, 0x480)}, "have diverged"},
	} {
		err := checkIdentity(test.o, sys, history)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want == "":
		case err == nil || !permanent(err) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "Nothing was written"):
			t.Errorf("%s: %v, want a fault with %q", name, err, test.want)
		}
	}
}

// TestCheckAhead: a standby may be behind, a primary that has less than it once
// sent is not the one that sent it.
func TestCheckAhead(t *testing.T) {
	sys := replication.System{FlushLSN: 0x1000}
	if err := checkAhead("a", 0x1000, sys); err != nil {
		t.Error(err)
	}
	if err := checkAhead("a", 0x1001, sys); err == nil || !permanent(err) {
		t.Errorf("on a primary: %v", err)
	}
	sys.InRecovery = true
	if err := checkAhead("a", 0x1001, sys); err == nil || permanent(err) {
		t.Errorf("on a standby: %v", err)
	}
}
