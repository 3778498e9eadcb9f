package filter

import (
	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/sdk/wal"
)

// Filter picks records. One goroutine calls Match; beside it, another may add to
// its Names.
type Filter struct {
	mask    [4]uint64 // resource managers of which some record can match
	answers [majors][256][16]answer
	rests   []predicate // what answers refer to
	names   *Names      // nil: it names no relation
}

// answer is what a class of records tells: no, yes, or the predicate that looks
// at the rest of the record.
type answer uint16

const (
	answerNo answer = iota
	answerYes
	answerRest // the first of rests, and so on
)

// maxRests bounds how many predicates a filter is split into; what is beyond has
// the filter as a whole.
const maxRests = 1024

// predicate is a compiled expression.
type predicate func(rec *wal.Record) bool

// Match reports whether the record is picked. Of a record in fragments it takes
// the first. It keeps nothing of rec, and allocates nothing.
func (f *Filter) Match(rec *wal.Record) bool {
	if f.names != nil {
		f.names.see(rec)
	}
	id := rec.RmgrID
	if f.mask[id/64]>>(id%64)&1 == 0 {
		return false
	}
	switch a := f.answers[major(rec.Version)][id][rec.Info>>4]; a {
	case answerNo:
		return false
	case answerYes:
		return true
	default:
		return f.rests[a-answerRest](rec)
	}
}

// Names are the relations that the filter names, nil for none.
func (f *Filter) Names() *Names { return f.names }

// Compile makes a filter. With a problem that is not a warning it is nil.
func Compile(in *config.Filter) (*Filter, []Problem) {
	c := compiler{}
	e, ok := c.condition(in.Root)
	if !ok {
		return nil, c.problems
	}
	f := &Filter{names: c.names}
	all, none := f.tabulate(e)
	switch {
	case none:
		c.warn(in.Range, "the filter picks no record", "the sink is sent nothing but positions")
	case all:
		c.warn(in.Range, "the filter picks every record", "leave it out")
	}
	return f, c.problems
}

// tabulate fills the tables, and answers whether every or no record of a valid
// resource manager matches for certain.
func (f *Filter) tabulate(e expr) (all, none bool) {
	all, none = true, true
	f.rests = []predicate{e.whole()}
	byFacts := map[string]answer{}
	for m := range f.answers {
		for id := range f.answers[m] {
			for op := range uint8(16) {
				cl := class{rmgr: wal.RmgrID(id), op: op, version: version(m)}
				truth := e.truth(cl)
				f.answers[m][id][op] = f.answer(e, cl, truth, byFacts)
				if truth != no {
					f.mask[id/64] |= 1 << (id % 64)
				}
				if cl.rmgr.Valid(cl.version) {
					all, none = all && truth == yes, none && truth == no
				}
			}
		}
	}
	return all, none
}

// answer finds or makes what the class's records are asked. Classes of which the
// same is known share a predicate.
func (f *Filter) answer(e expr, cl class, truth truth, byFacts map[string]answer) answer {
	switch truth {
	case no:
		return answerNo
	case yes:
		return answerYes
	}
	facts := string(e.facts(cl, nil))
	a, ok := byFacts[facts]
	switch {
	case ok:
	case len(f.rests) == maxRests:
		a = answerRest
	default:
		a = answerRest + answer(len(f.rests))
		f.rests = append(f.rests, e.rest(cl))
		byFacts[facts] = a
	}
	return a
}

// majors is how many major versions there are tables for.
const majors = int(wal.PG18-wal.PG14) + 1

// major is the version's table. Operations of unknown versions are called as
// those of the nearest one, as [wal.Record.Operation] does.
func major(v wal.Version) int { return int(min(max(v, wal.PG14), wal.PG18) - wal.PG14) }

func version(major int) wal.Version { return wal.PG14 + wal.Version(major) }
