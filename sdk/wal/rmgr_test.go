package wal

import (
	"strings"
	"testing"
)

func TestRmgrNames(t *testing.T) {
	for id := range RmgrMaxBuiltin + 1 {
		for _, name := range []string{id.String(), strings.ToUpper(id.String())} {
			if got, err := ParseRmgrID(name); err != nil || got != id {
				t.Errorf("ParseRmgrID(%q) = %d, %v; want %d", name, got, err, id)
			}
		}
	}
	for id, want := range map[RmgrID]string{
		RmgrXLOG: "XLOG", RmgrMultiXact: "MultiXact", RmgrHeap2: "Heap2", RmgrLogicalMessage: "LogicalMessage",
		22: "invalid022", 127: "invalid127", 128: "custom128", 255: "custom255",
	} {
		if got := id.String(); got != want {
			t.Errorf("name of %d: %q, want %q", id, got, want)
		}
	}
	if got, err := ParseRmgrID("Custom200"); err != nil || got != 200 {
		t.Errorf("ParseRmgrID(Custom200) = %d, %v", got, err)
	}
	for _, name := range []string{"", "heap3", "custom", "custom127", "custom256", "custom0128", "custom+28", "invalid022"} {
		if got, err := ParseRmgrID(name); err == nil {
			t.Errorf("ParseRmgrID(%q) = %d, want an error", name, got)
		} else if !strings.Contains(err.Error(), "want one of XLOG, ") {
			t.Errorf("ParseRmgrID(%q): %v", name, err)
		}
	}
}

func TestRmgrValid(t *testing.T) {
	for _, c := range []struct {
		id         RmgrID
		in14, in15 bool
	}{
		{RmgrXLOG, true, true},
		{RmgrLogicalMessage, true, true},
		{22, false, false},
		{127, false, false},
		{128, false, true},
		{255, false, true},
	} {
		if got := c.id.Valid(PG14); got != c.in14 {
			t.Errorf("%d valid in 14: %v", c.id, got)
		}
		for v := PG15; v <= PG18; v++ {
			if got := c.id.Valid(v); got != c.in15 {
				t.Errorf("%d valid in %s: %v", c.id, v, got)
			}
		}
	}
}
