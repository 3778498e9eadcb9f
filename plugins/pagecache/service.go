package pagecache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// Limits of the service.
const (
	// maxCalls is how many calls run or wait at once, over all connections.
	maxCalls = 1024
	// maxRequest is the size of a request, in bytes.
	maxRequest = 64 << 10
	// goodbye is how long clients have to take their last answers at Close.
	goodbye = 2 * time.Second
)

// service answers reads on a Unix socket.
type service struct {
	pagepb.UnimplementedPagesServer
	path   string
	store  *pagestore.Store
	server *grpc.Server
	calls  chan struct{} // one token a call
	ended  chan error    // what Serve returned
}

// serve begins to answer reads of the store at path.
func serve(path string, store *pagestore.Store) (*service, error) {
	l, err := listenUnix(path)
	if err != nil {
		return nil, err
	}
	s := &service{
		path: path, store: store,
		server: grpc.NewServer(grpc.MaxRecvMsgSize(maxRequest), grpc.MaxConcurrentStreams(maxCalls)),
		calls:  make(chan struct{}, maxCalls),
		ended:  make(chan error, 1),
	}
	pagepb.RegisterPagesServer(s.server, s)
	go func() { s.ended <- s.server.Serve(l) }()
	return s, nil
}

// fault is why the service does not run any more, nil while it does.
func (s *service) fault() error {
	select {
	case err := <-s.ended:
		s.ended <- err
		return fmt.Errorf("serve pages on %s: %w", s.path, err)
	default:
		return nil
	}
}

// close ends the service. Calls that wait for the store have been ended by its
// Close.
func (s *service) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	done := make(chan struct{})
	go func() {
		s.server.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.server.Stop()
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// enter takes a token, which leave gives back.
func (s *service) enter() error {
	select {
	case s.calls <- struct{}{}:
		return nil
	default:
		return status.Errorf(codes.ResourceExhausted, "%d calls are running or waiting, which is the limit; try again", maxCalls)
	}
}

func (s *service) leave() { <-s.calls }

// GetPage waits for the LSN and reads the page.
func (s *service) GetPage(ctx context.Context, req *pagepb.GetPageRequest) (*pagepb.GetPageResponse, error) {
	id := pagestore.PageID{
		Rel:   wal.RelFileLocator{Spc: wal.OID(req.GetRelation().GetTablespace()), DB: wal.OID(req.GetRelation().GetDatabase()), Rel: wal.OID(req.GetRelation().GetRelation())},
		Fork:  wal.ForkNumber(req.Fork),
		Block: wal.BlockNumber(req.Block),
	}
	switch {
	case id.Rel.Rel == 0:
		return nil, status.Error(codes.InvalidArgument, "the request names no relation")
	case req.Fork > uint32(wal.InitFork):
		return nil, status.Errorf(codes.InvalidArgument, "there is no fork %d; the forks are 0 main, 1 fsm, 2 vm and 3 init", req.Fork)
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	patient, cancel := patience(ctx, req.WaitMs)
	defer cancel()
	for {
		if _, err := s.store.Wait(patient, wal.LSN(req.Lsn)); err != nil {
			return nil, readStatus(err)
		}
		a, err := s.store.ReadPage(ctx, id, wal.LSN(req.Lsn))
		if errors.Is(err, pagestore.ErrNotReached) {
			continue // a switch of timelines took the LSN back: it is the new one's that counts
		}
		if err != nil {
			return nil, readStatus(err)
		}
		return response(a), nil
	}
}

// patience ends ctx after a request's wait_ms.
func patience(ctx context.Context, ms uint32) (context.Context, context.CancelFunc) {
	if ms == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
}

// WaitLSN waits for an LSN.
func (s *service) WaitLSN(ctx context.Context, req *pagepb.WaitLSNRequest) (*pagepb.WaitLSNResponse, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	ctx, cancel := patience(ctx, req.WaitMs)
	defer cancel()
	st, err := s.store.Wait(ctx, wal.LSN(req.Lsn))
	if err != nil {
		return nil, readStatus(err)
	}
	return &pagepb.WaitLSNResponse{LastValidLsn: uint64(st.LastValid)}, nil
}

// Status says what the cache holds.
func (s *service) Status(context.Context, *pagepb.StatusRequest) (*pagepb.StatusResponse, error) {
	st := s.store.Visible()
	size, err := s.store.Size()
	if err != nil {
		return nil, readStatus(err)
	}
	return &pagepb.StatusResponse{
		SystemIdentifier: st.SystemID,
		Timeline:         uint32(st.Timeline),
		HorizonLsn:       uint64(st.Horizon),
		LastRecordLsn:    uint64(st.LastRecord),
		LastValidLsn:     uint64(st.LastValid),
		FlushedLsn:       uint64(st.Position),
		ValuesBytes:      size.Values,
		IndexBytes:       size.Index,
	}, nil
}

func response(a *pagestore.Answer) *pagepb.GetPageResponse {
	return &pagepb.GetPageResponse{Lsn: uint64(a.At), Image: &pagepb.PageImage{Page: a.Page, EndLsn: uint64(a.LastLSN)}}
}

// readStatus gives an error the code that pages.proto promises.
func readStatus(err error) error {
	code := codes.Internal
	var damaged *wal.Error
	switch {
	case errors.Is(err, pagestore.ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, pagestore.ErrNoBase):
		code = codes.FailedPrecondition
	case errors.Is(err, pagestore.ErrBelowHorizon):
		code = codes.OutOfRange
	case errors.Is(err, pagestore.ErrClosed):
		code = codes.Unavailable
	case errors.Is(err, pagestore.ErrDamaged), errors.As(err, &damaged):
		code = codes.DataLoss
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, pagestore.ErrNotReached), errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error())
}
