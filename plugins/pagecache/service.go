package pagecache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// Limits of the service.
const (
	// maxCalls is how many calls run or wait at once, over all connections.
	maxCalls = 1024
	// maxRequest is the size of a request, in bytes: that of one that names maxPages
	// pages has some 130 KiB.
	maxRequest = 256 << 10
	// goodbye is how long clients have to take their last answers at Close.
	goodbye = 2 * time.Second
	// handshake is how long a client has for its TLS handshake.
	handshake = 10 * time.Second
	// socketBuffer is how much is written to a socket at once, in bytes.
	socketBuffer = 256 << 10
)

// service answers reads on a Unix socket, and on TCP with TLS.
type service struct {
	pagepb.UnimplementedPagesServer
	store   *pagestore.Store
	keeps   *keeps        // what is not stored
	major   int           // of the server; 0 is not known
	chunks  chunks        // memory of GetPages
	calls   chan struct{} // one token a call
	batches chan struct{} // one a call that sends pages
	socket  string        // removed at the end
	doors   []*door
}

// door is a place at which the service listens.
type door struct {
	where  string
	server *grpc.Server
	ended  chan error // what Serve returned
}

// place is what a service listens on.
type place struct {
	socket string                           // path of the Unix socket
	tcp    string                           // host:port, "" for none
	tls    credentials.TransportCredentials // of tcp
}

// serve begins to answer reads of the store.
func serve(at place, store *pagestore.Store, keeps *keeps, major int) (*service, error) {
	s := &service{store: store, keeps: keeps, major: major, socket: at.socket, calls: make(chan struct{}, maxCalls), batches: make(chan struct{}, maxBatches)}
	l, err := listenUnix(at.socket)
	if err != nil {
		return nil, err
	}
	var tcp net.Listener
	if at.tcp != "" {
		if tcp, err = net.Listen("tcp", at.tcp); err != nil {
			return nil, errors.Join(fmt.Errorf("serve pages on listen_tcp: %w", err), l.Close(), os.Remove(at.socket))
		}
	}
	s.open(at.socket, l)
	if tcp != nil {
		s.open(tcp.Addr().String(), tcp, grpc.Creds(at.tls), grpc.ConnectionTimeout(handshake))
	}
	return s, nil
}

// open serves on a listener.
func (s *service) open(where string, l net.Listener, more ...grpc.ServerOption) {
	d := &door{where: where, ended: make(chan error, 1)}
	d.server = grpc.NewServer(append(more, grpc.MaxRecvMsgSize(maxRequest), grpc.MaxConcurrentStreams(maxCalls), grpc.WriteBufferSize(socketBuffer), grpc.ForceServerCodecV2(newCodec()))...)
	pagepb.RegisterPagesServer(d.server, s)
	s.doors = append(s.doors, d)
	go func() { d.ended <- d.server.Serve(l) }()
}

// fault is why the service does not run any more, nil while it does.
func (s *service) fault() error {
	for _, d := range s.doors {
		select {
		case err := <-d.ended:
			d.ended <- err
			return fmt.Errorf("serve pages on %s: %w", d.where, err)
		default:
		}
	}
	return nil
}

// close ends the service. Calls that wait for the store have been ended by its
// Close.
func (s *service) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	done := make(chan struct{})
	go func() {
		for _, d := range s.doors {
			d.server.GracefulStop()
		}
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		for _, d := range s.doors {
			d.server.Stop()
		}
	}
	if err := os.Remove(s.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// asOf is the LSN of a request and how long it may wait for it.
type asOf interface {
	GetLsn() uint64
	GetWaitMs() uint32
}

// read waits for the LSN of a request and calls f with it; at LSN 0, with the last
// that can be read. Where a switch of timelines takes the LSN back meanwhile, it
// is the new one's that counts: all is done again.
func (s *service) read(ctx context.Context, req asOf, f func(at wal.LSN) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	patient, cancel := patience(ctx, req.GetWaitMs())
	defer cancel()
	for {
		st, err := s.store.Wait(patient, wal.LSN(req.GetLsn()))
		if err != nil {
			return readStatus(err)
		}
		at := wal.LSN(req.GetLsn())
		if at == 0 {
			at = st.LastValid
		}
		if err = f(at); !errors.Is(err, pagestore.ErrNotReached) {
			return readStatus(err)
		}
	}
}

// patience ends ctx after a request's wait_ms.
func patience(ctx context.Context, ms uint32) (context.Context, context.CancelFunc) {
	if ms == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
}

// readStatus gives an error the code that pages.proto promises.
func readStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(code(err), err.Error())
}

func code(err error) codes.Code {
	var damaged *wal.Error
	switch {
	case errors.Is(err, pagestore.ErrNotFound), errors.Is(err, errNotKept):
		return codes.NotFound
	case errors.Is(err, pagestore.ErrNoBase):
		return codes.FailedPrecondition
	case errors.Is(err, pagestore.ErrBelowHorizon):
		return codes.OutOfRange
	case errors.Is(err, pagestore.ErrClosed):
		return codes.Unavailable
	case errors.Is(err, pagestore.ErrDamaged), errors.As(err, &damaged):
		return codes.DataLoss
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, pagestore.ErrNotReached), errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return codes.Internal
}
