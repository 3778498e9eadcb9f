package wire

import (
	"context"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// What host and sink agree on before the first call.
const (
	// ProtocolVersion is the major version of the protocol, negotiated by go-plugin.
	ProtocolVersion = 1

	// LivenessEnv names the environment variable that holds the number of the file
	// descriptor that a sink watches: it reads end of file when the host is gone,
	// and the sink then ends itself.
	LivenessEnv = "WALPLEX_LIVENESS_FD"

	// RingEnv names the environment variable that holds the number of the file
	// descriptor of the shared ring (see package ring), for sinks that may see all
	// of the WAL. A sink that cannot map it answers another transport at Open.
	RingEnv = "WALPLEX_RING_FD"

	// PluginName is the name of the service in go-plugin's sets.
	PluginName = "sink"

	// MaxMessage bounds one gRPC message on both sides, in bytes.
	MaxMessage = MaxBlock + 64<<10

	// BackupChunkSize is how much of a file one chunk of a base backup has, in bytes, and
	// BackupWindow how many chunks may be on the way to a sink.
	BackupChunkSize = 256 << 10
	BackupWindow    = 32

	// FlowWindow is the HTTP/2 window of a connection and of a stream, in bytes. It
	// is fixed, because credits bound what is in flight and a window that adapts
	// itself would grow past them.
	FlowWindow = 1 << 20
)

// Capabilities that a sink can declare.
const (
	CapApplied = "applied"     // it reports an apply position
	CapBackup  = "base_backup" // it can begin with a base backup
	CapDrain   = "drain"       // it answers Drain
	CapRead    = "read"        // it gives WAL back
	CapRewind  = "rewind"      // it follows a switch of timelines
	CapRecords = "records"     // it subscribes to records
	CapRing    = "ring"        // it reads blocks in the shared ring
	CapWAL     = "wal"         // it subscribes to raw WAL
)

// The transports of blocks.
const (
	TransportGRPC = "grpc" // in the messages of Stream; every sink has it
	TransportRing = "ring" // in the shared ring; a block for which it has no room comes in a message
)

// Handshake is go-plugin's check that a program is a sink at all.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   "WALPLEX_SINK",
		MagicCookieValue: "8c1f1f0e5bd14bb5a2f6d0c8d3a1c9b7",
	}
}

// PluginSet is what each major version of the protocol serves. server is nil on
// the host's side.
func PluginSet(server SinkServer) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &grpcPlugin{server: server}}}
}

// grpcPlugin is both ends of the service as go-plugin wants them.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server SinkServer
}

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	RegisterSinkServer(s, p.server)
	return nil
}

func (p *grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return NewSinkClient(c), nil
}

// DialOptions are the host's gRPC options.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithInitialWindowSize(FlowWindow), grpc.WithInitialConnWindowSize(FlowWindow),
		grpc.WithReadBufferSize(256 << 10), grpc.WithWriteBufferSize(256 << 10),
	}
}

// ServerOptions are the sink's gRPC options.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage),
		grpc.InitialWindowSize(FlowWindow), grpc.InitialConnWindowSize(FlowWindow),
		grpc.ReadBufferSize(256 << 10), grpc.WriteBufferSize(256 << 10),
	}
}
