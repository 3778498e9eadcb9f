package wal

import (
	"reflect"
	"strings"
	"testing"
)

const threeTimelines = "1\t0/30000A0\tno recovery target specified\n" +
	"\n" +
	"# by hand\n" +
	"  3\t1/5000000\tbefore 2025-11-22 15:18:00+00\r\n"

func TestParseHistory(t *testing.T) {
	for _, c := range []struct {
		name string
		tli  TimelineID
		file string
		want History
	}{
		{"no file", 1, "", History{{Timeline: 1}}},
		{"promoted once", 2, "1\t0/30000A0\tno recovery target specified\n", History{
			{Timeline: 1, End: 0x30000A0, Reason: "no recovery target specified"},
			{Timeline: 2, Begin: 0x30000A0},
		}},
		{"comments, blanks, a gap, carriage return", 4, threeTimelines, History{
			{Timeline: 1, End: 0x30000A0, Reason: "no recovery target specified"},
			{Timeline: 3, Begin: 0x30000A0, End: 0x1_05000000, Reason: "before 2025-11-22 15:18:00+00"},
			{Timeline: 4, Begin: 0x1_05000000},
		}},
		{"no reason, no newline", 2, "1 0/30000A0", History{{Timeline: 1, End: 0x30000A0}, {Timeline: 2, Begin: 0x30000A0}}},
		{"greatest numbers", 0xFFFFFFFF, "4294967294\tFFFFFFFF/FFFFFFFF\tx", History{
			{Timeline: 0xFFFFFFFE, End: 0xFFFFFFFF_FFFFFFFF, Reason: "x"},
			{Timeline: 0xFFFFFFFF, Begin: 0xFFFFFFFF_FFFFFFFF},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseHistory(c.tli, []byte(c.file))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("parsed\n%+v, want\n%+v", got, c.want)
			}
			if got.Timeline() != c.tli {
				t.Errorf("history of timeline %d", got.Timeline())
			}
		})
	}
}

