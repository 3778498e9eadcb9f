package plan

import (
	"slices"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/filter"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/sdk/wire"
)

// filter compiles a sink's filter into its settings.
func (p *planner) filter(s *config.Stream, server replication.Config, k *config.Sink, sc *stream.SinkConfig) {
	if k.Filter == nil {
		return
	}
	f, problems := filter.Compile(k.Filter)
	for _, pr := range problems {
		d := p.cfg.ErrorAt(pr.At, pr.Summary, pr.Hint)
		if pr.Warning {
			d.Severity = config.Warning
		}
		p.diags = append(p.diags, d)
	}
	if f == nil {
		return
	}
	if names := f.Names(); names != nil && s.Archive != nil {
		for _, n := range names.List() {
			p.diags = append(p.diags, p.cfg.ErrorAt(n.At, "filter: a relation's name where there is no server",
				"a directory of WAL has no catalog to look it up: write the relfilenode, which pg_relation_filenode() tells"))
		}
	}
	sc.Filter, sc.FilterText = f, k.Filter.Text
	if f.Names() != nil {
		sc.Filter = newNamedFilter(f, server, p.o.Log.With("stream", s.Name, "sink", k.Name))
	}
}

// checkKind looks at settings that mean nothing, or less, to a sink of raw WAL. A program that
// does not say what it subscribes to is taken at its word at Open.
func (p *planner) checkKind(a *ask, capabilities []string) config.Diagnostics {
	if !slices.Contains(capabilities, wire.CapWAL) || slices.Contains(capabilities, wire.CapRecords) {
		return nil
	}
	var diags config.Diagnostics
	if a.of.Filter != nil {
		diags = append(diags, p.cfg.ErrorAt(a.of.Filter.Range, "filter: a sink of type \""+a.of.Type+"\" takes raw WAL, which has no records to pick",
			"leave the filter out, or give it to a sink that takes records"))
	}
	if !a.of.Trusted {
		d := p.cfg.ErrorAt(a.of.TrustedRange, "a sink of type \""+a.of.Type+"\" takes raw WAL, all of which it is shown",
			"trusted = false only keeps it out of the memory that sinks share: raw WAL is the WAL of every database")
		d.Severity = config.Warning
		diags = append(diags, d)
	}
	return diags
}
