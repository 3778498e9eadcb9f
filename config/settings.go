package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/walplex/walplex/sdk/wire"
)

// Settings reads a file that holds what the config block of a sink of the type
// would, or that block itself, against the sink's schema, and answers the settings
// as [Sink.Decode] does. vars are read as var.NAME. Without a path no attribute is
// set.
func Settings(path string, vars map[string]string, typeName string, schema *wire.Schema) ([]byte, Diagnostics) {
	l := newLoader(Options{})
	values := map[string]cty.Value{}
	for name, v := range vars {
		values[name] = cty.StringVal(v)
	}
	l.scope.vars.values = values
	body := &sinkBody{scope: l.scope}
	s := &Sink{Type: typeName, body: body}
	s.TypeRange, s.ConfigRange = atPath(typeName), atPath(typeName)
	if path == "" {
		return s.Decode(schema)
	}
	l.readFiles([]string{path})
	if l.rep.errors > 0 {
		return nil, l.rep.list
	}
	for _, f := range l.files {
		l.scope.source.files[f.name] = f
		f.functions = l.scope.functions(f.dir)
		if !f.parse(l.rep) {
			l.rep.list.Sort()
			return nil, l.rep.list
		}
		start := hcl.Range{Filename: f.name, Start: hcl.InitialPos, End: hcl.InitialPos}
		s.TypeRange, s.ConfigRange, body.file = start, start, f.name
		body.config = &hclsyntax.Block{Type: "config", Body: f.body}
		if b := onlyConfig(f.body); b != nil {
			s.ConfigRange, body.config = b.DefRange(), b
		}
	}
	return s.Decode(schema)
}

// onlyConfig is the config block that is all of a body, or nil.
func onlyConfig(b *hclsyntax.Body) *hclsyntax.Block {
	if len(b.Attributes) > 0 || len(b.Blocks) != 1 || b.Blocks[0].Type != "config" || len(b.Blocks[0].Labels) > 0 {
		return nil
	}
	return b.Blocks[0]
}
