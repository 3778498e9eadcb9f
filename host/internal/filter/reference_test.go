package filter_test

import (
	"math/big"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/sdk/wal"
)

// reference says what a filter means by the package documentation alone: a walk
// over the tree for every record, with big numbers and texts. files are what
// relations' names stand for.
type reference struct {
	files map[string][]wal.RelFileLocator
}

func (r reference) holds(n *config.FilterNode, rec *wal.Record) bool {
	switch n.Op {
	case config.FilterConstant:
		return n.Value.True()
	case config.FilterAttribute:
		return r.anyIs(n.Attribute, rec, cty.True)
	case config.FilterNot:
		return !r.holds(n.Args[0], rec)
	case config.FilterAnd:
		return r.holds(n.Args[0], rec) && r.holds(n.Args[1], rec)
	case config.FilterOr:
		return r.holds(n.Args[0], rec) || r.holds(n.Args[1], rec)
	case config.FilterContains:
		for _, k := range n.Args[1:] {
			if r.anyIs(n.Args[0].Attribute, rec, k.Value) {
				return true
			}
		}
		return false
	}
	left, right, mirror := n.Args[0], n.Args[1], 1
	if left.Op == config.FilterConstant {
		left, right, mirror = right, left, -1
	}
	switch n.Op {
	case config.FilterEqual:
		return r.anyIs(left.Attribute, rec, right.Value)
	case config.FilterNotEqual:
		return !r.anyIs(left.Attribute, rec, right.Value)
	}
	for _, v := range values(left.Attribute, rec) {
		c := v.Cmp(numberOf(left.Attribute, right.Value)) * mirror
		if n.Op == config.FilterLess && c < 0 || n.Op == config.FilterAtMost && c <= 0 ||
			n.Op == config.FilterGreater && c > 0 || n.Op == config.FilterAtLeast && c >= 0 {
			return true
		}
	}
	return false
}

// anyIs reports that the attribute, of any block if it is a block's, is v.
func (r reference) anyIs(attribute string, rec *wal.Record, v cty.Value) bool {
	switch attribute {
	case "operation":
		return rec.Operation() == v.AsString()
	case "has_image":
		some := false
		for _, b := range rec.Blocks {
			some = some || b.Flags&wal.BlockHasImage != 0
		}
		return some == v.True()
	case "relation":
		if v.Type() == cty.String && strings.Contains(v.AsString(), ".") {
			for _, b := range rec.Blocks {
				for _, f := range r.files[v.AsString()] {
					if b.Rel == f {
						return true
					}
				}
			}
			return false
		}
	}
	for _, w := range values(attribute, rec) {
		if w.Cmp(numberOf(attribute, v)) == 0 {
			return true
		}
	}
	return false
}

// numberOf is a constant as a number.
func numberOf(attribute string, v cty.Value) *big.Float {
	if v.Type() == cty.Number {
		return v.AsBigFloat()
	}
	text := v.AsString()
	n := new(big.Float).SetPrec(64)
	switch attribute {
	case "rmgr":
		for id := 0; id < 256; id++ {
			if strings.EqualFold(wal.RmgrID(id).String(), text) {
				return n.SetInt64(int64(id))
			}
		}
	case "fork":
		return n.SetInt64(int64(strings.Index("main fsm  vm   init", text) / 5))
	case "start_lsn", "end_lsn":
		hi, lo, _ := strings.Cut(text, "/")
		h, _ := strconv.ParseUint(hi, 16, 32)
		l, _ := strconv.ParseUint(lo, 16, 32)
		return n.SetUint64(h<<32 + l)
	}
	u, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n.SetUint64(u)
}

// values are the attribute's of the record, or of each of its blocks.
func values(attribute string, rec *wal.Record) (out []*big.Float) {
	add := func(v uint64) { out = append(out, new(big.Float).SetPrec(64).SetUint64(v)) }
	switch attribute {
	case "rmgr":
		add(uint64(rec.RmgrID))
	case "info":
		add(uint64(rec.Info))
	case "xid":
		add(uint64(rec.XID))
	case "toplevel_xid":
		add(uint64(rec.TopLevelXID))
	case "origin":
		add(uint64(rec.Origin))
	case "length":
		add(uint64(rec.TotalLen))
	case "main_data_length":
		add(uint64(rec.MainDataLen))
	case "start_lsn":
		add(uint64(rec.StartLSN))
	case "end_lsn":
		add(uint64(rec.EndLSN))
	}
	for _, b := range rec.Blocks {
		switch attribute {
		case "tablespace":
			add(uint64(b.Rel.Spc))
		case "database":
			add(uint64(b.Rel.DB))
		case "relation":
			add(uint64(b.Rel.Rel))
		case "fork":
			add(uint64(b.Fork))
		case "block":
			add(uint64(b.Block))
		}
	}
	return out
}
