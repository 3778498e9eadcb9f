package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Filter is a sink's filter: the expression as a tree, in which everything that
// does not depend on the record has been evaluated. What attributes a record has
// and how they compare is not known here.
type Filter struct {
	Root *FilterNode
	// Text is the filter with its constants' values in place of what they were
	// made of: two filters with one text pick the same records.
	Text  string
	Range hcl.Range // of the expression
}

// FilterNode is an operator and its operands, an attribute or a constant.
type FilterNode struct {
	Op FilterOp
	// Args are the operands in the order of the file. Those of FilterContains are
	// what is looked for, and then the constants of the list.
	Args      []*FilterNode
	Attribute string    // of FilterAttribute: NAME of record.NAME
	Value     cty.Value // of FilterConstant: known, not null, without marks
	Withheld  bool      // the constant came from outside: it is not repeated in a message
	Range     hcl.Range
}

// FilterOp says what a node is.
type FilterOp string

// The nodes. The operators are HCL's.
const (
	FilterAttribute FilterOp = "attribute"
	FilterConstant  FilterOp = "constant"
	FilterContains  FilterOp = "contains"
	FilterNot       FilterOp = "!"
	FilterAnd       FilterOp = "&&"
	FilterOr        FilterOp = "||"
	FilterEqual     FilterOp = "=="
	FilterNotEqual  FilterOp = "!="
	FilterLess      FilterOp = "<"
	FilterAtMost    FilterOp = "<="
	FilterGreater   FilterOp = ">"
	FilterAtLeast   FilterOp = ">="
)

// maxFilterNodes bounds the size of a filter, elements of lists included.
const maxFilterNodes = 10_000

// recordName is the one name beside var that a filter has.
const recordName = "record"

// loadFilter reads an attribute's expression, unevaluated where it needs the
// record; nil: there is none, or it is wrong.
func (l *loader) loadFilter(a *hclsyntax.Attribute) *Filter {
	if a == nil {
		return nil
	}
	if v, ok := a.Expr.(*hclsyntax.LiteralValueExpr); ok && v.Val.IsNull() {
		return nil
	}
	before := l.rep.errors
	u := use{record: true}
	vetted := l.scope.vet(l.rep, a, u)
	if l.rep.errors > before {
		return nil
	}
	r := filterReader{l: l, attr: a, use: u, vetted: vetted}
	root := r.node(a.Expr)
	if r.nodes > maxFilterNodes {
		l.rep.errorf(a.Expr.Range(), "pick by fewer values", "filter: more than %d operators and values", maxFilterNodes)
	}
	if l.rep.errors > before || root == nil {
		return nil
	}
	var text strings.Builder
	root.write(&text)
	return &Filter{Root: root, Text: text.String(), Range: a.Expr.Range()}
}

// filterReader turns one expression into nodes. Its methods answer nil for what
// is wrong, which they have reported.
type filterReader struct {
	l      *loader
	attr   *hclsyntax.Attribute
	use    use
	vetted vetted
	nodes  int
}

func (r *filterReader) bad(at hcl.Range, summary, hint string) *FilterNode {
	r.l.rep.error(at, "filter: "+summary, hint)
	return nil
}

// node reads an expression: a constant when it does not need the record.
func (r *filterReader) node(e hclsyntax.Expression) *FilterNode {
	if r.nodes++; r.nodes > maxFilterNodes {
		return nil
	}
	if !usesRecord(e) {
		return r.constant(e)
	}
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return r.node(e.Expression)
	case *hclsyntax.ScopeTraversalExpr:
		return r.attribute(e)
	case *hclsyntax.BinaryOpExpr:
		if op, ok := binaryOp(e.Op); ok {
			return r.operator(op, e.Range(), e.LHS, e.RHS)
		}
		return r.bad(e.Range(), "arithmetic on a record's attribute", "compare the attribute itself with a constant")
	case *hclsyntax.UnaryOpExpr:
		if e.Op == hclsyntax.OpLogicalNot {
			return r.operator(FilterNot, e.Range(), e.Val)
		}
		return r.bad(e.Range(), "arithmetic on a record's attribute", "compare the attribute itself with a constant")
	case *hclsyntax.FunctionCallExpr:
		if e.Name == "contains" {
			return r.contains(e)
		}
		return r.bad(e.NameRange, "function "+quote(e.Name)+" on a record's attribute",
			"only contains([…], record.NAME) takes one; constants may be made with every function")
	}
	return r.bad(e.Range(), formName(e)+" with a record's attribute in it",
		"a filter is made of comparisons such as record.xid == 731, joined by &&, || and !")
}

func usesRecord(e hclsyntax.Expression) bool {
	return slices.ContainsFunc(e.Variables(), func(t hcl.Traversal) bool { return t.RootName() == recordName })
}

func binaryOp(op *hclsyntax.Operation) (FilterOp, bool) {
	switch op {
	case hclsyntax.OpLogicalAnd:
		return FilterAnd, true
	case hclsyntax.OpLogicalOr:
		return FilterOr, true
	case hclsyntax.OpEqual:
		return FilterEqual, true
	case hclsyntax.OpNotEqual:
		return FilterNotEqual, true
	case hclsyntax.OpLessThan:
		return FilterLess, true
	case hclsyntax.OpLessThanOrEqual:
		return FilterAtMost, true
	case hclsyntax.OpGreaterThan:
		return FilterGreater, true
	case hclsyntax.OpGreaterThanOrEqual:
		return FilterAtLeast, true
	}
	return "", false
}

