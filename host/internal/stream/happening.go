package stream

import (
	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/sdk/wire"
)

// happening is what the sinks' goroutines tell the loop: exactly one of opened,
// ended, progress, switched, failed, feeder, backup and backedUp.
type happening struct {
	sink       chain.SinkID
	generation int // of the sink's settings, with opened and failed
	life       *life
	opened     bool             // the process runs and the sink has answered its position
	ended      bool             // the life is over; err says why, nil when it was drained
	failed     bool             // it could not be opened; err says why
	progress   *wire.Progress   // it reported
	switched   *wire.EpochDone  // it follows a switch of timelines
	backup     *backup          // has failed with err
	backedUp   *wire.BackupDone // the sink holds its base backup
	feeder     *feeder          // has a block for the sink, or has failed with err
	block      *buffer
	err        error
}

// drop lets go of what a happening holds that nobody takes in.
func (h *happening) drop() {
	if h.opened {
		h.life.end()
	}
	if h.block != nil {
		h.block.release()
	}
}
