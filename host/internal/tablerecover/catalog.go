package tablerecover

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/walplex/walplex/host/internal/tablerecover/pgtext"
	"github.com/walplex/walplex/sdk/wal"
)

// database is a row of pg_database.
type database struct {
	oid      wal.OID
	name     string
	space    wal.OID // its own tablespace
	encoding int32
}

// catalog reads a database's catalogs.
type catalog struct {
	snap    *snapshot
	version wal.Version
	db      database
	mapped  map[wal.OID]wal.OID // files of relations that pg_class does not tell
	shared  map[wal.OID]wal.OID // those of them that all databases have
	columns map[wal.OID][]column
	files   map[wal.OID]wal.RelFileLocator
}

// relation is a row of pg_class.
type relation struct {
	oid         wal.OID
	name        string
	namespace   wal.OID
	kind        byte // relkind
	persistence byte // relpersistence
	am          wal.OID
	toast       wal.OID
	isPartition bool
	file        wal.RelFileLocator
}

// kindName is what PostgreSQL calls a relkind.
func kindName(kind byte) string {
	switch kind {
	case 'r':
		return "table"
	case 'p':
		return "partitioned table"
	case 'm':
		return "materialized view"
	case 'v':
		return "view"
	case 'S':
		return "sequence"
	case 'i', 'I':
		return "index"
	case 'f':
		return "foreign table"
	case 'c':
		return "composite type"
	case 't':
		return "TOAST table"
	}
	return fmt.Sprintf("relation of kind %q", kind)
}

// openCatalog finds the database and reads how its catalogs lie.
func openCatalog(ctx context.Context, snap *snapshot, version wal.Version, name string) (*catalog, error) {
	c := &catalog{snap: snap, version: version, columns: map[wal.OID][]column{}, files: map[wal.OID]wal.RelFileLocator{}}
	if err := c.findDatabase(ctx, name); err != nil {
		return nil, err
	}
	b, err := snap.src.RelMap(ctx, c.db.space, c.db.oid)
	if err != nil {
		return nil, fmt.Errorf("read the relation map of database %s: %w", name, err)
	}
	if c.mapped, err = parseRelMap(b, version); err != nil {
		return nil, err
	}
	for oid, file := range c.shared {
		c.mapped[oid] = file
	}
	for _, oid := range []wal.OID{oidType, oidAttribute, oidProc, oidClass} {
		if c.mapped[oid] == 0 {
			return nil, fmt.Errorf("the relation map of database %s does not name relation %d", name, oid)
		}
		c.files[oid] = wal.RelFileLocator{Spc: c.db.space, DB: c.db.oid, Rel: c.mapped[oid]}
	}
	// pg_attribute's own columns first, by those that are known; then the others'.
	c.columns[oidAttribute] = attributeColumns(version)
	if err := c.readColumns(ctx, oidAttribute); err != nil {
		return nil, err
	}
	others := []wal.OID{oidIndex, oidInherits, oidNamespace, oidEnum, oidRange}
	if err := c.readColumns(ctx, append([]wal.OID{oidType, oidProc, oidClass}, others...)...); err != nil {
		return nil, err
	}
	rels, err := c.relations(ctx, func(r *relation) bool { return slices.Contains(others, r.oid) })
	if err != nil {
		return nil, err
	}
	for _, r := range rels {
		c.files[r.oid] = r.file
	}
	return c, nil
}

func (c *catalog) findDatabase(ctx context.Context, name string) error {
	b, err := c.snap.src.RelMap(ctx, globalSpace, 0)
	if err != nil {
		return fmt.Errorf("read the shared relation map: %w", err)
	}
	if c.shared, err = parseRelMap(b, c.version); err != nil {
		return err
	}
	c.columns[oidDatabase] = databaseColumns(c.version)
	c.files[oidDatabase] = wal.RelFileLocator{Spc: globalSpace, Rel: c.shared[oidDatabase]}
	var names []string
	err = c.scan(ctx, oidDatabase, func(r *row) error {
		names = append(names, r.name("datname"))
		if r.name("datname") == name {
			c.db = database{r.oid("oid"), name, r.oid("dattablespace"), r.int4("encoding")}
		}
		return r.err
	})
	if err == nil && c.db.oid == 0 {
		slices.Sort(names)
		err = fmt.Errorf("there was no database %q; there were %s", name, strings.Join(names, ", "))
	}
	return err
}

// scan calls f for every visible row of a catalog. The row is borrowed until f returns.
func (c *catalog) scan(ctx context.Context, oid wal.OID, f func(r *row) error) error {
	cols := c.columns[oid]
	r := &row{cols: cols, vals: make([][]byte, len(cols))}
	whole := oid != oidDatabase && (oid != oidAttribute || hasColumn(cols, "attmissingval"))
	_, err := c.snap.scan(ctx, c.files[oid], func(at place, tup []byte) error {
		var err error
		if whole {
			err = deform(tup, cols, r.vals)
		} else {
			err = deformFirst(tup, cols, r.vals)
		}
		if err == nil {
			err = f(r)
		}
		if err == nil {
			err = r.err
		}
		if err != nil {
			return fmt.Errorf("%s, a catalog (%d): %w", at, oid, err)
		}
		return nil
	})
	return err
}

