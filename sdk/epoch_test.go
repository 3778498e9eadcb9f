package sdk

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

func TestEpochSwitchPoint(t *testing.T) {
	e := &Epoch{OldTimeline: 3, SwitchLSN: 0x5000, NewTimeline: 5, History: []byte("1\t0/4000\tx\n3\t0/5000\tx\n")}
	for _, c := range []struct {
		tli       wal.TimelineID
		history   string
		lsn       wal.LSN
		permanent bool
	}{
		{3, "", 0x5000, false},
		{1, string(e.History), 0x4000, false},
		{1, "1\t0/6000\tx\n3\t0/5000\tx\n", 0x5000, false},
		{2, string(e.History), 0, true},
		{5, string(e.History), 0, true},
		{1, "", 0, true},
		{1, "1\tx", 0, false},
	} {
		e.History = []byte(c.history)
		lsn, err := e.SwitchPoint(c.tli)
		if lsn != c.lsn || (err != nil) != (c.lsn == 0) || IsPermanent(err) != c.permanent {
			t.Errorf("of timeline %d with history %q: %s, %v", c.tli, c.history, lsn, err)
		}
	}
}
