package tablerecover

import (
	"context"
	"fmt"
	"strings"

	"github.com/walplex/walplex/host/internal/tablerecover/pgtext"
	"github.com/walplex/walplex/sdk/wal"
)

// typeRow is a row of pg_type.
type typeRow struct {
	oid, namespace, relid, elem, base, output wal.OID
	name                                      string
	len                                       int16
	kind, align, delim                        byte
	subtype, rangeType                        wal.OID // of a range and a multirange, from pg_range
}

// types knows the types that some columns have, and all within them.
type types struct {
	c        *catalog
	rows     map[wal.OID]*typeRow
	outputs  map[wal.OID]string             // functions' names in C
	labels   map[wal.OID]map[wal.OID]string // of enums
	built    map[wal.OID]*pgtext.Type
	building map[wal.OID]bool
}

// Languages whose functions have a name in C (catalog/pg_language.dat).
const (
	languageInternal wal.OID = 12
	languageC        wal.OID = 13
)

// readTypes reads everything about types that these columns need.
func (c *catalog) readTypes(ctx context.Context, cols []column) (*types, error) {
	t := &types{c: c, rows: map[wal.OID]*typeRow{}, outputs: map[wal.OID]string{}, labels: map[wal.OID]map[wal.OID]string{},
		built: map[wal.OID]*pgtext.Type{}, building: map[wal.OID]bool{}}
	wanted := map[wal.OID]bool{}
	want := func(oid wal.OID) {
		if oid != 0 && t.rows[oid] == nil {
			wanted[oid] = true
		}
	}
	for _, col := range cols {
		want(col.typ)
	}
	// Types lie in types: each round reads those that the one before has named.
	for len(wanted) > 0 {
		if err := t.readRows(ctx, wanted); err != nil {
			return nil, err
		}
		for oid := range wanted {
			if t.rows[oid] == nil {
				return nil, fmt.Errorf("pg_type has no row for the type %d", oid)
			}
		}
		round := wanted
		wanted = map[wal.OID]bool{}
		if err := t.readWithin(ctx, round, want); err != nil {
			return nil, err
		}
	}
	return t, t.readOutputs(ctx)
}

func (t *types) readRows(ctx context.Context, wanted map[wal.OID]bool) error {
	return t.c.scan(ctx, oidType, func(r *row) error {
		oid := r.oid("oid")
		if !wanted[oid] {
			return nil
		}
		t.rows[oid] = &typeRow{
			oid: oid, namespace: r.oid("typnamespace"), relid: r.oid("typrelid"), elem: r.oid("typelem"), base: r.oid("typbasetype"),
			output: r.oid("typoutput"), name: r.name("typname"), len: r.int2("typlen"), kind: r.char("typtype"),
			align: r.char("typalign"), delim: r.char("typdelim"),
		}
		return nil
	})
}

// readWithin reads what types of a round are made of, and wants their types.
func (t *types) readWithin(ctx context.Context, round map[wal.OID]bool, want func(wal.OID)) error {
	var composites []wal.OID
	ranges, enums := false, false
	for oid := range round {
		r := t.rows[oid]
		want(r.base)
		if r.base == 0 {
			want(r.elem)
		}
		switch r.kind {
		case 'c':
			composites = append(composites, r.relid)
		case 'r', 'm':
			ranges = true
		case 'e':
			t.labels[oid], enums = map[wal.OID]string{}, true
		}
	}
	if len(composites) > 0 {
		if err := t.c.readColumns(ctx, composites...); err != nil {
			return err
		}
		for _, relid := range composites {
			for _, col := range t.c.columns[relid] {
				want(col.typ)
			}
		}
	}
	if enums {
		if err := t.readLabels(ctx); err != nil {
			return err
		}
	}
	if ranges {
		return t.readRanges(ctx, round, want)
	}
	return nil
}

func (t *types) readLabels(ctx context.Context) error {
	return t.c.scan(ctx, oidEnum, func(r *row) error {
		if labels := t.labels[r.oid("enumtypid")]; labels != nil {
			labels[r.oid("oid")] = r.name("enumlabel")
		}
		return nil
	})
}

func (t *types) readRanges(ctx context.Context, round map[wal.OID]bool, want func(wal.OID)) error {
	return t.c.scan(ctx, oidRange, func(r *row) error {
		for _, oid := range []wal.OID{r.oid("rngtypid"), r.oid("rngmultitypid")} {
			if round[oid] {
				t.rows[oid].subtype = r.oid("rngsubtype")
				want(r.oid("rngsubtype"))
			}
		}
		return nil
	})
}

// readOutputs reads the names of the output functions.
func (t *types) readOutputs(ctx context.Context) error {
	for _, r := range t.rows {
		t.outputs[r.output] = ""
	}
	return t.c.scan(ctx, oidProc, func(r *row) error {
		oid := r.oid("oid")
		if _, ok := t.outputs[oid]; !ok {
			return nil
		}
		switch r.oid("prolang") {
		case languageInternal:
			t.outputs[oid] = r.text("prosrc")
		case languageC:
			lib := r.text("probin")
			t.outputs[oid] = "$libdir/" + lib[strings.LastIndexByte(lib, '/')+1:] + " " + r.text("prosrc")
		default:
			t.outputs[oid] = r.name("proname")
		}
		return nil
	})
}

// build makes the description from which text is made.
func (t *types) build(oid wal.OID) (*pgtext.Type, error) {
	if b := t.built[oid]; b != nil {
		return b, nil
	}
	r := t.rows[oid]
	if r == nil || t.building[oid] {
		return nil, fmt.Errorf("the type %d is not in pg_type, or within itself", oid)
	}
	t.building[oid] = true
	defer delete(t.building, oid)
	b := &pgtext.Type{OID: oid, Name: r.name, Len: r.len, Align: r.align, Delim: r.delim, Output: t.outputs[r.output]}
	if r.kind == 'd' {
		base, err := t.build(r.base)
		if err != nil {
			return nil, err
		}
		b.Output, b.Elem, b.Fields, b.Labels = base.Output, base.Elem, base.Fields, base.Labels
		t.built[oid] = b
		return b, nil
	}
	inner := r.elem
	if r.kind == 'r' || r.kind == 'm' {
		inner = r.subtype
	}
	if inner != 0 {
		var err error
		if b.Elem, err = t.build(inner); err != nil {
			return nil, err
		}
	}
	if r.kind == 'e' {
		b.Labels = t.labels[oid]
	}
	if r.kind == 'c' {
		for _, col := range t.c.columns[r.relid] {
			f := pgtext.Field{Len: col.len, Align: col.align}
			if !col.dropped {
				var err error
				if f.Type, err = t.build(col.typ); err != nil {
					return nil, err
				}
			}
			b.Fields = append(b.Fields, f)
		}
	}
	t.built[oid] = b
	return b, nil
}
