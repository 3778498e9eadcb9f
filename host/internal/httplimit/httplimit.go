// Package httplimit makes HTTP servers that a slow, silent or greedy client
// cannot hurt: connections, headers and every wait are bounded.
package httplimit

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of a server made here.
const (
	// MaxConns is how many connections are served at a time; more of them wait in
	// the kernel's queue.
	MaxConns = 32
	// MaxBody is the most bytes of a request's body that are read.
	MaxBody = 64 << 10

	maxHeader     = 8 << 10 // bytes
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	// WriteTimeout is for the handler and its answer; a handler that may take longer
	// sets another with http.ResponseController.
	WriteTimeout = 10 * time.Second
	idleTimeout  = 30 * time.Second
)

// NewServer makes a server for h. What it has to say of single connections goes
// to the log at level debug.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           http.MaxBytesHandler(h, MaxBody),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      WriteTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Serve serves until the server is shut down, which is no error.
func Serve(s *http.Server, l net.Listener) error {
	err := s.Serve(&listener{Listener: l, free: make(chan struct{}, MaxConns), closed: make(chan struct{})})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// listener accepts only as many connections as are free.
type listener struct {
	net.Listener
	free   chan struct{} // holds one for each connection in use
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &conn{Conn: c, release: sync.OnceFunc(func() { <-l.free })}, nil
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type conn struct {
	net.Conn
	release func()
}

func (c *conn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
