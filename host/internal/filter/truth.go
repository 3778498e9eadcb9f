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

// expr is a compiled condition.
type expr struct {
	match predicate
	known func(class) truth
	// facts appends what is known of each comparison in it, one byte each.
	facts func(class, []byte) []byte
	// rest is what is left to ask when the class is known, and the truth not.
	rest func(class) predicate
}

// comparison is a condition without conditions in it.
func comparison(match predicate, known func(class) truth) expr {
	return expr{
		match: match,
		known: known,
		facts: func(c class, b []byte) []byte { return append(b, byte(known(c))) },
		rest:  func(class) predicate { return match },
	}
}

// unknown is the known of a comparison that the class tells nothing of.
func unknown(class) truth { return perhaps }

func constant(b bool) expr {
	return comparison(func(*wal.Record) bool { return b }, func(class) truth { return truthOf(b) })
}

func and(a, b expr) expr {
	return expr{
		match: both(a.match, b.match),
		known: func(c class) truth { return min(a.known(c), b.known(c)) },
		facts: func(c class, f []byte) []byte { return b.facts(c, a.facts(c, f)) },
		rest:  func(c class) predicate { return joined(c, a, b, yes, both) },
	}
}

func or(a, b expr) expr {
	return expr{
		match: either(a.match, b.match),
		known: func(c class) truth { return max(a.known(c), b.known(c)) },
		facts: func(c class, f []byte) []byte { return b.facts(c, a.facts(c, f)) },
		rest:  func(c class) predicate { return joined(c, a, b, no, either) },
	}
}

func not(a expr) expr {
	return expr{
		match: negated(a.match),
		known: func(c class) truth { return yes - a.known(c) },
		facts: a.facts,
		rest:  func(c class) predicate { return negated(a.rest(c)) },
	}
}

// joined is the rest of two conditions, of which one falls away when its truth is
// the one that does not matter.
func joined(c class, a, b expr, neutral truth, join func(a, b predicate) predicate) predicate {
	switch neutral {
	case a.known(c):
		return b.rest(c)
	case b.known(c):
		return a.rest(c)
	}
	return join(a.rest(c), b.rest(c))
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
