package sdk

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// forgetful fails one flush and then acts as if nothing had been.
type forgetful struct {
	flushes int
	closed  bool
}

var errDisk = errors.New("the disk has failed")

func (f *forgetful) Open(context.Context, *OpenRequest) (OpenResult, error) {
	return OpenResult{New: true}, nil
}
func (f *forgetful) Write(context.Context, *Batch) error { return nil }
func (f *forgetful) Close(context.Context) error         { f.closed = true; return nil }
func (f *forgetful) Flush(context.Context) (wal.LSN, error) {
	if f.flushes++; f.flushes == 1 {
		return 0, errDisk
	}
	return 99, nil
}

// hostSide plays the host's part of a Stream call.
type hostSide struct {
	ctx  context.Context
	say  chan *wire.HostMessage
	said []*wire.SinkMessage
}

func (h *hostSide) Recv() (*wire.HostMessage, error) {
	select {
	case m := <-h.say:
		return m, nil
	case <-h.ctx.Done():
		return nil, h.ctx.Err()
	}
}
func (h *hostSide) Send(m *wire.SinkMessage) error { h.said = append(h.said, m); return nil }
func (h *hostSide) Context() context.Context       { return h.ctx }
func (h *hostSide) SetHeader(metadata.MD) error    { return nil }
func (h *hostSide) SendHeader(metadata.MD) error   { return nil }
func (h *hostSide) SetTrailer(metadata.MD)         {}
func (h *hostSide) SendMsg(any) error              { panic("not used") }
func (h *hostSide) RecvMsg(any) error              { panic("not used") }

// TestDrainAfterFailure: after a flush that failed, nobody may flush again and
// call that durable: a second fsync succeeds without having written anything.
func TestDrainAfterFailure(t *testing.T) {
	sink := &forgetful{}
	d := Define("forgetful", func(*struct{}) Sink { return sink }, RawWAL())
	s, err := newServer(d, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), &wire.OpenRequest{ConfigJson: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	h := &hostSide{ctx: t.Context(), say: make(chan *wire.HostMessage, 2)}
	h.say <- &wire.HostMessage{Message: &wire.HostMessage_Start{Start: &wire.StreamStart{Timeline: 1, FromLsn: 1 << 20}}}
	h.say <- &wire.HostMessage{Message: &wire.HostMessage_Flush{Flush: &wire.FlushRequest{Number: 1}}}
	if err := s.Stream(h); err != nil {
		t.Fatal(err)
	}
	if len(h.said) != 1 || h.said[0].GetFault().GetReason() != errDisk.Error() {
		t.Fatalf("the sink says %v", h.said)
	}
	if err := s.Stream(h); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("another stream: %v", err)
	}
	if res, err := s.Drain(t.Context(), &wire.DrainRequest{}); err == nil || !strings.Contains(err.Error(), errDisk.Error()) {
		t.Errorf("drain answers %v, %v", res, err)
	}
	if sink.flushes != 1 || !sink.closed {
		t.Errorf("%d flushes, closed %t", sink.flushes, sink.closed)
	}
}
