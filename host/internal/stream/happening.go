package stream

import (
	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/sdk/wire"
)

// happening is what the sinks' goroutines tell the loop: exactly one of opened,
// ended, progress and failed.
type happening struct {
	sink     chain.SinkID
	life     *life
	opened   bool           // the process runs and the sink has answered its position
	ended    bool           // the life is over; err says why, nil when it was drained
	failed   bool           // it could not be opened; err says why
	progress *wire.Progress // it reported
	err      error
}
