// Package plan turns a configuration into streams that can be run: it finds the
// program of every sink type, asks each sink for its schema, decodes its config
// block against it, has the sink check it, and compiles its filter. Nothing is
// connected to or written before all of that has succeeded.
package plan

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sync/errgroup"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/host/internal/plugins"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk/wire"
)

// Options of Make.
type Options struct {
	// Builtin answers how a built-in sink type is started; ok is false for others.
	Builtin   func(typeName string) (spec supervisor.Spec, ok bool)
	Builtins  []string // their names
	SocketDir string   // for the sinks' sockets; only this user can enter it
	Log       *slog.Logger
	// Lock holds the checksums of programs; nil: there is none.
	Lock *plugins.Lock
}

// parallel bounds how many sink processes are asked at once.
const parallel = 4

// Make checks the whole configuration and makes its streams.
func Make(ctx context.Context, cfg *config.Config, o Options) ([]stream.Config, config.Diagnostics) {
	p := planner{cfg: cfg, o: o}
	var streams []stream.Config
	for _, s := range cfg.Streams {
		streams = append(streams, p.stream(s))
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	results := make([]config.Diagnostics, len(p.asks))
	for i, a := range p.asks {
		g.Go(func() error {
			results[i] = p.ask(gctx, a)
			return nil
		})
	}
	_ = g.Wait()
	for _, r := range results {
		p.diags = append(p.diags, r...)
	}
	// The sinks' answers are in place only now.
	for _, a := range p.asks {
		streams[a.stream].Sinks[a.sink].ConfigJSON = a.json
	}
	return streams, p.diags
}

type planner struct {
	cfg   *config.Config
	o     Options
	diags config.Diagnostics
	asks  []*ask
	index int
}

// ask is one sink that is to be asked for its schema.
type ask struct {
	stream, sink int
	of           *config.Sink
	spec         supervisor.Spec
	json         []byte
}

func (p *planner) stream(s *config.Stream) stream.Config {
	c := stream.Config{
		Name:           s.Name,
		Server:         replication.Config{DSN: s.Postgres.DSN.Reveal(), ReceiverTimeout: s.Postgres.ReceiverTimeout},
		Slot:           s.Postgres.Slot,
		CreateSlot:     s.Postgres.CreateSlot,
		StatusInterval: s.Postgres.StatusInterval,
		Start:          s.Postgres.Start,
		Ring:           p.cfg.Host.Ring,
	}
	for _, f := range s.Fallbacks {
		c.Fallbacks = append(c.Fallbacks, stream.Fallback{Archive: f.Directory,
			Server: replication.Config{DSN: f.DSN.Reveal(), ReceiverTimeout: s.Postgres.ReceiverTimeout}})
		if _, err := replication.ParseDSN(f.DSN.Reveal()); f.Directory == "" && err != nil {
			p.diags = append(p.diags, p.cfg.ErrorAt(f.Range, "the connection string cannot be read", err.Error()))
		}
	}
	if a := s.Archive; a != nil {
		c.Archive = &archive.Options{Directory: a.Directory, Timeline: a.Timeline, Start: a.Start, End: a.End, Follow: a.Follow}
		c.StatusInterval = config.DefaultStatusInterval
	} else if _, err := replication.ParseDSN(c.Server.DSN); err != nil {
		p.diags = append(p.diags, p.cfg.ErrorAt(s.Postgres.DSNRange, "the connection string cannot be read", err.Error()))
	}
	for _, k := range inOrder(s.Sinks) {
		sc := stream.SinkConfig{Name: k.Name, Required: k.Required, OnLag: stream.OnLag(k.OnLag), MaxLag: k.MaxLag, Untrusted: !k.Trusted}
		p.filter(s, c.Server, k, &sc)
		for _, name := range k.After {
			sc.After = append(sc.After, slices.IndexFunc(c.Sinks, func(o stream.SinkConfig) bool { return o.Name == name }))
		}
		spec, ok := p.spec(k)
		if ok {
			p.asks = append(p.asks, &ask{stream: p.index, sink: len(c.Sinks), of: k, spec: spec})
		}
		sc.Spec = spec
		c.Sinks = append(c.Sinks, sc)
	}
	p.index++
	return c
}

// inOrder sorts the sinks so that each comes after those that it names in after.
// The configuration has no cycle; one that had would keep the file's order.
func inOrder(sinks []*config.Sink) []*config.Sink {
	var out []*config.Sink
	placed := map[string]bool{}
	for len(out) < len(sinks) {
		before := len(out)
		for _, k := range sinks {
			if !placed[k.Name] && !slices.ContainsFunc(k.After, func(a string) bool { return !placed[a] }) {
				out, placed[k.Name] = append(out, k), true
			}
		}
		if len(out) == before {
			return sinks
		}
	}
	return out
}

// spec finds the program of a sink's type.
func (p *planner) spec(k *config.Sink) (supervisor.Spec, bool) {
	if s, ok := p.o.Builtin(k.Type); ok {
		s.Type, s.SocketDir, s.AutoMTLS = k.Type, p.o.SocketDir, true
		return s, true
	}
	s, ok := p.program(k)
	if !ok {
		p.diags = append(p.diags, k.UnknownType(p.known()))
		return s, false
	}
	if path, ok := p.cfg.Host.DevOverrides[k.Type]; ok {
		s.Path, s.SHA256 = path, ""
		p.diags = append(p.diags, p.cfg.WarningAt(p.cfg.Host.DevOverridesRange, "sink type \""+k.Type+"\" is overridden for development",
			path+" runs in its place, whatever its checksum is"))
		return s, true
	}
	return s, p.locked(k, &s)
}

// program finds the program of a type that is not built in.
func (p *planner) program(k *config.Sink) (supervisor.Spec, bool) {
	for _, pl := range p.cfg.Plugins {
		if pl.Type == k.Type {
			s := supervisor.Spec{Type: k.Type, Path: pl.Path, Args: pl.Args, SHA256: pl.SHA256, AutoMTLS: pl.AutoMTLS, SocketDir: p.o.SocketDir}
			for name, value := range pl.Env {
				s.Env = append(s.Env, name+"="+value.Reveal())
			}
			return s, true
		}
	}
	for _, f := range plugins.Find(p.cfg.Host.PluginDirs) {
		if f.Type == k.Type {
			return supervisor.Spec{Type: k.Type, Path: f.Path, AutoMTLS: true, SocketDir: p.o.SocketDir}, true
		}
	}
	_, overridden := p.cfg.Host.DevOverrides[k.Type]
	return supervisor.Spec{Type: k.Type, AutoMTLS: true, SocketDir: p.o.SocketDir}, overridden
}

// locked compares the program with the lock, and has every later start do so.
func (p *planner) locked(k *config.Sink, s *supervisor.Spec) bool {
	if p.o.Lock == nil {
		return true
	}
	if _, err := os.Stat(s.Path); err != nil {
		return true // its start will say so
	}
	sum, err := p.o.Lock.Check(k.Type, s.Path)
	if err != nil {
		p.diags = append(p.diags, p.cfg.ErrorAt(p.place(&ask{of: k}), "sink type \""+k.Type+"\" is not the one that is locked", err.Error()))
		return false
	}
	if s.SHA256 == "" {
		s.SHA256 = sum
	}
	return true
}

// known are all sink types that there are.
func (p *planner) known() []string {
	known := slices.Clone(p.o.Builtins)
	for _, pl := range p.cfg.Plugins {
		known = append(known, pl.Type)
	}
	for _, f := range plugins.Find(p.cfg.Host.PluginDirs) {
		known = append(known, f.Type)
	}
	slices.Sort(known)
	return slices.Compact(known)
}

// ask starts the sink, decodes its block and has it checked.
func (p *planner) ask(ctx context.Context, a *ask) config.Diagnostics {
	proc, err := supervisor.Start(ctx, a.spec, p.o.Log.With("sink", a.of.Name))
	if err != nil {
		var se *supervisor.StartError
		if errors.As(err, &se) {
			detail := strings.Join(append([]string{se.Reason}, se.Lines...), "\n")
			return config.Diagnostics{p.cfg.ErrorAt(p.place(a), "sink type \""+a.of.Type+"\" cannot be started", detail)}
		}
		return config.Diagnostics{p.cfg.ErrorAt(p.place(a), "sink type \""+a.of.Type+"\" cannot be started", err.Error())}
	}
	defer proc.Kill()
	diags := p.checkKind(a, proc.Describe().GetCapabilities())
	json, more := a.of.Decode(proc.Describe().GetSchema())
	if diags = append(diags, more...); diags.HasErrors() {
		return diags
	}
	res, err := proc.Client().Validate(ctx, &wire.ValidateRequest{ConfigJson: json})
	if err != nil {
		return append(diags, p.cfg.ErrorAt(a.of.ConfigRange, "the sink did not check its configuration", err.Error()))
	}
	a.json = json
	if res.GetWishes().GetBaseBackup() {
		diags = append(diags, p.checkBackup(a)...)
	}
	return append(diags, a.of.Diagnose(res.Diagnostics)...)
}

// checkBackup refuses a sink's wish for a base backup that nobody can give it.
func (p *planner) checkBackup(a *ask) config.Diagnostics {
	switch {
	case p.cfg.Streams[a.stream].Archive != nil:
		return config.Diagnostics{p.cfg.ErrorAt(a.of.ConfigRange, "an archive gives no base backup",
			"This sink begins with a base backup when it is new, which only a server can give. Let it begin with a stream from the server, or set it to begin without.")}
	case !a.of.Trusted:
		return config.Diagnostics{p.cfg.ErrorAt(a.of.ConfigRange, "a base backup shows everything",
			"This sink begins with a base backup when it is new, and is not trusted. Set trusted = true, or set it to begin without.")}
	}
	return nil
}

// place is where a person looks first when a type's program fails.
func (p *planner) place(a *ask) hcl.Range {
	for _, pl := range p.cfg.Plugins {
		if pl.Type == a.of.Type {
			return pl.PathRange
		}
	}
	return a.of.TypeRange
}
