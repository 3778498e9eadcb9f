package config

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/walplex/walplex/sdk/wire"
)

// Decode reads the sink's config block as it stands in the file against the
// schema that the sink's program declares. The JSON object goes to the sink as it
// is, secrets included: it must not be logged. With errors it is nil. A nil
// schema is an empty one.
//
// Sinks may be decoded side by side, one sink by one goroutine at a time.
func (s *Sink) Decode(schema *wire.Schema) ([]byte, Diagnostics) {
	rep := &report{source: s.body.scope.source}
	node, err := compileSchema(schema, 1)
	if err != nil {
		rep.error(s.TypeRange, "sink type "+quote(s.Type)+" declares a schema that cannot be used",
			err.Error()+"\nthis is a defect of the sink's program, not of the configuration")
		return nil, rep.list
	}
	s.body.schema = node
	d := &decoder{
		scope: s.body.scope,
		rep:   rep,
		dir:   s.body.scope.dirOf(s.body.file),
	}
	body := &hclsyntax.Body{}
	if s.body.config != nil {
		body = s.body.config.Body
	}
	object := d.body(node, body, s.ConfigRange)
	rep.list.Sort()
	if rep.list.HasErrors() {
		return nil, rep.list
	}
	out, err := json.Marshal(object)
	if err != nil {
		rep.error(s.ConfigRange, "settings cannot be written as JSON", "")
		return nil, rep.list
	}
	return out, rep.list
}

// decoder turns a body into a JSON object.
type decoder struct {
	scope *scope
	rep   *report
	dir   string // where relative paths start
}

var jsonNull = json.RawMessage("null")

func (d *decoder) body(n *schemaNode, body *hclsyntax.Body, header hcl.Range) map[string]any {
	object := map[string]any{}
	d.unknownItems(n, body)
	for _, name := range n.names {
		if a := n.attrs[name]; a != nil {
			object[name] = d.attribute(a, body.Attributes[name], header)
		} else {
			object[name] = d.nested(n.blocks[name], body, header)
		}
	}
	return object
}

// unknownItems reports what the schema does not have. The values stay hidden:
// nobody knows what they are.
func (d *decoder) unknownItems(n *schemaNode, body *hclsyntax.Body) {
	for _, a := range sortedAttributes(body) {
		switch {
		case n.attrs[a.Name] != nil:
		case n.blocks[a.Name] != nil:
			d.rep.error(a.NameRange, quote(a.Name)+" is a block", "write it without =: "+a.Name+" { … }")
		default:
			d.rep.error(a.NameRange, "unknown attribute "+quote(a.Name), suggest(a.Name, n.names))
		}
	}
	for _, b := range body.Blocks {
		switch {
		case n.blocks[b.Type] != nil:
			if len(b.Labels) > 0 {
				d.rep.error(b.LabelRanges[0], "block "+quote(b.Type)+" takes no label", "write "+b.Type+" { … }")
			}
		case n.attrs[b.Type] != nil:
			d.rep.error(b.TypeRange, quote(b.Type)+" is an attribute", "write it with =: "+b.Type+" = …")
		default:
			d.rep.error(b.TypeRange, "unknown block "+quote(b.Type), suggest(b.Type, n.names))
		}
	}
}

// attribute is the JSON of an attribute's value, of its default where the file
// has none or null.
func (d *decoder) attribute(a *schemaAttr, in *hclsyntax.Attribute, header hcl.Range) json.RawMessage {
	if in == nil {
		return d.absent(a, header)
	}
	v := d.scope.eval(d.rep, in, use{sensitive: a.GetSensitive()})
	v, marks := v.UnmarkDeep()
	switch {
	case v.IsNull():
		return d.absent(a, in.Expr.Range())
	case !v.IsWhollyKnown(): // reported before
		return jsonNull
	case a.GetSensitive():
		d.scope.keepTexts(v, true)
	default:
		d.scope.keepSecret(v, marks)
	}
	converted, problem := a.convert(v, d.dir)
	if problem != nil {
		d.rep.error(in.Expr.Range(), a.GetName()+": "+problem.summary, problem.hint)
		return jsonNull
	}
	return d.json(converted, in.Expr.Range())
}

func (d *decoder) absent(a *schemaAttr, at hcl.Range) json.RawMessage {
	switch {
	case a.def != cty.NilVal:
		v, problem := a.convert(a.def, d.dir)
		if problem != nil { // compileAttr has tried it
			d.rep.error(at, a.GetName()+": the default "+problem.summary, problem.hint)
			return jsonNull
		}
		return d.json(v, at)
	case a.GetRequired():
		d.rep.error(at, "missing required attribute "+quote(a.GetName()), a.GetDescription())
	}
	return jsonNull
}

func (d *decoder) json(v cty.Value, at hcl.Range) json.RawMessage {
	out, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		d.rep.error(at, "value cannot be written as JSON", "")
		return jsonNull
	}
	return out
}

// nested is an object or nil where the schema allows one block, else a list.
func (d *decoder) nested(b *schemaBlock, body *hclsyntax.Body, header hcl.Range) any {
	list := []any{}
	most := int(b.GetMaxItems())
	for _, in := range body.Blocks {
		if in.Type != b.GetName() {
			continue
		}
		if len(list) == most && most > 0 {
			d.rep.error(in.DefRange(), "more than "+count(most, "block")+" "+quote(b.GetName()), b.GetDescription())
		}
		list = append(list, d.body(b.node, in.Body, in.DefRange()))
	}
	if least := int(b.GetMinItems()); len(list) < least {
		d.rep.error(header, fmt.Sprintf("missing block %s: %d of at least %d", quote(b.GetName()), len(list), least), b.GetDescription())
	}
	switch {
	case most != 1:
		return list
	case len(list) == 0:
		return nil
	}
	return list[0]
}
