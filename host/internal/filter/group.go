package filter

import "slices"

// group is conditions that all have to hold, or any of them, asked in the order in
// which they are written: whoever writes a filter knows better than this package
// which of them decides most often.
type group struct {
	any   bool
	parts []predicate
}

// gather makes groups of what is joined the same way, without the conditions that
// are certain. inverse asks for the opposite.
func (e *expr) gather(known func(*expr) truth, inverse bool) group {
	switch e.op {
	case compared:
		if inverse {
			return group{parts: []predicate{negated(e.match)}}
		}
		return group{parts: []predicate{e.match}}
	case opposite:
		return e.args[0].gather(known, !inverse)
	}
	g := group{any: (e.op == anyOf) != inverse}
	for i := range e.args {
		if arg := &e.args[i]; known(arg) == perhaps {
			g.add(arg.gather(known, inverse))
		}
	}
	return g
}

// add takes in another group, which is asked as a whole where it is joined the
// other way.
func (g *group) add(o group) {
	if o.any != g.any {
		o.parts = []predicate{o.predicate()}
	}
	g.parts = append(g.parts, o.parts...)
}

// predicate asks all of it, the first part without going through the others.
func (g *group) predicate() predicate {
	join := both
	if g.any {
		join = either
	}
	p := g.parts[len(g.parts)-1]
	for _, next := range slices.Backward(g.parts[:len(g.parts)-1]) {
		p = join(next, p)
	}
	return p
}
