package pagecache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
)

// errNotKept is the end of a read of a page that the settings leave out.
var errNotKept = errors.New(pageclient.NotKept)

// keeps says whose pages are stored, where that is not everybody's: nil is all.
// Shared relations, and what is no relation's, always are.
type keeps struct {
	databases map[wal.OID]bool
	relations map[wal.RelFileLocator]bool
	within    map[wal.OID]bool // databases of relations

	// copied are kept databases that were made by copying the files of one that is
	// not kept: nobody knows their pages. The map is replaced, never changed.
	copied atomic.Pointer[map[wal.OID]wal.OID]
}

// newKeeps is what the configuration says.
func newKeeps(c *Config) (*keeps, error) {
	if len(c.Databases) == 0 && len(c.Relations) == 0 {
		return nil, nil
	}
	databases, err := parseDatabases(c.Databases)
	if err != nil {
		return nil, err
	}
	relations, err := parseRelations(c.Relations)
	if err != nil {
		return nil, err
	}
	return makeKeeps(databases, relations), nil
}

func makeKeeps(databases []wal.OID, relations []wal.RelFileLocator) *keeps {
	k := &keeps{databases: map[wal.OID]bool{}, relations: map[wal.RelFileLocator]bool{}, within: map[wal.OID]bool{}}
	for _, db := range databases {
		k.databases[db] = true
	}
	for _, rel := range relations {
		k.relations[rel], k.within[rel.DB] = true, true
	}
	k.copied.Store(&map[wal.OID]wal.OID{})
	return k
}

func parseDatabases(list []string) (out []wal.OID, err error) {
	for _, s := range list {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a database's OID: write a number (SELECT oid, datname FROM pg_database)", s)
		}
		out = append(out, wal.OID(n))
	}
	return out, nil
}

func parseRelations(list []string) (out []wal.RelFileLocator, err error) {
	for _, s := range list {
		rel, err := pageclient.ParseRelation(s)
		if err != nil {
			return nil, err
		}
		out = append(out, rel)
	}
	return out, nil
}

// stores says whether pages of the relation are stored.
func (k *keeps) stores(rel wal.RelFileLocator) bool {
	return k == nil || rel.DB == 0 || rel.Spc == 0 || k.databases[rel.DB] || k.relations[rel]
}

// check answers why pages of the relation cannot be read, nil when they can.
func (k *keeps) check(rel wal.RelFileLocator) error {
	if !k.stores(rel) {
		return fmt.Errorf("%w: relation %s is not among those of the sink's settings %s", errNotKept, rel, k)
	}
	if k != nil {
		if from, ok := (*k.copied.Load())[rel.DB]; ok && rel.Spc != 0 {
			return fmt.Errorf("%w: database %d was made by copying the files of database %d, which is not among those of the sink's settings %s", errNotKept, rel.DB, from, k)
		}
	}
	return nil
}

// record says whether a record is stored: of those that change pages, the ones
// that change one of a relation that is stored.
func (k *keeps) record(rec *wal.Record) bool {
	if k == nil || len(rec.Blocks) == 0 {
		return true
	}
	for i := range rec.Blocks {
		if k.stores(rec.Blocks[i].Rel) {
			return true
		}
	}
	return false
}

// Database's CREATE_FILE_COPY: the new database's OID, its tablespace, the other's
// OID and tablespace (xl_dbase_create_file_copy_rec in commands/dbcommands_xlog.h;
// CREATE before PG15).
const (
	createFileCopy     = 0x00
	createFileCopySize = 16
)

// copies notes a database that is kept and made of one that is not, and says
// whether it was not known.
func (k *keeps) copies(rec *wal.Record) bool {
	main := rec.MainData()
	if k == nil || rec.RmgrID != wal.RmgrDatabase || rec.Info&0xF0 != createFileCopy || len(main) < createFileCopySize {
		return false
	}
	to, from := wal.OID(binary.LittleEndian.Uint32(main)), wal.OID(binary.LittleEndian.Uint32(main[8:]))
	copied := *k.copied.Load()
	_, lacking := copied[from]
	if !k.databases[to] && !k.within[to] || k.databases[from] && !lacking || copied[to] == from {
		return false
	}
	copied = maps.Clone(copied)
	copied[to] = from
	k.copied.Store(&copied)
	return true
}

// String names the settings in which it stands.
func (k *keeps) String() string {
	var parts []string
	if len(k.databases) > 0 {
		parts = append(parts, fmt.Sprintf("databases = %d", slices.Sorted(maps.Keys(k.databases))))
	}
	if len(k.relations) > 0 {
		parts = append(parts, fmt.Sprintf("relations = %s", k.sortedRelations()))
	}
	return strings.Join(parts, ", ")
}

func (k *keeps) sortedRelations() []wal.RelFileLocator {
	return slices.SortedFunc(maps.Keys(k.relations), func(a, b wal.RelFileLocator) int {
		return strings.Compare(a.String(), b.String())
	})
}

// without answers what k stores and former does not, "" for nothing.
func (k *keeps) without(former *keeps) string {
	switch {
	case former == nil:
		return ""
	case k == nil:
		return "everything"
	}
	for db := range k.databases {
		if !former.databases[db] {
			return fmt.Sprintf("database %d", db)
		}
	}
	for rel := range k.relations {
		if !former.stores(rel) {
			return fmt.Sprintf("relation %s", rel)
		}
	}
	return ""
}
