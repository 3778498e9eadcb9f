package sinktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/sinktest/conform"
	"github.com/walplex/walplex/sdk/wire"
)

// serveEnv names the test whose sink the test's program is to serve.
const serveEnv = "WALPLEX_SINKTEST"

// serveIfAsked turns the process into the sink, where it was started for that.
func serveIfAsked(test string, def func() *sdk.Definition) {
	if os.Getenv(serveEnv) == test {
		sdk.Serve(def())
	}
}

// process starts the test's own program again as the sink.
type process struct {
	test string // its name
	log  *tail
}

// limitScript bounds the size of files, in units of 512 bytes, for the program
// that it becomes. That a limit is reached is an error of write, not a death.
const limitScript = `trap '' XFSZ; ulimit -f "$1"; shift; exec "$@"`

func (p *process) start(_ context.Context, o conform.StartOptions) (*conform.Life, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, "-test.run=" + pattern(p.test)}
	if o.FileLimit > 0 {
		args = append([]string{"/bin/sh", "-c", limitScript, "sh", fmt.Sprint(o.FileLimit / 512)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), serveEnv+"="+p.test)
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: wire.Handshake(), VersionedPlugins: wire.PluginSet(nil), Cmd: cmd,
		Stderr: p.log, SyncStdout: p.log, SyncStderr: p.log,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger(), GRPCDialOptions: wire.DialOptions(),
	})
	var once sync.Once
	kill := func() {
		once.Do(func() {
			if cmd.Process != nil {
				_ = cmd.Process.Kill() // go-plugin would ask it to end first
			}
			client.Kill()
		})
	}
	sink, err := dispense(client)
	if err != nil {
		kill()
		return nil, fmt.Errorf("the test's program was started again to serve the sink, and did not: %w\n%s", err, p.log)
	}
	return &conform.Life{Client: sink, Kill: kill}, nil
}

func dispense(client *plugin.Client) (wire.SinkClient, error) {
	rpc, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := rpc.Dispense(wire.PluginName)
	if err != nil {
		return nil, err
	}
	sink, ok := raw.(wire.SinkClient)
	if !ok {
		return nil, errors.New("it is no sink")
	}
	return sink, nil
}

// pattern selects one test, which may be a subtest.
func pattern(test string) string {
	var parts []string
	for part := range strings.SplitSeq(test, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	return strings.Join(parts, "/")
}

// tailSize bounds what is kept of a sink's output, in bytes.
const tailSize = 8 << 10

// tail keeps the last of what a sink prints.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
