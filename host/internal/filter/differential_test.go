package filter_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/filter"
	"github.com/walplex/walplex/sdk/wal"
)

// writer makes random filters, whose constants are near what records have.
type writer struct {
	rnd     *rand.Rand
	records []*wal.Record
}

func pick[T any](rnd *rand.Rand, list ...T) T { return list[rnd.IntN(len(list))] }

func (w *writer) record() *wal.Record { return pick(w.rnd, w.records...) }

func (w *writer) block() wal.BlockRef {
	for {
		if rec := w.record(); len(rec.Blocks) > 0 {
			return pick(w.rnd, rec.Blocks...)
		}
	}
}

func (w *writer) condition(depth int) string {
	if depth > 0 {
		switch w.rnd.IntN(6) {
		case 0:
			return "!(" + w.condition(depth-1) + ")"
		case 1, 2:
			return w.condition(depth-1) + " && " + w.condition(depth-1)
		case 3, 4:
			return "(" + w.condition(depth-1) + " || " + w.condition(depth-1) + ")"
		}
	}
	switch name := pick(w.rnd, names...); {
	case name == "has_image":
		return pick(w.rnd, "record.has_image", "!record.has_image", "record.has_image == true", "false == record.has_image", "record.has_image != false")
	case w.rnd.IntN(40) == 0:
		return pick(w.rnd, "true", "false")
	case w.rnd.IntN(4) == 0:
		var list []string
		for range w.rnd.IntN(6) {
			list = append(list, w.constant(name))
		}
		return fmt.Sprintf("contains([%s], record.%s)", strings.Join(list, ", "), name)
	default:
		op, constant := pick(w.rnd, "==", "!="), w.constant(name)
		if strings.Contains(ordered, " "+name+" ") && !strings.Contains(constant, ".") {
			op = pick(w.rnd, "==", "!=", "<", "<=", ">", ">=")
		}
		if w.rnd.IntN(5) == 0 {
			return fmt.Sprintf("%s %s record.%s", constant, op, name)
		}
		return fmt.Sprintf("record.%s %s %s", name, op, constant)
	}
}

var names = []string{"rmgr", "rmgr", "rmgr", "operation", "operation", "info", "xid", "toplevel_xid", "origin", "length", "main_data_length",
	"start_lsn", "end_lsn", "has_image", "tablespace", "database", "relation", "relation", "fork", "block"}

const ordered = " info xid toplevel_xid origin length main_data_length start_lsn end_lsn tablespace database relation block "

func (w *writer) constant(name string) string {
	near := func(v uint64) string {
		switch w.rnd.IntN(20) {
		case 0:
			return pick(w.rnd, "0", "-1", "4294967295", "4294967296", "255", "256", "65536", "18446744073709551616")
		case 1:
			return fmt.Sprintf("%q", fmt.Sprint(v))
		}
		return fmt.Sprint(v + uint64(w.rnd.IntN(3)))
	}
	rec := w.record()
	switch name {
	case "rmgr":
		return pick(w.rnd, fmt.Sprintf("%q", rec.RmgrID), fmt.Sprint(uint8(rec.RmgrID)), strings.ToLower(fmt.Sprintf("%q", rec.RmgrID)), `"SPGist"`)
	case "operation":
		return fmt.Sprintf("%q", rec.Operation())
	case "info":
		return near(uint64(rec.Info))
	case "xid":
		return near(uint64(rec.XID))
	case "toplevel_xid":
		return near(uint64(rec.TopLevelXID))
	case "origin":
		return near(uint64(rec.Origin))
	case "length":
		return near(uint64(rec.TotalLen))
	case "main_data_length":
		return near(uint64(rec.MainDataLen))
	case "start_lsn":
		return fmt.Sprintf("lsn(%q)", rec.StartLSN)
	case "end_lsn":
		return fmt.Sprintf("%q", rec.EndLSN)
	case "tablespace":
		return near(uint64(w.block().Rel.Spc))
	case "database":
		return near(uint64(w.block().Rel.DB))
	case "relation":
		return pick(w.rnd, near(uint64(w.block().Rel.Rel)), `"s.one"`, `"s.two"`, `"d.s.none"`)
	case "fork":
		return pick(w.rnd, `"main"`, `"main"`, `"fsm"`, `"vm"`, `"init"`)
	case "block":
		return near(uint64(w.block().Block))
	}
	panic(name)
}

// TestDifferential compares random filters with what the documentation says that
// they mean, over random records of every version.
func TestDifferential(t *testing.T) {
	all := random(t, 60_000)
	w := &writer{rnd: rand.New(rand.NewPCG(4, 4)), records: all}
	ref := reference{files: map[string][]wal.RelFileLocator{
		"s.one": {{Spc: 1663, DB: 5, Rel: 16384}, {Spc: 1663, DB: 6, Rel: 16390}},
		"s.two": {{Spc: 1663, DB: 5, Rel: 16385}, {Spc: 1663, DB: 5, Rel: 16391}, {Spc: 1664, DB: 5, Rel: 16391}},
	}}
	picked, left := 0, 0
	for i := range 1500 {
		text := w.condition(i % 5)
		_, in, diags := read(t, text)
		if in == nil {
			t.Fatalf("%s:\n%s", text, diags)
		}
		f, problems := filter.Compile(in)
		if f == nil {
			t.Fatalf("%s: %+v", text, problems)
		}
		if n := f.Names(); n != nil {
			for j, name := range n.List() {
				for _, file := range ref.files[name.String()] {
					n.Add(j, file)
				}
			}
		}
		for range 200 {
			rec := w.record()
			got, want := f.Match(rec), ref.holds(in.Root, rec)
			if got != want {
				t.Fatalf("%s\npicks %t, should be %t: %s %+v", text, got, want, describe(rec), rec.Blocks)
			}
			if got {
				picked++
			} else {
				left++
			}
		}
	}
	if picked < left/5 || left < picked/5 {
		t.Errorf("%d picked, %d not: too one-sided to tell anything", picked, left)
	}
	t.Logf("%d records, %d picked, %d not", len(all), picked, left)
}
