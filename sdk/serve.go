package sdk

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/walplex/walplex/sdk/wire"
)

// Serve runs the sink until the host ends it. It is all that a sink's main
// function does, and does not return. Started by hand rather than by the host
// it says what the program is and exits with status 1.
func Serve(d *Definition) {
	// go-plugin replaces os.Stderr; log lines go to the original, which the host
	// reads line by line.
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server, err := newServer(d, log)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sink %s: %v\n", d.typeName, err)
		os.Exit(1)
	}
	h := wire.Handshake()
	if os.Getenv(h.MagicCookieKey) != h.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "This program is the walplex sink %q. It is started by walplex: name it in a plugin block\n"+
			"(plugin %q { path = … }) or put it into one of host's plugin_dirs, then use sink %q in a stream.\n", d.typeName, d.typeName, d.typeName)
		os.Exit(1)
	}
	// A file that may not grow is an error of write, like a full disk.
	signal.Ignore(syscall.SIGXFSZ)
	if err := watchHost(server); err != nil {
		fmt.Fprintf(os.Stderr, "sink %s: %v\n", d.typeName, err)
		os.Exit(1)
	}
	server.openRing()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  h,
		VersionedPlugins: wire.PluginSet(server),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, wire.ServerOptions()...)...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
	})
	os.Exit(0)
}

// watchHost ties the life of the process to the host's: signals that the whole
// process group or control group gets are the host's to act on, and the end of
// the liveness pipe means that the host is gone.
func watchHost(s *server) error {
	fd, err := strconv.Atoi(os.Getenv(wire.LivenessEnv))
	if err != nil {
		return nil // a host of another kind, such as a test, without the pipe
	}
	pipe := os.NewFile(uintptr(fd), "liveness")
	if pipe == nil {
		return fmt.Errorf("%s=%d is not an open file", wire.LivenessEnv, fd)
	}
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		_, _ = io.Copy(io.Discard, pipe)
		// What was not flushed is delivered again by the next host: there is nothing
		// to save, and nobody to answer to.
		s.log.Warn("the host is gone; ending")
		os.Exit(1)
	}()
	return nil
}