// formName is what an expression that a filter cannot have is called.
func formName(e hclsyntax.Expression) string {
	switch e.(type) {
	case *hclsyntax.ConditionalExpr:
		return "a conditional"
	case *hclsyntax.TemplateExpr, *hclsyntax.TemplateWrapExpr, *hclsyntax.TemplateJoinExpr:
		return "a template"
	case *hclsyntax.SplatExpr:
		return "a splat"
	case *hclsyntax.TupleConsExpr:
		return "a list"
	case *hclsyntax.ObjectConsExpr:
		return "an object"
	case *hclsyntax.IndexExpr, *hclsyntax.RelativeTraversalExpr:
		return "an index"
	}
	return "an expression of this form"
}

// operator reads all operands, so that what is wrong with each is reported.
func (r *filterReader) operator(op FilterOp, at hcl.Range, operands ...hclsyntax.Expression) *FilterNode {
	n := &FilterNode{Op: op, Range: at}
	sound := true
	for _, e := range operands {
		arg := r.node(e)
		sound = sound && arg != nil
		n.Args = append(n.Args, arg)
	}
	if !sound {
		return nil
	}
	return n
}

func (r *filterReader) attribute(e *hclsyntax.ScopeTraversalExpr) *FilterNode {
	const hint = "write record.NAME, such as record.xid"
	if len(e.Traversal) < 2 {
		return r.bad(e.Range(), "record without an attribute", hint)
	}
	step, ok := e.Traversal[1].(hcl.TraverseAttr)
	if !ok || len(e.Traversal) > 2 {
		return r.bad(e.Range(), "not an attribute of a record", hint)
	}
	return &FilterNode{Op: FilterAttribute, Attribute: step.Name, Range: e.Range()}
}

// contains reads contains(LIST, record.NAME).
func (r *filterReader) contains(e *hclsyntax.FunctionCallExpr) *FilterNode {
	const hint = `write contains(["Heap", "Heap2"], record.rmgr)`
	if len(e.Args) != 2 || e.ExpandFinal {
		return r.bad(e.Range(), "contains takes a list and an attribute", hint)
	}
	if usesRecord(e.Args[0]) {
		return r.bad(e.Args[0].Range(), "the list depends on the record", hint)
	}
	n := &FilterNode{Op: FilterContains, Range: e.Range()}
	needle := r.node(e.Args[1])
	elements, ok := r.elements(e.Args[0])
	if needle == nil || !ok {
		return nil
	}
	n.Args = append([]*FilterNode{needle}, elements...)
	return n
}

// elements are the constants of a list, each at its own place if the list is
// written out.
func (r *filterReader) elements(e hclsyntax.Expression) (list []*FilterNode, ok bool) {
	if p, is := e.(*hclsyntax.ParenthesesExpr); is {
		return r.elements(p.Expression)
	}
	if tuple, is := e.(*hclsyntax.TupleConsExpr); is {
		ok = true
		for _, item := range tuple.Exprs {
			n := r.node(item)
			ok = ok && n != nil
			list = append(list, n)
		}
		return list, ok
	}
	whole := r.constant(e)
	if whole == nil {
		return nil, false
	}
	if t := whole.Value.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		r.bad(e.Range(), "contains looks in a list, not in "+typeName(t), `write contains(["Heap", "Heap2"], record.rmgr)`)
		return nil, false
	}
	if hasNullInside(whole.Value) {
		r.bad(e.Range(), "the list holds null", "nothing in a record is null")
		return nil, false
	}
	for it := whole.Value.ElementIterator(); it.Next(); {
		_, v := it.Element()
		if r.nodes++; r.nodes > maxFilterNodes {
			return nil, false
		}
		list = append(list, &FilterNode{Op: FilterConstant, Value: v, Withheld: whole.Withheld, Range: whole.Range})
	}
	return list, true
}

// constant evaluates what does not need the record.
func (r *filterReader) constant(e hclsyntax.Expression) *FilterNode {
	before := r.l.rep.errors
	v := r.l.scope.evalExpr(r.l.rep, e, r.attr.SrcRange.Filename, r.use, r.vetted)
	v, marks := v.UnmarkDeep()
	_, secret := marks[markSensitive]
	switch {
	case r.l.rep.errors > before:
		return nil
	case secret:
		return r.bad(e.Range(), "takes no sensitive value", "it is shown in logs and in the status")
	case !v.IsWhollyKnown(): // reported before
		return nil
	case v.IsNull():
		return r.bad(e.Range(), "compares with null", "nothing in a record is null")
	case !allReasonable(v):
		return r.bad(e.Range(), "number out of range", "write a smaller number")
	}
	r.l.scope.keepSecret(v, marks)
	return &FilterNode{Op: FilterConstant, Value: v, Withheld: len(marks) > 0, Range: e.Range()}
}

// write writes the node with every operation in parentheses.
func (n *FilterNode) write(b *strings.Builder) {
	switch n.Op {
	case FilterAttribute:
		b.WriteString(recordName + "." + n.Attribute)
	case FilterConstant:
		text, err := ctyjson.Marshal(n.Value, n.Value.Type())
		if err != nil { // no type that a constant can have
			text = fmt.Appendf(nil, "%#v", n.Value)
		}
		b.Write(text)
	case FilterNot:
		b.WriteString("!")
		n.Args[0].write(b)
	case FilterContains:
		b.WriteString("contains([")
		for i, arg := range n.Args[1:] {
			if i > 0 {
				b.WriteString(", ")
			}
			arg.write(b)
		}
		b.WriteString("], ")
		n.Args[0].write(b)
		b.WriteString(")")
	default:
		b.WriteString("(")
		n.Args[0].write(b)
		b.WriteString(" " + string(n.Op) + " ")
		n.Args[1].write(b)
		b.WriteString(")")
	}
}
