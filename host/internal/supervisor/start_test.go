package supervisor

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	plugin "github.com/hashicorp/go-plugin"

	"github.com/walplex/walplex/sdk/wire"
)

func TestStart(t *testing.T) {
	for _, mtls := range []bool{true, false} {
		s := spec(t, "sink")
		s.AutoMTLS = mtls
		sum, err := fileSHA256(s.Path)
		if err != nil {
			t.Fatal(err)
		}
		s.SHA256 = sum
		p := start(t, s, quiet)
		if d := p.Describe(); d.Type != "tested" || len(d.Schema.Attributes) != 3 || d.Schema.Attributes[0].Name != "child" {
			t.Errorf("with AutoMTLS %t the sink describes itself as %v", mtls, d)
		}
		if !running(p.PID()) {
			t.Errorf("with AutoMTLS %t the process %d does not run", mtls, p.PID())
		}
	}
}

// startError starts a program that is none, and checks what is said of it.
func startError(t *testing.T, s Spec, permanent bool, texts ...string) *StartError {
	t.Helper()
	p, err := Start(t.Context(), s, quiet)
	if err == nil {
		p.Kill()
		t.Fatal("it was started")
	}
	var e *StartError
	if !errors.As(err, &e) {
		t.Fatalf("%v is a %T", err, err)
	}
	for _, text := range append(texts, `sink type "tested" cannot be started: `, s.Path) {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
	if e.Permanent != permanent {
		t.Errorf("permanent is %t: %v", e.Permanent, err)
	}
	return e
}

func TestProgramsThatAreNoSinks(t *testing.T) {
	for _, c := range []struct {
		act       string
		permanent bool
		texts     []string
	}{
		{"noise", true, []string{`wrote "hello from an eager main function" to standard output`, "prints nothing there"}},
		{"noise with bars", true, []string{"is no handshake", "prints nothing there"}},
		{"exit", false, []string{"ended before the handshake (exit status 3)", "\n  | complaint 19\n  | the last word"}},
		{"panic", false, []string{"(exit status 2)", "\n  | panic: out of luck"}},
		{"version", true, []string{"another version of the protocol", "which knows version 1", "matching sdk"}},
		{"core", true, []string{"another version of the protocol"}},
		{"net/rpc", true, []string{"does not speak gRPC", "sdk.Serve"}},
		{"no sink", true, []string{"makes the handshake but is no sink", "sdk.Serve"}},
		{"other type", true, []string{`is the sink "another"; name the plugin block so`}},
	} {
		t.Run(c.act, func(t *testing.T) {
			e := startError(t, spec(t, c.act), c.permanent, c.texts...)
			if len(e.Lines) > keptLines {
				t.Errorf("the error repeats %d lines", len(e.Lines))
			}
		})
	}
}

func TestFilesThatAreNoPrograms(t *testing.T) {
	other := elf.EM_S390
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2MSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(other), Version: uint32(elf.EV_CURRENT), Ehsize: 64,
	}
	foreign, err := binary.Append(nil, binary.BigEndian, header)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		text string
	}{
		"missing":             {t.TempDir() + "/nothing", "does not exist; correct the plugin block's path"},
		"below a file":        {writeProgram(t, nil, 0o600) + "/nothing", "not a directory"},
		"directory":           {t.TempDir(), "is not an executable file"},
		"not executable":      {writeProgram(t, []byte("#!/bin/sh\n"), 0o644), "is not an executable file; build it, or set its mode with chmod +x"},
		"empty":               {writeProgram(t, nil, 0o755), "exec format error"},
		"another machine's":   {writeProgram(t, foreign, 0o755), "is not a program for this machine (exec format error)"},
		"without interpreter": {writeProgram(t, []byte("#!/no/such/shell\n"), 0o755), "what runs it is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t, "sink")
			s.Path = c.path
			startError(t, s, true, c.text)
		})
	}
}

func TestChecksum(t *testing.T) {
	s := spec(t, "sink")
	s.SHA256 = strings.Repeat("0", 64)
	sum, err := fileSHA256(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	startError(t, s, true, sum, s.SHA256, "correct sha256")
}

// A program that never makes the handshake is given up after the time allowed,
// or when the caller has no more patience.
func TestHang(t *testing.T) {
	t.Run("time allowed", func(t *testing.T) {
		ours, theirs, err := livenessPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		life, kill := context.WithCancel(t.Context())
		p := &Process{spec: spec(t, "hang"), liveness: ours, sockets: t.TempDir(), lines: newLineLog(quiet), kill: kill}
		p.cmd = p.command(life, theirs)
		c := p.clientConfig()
		c.StartTimeout = 100 * time.Millisecond
		p.client = plugin.NewClient(c)
		err = p.handshake(t.Context())
		var e *StartError
		if !errors.As(err, &e) || e.Permanent || !strings.Contains(e.Reason, "did not complete the handshake within") {
			t.Errorf("%v", err)
		}
		if running(p.PID()) {
			t.Error("the process is still there")
		}
	})
	for _, act := range []string{"hang", "speechless"} {
		t.Run(act, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			begin := time.Now()
			_, err := Start(ctx, spec(t, act), quiet)
			if took := time.Since(begin); err == nil || took > startTimeout/2 {
				t.Errorf("%v after %s", err, took)
			}
		})
	}
}

// What only a file system or a busy system brings about.
func TestExplain(t *testing.T) {
	p := &Process{spec: Spec{Type: "tested", Path: "/opt/sink"}, lines: newLineLog(quiet)}
	for _, c := range []struct {
		err       error
		permanent bool
		text      string
	}{
		{&fs.PathError{Op: "fork/exec", Path: "/opt/sink", Err: syscall.EACCES}, true, "may not be executed by this user"},
		{&fs.PathError{Op: "fork/exec", Path: "/opt/sink", Err: syscall.EAGAIN}, false, "resource temporarily unavailable"},
		{&fs.PathError{Op: "fork/exec", Path: "/opt/sink", Err: syscall.ETXTBSY}, false, "text file busy"},
		{errors.New("Unrecognized remote plugin message: " + strings.Repeat("x", 5000)), true, strings.Repeat("x", 200) + "…"},
	} {
		var e *StartError
		err := p.explain(c.err, "")
		if !errors.As(err, &e) || e.Permanent != c.permanent || !strings.Contains(e.Reason, c.text) || len(e.Reason) > 1000 {
			t.Errorf("%v is explained as %v", c.err, err)
		}
	}
}

// A sink gets the few variables that any program needs, and those of its plugin
// block; no other.
func TestEnvironment(t *testing.T) {
	t.Setenv("PGPASSWORD", "secret1")
	t.Setenv("WALPLEX_DSN", "password=secret2")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret3")
	t.Setenv("TZ", "Europe/Berlin")
	s := spec(t, "environment")
	s.Env = append(s.Env, "TOKEN=for the sink")
	got := start(t, s, quiet).Describe().Version
	for _, absent := range []string{"PGPASSWORD", "WALPLEX_DSN", "AWS_", "secret"} {
		if strings.Contains(got, absent) {
			t.Errorf("the sink's environment holds %s:\n%s", absent, got)
		}
	}
	for _, present := range []string{"TOKEN=for the sink", "TZ=Europe/Berlin", "PATH=" + os.Getenv("PATH"), wire.LivenessEnv + "=3"} {
		if !strings.Contains(got, present) {
			t.Errorf("the sink's environment does not hold %s:\n%s", present, got)
		}
	}
}
