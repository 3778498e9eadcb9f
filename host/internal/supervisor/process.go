// Package supervisor runs sink processes: it starts one, sees it through the
// handshake, carries its log lines into the host's, and ends it. Starting one
// again after a failure is its caller's decision; a [Process] lives once.
//
// A sink never outlives the host: it holds the reading end of a pipe whose
// writing end only the host has, and ends itself when that closes, which the
// kernel does even after SIGKILL.
package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"

	"github.com/walplex/walplex/sdk/wire"
)

// Spec says how a sink process is started.
type Spec struct {
	Type     string   // of the sink, which the program has to confirm; empty: any
	Path     string   // of the program
	Args     []string // without the program's name
	Env      []string // added to the few variables that a sink gets
	SHA256   string   // hexadecimal checksum of the program, empty: not checked
	AutoMTLS bool
	// SocketDir is a directory that only this user can enter; the sink gets one of
	// its own in it for its socket.
	SocketDir string
	// Ring is the descriptor of the shared ring, which the sink inherits and maps;
	// nil: it gets none. It stays the caller's.
	Ring *os.File
}

// startTimeout bounds the time from the start of the process to its handshake.
const startTimeout = 20 * time.Second

// killTimeout bounds the wait for the end of a process that was killed.
const killTimeout = 5 * time.Second

// Process is a running sink.
type Process struct {
	spec     Spec
	client   *plugin.Client
	sink     wire.SinkClient
	describe *wire.DescribeResponse
	liveness *os.File // held open as long as the process is to live
	sockets  string   // directory of its socket
	lines    *lineLog
	cmd      *exec.Cmd
	kill     context.CancelFunc // SIGKILL
}

// StartError says why a sink process could not be started. Permanent ones need a
// person: the program is missing, is no sink, or speaks another protocol.
type StartError struct {
	Type      string
	Reason    string
	Permanent bool
	Lines     []string // the last lines that the process wrote to standard error
}

func (e *StartError) Error() string {
	s := fmt.Sprintf("sink type %q cannot be started: %s", e.Type, e.Reason)
	if e.Type == "" {
		s = "the sink cannot be started: " + e.Reason
	}
	for _, l := range e.Lines {
		s += "\n  | " + l
	}
	return s
}

// Start starts the process and asks it what it is. What it writes to standard
// error goes to log.
func Start(ctx context.Context, spec Spec, log *slog.Logger) (*Process, error) {
	if err := checkProgram(spec); err != nil {
		return nil, err
	}
	// go-plugin leaves the socket of a killed process behind; its directory goes.
	sockets, err := os.MkdirTemp(spec.SocketDir, "")
	if err != nil {
		return nil, &StartError{Type: spec.Type, Reason: err.Error()}
	}
	ours, theirs, err := livenessPipe()
	if err != nil {
		_ = os.RemoveAll(sockets)
		return nil, &StartError{Type: spec.Type, Reason: err.Error()}
	}
	defer theirs.Close()
	// The process outlives ctx, which bounds its start alone.
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	p := &Process{spec: spec, liveness: ours, sockets: sockets, lines: newLineLog(log), kill: kill}
	p.cmd = p.command(life, theirs)
	p.client = plugin.NewClient(p.clientConfig())
	if err := p.handshake(ctx); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// checkProgram finds out before the start what the start would say less clearly.
func checkProgram(spec Spec) error {
	info, err := os.Stat(spec.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &StartError{Type: spec.Type, Permanent: true, Reason: spec.Path + " does not exist; correct the plugin block's path, or install the program"}
	case err != nil:
		return &StartError{Type: spec.Type, Permanent: true, Reason: err.Error()}
	case info.IsDir() || info.Mode()&0o111 == 0:
		return &StartError{Type: spec.Type, Permanent: true, Reason: spec.Path + " is not an executable file; build it, or set its mode with chmod +x"}
	}
	if spec.SHA256 == "" {
		return nil
	}
	sum, err := fileSHA256(spec.Path)
	if err != nil {
		return &StartError{Type: spec.Type, Reason: err.Error()}
	}
	if sum != spec.SHA256 {
		return &StartError{Type: spec.Type, Permanent: true,
			Reason: fmt.Sprintf("%s has the SHA-256 checksum %s, the configuration wants %s; it was changed: install the right program, or correct sha256", spec.Path, sum, spec.SHA256)}
	}
	return nil
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// livenessPipe makes the pipe whose end means that the host is gone. The
// writing end is not inherited by anybody.
func livenessPipe() (ours, theirs *os.File, err error) {
	theirs, ours, err = os.Pipe()
	return ours, theirs, err
}

// hostEnv names the variables that a sink inherits. PGPASSWORD and the like are
// none of its business.
var hostEnv = [...]string{"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "GOMAXPROCS", "GODEBUG", "GOTRACEBACK", "GOCOVERDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}

func (p *Process) command(life context.Context, theirs *os.File) *exec.Cmd {
	cmd := exec.CommandContext(life, p.spec.Path, p.spec.Args...)
	cmd.ExtraFiles = []*os.File{theirs}
	for _, name := range hostEnv {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Env = append(cmd.Env, p.spec.Env...)
	cmd.Env = append(cmd.Env, wire.LivenessEnv+"=3", plugin.EnvUnixSocketDir+"="+p.sockets)
	if p.spec.Ring != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, p.spec.Ring)
		cmd.Env = append(cmd.Env, wire.RingEnv+"=4")
	}
	// A group of its own: Ctrl-C in a terminal is the host's to act on, and whatever
	// it has started itself, which would keep its pipes open, is killed with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := cmd.Process.Kill(); err != nil {
			return err
		}
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return cmd
}

