package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/walplex/walplex/host/internal/httplimit"
	"github.com/walplex/walplex/host/internal/status"
)

// Limits of scrapes.
const (
	maxScrapes      = 4 // at a time
	scrapeTimeout   = 5 * time.Second
	shutdownTimeout = time.Second // for requests under way at the end
)

// NewRegistry makes a registry with the metrics of the reports, of the Go runtime
// and of the process.
func NewRegistry(report func() status.Report) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(report), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// NewHandler answers /metrics, /healthz and /readyz.
func NewHandler(report func() status.Report, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(NewRegistry(report), promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, report()) })
	return mux
}

// readiness is /readyz as JSON.
type readiness struct {
	Ready   bool             `json:"ready"`
	Reasons []status.Problem `json:"reasons"`
}

func ready(w http.ResponseWriter, r *http.Request, report status.Report) {
	code := http.StatusOK
	if !report.Ready {
		code = http.StatusServiceUnavailable
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		b, err := json.Marshal(readiness{report.Ready, report.NotReady})
		if err != nil {
			code, b = http.StatusInternalServerError, []byte(`{}`)
		}
		write(w, code, "application/json", append(b, '\n'))
		return
	}
	text := "ready\n"
	if !report.Ready {
		var b strings.Builder
		for _, p := range report.NotReady {
			who := p.Stream
			if p.Sink != "" {
				who += "/" + p.Sink
			}
			fmt.Fprintf(&b, "%s: %s\n", who, strings.Join(strings.Fields(p.Text), " "))
		}
		text = b.String()
	}
	write(w, code, "text/plain; charset=utf-8", []byte(text))
}

func write(w http.ResponseWriter, code int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(body) // a client that is gone needs no answer
}

// Server serves them at an address.
type Server struct {
	http *http.Server
	addr net.Addr
	done chan struct{}
}

// Start listens at the address, HOST:PORT, and serves until Close.
func Start(ctx context.Context, address string, report func() status.Report, log *slog.Logger) (*Server, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP: %w; set another address in host.http", err)
	}
	s := &Server{http: httplimit.NewServer(NewHandler(report, log), log), addr: l.Addr(), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		if err := httplimit.Serve(s.http, l); err != nil {
			log.Error("metrics are not served any more", "address", address, "error", err)
		}
	}()
	return s, nil
}

// Address is where it listens.
func (s *Server) Address() string { return s.addr.String() }

// Close ends it.
func (s *Server) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}
