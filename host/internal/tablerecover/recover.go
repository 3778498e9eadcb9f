package tablerecover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/walplex/walplex/host/internal/tablerecover/pgtext"
	"github.com/walplex/walplex/sdk/wal"
)

// Options say which rows are wanted, and how.
type Options struct {
	Database string
	Schema   string   // "": public, or the only schema with such a table
	Table    string   // as pg_class has it: no folding to lower case
	Columns  []string // as pg_attribute has them; none: all but generated ones
	SQL      bool     // a script that makes the table and fills it, instead of COPY's data
	About    string   // what the script's first line says besides the table: the LSN
}

// Summary is what was read and written.
type Summary struct {
	Table  string // qualified
	Rows   int64
	Pages  int64    // of the table itself, 8192 bytes each
	Tables int      // 1, or of partitions
	Notes  []string // what the user should know about the data
}

// heapAM is the OID of the access method heap (catalog/pg_am.dat).
const heapAM wal.OID = 2

// outputBuffer is how much of the output is collected, bytes.
const outputBuffer = 256 << 10

// Recover writes the rows of a table as of src's LSN to w. version is the major of
// the server whose pages these are. After an error w has no more than a part.
func Recover(ctx context.Context, src Source, version wal.Version, o Options, w io.Writer) (Summary, error) {
	if version < wal.PG14 || version > wal.PG18 {
		return Summary{}, fmt.Errorf("the pages are of PostgreSQL %d, and known are 14 to 18", version)
	}
	c, err := openCatalog(ctx, &snapshot{src: src}, version, o.Database)
	if err != nil {
		return Summary{}, err
	}
	j := &job{c: c, o: o}
	if err := j.prepare(ctx); err != nil {
		return Summary{}, err
	}
	out := bufio.NewWriterSize(w, outputBuffer)
	if o.SQL {
		if err := j.writeHead(out); err != nil {
			return j.sum, err
		}
	}
	for i := range j.heaps {
		if err := j.writeRows(ctx, &j.heaps[i], out); err != nil {
			return j.sum, fmt.Errorf("table %s: %w", j.heaps[i].name, err)
		}
	}
	if o.SQL {
		if err := writeTail(out); err != nil {
			return j.sum, err
		}
	}
	return j.sum, out.Flush()
}

// job is one recovery.
type job struct {
	c          *catalog
	o          Options
	namespaces map[wal.OID]string
	root       relation
	cols       []column // of the root that are given, in their order
	types      *types
	heaps      []relation // the table, or its partitions
	toasts     map[wal.OID]*toastTable
	sum        Summary
}

func (j *job) qualified(r *relation) string {
	return quoteIdent(j.namespaces[r.namespace]) + "." + quoteIdent(r.name)
}

// prepare finds everything that rows need, and refuses what cannot be given.
func (j *job) prepare(ctx context.Context) (err error) {
	if j.namespaces, err = j.c.namespaces(ctx); err != nil {
		return err
	}
	if j.root, err = j.findTable(ctx); err != nil {
		return err
	}
	j.sum.Table = j.qualified(&j.root)
	switch j.root.kind {
	case 'r', 'm':
		j.heaps = []relation{j.root}
		if err := j.noteChildren(ctx); err != nil {
			return err
		}
	case 'p':
		if j.heaps, err = j.partitions(ctx); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is a %s, which has no rows of its own to recover; name a table", j.sum.Table, kindName(j.root.kind))
	}
	j.sum.Tables = len(j.heaps)
	oids := []wal.OID{j.root.oid}
	for i := range j.heaps {
		if err := j.refuse(&j.heaps[i]); err != nil {
			return err
		}
		oids = append(oids, j.heaps[i].oid)
	}
	slices.Sort(oids)
	if err := j.c.readColumns(ctx, slices.Compact(oids)...); err != nil {
		return err
	}
	if err := j.chooseColumns(); err != nil {
		return err
	}
	if j.types, err = j.c.readTypes(ctx, j.cols); err != nil {
		return err
	}
	if j.toasts, err = j.c.toasts(ctx, j.heaps); err != nil {
		return err
	}
	return j.checkTypes()
}

