package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/walplex/walplex/host/internal/httplimit"
	"github.com/walplex/walplex/host/internal/status"
)

// ReloadTimeout is how long a reload may take: new sinks are asked for their
// settings, and opened.
const ReloadTimeout = 2 * time.Minute

// shutdownTimeout is how long requests that are under way may take at the end.
const shutdownTimeout = time.Second

// Reloader reads the configuration again and puts it into effect. The summary
// says what changed, a line each; nothing changed where it is empty. A wrong
// configuration is an [*InvalidError], and has changed nothing.
type Reloader interface {
	Reload(ctx context.Context) (summary []string, err error)
}

// InvalidError says that the new configuration is wrong.
type InvalidError struct {
	Text string // its problems, as `walplex validate` prints them
}

func (e *InvalidError) Error() string { return e.Text }

// Options of a server.
type Options struct {
	Path     string // of the socket, absolute
	Status   func() status.Report
	Reloader Reloader // nil: this host cannot reload
	Log      *slog.Logger
}

// Server answers on a control socket.
type Server struct {
	o         Options
	socket    *socket
	http      *http.Server
	done      chan struct{}
	reloading chan struct{} // holds one while a reload is under way
}

// Start makes the socket and answers on it until Close. A path that another host
// uses is an error that names its process.
func Start(ctx context.Context, o Options) (*Server, error) {
	l, err := listen(ctx, o.Path)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, socket: l, done: make(chan struct{}), reloading: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/reload", s.reload)
	s.http = httplimit.NewServer(mux, o.Log)
	go func() {
		defer close(s.done)
		if err := httplimit.Serve(s.http, l); err != nil {
			o.Log.Error("the control socket is not served any more", "socket", o.Path, "error", err)
		}
	}()
	return s, nil
}

// Close ends the server and removes the socket.
func (s *Server) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
	_ = s.socket.Close() // a server that never served has not closed it
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.o.Status())
}

// reloadAnswer is what a reload that succeeded has changed.
type reloadAnswer struct {
	Changes []string `json:"changes"`
}

type errorAnswer struct {
	Error string `json:"error"`
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if s.o.Reloader == nil {
		answer(w, http.StatusNotImplemented, errorAnswer{"this host cannot reload its configuration; stop it and start it again"})
		return
	}
	select {
	case s.reloading <- struct{}{}:
		defer func() { <-s.reloading }()
	default:
		answer(w, http.StatusConflict, errorAnswer{"another reload is under way; try again when it is done"})
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(ReloadTimeout + httplimit.WriteTimeout))
	// Not the request's context: a client that goes away must not leave half of it done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), ReloadTimeout)
	defer cancel()
	changes, err := s.o.Reloader.Reload(ctx)
	var invalid *InvalidError
	switch {
	case errors.As(err, &invalid):
		answer(w, http.StatusUnprocessableEntity, errorAnswer{invalid.Text})
	case err != nil:
		answer(w, http.StatusInternalServerError, errorAnswer{err.Error()})
	default:
		answer(w, http.StatusOK, reloadAnswer{append([]string{}, changes...)})
	}
}

func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // NaN is the one thing that our types can hold and JSON cannot
		code, b = http.StatusInternalServerError, []byte(`{"error": "the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // a client that is gone needs no answer
}
