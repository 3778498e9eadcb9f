package filter

import (
	"maps"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/sdk/wal"
)

// operationTable says by major and resource manager which operations are meant,
// a bit for each value of xl_info's high four bits.
type operationTable [majors][256]uint16

// operationOf is the operation's name, which the class decides.
func operationOf(c class) string {
	rec := wal.Record{Version: c.version, RmgrID: c.rmgr, Info: c.op << 4}
	return rec.Operation()
}

// operationClasses are the classes that each name stands for.
func operationClasses() map[string][]class {
	byName := map[string][]class{}
	for m := range majors {
		for id := range 256 {
			for op := range uint8(16) {
				cl := class{version: version(m), rmgr: wal.RmgrID(id), op: op}
				if cl.rmgr.Valid(cl.version) {
					name := operationOf(cl)
					byName[name] = append(byName[name], cl)
				}
			}
		}
	}
	return byName
}

// operations compiles that the operation is one of the names.
func (c *compiler) operations(constants []*config.FilterNode) (expr, bool) {
	if c.byName == nil {
		c.byName = operationClasses()
	}
	table, ok := new(operationTable), true
	for _, k := range constants {
		if k.Value.Type() != cty.String {
			c.mismatch(attribute{name: "operation", kind: operationName}, k)
			ok = false
			continue
		}
		classes := c.byName[k.Value.AsString()]
		if classes == nil {
			c.unknownOperation(k)
			ok = false
		}
		for _, cl := range classes {
			table[major(cl.version)][cl.rmgr] |= 1 << cl.op
		}
	}
	return comparison(
		func(rec *wal.Record) bool { return table[major(rec.Version)][rec.RmgrID]>>(rec.Info>>4)&1 != 0 },
		func(c class) truth { return truthOf(table[major(c.version)][c.rmgr]>>c.op&1 != 0) },
	), ok
}

func (c *compiler) unknownOperation(n *config.FilterNode) {
	hint := `names are those that pg_waldump prints after "desc:", such as INSERT, INSERT+INIT, HOT_UPDATE, COMMIT`
	near := config.Nearest(n.Value.AsString(), slices.Sorted(maps.Keys(c.byName)))
	if near != "" && !n.Withheld {
		hint = "did you mean " + quote(near) + "?"
	}
	c.bad(n.Range, shown(n)+" is no operation of any resource manager", hint)
}
