package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	plugin "github.com/hashicorp/go-plugin"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// actEnv makes this test binary one of the programs below instead.
const actEnv = "SUPERVISOR_TEST_ACT"

func TestMain(m *testing.M) {
	act, ok := programs[os.Getenv(actEnv)]
	if !ok {
		os.Exit(m.Run())
	}
	act()
	os.Exit(0)
}

// programs are what a plugin block can name.
var programs = map[string]func(){
	"sink": func() { sdk.Serve(definition("tested")) },
	// Its version says what it got from the host's environment.
	"environment": func() { sdk.Serve(definition("tested", sdk.Version(strings.Join(os.Environ(), "\n")))) },
	"other type":  func() { sdk.Serve(definition("another")) },
	"noise": func() {
		fmt.Println("hello from an eager main function")
		sdk.Serve(definition("tested"))
	},
	"noise with bars": func() {
		fmt.Println("a|b|c|d|e")
		sdk.Serve(definition("tested"))
	},
	"exit": func() {
		for i := range 20 {
			fmt.Fprintf(os.Stderr, "complaint %d\n", i)
		}
		fmt.Fprint(os.Stderr, "the last word")
		os.Exit(3)
	},
	"panic":      func() { panic("out of luck") },
	"version":    func() { handshake("1|99|unix|/nowhere|grpc") },
	"core":       func() { handshake("2|1|unix|/nowhere|grpc") },
	"net/rpc":    func() { handshake("1|1|unix|/nowhere|netrpc") },
	"hang":       func() { <-make(chan int) },
	"no sink":    func() { serve(wire.UnimplementedSinkServer{}) },
	"speechless": func() { serve(speechless{}) },
	"host":       beHost,
}

func handshake(line string) {
	fmt.Println(line)
	select {}
}

// serve is what sdk.Serve does, for a service that is none of the sdk's.
func serve(s wire.SinkServer) {
	plugin.Serve(&plugin.ServeConfig{HandshakeConfig: wire.Handshake(), VersionedPlugins: wire.PluginSet(s), GRPCServer: plugin.DefaultGRPCServer})
}

// speechless hangs in its first call.
type speechless struct{ wire.UnimplementedSinkServer }

func (speechless) Describe(ctx context.Context, _ *wire.DescribeRequest) (*wire.DescribeResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

type settings struct {
	Child  bool `walplex:"child"`  // start a process that keeps the output open
	Daemon bool `walplex:"daemon"` // in a session of its own
	Panic  bool `walplex:"panic"`  // in Open
}

type sink struct{ settings *settings }

func definition(typeName string, o ...sdk.Option) *sdk.Definition {
	return sdk.Define(typeName, func(c *settings) sdk.Sink { return &sink{c} }, append(o, sdk.RawWAL())...)
}

func (s *sink) Open(_ context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	if s.settings.Panic {
		panic("the sink's own mistake")
	}
	req.Logger.Debug("a detail", "bytes", 123456789)
	req.Logger.Error("a failure", "lsn", wal.LSN(0x1_00000002), "reason", "none")
	fmt.Fprintln(os.Stderr, "a line of another kind")
	fmt.Println("a line to standard output")
	if s.settings.Child {
		child := exec.Command("sleep", "1000")
		child.Stdout, child.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: s.settings.Daemon}
		if err := child.Start(); err != nil {
			return sdk.OpenResult{}, err
		}
		req.Logger.Info("a child", "pid", child.Process.Pid)
	}
	return sdk.OpenResult{New: true}, nil
}
func (*sink) Write(context.Context, *sdk.Batch) error { return nil }
func (*sink) Flush(context.Context) (wal.LSN, error)  { return 0, nil }
func (*sink) Close(context.Context) error             { return nil }

// beHost starts a sink, prints its process number and waits to be killed.
func beHost() {
	p, err := Start(context.Background(), Spec{Type: "tested", Path: os.Getenv("SINK"), Env: []string{actEnv + "=sink"}, AutoMTLS: true, SocketDir: os.Getenv("SOCKETS")}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.PID())
	select {}
}

// patience bounds the wait for a condition that has no reason to fail.
const patience = 30 * time.Second

// spec starts this binary as one of the programs.
func spec(t *testing.T, act string) Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Type: "tested", Path: self, Env: []string{actEnv + "=" + act}, AutoMTLS: true, SocketDir: socketDir(t)}
}

// socketDir is short enough for a Unix socket's path, which t.TempDir may not be.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start starts a program that is a sink.
func start(t *testing.T, s Spec, log *slog.Logger) *Process {
	t.Helper()
	p, err := Start(t.Context(), s, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

var quiet = slog.New(slog.DiscardHandler)

// journal is a log that a test reads while it is written.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func newJournal() (*journal, *slog.Logger) {
	j := &journal{}
	return j, slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// eventually waits until ok answers true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// running reports whether the process does more than wait to be reaped.
func running(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	// PID (NAME) STATE …, where NAME may hold anything.
	_, state, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

func writeProgram(t *testing.T, content []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}
