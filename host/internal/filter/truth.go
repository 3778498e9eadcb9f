package filter

import "github.com/walplex/walplex/sdk/wal"

// class is what is looked at first of a record.
type class struct {
	version wal.Version
	rmgr    wal.RmgrID
	op      uint8 // the high four bits of xl_info
}

// truth is what a class tells of a condition (Kleene's three values).
type truth uint8

const (
	no truth = iota
	perhaps
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// expr is a compiled condition: a comparison, or others joined.
type expr struct {
	op    joint
	args  []expr // of and and or; one of not
	match predicate
	known func(class) truth
}

// joint is how the args of a condition are joined.
type joint uint8

const (
	compared joint = iota // it has none: it is a comparison
	allOf
	anyOf
	opposite
)

// comparison is a condition without conditions in it.
func comparison(match predicate, known func(class) truth) expr {
	return expr{match: match, known: known}
}

// unknown is the known of a comparison that the class tells nothing of.
func unknown(class) truth { return perhaps }

func constant(b bool) expr {
	return comparison(func(*wal.Record) bool { return b }, func(class) truth { return truthOf(b) })
}

func and(a, b expr) expr { return expr{op: allOf, args: []expr{a, b}} }
func or(a, b expr) expr  { return expr{op: anyOf, args: []expr{a, b}} }
func not(a expr) expr    { return expr{op: opposite, args: []expr{a}} }

// truth is what a class tells of it.
func (e *expr) truth(c class) truth {
	switch e.op {
	case opposite:
		return yes - e.args[0].truth(c)
	case allOf:
		return min(e.args[0].truth(c), e.args[1].truth(c))
	case anyOf:
		return max(e.args[0].truth(c), e.args[1].truth(c))
	}
	return e.known(c)
}

// facts appends what is known of each comparison in it, one byte each.
func (e *expr) facts(c class, b []byte) []byte {
	if e.op == compared {
		return append(b, byte(e.known(c)))
	}
	for i := range e.args {
		b = e.args[i].facts(c, b)
	}
	return b
}

// rest is what is left to ask when the class is known, and the truth not.
func (e *expr) rest(c class) predicate {
	g := e.gather(func(e *expr) truth { return e.truth(c) }, false)
	return g.predicate()
}

// whole is all that there is to ask.
func (e *expr) whole() predicate {
	g := e.gather(func(*expr) truth { return perhaps }, false)
	return g.predicate()
}

func both(a, b predicate) predicate {
	return func(rec *wal.Record) bool { return a(rec) && b(rec) }
}

func either(a, b predicate) predicate {
	return func(rec *wal.Record) bool { return a(rec) || b(rec) }
}

func negated(a predicate) predicate {
	return func(rec *wal.Record) bool { return !a(rec) }
}
