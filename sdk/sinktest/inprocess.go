package sinktest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/sinktest/conform"
	"github.com/walplex/walplex/sdk/wire"
)

// lifeLabel marks the goroutines of one life of a sink.
const lifeLabel = "walplex-sinktest"

// inProcess starts sinks in the test's own process, over memory.
type inProcess struct {
	def func() *sdk.Definition
	// A sink that is killed here lives on, with its locks. Unless its file system
	// is to be thrown away it is closed instead.
	abandons bool
	lives    atomic.Int64
}

// closePatience bounds Close of a sink that would have been killed.
const closePatience = 5 * time.Second

func (p *inProcess) start(ctx context.Context, _ conform.StartOptions) (*conform.Life, error) {
	service, err := sdk.NewServer(p.def(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(wire.ServerOptions()...)
	wire.RegisterSinkServer(server, service)
	label := fmt.Sprintf("%p/%d", p, p.lives.Add(1))
	served := make(chan struct{})
	// Whatever the sink starts inherits the label, and so can be told from the
	// goroutines of other tests.
	pprof.Do(ctx, pprof.Labels(lifeLabel, label), func(context.Context) {
		go func() {
			defer close(served)
			_ = server.Serve(listener)
		}()
	})
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
	conn, err := grpc.NewClient("passthrough:sink", append(wire.DialOptions(), grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, err
	}
	var once sync.Once
	client := wire.NewSinkClient(conn)
	kill := func() {
		once.Do(func() {
			if !p.abandons {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
				defer cancel()
				_, _ = client.Drain(ctx, &wire.DrainRequest{})
			}
			_ = conn.Close()
			// Not Stop, which waits for calls that a sink does not return from.
			go server.Stop()
			<-served
		})
	}
	return &conform.Life{Client: client, Kill: kill, Leaks: func(patience time.Duration) []string { return leaks(label, patience) }}, nil
}

// leaks are the goroutines of a life that has ended, once they had time to end.
func leaks(label string, patience time.Duration) []string {
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		left := labelled(label)
		if len(left) == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-late.C:
			return left
		}
	}
}

// labelled are the stacks of the goroutines with the label.
func labelled(label string) (out []string) {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return nil
	}
	for stack := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(stack, strconv.Quote(lifeLabel)+":"+strconv.Quote(label)) {
			out = append(out, stack)
		}
	}
	return out
}
