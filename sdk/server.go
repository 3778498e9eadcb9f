package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
	"github.com/walplex/walplex/sdk/wire/ring"
)

// server is the gRPC service of one sink process.
type server struct {
	wire.UnimplementedSinkServer
	def    *Definition
	schema *wire.Schema
	log    *slog.Logger
	ring   *ring.Mapping // nil: the host has given none

	mu      sync.Mutex // orders the calls into the sink; a Stream holds it to its end
	metrics Metrics
	sink    Sink // nil before Open and after Close
	result  OpenResult
	failed  error // of Write or Flush: the sink can only be closed
	reads   reads
	backup  *backup // the sink gets a base backup before the WAL; nil: no, or not any more
}

func newServer(d *Definition, log *slog.Logger) (*server, error) {
	schema, err := ConfigSchema(d.config)
	if err != nil {
		return nil, err
	}
	if d.wal && d.records {
		return nil, fmt.Errorf("a sink subscribes to raw WAL or to records; both is not offered yet")
	}
	if !d.wal && !d.records {
		return nil, fmt.Errorf("a sink subscribes to RawWAL or Records")
	}
	return &server{def: d, schema: schema, log: log}, nil
}

// NewServer is the service that [Serve] runs, without its process: for package
// sinktest. log is the sink's.
func NewServer(d *Definition, log *slog.Logger) (wire.SinkServer, error) {
	s, err := newServer(d, log)
	if err != nil {
		return nil, err // not a typed nil
	}
	return s, nil
}

func (s *server) Describe(context.Context, *wire.DescribeRequest) (*wire.DescribeResponse, error) {
	r := &wire.DescribeResponse{Type: s.def.typeName, Version: s.def.version, Schema: s.schema, Capabilities: []string{wire.CapDrain}}
	if s.def.wal {
		r.Capabilities = append(r.Capabilities, wire.CapWAL)
	}
	if s.def.records {
		r.Capabilities = append(r.Capabilities, wire.CapRecords)
	}
	if ring.Supported {
		r.Capabilities = append(r.Capabilities, wire.CapRing)
	}
	if s.def.applied {
		r.Capabilities = append(r.Capabilities, wire.CapApplied)
	}
	if s.def.reader {
		r.Capabilities = append(r.Capabilities, wire.CapRead)
	}
	if s.def.rewinder {
		r.Capabilities = append(r.Capabilities, wire.CapRewind)
	}
	if s.def.wantsBackup != nil {
		r.Capabilities = append(r.Capabilities, wire.CapBackup)
	}
	return r, nil
}

func (s *server) Validate(_ context.Context, req *wire.ValidateRequest) (*wire.ValidateResponse, error) {
	config, problems := s.def.validate(req.ConfigJson)
	return &wire.ValidateResponse{Diagnostics: problems, Wishes: s.def.wishes(config)}, nil
}

func (s *server) Open(ctx context.Context, req *wire.OpenRequest) (*wire.OpenResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sink != nil {
		return nil, status.Error(codes.FailedPrecondition, "the sink is open already")
	}
	config, problems := s.def.validate(req.ConfigJson)
	for _, p := range problems {
		if p.Severity == wire.Diagnostic_ERROR {
			return nil, status.Error(codes.InvalidArgument, p.Summary+": "+p.Detail)
		}
	}
	sink := s.def.new(config)
	sys := System{ID: req.System.GetSystemId(), Timeline: wal.TimelineID(req.System.GetTimeline()),
		SegmentSize: wal.SegmentSize(req.System.GetSegmentSize()), ServerVersion: int(req.System.GetServerVersion())}
	res, err := sink.Open(ctx, &OpenRequest{
		Stream: req.Stream, Sink: req.Sink, System: sys,
		LockWait: time.Duration(req.LockWaitMs) * time.Millisecond,
		Filtered: req.Filtered,
		History:  req.HistoryFile,
		Known:    wal.Position{Timeline: wal.TimelineID(req.KnownTimeline), LSN: wal.LSN(req.KnownLsn)},
		Metrics:  &s.metrics,
		Logger:   s.log,
	})
	if err != nil {
		return nil, openStatus(err)
	}
	if err := s.def.checkWish(sink, res); err != nil {
		return nil, openStatus(errors.Join(err, sink.Close(ctx)))
	}
	s.sink, s.result = sink, res
	if to, ok := sink.(BackupReceiver); ok && res.WantsBackup {
		s.backup = &backup{to: to, system: sys, raw: s.def.wal}
	}
	s.reads.open(sink)
	return &wire.OpenResponse{
		IsNew: res.New, SystemId: res.SystemID, Timeline: uint32(res.Position.Timeline), Lsn: uint64(res.Position.LSN),
		Subscription: &wire.Subscription{Wal: s.def.wal, Records: s.def.records, RmgrMask: rmgrMask(s.def.rmgrs)},
		Transport:    s.transport(req.Transports),
		Wishes:       &wire.Wishes{BaseBackup: res.WantsBackup},
	}, nil
}

// openStatus carries the error's kind: FailedPrecondition is permanent,
// Unavailable is worth another try.
func openStatus(err error) error {
	if IsPermanent(err) {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}

func rmgrMask(ids []wal.RmgrID) []byte {
	if len(ids) == 0 {
		return nil
	}
	m := make([]byte, 32)
	for _, id := range ids {
		m[id/8] |= 1 << (id % 8)
	}
	return m
}

// Drain is called after the stream has ended: what was delivered has been
// flushed by then, or is here. A sink that has failed, or has no whole backup yet,
// is only closed: what of it is durable, the next Open finds.
func (s *server) Drain(ctx context.Context, _ *wire.DrainRequest) (*wire.DrainResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sink == nil {
		return nil, status.Error(codes.FailedPrecondition, "the sink is not open")
	}
	sink := s.sink
	s.sink = nil
	var lsn wal.LSN
	err := s.failed
	if err == nil && s.backup == nil { // of an unfinished backup nothing is kept
		lsn, err = sink.Flush(ctx)
	}
	if closeErr := s.reads.close(ctx); closeErr != nil {
		return nil, status.FromContextError(closeErr).Err()
	}
	if err = errors.Join(err, sink.Close(ctx)); err != nil {
		return nil, openStatus(err)
	}
	return &wire.DrainResponse{Timeline: uint32(s.result.Position.Timeline), FlushedLsn: uint64(lsn)}, nil
}