func hasColumn(cols []column, name string) bool {
	return slices.ContainsFunc(cols, func(c column) bool { return c.name == name })
}

// deformFirst is deform for a relation of which only the first columns are known.
func deformFirst(tup []byte, cols []column, vals [][]byte) error {
	short := append([]byte(nil), tup...)
	if n := int(le16(short[tInfomask2:]) & heapNatts); n > len(cols) {
		// What follows is not looked at; the bitmap of NULLs stays where it is.
		short[tInfomask2] = byte(len(cols))
		short[tInfomask2+1] = short[tInfomask2+1] &^ (heapNatts >> 8)
	}
	return deform(short, cols, vals)
}

// readColumns reads the columns of relations, in their order, dropped ones too.
func (c *catalog) readColumns(ctx context.Context, oids ...wal.OID) error {
	found := map[wal.OID][]column{}
	for _, oid := range oids {
		found[oid] = nil
	}
	err := c.scan(ctx, oidAttribute, func(r *row) error {
		oid := r.oid("attrelid")
		if _, wanted := found[oid]; !wanted || r.int2("attnum") <= 0 {
			return nil
		}
		col := column{
			name: r.name("attname"), num: r.int2("attnum"), typ: r.oid("atttypid"), typmod: r.int4("atttypmod"), len: r.int2("attlen"),
			align: r.char("attalign"), notNull: r.bool("attnotnull"), hasDef: r.bool("atthasdef"), identity: r.char("attidentity"),
			generated: r.char("attgenerated"), dropped: r.bool("attisdropped"),
		}
		if r.bool("atthasmissing") && hasColumn(r.cols, "attmissingval") {
			if v := r.value("attmissingval"); v != nil {
				first, err := (&pgtext.Formatter{}).Element(v, col.len, col.align)
				if err != nil {
					return fmt.Errorf("the missing value of column %s: %w", col.name, err)
				}
				col.missing = slices.Clone(first)
			}
		}
		found[oid] = append(found[oid], col)
		return nil
	})
	if err != nil {
		return err
	}
	for _, oid := range oids {
		cols := found[oid]
		slices.SortFunc(cols, func(a, b column) int { return int(a.num) - int(b.num) })
		for i := range cols {
			if int(cols[i].num) != i+1 {
				return fmt.Errorf("pg_attribute lacks column %d of relation %d", i+1, oid)
			}
		}
		c.columns[oid] = cols
	}
	return nil
}

// relations reads the rows of pg_class that want wants.
func (c *catalog) relations(ctx context.Context, want func(*relation) bool) (all []relation, err error) {
	err = c.scan(ctx, oidClass, func(r *row) error {
		rel := relation{
			oid: r.oid("oid"), name: r.name("relname"), namespace: r.oid("relnamespace"), kind: r.char("relkind"),
			persistence: r.char("relpersistence"), am: r.oid("relam"), toast: r.oid("reltoastrelid"), isPartition: r.bool("relispartition"),
			file: wal.RelFileLocator{Spc: r.oid("reltablespace"), DB: c.db.oid, Rel: r.oid("relfilenode")},
		}
		if rel.file.Spc == 0 {
			rel.file.Spc = c.db.space
		}
		if rel.file.Spc == globalSpace {
			rel.file.DB = 0
		}
		if rel.file.Rel == 0 {
			rel.file.Rel = c.mapped[rel.oid]
		}
		if want(&rel) {
			all = append(all, rel)
		}
		return nil
	})
	return all, err
}

// namespaces reads the names of all schemas.
func (c *catalog) namespaces(ctx context.Context) (map[wal.OID]string, error) {
	all := map[wal.OID]string{}
	err := c.scan(ctx, oidNamespace, func(r *row) error {
		all[r.oid("oid")] = r.name("nspname")
		return nil
	})
	return all, err
}

// toasts finds the TOAST tables of relations and their indexes, by the relations'
// OIDs.
func (c *catalog) toasts(ctx context.Context, rels []relation) (map[wal.OID]*toastTable, error) {
	of := map[wal.OID]*toastTable{}    // by the TOAST table
	index := map[wal.OID]*toastTable{} // by its index
	all := map[wal.OID]*toastTable{}
	cache := &pageCache{src: c.snap.src}
	for _, r := range rels {
		if r.toast != 0 {
			t := &toastTable{oid: r.toast, snap: c.snap, cache: cache}
			of[r.toast], all[r.oid] = t, t
		}
	}
	err := c.scan(ctx, oidIndex, func(r *row) error {
		// One that is being built again has a second index, not valid yet.
		if t := of[r.oid("indrelid")]; t != nil && r.bool("indisvalid") {
			index[r.oid("indexrelid")] = t
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	_, err = c.relations(ctx, func(r *relation) bool {
		if t := of[r.oid]; t != nil {
			t.table = r.file
		}
		if t := index[r.oid]; t != nil {
			t.index = r.file
		}
		return false
	})
	for oid, t := range of {
		if err == nil && (t.table.Rel == 0 || t.index.Rel == 0) {
			err = fmt.Errorf("the TOAST table %d or its index is not in the catalogs", oid)
		}
	}
	return all, err
}
