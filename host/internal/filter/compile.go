package filter

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/walplex/walplex/config"
)

// Problem is something wrong with a filter, and where.
type Problem struct {
	At      hcl.Range
	Summary string
	Hint    string // what to do
	Warning bool   // the filter works all the same
}

// compiler turns nodes into conditions. Its methods answer false for what is
// wrong, which they have noted.
type compiler struct {
	problems []Problem
	names    *Names
	byName   map[string][]class // operations; nil until one is asked for
}

func (c *compiler) bad(at hcl.Range, summary, hint string) (expr, bool) {
	c.problems = append(c.problems, Problem{At: at, Summary: "filter: " + summary, Hint: hint})
	return expr{}, false
}

func (c *compiler) warn(at hcl.Range, summary, hint string) {
	c.problems = append(c.problems, Problem{At: at, Summary: summary, Hint: hint, Warning: true})
}

// condition compiles a node that must be true or false.
func (c *compiler) condition(n *config.FilterNode) (expr, bool) {
	switch n.Op {
	case config.FilterConstant:
		if n.Value.Type() != cty.Bool {
			return c.bad(n.Range, shown(n)+" is no condition", "write a comparison, such as record.xid == 731")
		}
		return constant(n.Value.True()), true
	case config.FilterAttribute:
		return c.alone(n)
	case config.FilterContains:
		return c.contains(n)
	case config.FilterNot:
		e, ok := c.condition(n.Args[0])
		return not(e), ok
	case config.FilterAnd, config.FilterOr:
		a, okA := c.condition(n.Args[0])
		b, okB := c.condition(n.Args[1])
		if n.Op == config.FilterAnd {
			return and(a, b), okA && okB
		}
		return or(a, b), okA && okB
	}
	return c.comparison(n)
}

// alone is an attribute that is a condition by itself.
func (c *compiler) alone(n *config.FilterNode) (expr, bool) {
	a, ok := c.attribute(n)
	if !ok {
		return expr{}, false
	}
	if a.kind != flag {
		return c.bad(n.Range, "record."+a.name+" is "+a.kind.words()+", no condition", "compare it with a constant: record."+a.name+" == …")
	}
	return leaf(a, interval(1, 1)), true
}

func (c *compiler) attribute(n *config.FilterNode) (attribute, bool) {
	for _, a := range attributes() {
		if a.name == n.Attribute {
			return a, true
		}
	}
	hint := "a record has: " + strings.Join(attributeNames(), ", ")
	if near := config.Nearest(n.Attribute, attributeNames()); near != "" {
		hint = "did you mean record." + near + "?"
	}
	c.bad(n.Range, "a record has no attribute "+quote(n.Attribute), hint)
	return attribute{}, false
}

// turned are the operators with their sides changed.
func turned(op config.FilterOp) config.FilterOp {
	switch op {
	case config.FilterLess:
		return config.FilterGreater
	case config.FilterAtMost:
		return config.FilterAtLeast
	case config.FilterGreater:
		return config.FilterLess
	case config.FilterAtLeast:
		return config.FilterAtMost
	}
	return op
}

// comparison compiles an attribute compared with a constant, on either side.
func (c *compiler) comparison(n *config.FilterNode) (expr, bool) {
	left, right, op := n.Args[0], n.Args[1], n.Op
	if left.Op == config.FilterConstant {
		left, right, op = right, left, turned(op)
	}
	switch {
	case left.Op == config.FilterAttribute && right.Op == config.FilterAttribute:
		_, ok := c.attribute(left)
		if _, okRight := c.attribute(right); ok && okRight {
			return c.bad(n.Range, "two attributes are compared with each other", "compare each with a constant")
		}
		return expr{}, false
	case left.Op != config.FilterAttribute || right.Op != config.FilterConstant:
		return c.bad(n.Range, "a condition is compared", "join conditions by && and ||, negate one by !")
	}
	a, ok := c.attribute(left)
	if !ok {
		return expr{}, false
	}
	if op == config.FilterEqual || op == config.FilterNotEqual {
		e, ok := c.equal(n, a, []*config.FilterNode{right})
		if op == config.FilterNotEqual {
			e = not(e)
		}
		return e, ok
	}
	return c.order(n, a, op, right)
}

// order compiles <, <=, > and >=.
func (c *compiler) order(n *config.FilterNode, a attribute, op config.FilterOp, right *config.FilterNode) (expr, bool) {
	if !a.kind.ordered() {
		return c.bad(n.Range, "record."+a.name+" is "+a.kind.words()+" and has no order", "use ==, != or contains([…], record."+a.name+")")
	}
	if _, isName := relationText(a, right); isName {
		return c.bad(right.Range, "a relation's name has no order", "use == or !=, or compare the relfilenode")
	}
	v, ok := c.number(a, right)
	if !ok {
		return expr{}, false
	}
	var s set
	switch {
	case op == config.FilterLess && v.place == within && v.n == 0:
	case op == config.FilterLess && v.place == within:
		s = interval(0, v.n-1)
	case op == config.FilterAtMost && v.place == within:
		s = interval(0, v.n)
	case op == config.FilterGreater && v.place == within && v.n == a.most:
	case op == config.FilterGreater && v.place == within:
		s = interval(v.n+1, a.most)
	case op == config.FilterAtLeast && v.place == within:
		s = interval(v.n, a.most)
	case (op == config.FilterLess || op == config.FilterAtMost) == (v.place == above):
		s = interval(0, a.most)
	}
	c.noteFixed(n, a, s)
	return leaf(a, s), true
}

// contains compiles contains([…], record.NAME).
func (c *compiler) contains(n *config.FilterNode) (expr, bool) {
	if n.Args[0].Op != config.FilterAttribute {
		return c.bad(n.Args[0].Range, "contains looks for something that is no attribute of a record", `write contains(["Heap", "Heap2"], record.rmgr)`)
	}
	a, ok := c.attribute(n.Args[0])
	if !ok {
		return expr{}, false
	}
	return c.equal(n, a, n.Args[1:])
}

// equal compiles that an attribute is one of the constants.
func (c *compiler) equal(n *config.FilterNode, a attribute, constants []*config.FilterNode) (expr, bool) {
	var numbers []*config.FilterNode
	e, some, ok := expr{}, false, true
	join := func(next expr) {
		if some {
			next = or(e, next)
		}
		e, some = next, true
	}
	for _, k := range constants {
		if text, isName := relationText(a, k); isName {
			next, sound := c.named(k, text)
			ok = ok && sound
			join(next)
		} else {
			numbers = append(numbers, k)
		}
	}
	switch {
	case a.kind == operationName:
		next, sound := c.operations(constants)
		return next, sound
	case len(numbers) > 0 || !some:
		s, sound := c.values(a, numbers)
		ok = ok && sound
		if sound && !some {
			c.noteFixed(n, a, s)
		}
		join(leaf(a, s))
	}
	return e, ok
}

// noteFixed warns of a comparison that is the same for every value.
func (c *compiler) noteFixed(n *config.FilterNode, a attribute, s set) {
	switch {
	case s.empty():
		c.warn(n.Range, "this is never true of record."+a.name, "leave the comparison out, or correct its constant")
	case s.full(a.most) && a.block == nil:
		c.warn(n.Range, "this is always true of record."+a.name, "leave the comparison out, or correct its constant")
	}
}
