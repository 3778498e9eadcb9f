package sdk

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// reads lets ReadWAL run beside Write and Flush, and never beside Close.
type reads struct {
	mu      sync.Mutex
	sink    Sink // nil before Open and after Close
	running sync.WaitGroup
	closing chan struct{}
}

func (r *reads) open(sink Sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sink, r.closing = sink, make(chan struct{})
}

// close ends the calls that run, and waits for them, at most until ctx ends: one
// that the host does not listen to cannot be ended from here.
func (r *reads) close(ctx context.Context) error {
	r.mu.Lock()
	r.sink = nil
	close(r.closing)
	r.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		r.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin answers the sink, a context that ends with close, and what to call in
// the end; nil when the sink is not open.
func (r *reads) begin(ctx context.Context) (Sink, context.Context, func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sink == nil {
		return nil, nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	r.running.Add(1)
	closing := r.closing
	go func() {
		select {
		case <-closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return r.sink, ctx, func() {
		cancel()
		r.running.Done()
	}
}

// Read gives WAL back that the sink keeps.
func (s *server) Read(req *wire.ReadRequest, out wire.Sink_ReadServer) error {
	sink, ctx, end := s.reads.begin(out.Context())
	if sink == nil {
		return status.Error(codes.FailedPrecondition, "the sink is not open")
	}
	defer end()
	r, ok := sink.(Reader)
	if !ok {
		return status.Error(codes.Unimplemented, "this sink gives no WAL back")
	}
	tli := wal.TimelineID(req.Timeline)
	err := r.ReadWAL(ctx, tli, wal.LSN(req.FromLsn), wal.LSN(req.ToLsn), func(lsn wal.LSN, p []byte) error {
		return out.Send(&wire.ReadResponse{Timeline: req.Timeline, Lsn: uint64(lsn), Data: p})
	})
	if err != nil {
		return readStatus(err)
	}
	return nil
}

// readStatus carries ErrNotHeld as NotFound.
func readStatus(err error) error {
	if errors.Is(err, ErrNotHeld) {
		return status.Error(codes.NotFound, err.Error())
	}
	return openStatus(err)
}
