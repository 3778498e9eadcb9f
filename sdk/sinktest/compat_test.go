package sinktest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/sinktest/conform"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// frozen is the protocol as it was first, protoc's output of testdata/v1/sink.proto.
func frozen(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	b, err := os.ReadFile("testdata/v1/sink.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(b, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	f, err := files.FindFileByPath("sink.proto")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Whatever was there first is there still, with its number and meaning.
func TestProtocolOnlyGrows(t *testing.T) {
	old, now := frozen(t), wire.File_sink_proto
	if old.Package() != now.Package() {
		t.Errorf("the package %s became %s", old.Package(), now.Package())
	}
	for i := range old.Messages().Len() {
		onlyGrows(t, old.Messages().Get(i), now.Messages())
	}
	for i := range old.Services().Len() {
		s := old.Services().Get(i)
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			n := now.Services().ByName(s.Name()).Methods().ByName(m.Name())
			if n == nil || n.Input().FullName() != m.Input().FullName() || n.Output().FullName() != m.Output().FullName() ||
				n.IsStreamingClient() != m.IsStreamingClient() || n.IsStreamingServer() != m.IsStreamingServer() {
				t.Errorf("the call %s became %v", m.FullName(), n)
			}
		}
	}
}

func onlyGrows(t *testing.T, m protoreflect.MessageDescriptor, among protoreflect.MessageDescriptors) {
	t.Helper()
	n := among.ByName(m.Name())
	if n == nil {
		t.Errorf("%s is gone", m.FullName())
		return
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		g := n.Fields().ByNumber(f.Number())
		if g == nil || g.Name() != f.Name() || g.Kind() != f.Kind() || g.Cardinality() != f.Cardinality() {
			t.Errorf("%s = %d became %v", f.FullName(), f.Number(), g)
		}
	}
	for i := range m.Enums().Len() {
		for j := range m.Enums().Get(i).Values().Len() {
			v := m.Enums().Get(i).Values().Get(j)
			if w := n.Enums().Get(i).Values().ByNumber(v.Number()); w == nil || w.Name() != v.Name() {
				t.Errorf("%s became %v", v.FullName(), w)
			}
		}
	}
}

// oldPeer lets through what the frozen protocol knows, in both directions: the
// other side is as old as that.
type oldPeer struct {
	wire.SinkClient
	file protoreflect.FileDescriptor
}

// through makes a message what an old program reads and writes of it.
func through[M proto.Message](p *oldPeer, m M) M {
	d := m.ProtoReflect().Descriptor()
	old := dynamicpb.NewMessage(p.file.Messages().ByName(d.Name()))
	out, ok := m.ProtoReflect().New().Interface().(M)
	b, err := proto.Marshal(m)
	err = errors.Join(err, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, old))
	if err == nil {
		b, err = proto.Marshal(old)
	}
	if err = errors.Join(err, proto.Unmarshal(b, out)); err != nil || !ok {
		panic(err) // the frozen protocol is no subset: TestProtocolOnlyGrows says where
	}
	return out
}

func (p *oldPeer) Describe(ctx context.Context, r *wire.DescribeRequest, o ...grpc.CallOption) (*wire.DescribeResponse, error) {
	a, err := p.SinkClient.Describe(ctx, through(p, r), o...)
	if err != nil {
		return nil, err
	}
	return through(p, a), nil
}

func (p *oldPeer) Open(ctx context.Context, r *wire.OpenRequest, o ...grpc.CallOption) (*wire.OpenResponse, error) {
	a, err := p.SinkClient.Open(ctx, through(p, r), o...)
	if err != nil {
		return nil, err
	}
	return through(p, a), nil
}

func (p *oldPeer) Stream(ctx context.Context, o ...grpc.CallOption) (wire.Sink_StreamClient, error) {
	s, err := p.SinkClient.Stream(ctx, o...)
	return &oldStream{s, p}, err
}

type oldStream struct {
	wire.Sink_StreamClient
	peer *oldPeer
}

func (s *oldStream) Send(m *wire.HostMessage) error {
	return s.Sink_StreamClient.Send(through(s.peer, m))
}

func (s *oldStream) Recv() (*wire.SinkMessage, error) {
	m, err := s.Sink_StreamClient.Recv()
	if err != nil {
		return nil, err
	}
	return through(s.peer, m), nil
}

// talker is a sink that uses what came after the frozen protocol.
type talker struct {
	to    wal.LSN
	bytes sdk.Counter
}

func (s *talker) Open(_ context.Context, r *sdk.OpenRequest) (sdk.OpenResult, error) {
	s.bytes = r.Metrics.Counter("bytes", "Of WAL.")
	return sdk.OpenResult{New: true}, nil
}

func (s *talker) Write(_ context.Context, b *sdk.Batch) error {
	s.bytes.Add(float64(b.To() - b.From()))
	s.to = b.To()
	return nil
}
func (s *talker) Flush(context.Context) (wal.LSN, error) { return s.to, nil }
func (s *talker) Close(context.Context) error            { return nil }

// A host and a sink of which one is as old as the first protocol get along: what
// the younger says beyond it is lost, and neither minds.
func TestOldPeer(t *testing.T) {
	file := frozen(t)
	def := func() *sdk.Definition {
		return sdk.Define("talker", func(*struct{}) sdk.Sink { return &talker{} }, sdk.Records())
	}
	if _, err := sdk.NewServer(def(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	start := (&inProcess{def: def}).start
	target := conform.Target{Config: conform.Settings(nil, nil), Seed: 1, Start: func(ctx context.Context, o conform.StartOptions) (*conform.Life, error) {
		life, err := start(ctx, o)
		if err == nil {
			life.Client = &oldPeer{life.Client, file}
		}
		return life, err
	}}
	ran := 0
	for _, c := range conform.Checks() {
		switch c.Name {
		case "describe", "validate", "progress", "large records", "credit", "heartbeat", "newer host", "timeline":
			ran++
			if err := c.Run(t.Context(), target, t.TempDir()); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
	}
	if ran != 8 {
		t.Errorf("%d checks have run", ran)
	}
}
