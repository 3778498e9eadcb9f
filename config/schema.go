package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/walplex/walplex/sdk/wire"
)

// Bounds of a schema, which a foreign program sends.
const (
	maxSchemaDepth = 10
	maxSchemaItems = 1000 // attributes and blocks of one body
)

// schemaNode is a checked schema of one body.
type schemaNode struct {
	attrs  map[string]*schemaAttr
	blocks map[string]*schemaBlock
	names  []string // of both, in the schema's order
}

type schemaAttr struct {
	*wire.Attribute
	want   cty.Type
	format format
	def    cty.Value // NilVal: none
}

type schemaBlock struct {
	*wire.NestedBlock
	node *schemaNode
}

// compileSchema checks what a sink's program declares. An error is a defect of
// that program.
func compileSchema(s *wire.Schema, depth int) (*schemaNode, error) {
	n := &schemaNode{attrs: map[string]*schemaAttr{}, blocks: map[string]*schemaBlock{}}
	switch {
	case depth > maxSchemaDepth:
		return nil, fmt.Errorf("more than %d blocks inside each other", maxSchemaDepth)
	case len(s.GetAttributes())+len(s.GetBlocks()) > maxSchemaItems:
		return nil, fmt.Errorf("more than %d attributes and blocks", maxSchemaItems)
	}
	for _, a := range s.GetAttributes() {
		if err := n.addName(a.GetName()); err != nil {
			return nil, err
		}
		attr, err := compileAttr(a)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", quote(a.GetName()), err)
		}
		n.attrs[a.GetName()] = attr
	}
	for _, b := range s.GetBlocks() {
		if err := n.addName(b.GetName()); err != nil {
			return nil, err
		}
		node, err := compileSchema(b.GetSchema(), depth+1)
		if err != nil {
			return nil, fmt.Errorf("block %s: %w", quote(b.GetName()), err)
		}
		if b.GetMaxItems() != 0 && b.GetMinItems() > b.GetMaxItems() {
			return nil, fmt.Errorf("block %s: min_items above max_items", quote(b.GetName()))
		}
		n.blocks[b.GetName()] = &schemaBlock{b, node}
	}
	return n, nil
}

func (n *schemaNode) addName(name string) error {
	if !hclsyntax.ValidIdentifier(name) {
		return fmt.Errorf("%s is not a name", quote(name))
	}
	if slices.Contains(n.names, name) {
		return fmt.Errorf("%s is declared twice", quote(name))
	}
	n.names = append(n.names, name)
	return nil
}

func compileAttr(a *wire.Attribute) (*schemaAttr, error) {
	want, err := ctyjson.UnmarshalType(a.GetTypeJson())
	if err != nil {
		return nil, errors.New("its type is not a cty type as JSON")
	}
	attr := &schemaAttr{Attribute: a, want: want, format: format(a.GetFormat())}
	if err := attr.format.fits(want); err != nil {
		return nil, err
	}
	if len(a.GetDefaultJson()) == 0 {
		return attr, nil
	}
	implied, err := ctyjson.ImpliedType(a.GetDefaultJson())
	if err != nil {
		return nil, errors.New("its default is not JSON")
	}
	def, err := ctyjson.Unmarshal(a.GetDefaultJson(), implied)
	if err != nil {
		return nil, errors.New("its default is not JSON")
	}
	if def.IsNull() {
		return attr, nil
	}
	attr.def = def
	if _, problem := attr.convert(def, "/"); problem != nil {
		return nil, errors.New("its default " + problem.summary)
	}
	return attr, nil
}

// convert reads a known value as the schema says: format, then type.
func (a *schemaAttr) convert(v cty.Value, dir string) (cty.Value, *plainError) {
	v, problem := a.format.apply(v, a.want, dir)
	if problem != nil {
		return cty.NilVal, problem
	}
	converted, mismatch := convertTo(v, a.want)
	if mismatch != "" {
		return cty.NilVal, &plainError{mismatch, a.GetDescription()}
	}
	return converted, nil
}
