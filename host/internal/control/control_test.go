package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/control"
	"github.com/walplex/walplex/host/internal/status"
)

// patience bounds every wait of a test.
const patience = time.Minute

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func options(t *testing.T) control.Options {
	t.Helper()
	return control.Options{
		Path: filepath.Join(t.TempDir(), "sub", "control.sock"),
		Log:  slog.New(slog.DiscardHandler),
		Status: func() status.Report {
			return status.Make(status.Input{At: time.Now(), Host: status.Host{PID: os.Getpid(), Version: "v0"}})
		},
	}
}

func start(t *testing.T, o control.Options) *control.Server {
	t.Helper()
	s, err := control.Start(patient(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.WithoutCancel(t.Context())) })
	return s
}

func TestStatus(t *testing.T) {
	o := options(t)
	s := start(t, o)
	st, err := os.Lstat(o.Path)
	if err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Fatalf("the socket has mode %s (%v)", st.Mode(), err)
	}
	if st, err := os.Stat(filepath.Dir(o.Path)); err != nil || st.Mode().Perm() != 0o700 {
		t.Fatalf("its directory has mode %s (%v)", st.Mode(), err)
	}
	r, raw, err := control.NewClient(o.Path).Status(patient(t))
	if err != nil || !r.OK || r.Host.PID != os.Getpid() || !strings.Contains(string(raw), `"version":1`) {
		t.Fatalf("%+v, %s, %v", r, raw, err)
	}
	s.Close(t.Context())
	if _, err := os.Lstat(o.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, _, err := control.NewClient(o.Path).Status(patient(t)); err == nil || !strings.Contains(err.Error(), "host.control") {
		t.Errorf("nobody is there: %v", err)
	}
}

// TestOneHost: a socket that is in use is refused and goes on; one that was left
// by a dead host is replaced.
func TestOneHost(t *testing.T) {
	o := options(t)
	s := start(t, o)
	want := fmt.Sprintf("process %d", os.Getpid())
	if _, err := control.Start(patient(t), o); err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("a second host: %v, want %q", err, want)
	}
	if _, _, err := control.NewClient(o.Path).Status(patient(t)); err != nil {
		t.Fatalf("the first host after the second was refused: %v", err)
	}
	s.Close(t.Context())
	leaveSocket(t, o.Path)
	if _, _, err := control.NewClient(o.Path).Status(patient(t)); err == nil || !strings.Contains(err.Error(), "does not run any more") {
		t.Errorf("of a dead host: %v", err)
	}
	start(t, o)
	if _, _, err := control.NewClient(o.Path).Status(patient(t)); err != nil {
		t.Fatal(err)
	}
}

// leaveSocket leaves a socket behind as a killed process does.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNotOurs: what is no socket, or another program's, stays.
func TestNotOurs(t *testing.T) {
	o := options(t)
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Start(patient(t), o); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("a file: %v", err)
	}
	if b, err := os.ReadFile(o.Path); err != nil || string(b) != "precious" {
		t.Fatalf("the file holds %q (%v)", b, err)
	}
	if err := os.Remove(o.Path); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", o.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := control.Start(patient(t), o); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("another program: %v", err)
	}
	if _, err := os.Lstat(o.Path); err != nil {
		t.Errorf("the other program's socket is gone: %v", err)
	}
}

type reloader func(context.Context) ([]string, error)

func (r reloader) Reload(ctx context.Context) ([]string, error) { return r(ctx) }