// findTable finds the table that the user has named.
func (j *job) findTable(ctx context.Context) (relation, error) {
	found, err := j.c.relations(ctx, func(r *relation) bool {
		return r.name == j.o.Table && (j.o.Schema == "" || j.namespaces[r.namespace] == j.o.Schema)
	})
	if err != nil {
		return relation{}, err
	}
	var schemas []string
	for _, r := range found {
		if len(found) == 1 || j.o.Schema == "" && j.namespaces[r.namespace] == "public" {
			return r, nil
		}
		schemas = append(schemas, j.namespaces[r.namespace])
	}
	if len(found) == 0 {
		name := j.o.Table
		if j.o.Schema != "" {
			name = j.o.Schema + "." + name
		}
		return relation{}, fmt.Errorf("database %s had no table %s at that time; names are taken as they are, upper and lower case apart", j.c.db.name, name)
	}
	slices.Sort(schemas)
	return relation{}, fmt.Errorf("there were tables %s in several schemas: %s; name one as SCHEMA.%s", j.o.Table, strings.Join(schemas, ", "), j.o.Table)
}

// noteChildren says that tables which inherit from the root are not included.
func (j *job) noteChildren(ctx context.Context) error {
	children := 0
	err := j.c.scan(ctx, oidInherits, func(r *row) error {
		if r.oid("inhparent") == j.root.oid {
			children++
		}
		return nil
	})
	if children > 0 {
		j.note("the rows of %d tables that inherit from it are not included, as with COPY", children)
	}
	return err
}

// maxPartitionLevels bounds how deep partitions are partitioned.
const maxPartitionLevels = 64

// partitions finds the leaf partitions of the root.
func (j *job) partitions(ctx context.Context) (leaves []relation, err error) {
	children := map[wal.OID][]wal.OID{}
	err = j.c.scan(ctx, oidInherits, func(r *row) error {
		parent := r.oid("inhparent")
		if hasColumn(r.cols, "inhdetachpending") && r.bool("inhdetachpending") {
			j.note("partition %d was being detached, and is not included", r.oid("inhrelid"))
			return nil
		}
		children[parent] = append(children[parent], r.oid("inhrelid"))
		return nil
	})
	if err != nil {
		return nil, err
	}
	level := []wal.OID{j.root.oid}
	for range maxPartitionLevels {
		var next []wal.OID
		for _, oid := range level {
			next = append(next, children[oid]...)
		}
		if len(next) == 0 {
			slices.SortFunc(leaves, func(a, b relation) int { return strings.Compare(j.qualified(&a), j.qualified(&b)) })
			return leaves, nil
		}
		there := map[wal.OID]bool{}
		for _, oid := range next {
			there[oid] = true
		}
		rels, err := j.c.relations(ctx, func(r *relation) bool { return there[r.oid] })
		if err != nil {
			return nil, err
		}
		for _, r := range rels {
			if r.kind != 'p' {
				leaves = append(leaves, r)
			}
		}
		level = next
	}
	return nil, fmt.Errorf("the partitions of %s are deeper than %d levels", j.sum.Table, maxPartitionLevels)
}

// refuse says why the rows of a table cannot be had.
func (j *job) refuse(r *relation) error {
	name := j.qualified(r)
	switch {
	case r.kind != 'r' && r.kind != 'm':
		return fmt.Errorf("%s is a %s: its rows are not in this cluster's WAL", name, kindName(r.kind))
	case r.persistence == 'u':
		return fmt.Errorf("%s is an unlogged table: its rows were never in the WAL", name)
	case r.persistence == 't':
		return fmt.Errorf("%s is a temporary table: its rows were never in the WAL", name)
	case r.am != heapAM:
		return fmt.Errorf("%s has the table access method %d, and only heap is known here", name, r.am)
	case r.file.Rel == 0:
		return fmt.Errorf("%s has no file", name)
	}
	return nil
}

// chooseColumns picks the columns that are given.
func (j *job) chooseColumns() error {
	all := j.c.columns[j.root.oid]
	for _, name := range j.o.Columns {
		i := slices.IndexFunc(all, func(c column) bool { return c.name == name && !c.dropped })
		if i < 0 {
			return fmt.Errorf("%s has no column %s", j.sum.Table, name)
		}
		if all[i].generated == 'v' {
			return fmt.Errorf("column %s of %s is generated when it is read: it is not stored", name, j.sum.Table)
		}
		if hasColumn(j.cols, name) {
			return fmt.Errorf("column %s is named twice", name)
		}
		j.cols = append(j.cols, all[i])
	}
	if len(j.o.Columns) > 0 {
		return nil
	}
	for _, col := range all {
		switch {
		case col.dropped:
		case col.generated != 0:
			j.note("column %s is generated and left out: COPY does not take it", col.name)
		default:
			j.cols = append(j.cols, col)
		}
	}
	return nil
}

