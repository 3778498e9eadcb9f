package httplimit_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/httplimit"
)

const patience = 60 * time.Second

func serve(t *testing.T, h http.Handler) (dial func() net.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httplimit.NewServer(h, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- httplimit.Serve(s, l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return func() net.Conn {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}

// ask sends a request; ok says that it was answered.
func ask(t *testing.T, c net.Conn, wait time.Duration) (status string, ok bool) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return line, err == nil
}

// TestConnections: no more than MaxConns are served; the next is when one ends.
func TestConnections(t *testing.T) {
	dial := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	var held []net.Conn
	for range httplimit.MaxConns {
		c := dial()
		if _, ok := ask(t, c, patience); !ok {
			t.Fatal("a connection below the limit is not served")
		}
		held = append(held, c)
	}
	extra := dial()
	if status, ok := ask(t, extra, 200*time.Millisecond); ok {
		t.Fatalf("one more than the limit is served: %s", status)
	}
	_ = held[0].Close()
	// The first request is still in the kernel's buffer.
	_ = extra.SetDeadline(time.Now().Add(patience))
	if line, err := bufio.NewReader(extra).ReadString('\n'); err != nil || line != "HTTP/1.1 204 No Content\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

// TestBody: no more of a body is read than the limit.
func TestBody(t *testing.T) {
	read := make(chan error, 1)
	dial := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
	}))
	c := dial()
	body := bytes.Repeat([]byte("x"), httplimit.MaxBody+1)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = r.Write(c) }()
	if err := <-read; err == nil {
		t.Fatal("the whole body was read")
	}
}
