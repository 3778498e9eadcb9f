package sdk

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// SwitchPoint is the LSN from which on WAL of timeline tli is no part of the new
// timeline's history. Of OldTimeline it is SwitchLSN; of an older one, as where a
// sink was not there for a switch or more, the history file says it. The error
// of a timeline that is no ancestor is permanent.
func (e *Epoch) SwitchPoint(tli wal.TimelineID) (wal.LSN, error) {
	if tli == e.OldTimeline {
		return e.SwitchLSN, nil
	}
	h, err := wal.ParseHistory(e.NewTimeline, e.History)
	if err != nil {
		return 0, fmt.Errorf("timeline %d ended at %s and timeline %d begins, but what is held is of timeline %d: %w",
			e.OldTimeline, e.SwitchLSN, e.NewTimeline, tli, err)
	}
	lsn, ok := h.SwitchPoint(tli)
	if !ok || lsn == 0 {
		return 0, Permanentf("timeline %d ended at %s and timeline %d begins, but what is held is of timeline %d, which is no ancestor: use another directory",
			e.OldTimeline, e.SwitchLSN, e.NewTimeline, tli)
	}
	return min(lsn, e.SwitchLSN), nil
}