// checkTypes refuses columns whose values cannot be made text of, and notes what
// their text depends on.
func (j *job) checkTypes() error {
	for _, col := range j.cols {
		t, err := j.types.build(col.typ)
		if err == nil {
			err = pgtext.Supported(t)
		}
		if err != nil {
			return fmt.Errorf("column %s cannot be given: %w; name the other columns with --columns to leave it out", col.name, err)
		}
		switch inner := innermost(t); {
		case inner.Output == "cash_out":
			j.note("column %s is of type money, given as lc_monetary = 'C' has it: read it with that setting", col.name)
		case strings.HasPrefix(inner.Output, "reg"):
			j.note("column %s is of type %s, given as numbers (OIDs)", col.name, inner.Name)
		case inner.Output == "timestamptz_out":
			j.timestamptz()
		}
	}
	if enc := encodingName(j.c.db.encoding); enc != "UTF8" {
		j.note("the text is in the database's encoding, %s: set client_encoding to it to read it", enc)
	}
	return nil
}

func (j *job) timestamptz() {
	const text = "times with time zone are given in UTC"
	if !slices.Contains(j.sum.Notes, text) {
		j.note(text)
	}
}

// innermost is the type of an array's elements, or a range's bounds.
func innermost(t *pgtext.Type) *pgtext.Type {
	for t.Elem != nil && (t.Output == "array_out" || t.Output == "range_out" || t.Output == "multirange_out") {
		t = t.Elem
	}
	return t
}

func (j *job) note(format string, args ...any) {
	j.sum.Notes = append(j.sum.Notes, fmt.Sprintf(format, args...))
}

// writeRows writes the rows of a table or partition, a line each.
func (j *job) writeRows(ctx context.Context, rel *relation, out *bufio.Writer) error {
	cols := j.c.columns[rel.oid]
	from := make([]int, len(j.cols)) // where a column of the root lies in this one
	ts := make([]*pgtext.Type, len(j.cols))
	for i, want := range j.cols {
		from[i] = slices.IndexFunc(cols, func(c column) bool { return c.name == want.name && !c.dropped })
		if from[i] < 0 {
			return fmt.Errorf("it has no column %s", want.name)
		}
		if cols[from[i]].typ != want.typ {
			return fmt.Errorf("column %s is of type %d, and that of %s of type %d", want.name, cols[from[i]].typ, j.sum.Table, want.typ)
		}
		t, err := j.types.build(want.typ)
		if err != nil {
			return err
		}
		ts[i] = t
	}
	toast := j.toasts[rel.oid]
	f := &pgtext.Formatter{Version: j.c.version, Fetch: func(e pgtext.External) ([]byte, error) { return toast.fetch(ctx, e) }}
	vals := make([][]byte, len(cols))
	var line, text []byte
	pages, err := j.c.snap.scan(ctx, rel.file, func(at place, tup []byte) error {
		if err := deform(tup, cols, vals); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		line = line[:0]
		for i, n := range from {
			if i > 0 {
				line = append(line, '\t')
			}
			if vals[n] == nil {
				line = appendNull(line)
				continue
			}
			var err error
			if text, err = f.Append(text[:0], ts[i], vals[n]); err != nil {
				return fmt.Errorf("%s, column %s: %w", at, j.cols[i].name, err)
			}
			line = appendCopy(line, text)
		}
		j.sum.Rows++
		_, err := out.Write(append(line, '\n'))
		return err
	})
	j.sum.Pages += int64(pages)
	return err
}

// errName says how a table is named.
var errName = errors.New("write TABLE or SCHEMA.TABLE, in double quotes where a name has a dot")

// ParseTable reads [SCHEMA.]TABLE. Names are as pg_class has them; double quotes
// may stand around each, and have to where it has a dot.
func ParseTable(s string) (schema, table string, err error) {
	var names []string
	rest := s
	for {
		var name string
		if strings.HasPrefix(rest, `"`) {
			end := 1
			for {
				i := strings.IndexByte(rest[end:], '"')
				if i < 0 {
					return "", "", fmt.Errorf("%q is no table's name: %w", s, errName)
				}
				end += i + 1
				if end == len(rest) || rest[end] != '"' {
					break
				}
				end++
			}
			name, rest = strings.ReplaceAll(rest[1:end-1], `""`, `"`), rest[end:]
		} else if i := strings.IndexByte(rest, '.'); i >= 0 {
			name, rest = rest[:i], rest[i:]
		} else {
			name, rest = rest, ""
		}
		names = append(names, name)
		if name == "" || len(names) > 2 || rest != "" && rest[0] != '.' {
			return "", "", fmt.Errorf("%q is no table's name: %w", s, errName)
		}
		if rest == "" {
			break
		}
		rest = rest[1:]
	}
	if len(names) == 1 {
		return "", names[0], nil
	}
	return names[0], names[1], nil
}