func (p *Process) clientConfig() *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: wire.PluginSet(nil),
		Cmd:              p.cmd,
		StartTimeout:     startTimeout,
		Stderr:           p.lines.writer("stderr"),
		SyncStdout:       p.lines.writer("stdout"),
		SyncStderr:       p.lines.writer("stderr"),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		AutoMTLS:         p.spec.AutoMTLS,
		SkipHostEnv:      true,
		GRPCDialOptions:  wire.DialOptions(),
	}
}

// handshake starts the process and connects. go-plugin's Start knows no context:
// when ctx ends first, killing the process makes it return.
func (p *Process) handshake(ctx context.Context) error {
	type result struct {
		sink wire.SinkClient
		err  error
	}
	done := make(chan result, 1)
	go func() {
		rpc, err := p.client.Client()
		if err != nil {
			done <- result{err: err}
			return
		}
		raw, err := rpc.Dispense(wire.PluginName)
		sink, _ := raw.(wire.SinkClient)
		done <- result{sink, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		p.kill()
		<-done
		return ctx.Err()
	}
	if r.err != nil {
		state := p.end() // before its last words are read
		return p.explain(r.err, state)
	}
	p.sink = r.sink
	return p.ask(ctx)
}

// ask calls Describe, and bounds it.
func (p *Process) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	d, err := p.sink.Describe(ctx, &wire.DescribeRequest{})
	if err != nil {
		p.Kill() // before its last words are read
		return p.explainDescribe(err)
	}
	if p.spec.Type != "" && d.Type != p.spec.Type {
		return &StartError{Type: p.spec.Type, Permanent: true,
			Reason: fmt.Sprintf("%s is the sink %q; name the plugin block so", p.spec.Path, d.Type)}
	}
	p.describe = d
	return nil
}

// Client calls the sink.
func (p *Process) Client() wire.SinkClient { return p.sink }

// Describe is what the sink said of itself.
func (p *Process) Describe() *wire.DescribeResponse { return p.describe }

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// LastLines are the last lines that the process wrote to standard error.
func (p *Process) LastLines() []string { return p.lines.last() }

// Name is the program's base name, for messages.
func (p *Process) Name() string { return filepath.Base(p.spec.Path) }

// Kill ends the process and what it has started, and waits until it is gone. A
// sink that is to end in order is drained first.
func (p *Process) Kill() { p.end() }

// end is Kill, and answers how the process ended.
func (p *Process) end() (state string) {
	// go-plugin's Kill would first ask it to end by itself, which one that hangs
	// does not hear; it was drained, or is past saving.
	if p.cmd.Process != nil {
		_ = p.cmd.Process.Kill() // or it is gone
	}
	p.kill()
	_ = p.liveness.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		p.client.Kill()
	}()
	select {
	case <-gone:
		state = p.cmd.ProcessState.String()
	case <-time.After(killTimeout):
		// Somebody outside of its process group holds its pipes; it is dead anyway.
		state = "killed"
	}
	_ = os.RemoveAll(p.sockets)
	return state
}
