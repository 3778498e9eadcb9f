package sdk

import (
	"errors"
	"os"
	"slices"
	"strconv"

	"github.com/walplex/walplex/sdk/wire"
	"github.com/walplex/walplex/sdk/wire/ring"
)

// openRing maps the memory that the host shares with this process, where it has
// given any. Without it all blocks come in messages: that it cannot be mapped is
// worth a line in the log, no more.
func (s *server) openRing() {
	fd, err := strconv.Atoi(os.Getenv(wire.RingEnv))
	if err != nil {
		return
	}
	if s.ring, err = ring.Map(fd); err != nil {
		s.log.Warn("the shared ring cannot be used; blocks come over gRPC", "error", err)
	}
}

// transport chooses from what the host offers.
func (s *server) transport(offered []string) string {
	if s.ring != nil && slices.Contains(offered, wire.TransportRing) {
		return wire.TransportRing
	}
	return wire.TransportGRPC
}

// blockBytes are a block's bytes, wherever they lie. In the ring they are the
// sink's until the block is counted in the next progress.
func (s *server) blockBytes(b *wire.Block) ([]byte, error) {
	switch {
	case b.RingLength == 0:
		return b.Data, nil
	case s.ring == nil:
		return nil, errors.New("the host has put a block into the shared ring, which this process has not mapped")
	}
	return s.ring.Bytes(b.RingOffset, b.RingLength)
}