func TestParseHistoryRejects(t *testing.T) {
	for _, c := range []struct {
		name string
		tli  TimelineID
		file string
		want string
	}{
		{"timeline 0", 0, "", `timeline 0 does not exist and has no history`},
		{"no number", 2, "one\t0/3000000\tx", `timeline history file 00000002.history, line 1: expected a numeric timeline ID: "one\t0/3000000\tx"`},
		{"ancestor 0", 2, "0\t0/3000000\tx", `timeline history file 00000002.history, line 1: expected a numeric timeline ID: "0\t0/3000000\tx"`},
		{"negative", 2, "-1\t0/3000000\tx", `timeline history file 00000002.history, line 1: expected a numeric timeline ID: "-1\t0/3000000\tx"`},
		{"too great", 2, "4294967296\t0/3000000\tx", `timeline history file 00000002.history, line 1: expected a numeric timeline ID: "4294967296\t0/3000000\tx"`},
		{"no switch point", 2, "# c\n\n1\n", `timeline history file 00000002.history, line 3: expected a write-ahead log switchpoint location: "1"`},
		{"bad switch point", 2, "1\t3000000\tx", `timeline history file 00000002.history, line 1: expected a write-ahead log switchpoint location: "1\t3000000\tx"`},
		{"switch point 0", 2, "1\t0/0\tx", `timeline history file 00000002.history, line 1: expected a write-ahead log switchpoint location: "1\t0/0\tx"`},
		{"same again", 9, "2\t0/3000000\tx\n2\t0/4000000\ty", `timeline history file 00000009.history, line 2: timeline IDs must be in increasing sequence: "2\t0/4000000\ty"`},
		{"descending", 9, "2\t0/3000000\tx\n1\t0/4000000\ty", `timeline history file 00000009.history, line 2: timeline IDs must be in increasing sequence: "1\t0/4000000\ty"`},
		{"itself", 2, "2\t0/3000000\tx", `timeline history file 00000002.history, line 1: timeline IDs must be less than child timeline's ID: "2\t0/3000000\tx"`},
		{"a child", 2, "1\t0/3000000\tx\n5\t0/4000000\ty", `timeline history file 00000002.history, line 2: timeline IDs must be less than child timeline's ID: "5\t0/4000000\ty"`},
		{"cut off in the line", 11, "1\t0/3000000\tx\n1", `timeline history file 0000000B.history, line 2: expected a write-ahead log switchpoint location: "1"`},
		{"not a history file", 2, strings.Repeat("\x00", 8192), `timeline history file 00000002.history, line 1: expected a numeric timeline ID: "` + strings.Repeat(`\x00`, 100) + `"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := ParseHistory(c.tli, []byte(c.file))
			if err == nil {
				t.Fatalf("parsed %+v", h)
			}
			if err.Error() != c.want {
				t.Errorf("error\n%s, want\n%s", err, c.want)
			}
		})
	}
}

func mustParseHistory(t *testing.T, tli TimelineID, file string) History {
	t.Helper()
	h, err := ParseHistory(tli, []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHistoryTimelineAt(t *testing.T) {
	h := mustParseHistory(t, 4, threeTimelines)
	for lsn, want := range map[LSN]TimelineID{
		0: 1, 0x1000000: 1, 0x300009F: 1, 0x30000A0: 3, 0x1_04FFFFFF: 3, 0x1_05000000: 4, 0xFFFFFFFF_FFFFFFFF: 4,
	} {
		if got := h.TimelineAt(lsn); got != want {
			t.Errorf("%s belongs to timeline %d, want %d", lsn, got, want)
		}
	}
}

func TestHistoryContains(t *testing.T) {
	h := mustParseHistory(t, 4, threeTimelines)
	for _, c := range []struct {
		p    Position
		want bool
	}{
		{Position{1, 0x1000000}, true},
		{Position{1, 0x30000A0}, true}, // everything up to the switch
		{Position{1, 0x30000A8}, false},
		{Position{2, 0x30000A0}, false}, // a sibling
		{Position{2, 0x1000000}, false},
		{Position{3, 0x1000000}, true}, // in the copy with which 3 begins
		{Position{3, 0x1_05000000}, true},
		{Position{3, 0x1_05000001}, false},
		{Position{4, 0x1_05000000}, true},
		{Position{4, 0xFFFFFFFF_FFFFFFFF}, true},
		{Position{5, 0x1000000}, false},
	} {
		if got := h.Contains(c.p); got != c.want {
			t.Errorf("contains %s: %v", c.p, got)
		}
	}
	for tli, want := range map[TimelineID]LSN{1: 0x30000A0, 3: 0x1_05000000, 4: 0} {
		if got, ok := h.SwitchPoint(tli); !ok || got != want {
			t.Errorf("left timeline %d at %s, %v; want %s", tli, got, ok, want)
		}
	}
	if got, ok := h.SwitchPoint(2); ok {
		t.Errorf("left timeline 2 at %s, but it is no ancestor", got)
	}
}

// Recovery with target timeline 2 that stops before 2 was begun names 2 as the
// parent all the same.
func TestHistoryStoppedBeforeTarget(t *testing.T) {
	h := mustParseHistory(t, 3, "1\t0/5000000\tx\n2\t0/4000000\ty\n")
	for lsn, want := range map[LSN]TimelineID{0x3FFFFFF: 1, 0x4000000: 3, 0x5000000: 3} {
		if got := h.TimelineAt(lsn); got != want {
			t.Errorf("%s belongs to timeline %d, want %d", lsn, got, want)
		}
	}
	for p, want := range map[Position]bool{{1, 0x4000000}: true, {1, 0x4000001}: false, {2, 0x4000001}: false, {3, 0x4000001}: true} {
		if got := h.Contains(p); got != want {
			t.Errorf("contains %s: %v", p, got)
		}
	}
}

// FuzzHistory checks that what parses has a timeline for every LSN, and that
// positions in it are contained exactly up to the switch points.
func FuzzHistory(f *testing.F) {
	f.Add(uint32(1), []byte(nil), uint64(0))
	f.Add(uint32(4), []byte(threeTimelines), uint64(0x30000A0))
	f.Add(uint32(3), []byte("1\t0/5000000\tx\n2\t0/4000000\ty\n"), uint64(0x4000000))
	f.Fuzz(func(t *testing.T, tli uint32, file []byte, at uint64) {
		h, err := ParseHistory(TimelineID(tli), file)
		if err != nil {
			return
		}
		if h[0].Begin != 0 || h[len(h)-1].End != 0 || h.Timeline() != TimelineID(tli) {
			t.Fatalf("history of %d: %+v", tli, h)
		}
		for _, lsn := range []LSN{0, LSN(at), 0xFFFFFFFF_FFFFFFFF} {
			owner := h.TimelineAt(lsn)
			if end, ok := h.SwitchPoint(owner); !ok || end != 0 && lsn >= end {
				t.Fatalf("%s belongs to timeline %d, which was left at %s (%v): %+v", lsn, owner, end, ok, h)
			}
			if p := (Position{owner, lsn}); !h.Contains(p) {
				t.Fatalf("does not contain %s: %+v", p, h)
			}
		}
	})
}
