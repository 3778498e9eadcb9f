package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/control"
	"github.com/walplex/walplex/host/internal/metrics"
	"github.com/walplex/walplex/host/internal/primary"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/status"
	"github.com/walplex/walplex/host/internal/stream"
)

// outside is what a host shows of itself: the control socket, HTTP, and the
// watch over the servers' slots.
type outside struct {
	log     *slog.Logger
	control *control.Server
	http    *metrics.Server
	self    status.Host
	where   config.Host // what was listened on at the start
	wg      sync.WaitGroup

	// streams are how the streams stand, by whoever runs them.
	streams func() []stream.Status

	mu    sync.Mutex
	shown map[string]*shown // by the stream's name
}

// shown is a stream's configuration and the watch over its slot.
type shown struct {
	config  stream.Config
	watcher *primary.Watcher // nil: it has no slot, or it is not a server's
	stop    context.CancelFunc
}

// startOutside listens where the configuration says. streams may be called at any
// time; reloader may be nil.
func startOutside(ctx context.Context, h config.Host, streams func() []stream.Status, reloader control.Reloader, log *slog.Logger) (_ *outside, err error) {
	o := &outside{log: log, streams: streams, where: h, self: status.Host{PID: os.Getpid(), Version: version(), StartedAt: time.Now()}}
	defer func() {
		if err != nil {
			o.close(ctx)
		}
	}()
	if h.Control != "" {
		o.control, err = control.Start(ctx, control.Options{Path: h.Control, Status: o.report, Reloader: reloader, Log: log})
		if err != nil {
			return nil, err
		}
		log.Info("the control socket answers", "socket", h.Control)
	}
	if h.HTTP != "" {
		if o.http, err = metrics.Start(ctx, h.HTTP, o.report, log); err != nil {
			return nil, err
		}
		log.Info("metrics, health and readiness are served", "address", o.http.Address())
	}
	return o, nil
}

// show says which streams there are, at the start and after each reload. A watch
// over a slot goes on where server and slot are the same.
func (o *outside) show(ctx context.Context, configs []stream.Config) {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.shown
	o.shown = make(map[string]*shown, len(configs))
	for _, c := range configs {
		if was := old[c.Name]; was != nil && sameSlot(&was.config, &c) {
			was.config = c
			o.shown[c.Name] = was
			delete(old, c.Name)
			continue
		}
		o.shown[c.Name] = o.watch(ctx, c)
	}
	for _, was := range old {
		was.stop()
	}
}

// stays says what of a new host block takes effect at the next start only: whoever
// asked for the reload may be connected through the old socket.
func (o *outside) stays(h config.Host) (what []string) {
	if h.Control != o.where.Control {
		what = append(what, "host.control has changed, which takes effect when the host is started again")
	}
	if h.HTTP != o.where.HTTP {
		what = append(what, "host.http has changed, which takes effect when the host is started again")
	}
	return what
}

func sameSlot(a, b *stream.Config) bool { return a.Server == b.Server && a.Slot == b.Slot }

// watch starts the watch over a stream's slot, if it has one.
func (o *outside) watch(ctx context.Context, c stream.Config) *shown {
	s := &shown{config: c, stop: func() {}}
	if c.Slot == "" || c.Archive != nil {
		return s
	}
	s.watcher = primary.NewWatcher(primary.Config{
		Stream: c.Name, Server: c.Server, Slot: c.Slot,
		Standing: func() primary.Standing { return o.standing(c.Name) },
	}, o.log)
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	o.wg.Go(func() { s.watcher.Run(ctx) })
	return s
}

// standing is what the watch has to know of its stream.
func (o *outside) standing(name string) primary.Standing {
	for _, st := range o.streams() {
		if st.Name == name {
			return primary.Standing{SystemID: st.SystemID, Holder: status.Holder(&st)}
		}
	}
	return primary.Standing{}
}

// report is how the host stands now.
func (o *outside) report() status.Report {
	in := status.Input{At: time.Now(), Host: o.self}
	for _, st := range o.streams() {
		in.Streams = append(in.Streams, o.input(st))
	}
	return status.Make(in)
}

func (o *outside) input(st stream.Status) status.StreamInput {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.shown[st.Name]
	if s == nil {
		return status.StreamInput{Stream: st}
	}
	if st.Source == "" {
		st.Source = sourceOf(&s.config)
	}
	if st.Slot == "" {
		st.Slot = s.config.Slot
	}
	in := status.StreamInput{Stream: st}
	if s.watcher != nil {
		w := s.watcher.Status()
		in.Primary = &w
	}
	return in
}

// sourceOf names where a stream reads from, without secrets.
func sourceOf(c *stream.Config) string {
	if c.Archive != nil {
		return "archive " + c.Archive.Directory
	}
	info, err := replication.ParseDSN(c.Server.DSN)
	if err != nil {
		return ""
	}
	return info.String()
}

// close ends all of it.
func (o *outside) close(ctx context.Context) {
	o.show(ctx, nil)
	if o.control != nil {
		o.control.Close(ctx)
	}
	if o.http != nil {
		o.http.Close(ctx)
	}
	o.wg.Wait()
}

// checkOutside checks what of the host block only matters to what is shown.
func checkOutside(cfg *config.Config) config.Diagnostics {
	if cfg.Host.HTTP == "" || loopback(cfg.Host.HTTP) == nil {
		return nil
	}
	return config.Diagnostics{cfg.ErrorAt(cfg.Host.HTTPRange, "http: "+loopback(cfg.Host.HTTP).Error(),
		"whoever can connect there reads how the streams stand, and nobody asks who it is: write 127.0.0.1, [::1] or localhost, and put a proxy before it that does")}
}

// loopback says whether an address is this machine's alone.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("not an address of this machine alone")
}
