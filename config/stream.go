package config

import (
	"regexp"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

var streamShape = &shape{
	name: "stream",
	blocks: map[string]string{
		"postgres": `postgres {`,
		"archive":  `archive {`,
		"fallback": `fallback {`,
		"sink":     `sink "TYPE" "NAME" {`,
	},
}

func (l *loader) loadStream(b *hclsyntax.Block) {
	s := &Stream{Name: b.Labels[0], Range: b.DefRange()}
	var source *hclsyntax.Block
	refs := map[*Sink][]reference{}
	for _, inner := range l.checkShape(streamShape, b.Body) {
		switch {
		case inner.Type == "fallback":
			s.Fallbacks = append(s.Fallbacks, l.loadFallback(inner))
		case inner.Type == "sink":
			sink, after := l.loadSink(inner)
			s.Sinks = append(s.Sinks, sink)
			refs[sink] = after
		case source != nil && source.Type == inner.Type:
			l.rep.error(inner.DefRange(), "second "+inner.Type+" block in one stream",
				"the first is at "+place(source.DefRange())+"; use one stream block for each source")
		case source != nil:
			l.rep.error(inner.DefRange(), "two sources in one stream",
				"the other is at "+place(source.DefRange())+"; a stream reads a server (postgres) or a directory (archive)")
		case inner.Type == "archive":
			source, s.Archive = inner, l.loadArchive(inner)
		default:
			source, s.Postgres = inner, l.loadPostgres(inner)
		}
	}
	if source == nil && !hasBlock(b, "postgres") && !hasBlock(b, "archive") {
		l.rep.error(s.Range, "stream "+quote(s.Name)+" has no postgres block", "write postgres { dsn = … } in it, or archive { directory = … }")
	}
	l.checkSinks(s, refs)
	l.config.Streams = append(l.config.Streams, s)
}

// hasBlock finds a block whatever its labels.
func hasBlock(b *hclsyntax.Block, kind string) bool {
	for _, inner := range b.Body.Blocks {
		if inner.Type == kind {
			return true
		}
	}
	return false
}

var postgresShape = &shape{
	name:  "postgres",
	attrs: []string{"dsn", "slot", "create_slot", "status_interval", "receiver_timeout", "start"},
}

// slotName is what PostgreSQL accepts (ReplicationSlotValidateName,
// replication/slot.c; NAMEDATALEN is 64).
var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

func (l *loader) loadPostgres(b *hclsyntax.Block) Postgres {
	l.checkShape(postgresShape, b.Body)
	attrs := attributesOf(l, b)
	p := Postgres{
		Range:           b.DefRange(),
		DSNRange:        attrs.at("dsn"),
		SlotRange:       attrs.at("slot"),
		CreateSlotRange: attrs.at("create_slot"),
		StartRange:      attrs.at("start"),
	}
	p.DSN = l.loadDSN(attrs)
	slot, has := attrs.read("slot", cty.String, use{})
	if has == present {
		p.Slot = slot.AsString()
		if !slotName.MatchString(p.Slot) {
			attrs.bad("slot", &plainError{"not a slot name", "PostgreSQL allows 1 to 63 characters of a-z, 0-9 and _"})
		}
	}
	p.CreateSlot, _ = attrs.flag("create_slot")
	if p.CreateSlot && has == absent {
		attrs.bad("create_slot", &plainError{"needs a slot", `name the slot to be made: slot = "walplex"`})
	}
	p.StatusInterval = attrs.interval("status_interval", DefaultStatusInterval)
	p.ReceiverTimeout = attrs.interval("receiver_timeout", DefaultReceiverTimeout)
	p.Start = attrs.lsn("start")
	return p
}

func (l *loader) loadDSN(attrs attributes) Secret {
	const hint = `write libpq's form: "host=… user=… dbname=…" or "postgres://…"`
	v, ok := attrs.required("dsn", cty.String, use{sensitive: true}, hint)
	if !ok {
		return Secret{}
	}
	dsn := v.AsString()
	if blank(dsn) {
		attrs.bad("dsn", &plainError{"empty", hint})
	}
	l.scope.secrets.addDSN(dsn)
	return NewSecret(dsn)
}

var sinkShape = &shape{
	name:   "sink",
	attrs:  []string{"required", "after", "filter", "on_lag", "max_lag", "trusted"},
	blocks: map[string]string{"config": `config {`},
}

// sinkBody is what Decode and Diagnose need of a sink.
type sinkBody struct {
	scope  *scope
	config *hclsyntax.Block // nil: there is none
	file   string           // that holds the sink
	schema *schemaNode      // of the last Decode
}

// reference is one element of after.
type reference struct {
	name string
	at   hcl.Range
}

func (l *loader) loadSink(b *hclsyntax.Block) (*Sink, []reference) {
	attrs := attributesOf(l, b)
	s := &Sink{
		Type:         b.Labels[0],
		Name:         b.Labels[1],
		Required:     true,
		Range:        b.DefRange(),
		TypeRange:    b.LabelRanges[0],
		NameRange:    b.LabelRanges[1],
		AfterRange:   attrs.at("after"),
		FilterRange:  attrs.at("filter"),
		OnLagRange:   attrs.at("on_lag"),
		MaxLagRange:  attrs.at("max_lag"),
		TrustedRange: attrs.at("trusted"),
		ConfigRange:  b.DefRange(),
		body:         &sinkBody{scope: l.scope, file: b.DefRange().Filename},
	}
	for _, inner := range l.checkShape(sinkShape, b.Body) {
		if s.body.config != nil {
			l.rep.error(inner.DefRange(), "second config block in one sink", "the first is at "+place(s.ConfigRange))
			continue
		}
		s.body.config = inner
		s.ConfigRange = inner.DefRange()
	}
	if v, ok := attrs.flag("required"); ok {
		s.Required = v
	}
	s.Filter = l.loadFilter(b.Body.Attributes["filter"])
	l.loadLag(attrs, s)
	s.Trusted = l.trusted(s.Type)
	if v, ok := attrs.flag("trusted"); ok {
		s.Trusted = v
	}
	after := l.loadAfter(b.Body.Attributes["after"])
	for _, r := range after {
		s.After = append(s.After, r.name)
	}
	return s, after
}

// loadAfter reads [sink.NAME, …]; the names are resolved, never evaluated.
func (l *loader) loadAfter(a *hclsyntax.Attribute) []reference {
	if a == nil {
		return nil
	}
	const hint = "write the sinks as after = [sink.NAME]"
	if len(callsOf(a.Expr)) == 0 {
		l.scope.source.reveal(a)
	}
	if v, ok := a.Expr.(*hclsyntax.LiteralValueExpr); ok && v.Val.IsNull() {
		return nil
	}
	elements, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() {
		l.rep.error(a.Expr.Range(), "after: must be a list of sinks", hint)
		return nil
	}
	var refs []reference
	for _, e := range elements {
		name, ok := sinkName(e)
		named := func(r reference) bool { return r.name == name }
		switch {
		case !ok:
			l.rep.error(e.Range(), "after: not a sink", hint)
		case slices.ContainsFunc(refs, named):
			l.rep.error(e.Range(), "after: sink "+quote(name)+" is named twice", "name it once")
		default:
			refs = append(refs, reference{name, e.Range()})
		}
	}
	return refs
}

// sinkName is NAME of sink.NAME.
func sinkName(e hcl.Expression) (string, bool) {
	t, diags := hcl.AbsTraversalForExpr(e)
	if diags.HasErrors() || t.RootName() != "sink" || len(t) != 2 {
		return "", false
	}
	step, ok := t[1].(hcl.TraverseAttr)
	return step.Name, ok
}
