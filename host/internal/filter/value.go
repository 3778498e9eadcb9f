package filter

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/sdk/wal"
)

// maxShown is how much of a constant is repeated in a message, bytes.
const maxShown = 80

func quote(s string) string {
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return strconv.Quote(s)
}

// shown is a constant as a message may repeat it.
func shown(n *config.FilterNode) string {
	switch {
	case n.Op != config.FilterConstant, n.Withheld:
		return "this"
	case n.Value.Type() == cty.String:
		return quote(n.Value.AsString())
	case n.Value.Type() == cty.Number:
		return n.Value.AsBigFloat().Text('g', 20)
	case n.Value.Type() == cty.Bool:
		return fmt.Sprint(n.Value.True())
	}
	return "this"
}

// typeWords is what a constant is.
func typeWords(n *config.FilterNode) string {
	switch n.Value.Type() {
	case cty.String:
		return "text"
	case cty.Number:
		return "a number"
	case cty.Bool:
		return "true or false"
	}
	return "no single value"
}

// mismatch notes a constant of a type that the attribute does not have.
func (c *compiler) mismatch(a attribute, n *config.FilterNode) (located, bool) {
	is := shown(n) + " is " + typeWords(n)
	if n.Value.Type() == cty.Bool {
		is = shown(n) + " is a bool"
	}
	c.bad(n.Range, "record."+a.name+" is "+a.kind.words()+", "+is, example(a))
	return located{}, false
}

// example is a comparison that is right.
func example(a attribute) string {
	constant := map[kind]string{
		number: "731", flag: "true", lsn: `lsn("0/3000028")`, rmgrName: `"Heap"`, operationName: `"INSERT"`,
		forkName: `"main"`, relation: `"public.orders"`,
	}[a.kind]
	return "write it as in record." + a.name + " == " + constant
}

// located is a number and where it lies among the attribute's values.
type located struct {
	place place
	n     uint64 // when within
}

type place uint8

const (
	within place = iota
	below
	above
)

// values are the constants that an attribute can have.
func (c *compiler) values(a attribute, constants []*config.FilterNode) (set, bool) {
	var list []uint64
	ok := true
	for _, k := range constants {
		v, sound := c.number(a, k)
		ok = ok && sound
		if sound && v.place == within {
			list = append(list, v.n)
		}
	}
	return listed(list), ok
}

// number is a constant as the attribute counts.
func (c *compiler) number(a attribute, n *config.FilterNode) (located, bool) {
	switch t := n.Value.Type(); {
	case a.kind == flag && t == cty.Bool:
		if n.Value.True() {
			return located{n: 1}, true
		}
		return located{}, true
	case a.kind == lsn && t == cty.String:
		l, err := wal.ParseLSN(strings.TrimSpace(n.Value.AsString()))
		if err != nil {
			c.bad(n.Range, shown(n)+" is no LSN", `write two hexadecimal numbers and a slash, such as "16/B374D848"`)
			return located{}, false
		}
		return located{n: uint64(l)}, true
	case a.kind == rmgrName && t == cty.String:
		return c.rmgr(n)
	case a.kind == forkName && t == cty.String:
		return c.fork(n)
	case a.kind == rmgrName && t == cty.Number:
		v, ok := c.whole(a, n)
		if ok && (v.place != within || !wal.RmgrID(v.n).Valid(wal.PG18)) {
			c.bad(n.Range, shown(n)+" is no resource manager", "built-in ones are 0 to 21, those of extensions 128 to 255")
			return located{}, false
		}
		return v, ok
	case (a.kind == number || a.kind == relation) && (t == cty.Number || t == cty.String):
		return c.whole(a, n)
	}
	return c.mismatch(a, n)
}

// whole reads a whole number; a text of digits is one, since variables given by
// --var and the environment are texts.
func (c *compiler) whole(a attribute, n *config.FilterNode) (located, bool) {
	var f *big.Float
	if n.Value.Type() == cty.String {
		digits := n.Value.AsString()
		v, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return c.mismatch(a, n)
		}
		f = new(big.Float).SetUint64(v)
	} else {
		f = n.Value.AsBigFloat()
	}
	switch {
	case !f.IsInt():
		c.bad(n.Range, "record."+a.name+" is a whole number, "+shown(n)+" is not", "")
		return located{}, false
	case f.Sign() < 0:
		return located{place: below}, true
	}
	v, accuracy := f.Uint64()
	if accuracy != big.Exact || v > a.most {
		return located{place: above}, true
	}
	return located{n: v}, true
}

func (c *compiler) rmgr(n *config.FilterNode) (located, bool) {
	id, err := wal.ParseRmgrID(n.Value.AsString())
	if err == nil {
		return located{n: uint64(id)}, true
	}
	var names []string
	for id := range wal.RmgrMaxBuiltin + 1 {
		names = append(names, id.String())
	}
	hint := "known are " + strings.Join(names, ", ") + ", and custom128 to custom255 of extensions"
	if near := config.Nearest(n.Value.AsString(), names); near != "" && !n.Withheld {
		hint = "did you mean " + quote(near) + "?\n" + hint
	}
	c.bad(n.Range, shown(n)+" is no resource manager", hint)
	return located{}, false
}

func (c *compiler) fork(n *config.FilterNode) (located, bool) {
	for f := wal.MainFork; f <= wal.InitFork; f++ {
		if n.Value.AsString() == f.String() {
			return located{n: uint64(f)}, true
		}
	}
	c.bad(n.Range, shown(n)+" is no fork", "forks are main, fsm, vm and init")
	return located{}, false
}