func TestReload(t *testing.T) {
	answers := map[string]struct {
		reloader control.Reloader
		code     int
		text     string
	}{
		"none":    {nil, http.StatusNotImplemented, "cannot reload"},
		"changes": {reloader(func(context.Context) ([]string, error) { return []string{"sink x added"}, nil }), http.StatusOK, "sink x added"},
		"nothing": {reloader(func(context.Context) ([]string, error) { return nil, nil }), http.StatusOK, ""},
		"invalid": {reloader(func(context.Context) ([]string, error) {
			return nil, fmt.Errorf("reload: %w", &control.InvalidError{Text: "a.hcl:3,4: error: no\n"})
		}), http.StatusUnprocessableEntity, "a.hcl:3,4: error: no\n"},
		"failed": {reloader(func(context.Context) ([]string, error) { return nil, errors.New("it broke") }), http.StatusInternalServerError, "it broke"},
	}
	for name, c := range answers {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.Reloader = c.reloader
			start(t, o)
			changes, err := control.NewClient(o.Path).Reload(patient(t))
			var e *control.AnswerError
			switch {
			case c.code == http.StatusOK:
				if err != nil || strings.Join(changes, "") != c.text {
					t.Errorf("%q, %v", changes, err)
				}
			case !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Text, c.text) || e.Invalid() != (name == "invalid"):
				t.Errorf("%v, want %d %s", err, c.code, c.text)
			}
		})
	}
}

// TestReloadsOneByOne: a second one is refused, and a client that goes away does
// not end the first.
func TestReloadsOneByOne(t *testing.T) {
	o := options(t)
	entered, leave, left := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	o.Reloader = reloader(func(ctx context.Context) ([]string, error) {
		close(entered)
		<-leave
		left <- ctx.Err()
		return nil, nil
	})
	start(t, o)
	ctx, goAway := context.WithCancel(patient(t))
	gone := make(chan error, 1)
	go func() {
		_, err := control.NewClient(o.Path).Reload(ctx)
		gone <- err
	}()
	<-entered
	var e *control.AnswerError
	if _, err := control.NewClient(o.Path).Reload(patient(t)); !errors.As(err, &e) || e.Code != http.StatusConflict {
		t.Errorf("a second reload: %v", err)
	}
	goAway()
	if err := <-gone; err == nil {
		t.Error("the client that went away has an answer")
	}
	close(leave)
	if err := <-left; err != nil {
		t.Errorf("the reload of a client that went away was cut off: %v", err)
	}
}

// TestProtocol: paths, methods and sizes that are not the protocol's.
func TestProtocol(t *testing.T) {
	o := options(t)
	start(t, o)
	for request, want := range map[string]string{
		"GET /v1/reload HTTP/1.1\r\nHost: x\r\n\r\n":                                           "405",
		"POST /v1/status HTTP/1.1\r\nHost: x\r\n\r\n":                                          "405",
		"GET /v2/status HTTP/1.1\r\nHost: x\r\n\r\n":                                           "404",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n": "431",
		"nonsense\r\n\r\n": "400",
	} {
		c, err := net.Dial("unix", o.Path)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		go func() { _, _ = io.WriteString(c, request) }() // not all of it may be read
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+want) {
			t.Errorf("%.40q: %q, %v, want %s", request, line, err, want)
		}
		_ = c.Close()
	}
}

// TestManyHosts: of hosts that start at once in place of a dead one, one wins.
func TestManyHosts(t *testing.T) {
	o := options(t)
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	leaveSocket(t, o.Path)
	const n = 8
	won := make(chan *control.Server, n)
	for range n {
		go func() {
			s, err := control.Start(t.Context(), o)
			if err != nil && !strings.Contains(err.Error(), "in use") {
				t.Error(err)
			}
			won <- s
		}()
	}
	winners := 0
	for range n {
		if s := <-won; s != nil {
			winners++
			defer s.Close(t.Context())
		}
	}
	if winners != 1 {
		t.Errorf("%d hosts have won", winners)
	}
	if _, _, err := control.NewClient(o.Path).Status(patient(t)); err != nil {
		t.Error(err)
	}
}

// TestMask: whatever the process's umask, the socket is its owner's alone.
func TestMask(t *testing.T) {
	o := options(t)
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	start(t, o)
	if st, err := os.Lstat(o.Path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %s (%v)", st.Mode(), err)
	}
}
