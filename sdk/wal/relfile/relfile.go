// Package relfile knows the names of the files in a data directory that hold
// pages: those of relations (common/relpath.c, storage/smgr/md.c), of the
// transactions' states (access/transam/slru.c), and the relation maps
// (utils/cache/relmapper.c).
//
//	base/DATABASE/RELATION[_FORK][.SEGMENT]                       pg_default, 1663
//	global/RELATION[_FORK][.SEGMENT]                              pg_global, 1664
//	pg_tblspc/SPACE/PG_MAJOR_CATALOG/DATABASE/RELATION[_FORK][.SEGMENT]
//	base/DATABASE/pg_filenode.map, global/…, pg_tblspc/…          relation maps, 512 or 524 bytes
//	pg_xact/XXXX, pg_multixact/offsets/XXXX, pg_multixact/members/XXXX, pg_commit_ts/XXXX
//
// A fork is fsm, vm or init; without one it is the main fork. A segment of a
// relation's fork has 131072 blocks, 1 GiB; the first has no number. A segment of
// the others has 32 pages, and its name is its number in hexadecimal.
//
// It is pure.
package relfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/walplex/walplex/sdk/wal"
)

// Sizes of files.
const (
	SegmentBlocks = 131072 // RELSEG_SIZE, blocks of a segment (--with-segsize's default)
	SLRUPages     = 32     // SLRU_PAGES_PER_SEGMENT (access/slru.h)
)

// The tablespaces that every cluster has (catalog/pg_tablespace.dat).
const (
	DefaultSpace wal.OID = 1663 // pg_default
	GlobalSpace  wal.OID = 1664 // pg_global
)

// RelMapName is RELMAPPER_FILENAME.
const RelMapName = "pg_filenode.map"

// Kind is what a file holds.
type Kind uint8

// The kinds.
const (
	Other     Kind = iota // no pages
	Relation              // blocks of a relation's fork
	Temporary             // a relation's that one session sees: tBACKEND_RELATION, never logged
	RelMap                // a relation map
	Xact                  // the states of transactions
	MultiXactOffsets
	MultiXactMembers
	CommitTs
)

// slruDirs are the directories of what is in pages without a header.
var slruDirs = [...]struct {
	dir  string
	kind Kind
}{
	{"pg_xact", Xact}, {"pg_multixact/offsets", MultiXactOffsets}, {"pg_multixact/members", MultiXactMembers}, {"pg_commit_ts", CommitTs},
}

// File is a file by its name.
type File struct {
	Kind    Kind
	Rel     wal.RelFileLocator // of a relation; of a relation map the tablespace and database alone
	Fork    wal.ForkNumber
	Segment uint32 // from 0
}

// FirstBlock is the number of the file's first block, or page.
func (f *File) FirstBlock() wal.BlockNumber {
	if f.Kind == Relation {
		return wal.BlockNumber(f.Segment) * SegmentBlocks
	}
	return wal.BlockNumber(f.Segment) * SLRUPages
}

// Parse reads a name relative to the data directory, with slashes. What is none
// of the names above is Other.
func Parse(name string) File {
	for _, s := range slruDirs {
		if base, ok := strings.CutPrefix(name, s.dir+"/"); ok {
			return parseSLRU(s.kind, base)
		}
	}
	parts := strings.Split(name, "/")
	switch {
	case parts[0] == "global" && len(parts) == 2:
		return parseBase(GlobalSpace, 0, parts[1])
	case parts[0] == "base" && len(parts) == 3:
		if db, ok := parseOID(parts[1]); ok {
			return parseBase(DefaultSpace, db, parts[2])
		}
	case parts[0] == "pg_tblspc" && len(parts) == 5 && strings.HasPrefix(parts[2], "PG_"):
		spc, ok := parseOID(parts[1])
		if db, ok2 := parseOID(parts[3]); ok && ok2 {
			return parseBase(spc, db, parts[4])
		}
	}
	return File{}
}

func parseSLRU(kind Kind, base string) File {
	if len(base) < 4 || len(base) > 6 || strings.ToUpper(base) != base { // SlruCorrectSegmentFilenameLength
		return File{}
	}
	n, err := strconv.ParseUint(base, 16, 32)
	if err != nil {
		return File{}
	}
	return File{Kind: kind, Segment: uint32(n)}
}

// parseBase reads a name in a database's directory.
func parseBase(spc, db wal.OID, base string) File {
	f := File{Kind: Relation, Rel: wal.RelFileLocator{Spc: spc, DB: db}}
	if base == RelMapName {
		f.Kind = RelMap
		return f
	}
	if backend, rest, ok := strings.Cut(base, "_"); ok && strings.HasPrefix(backend, "t") {
		if _, ok := parseOID(backend[1:]); !ok {
			return File{}
		}
		f.Kind, base = Temporary, rest
	}
	if main, segment, ok := strings.Cut(base, "."); ok {
		n, ok := parseOID(segment)
		if !ok {
			return File{}
		}
		f.Segment, base = uint32(n), main
	}
	number, fork, ok := strings.Cut(base, "_")
	if ok {
		if f.Fork, ok = parseFork(fork); !ok {
			return File{}
		}
	}
	if f.Rel.Rel, ok = parseOID(number); !ok {
		return File{}
	}
	return f
}

func parseFork(s string) (wal.ForkNumber, bool) {
	for f := wal.FSMFork; f <= wal.InitFork; f++ {
		if f.String() == s {
			return f, true
		}
	}
	return 0, false
}

// parseOID reads a number as PostgreSQL writes it, not 0.
func parseOID(s string) (wal.OID, bool) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return wal.OID(n), err == nil
}

// Name is the path of a relation's segment below the data directory, with
// slashes. catalog is the tablespaces' directory, such as PG_15_202209061
// ([CatalogDir]); it is read for the tablespaces that not every cluster has.
func Name(rel wal.RelFileLocator, fork wal.ForkNumber, segment uint32, catalog string) string {
	return Dir(rel.Spc, rel.DB, catalog) + "/" + Base(rel.Rel, fork, segment)
}

// Base is the name of a relation's segment in its directory.
func Base(rel wal.OID, fork wal.ForkNumber, segment uint32) string {
	s := strconv.FormatUint(uint64(rel), 10)
	if fork != wal.MainFork {
		s += "_" + fork.String()
	}
	if segment != 0 {
		s += "." + strconv.FormatUint(uint64(segment), 10)
	}
	return s
}

// Dir is the directory of a database's relations in a tablespace, below the data
// directory.
func Dir(spc, db wal.OID, catalog string) string {
	switch spc {
	case GlobalSpace:
		return "global"
	case DefaultSpace:
		return fmt.Sprintf("base/%d", db)
	}
	return fmt.Sprintf("pg_tblspc/%d/%s/%d", spc, catalog, db)
}

// CatalogDir is TABLESPACE_VERSION_DIRECTORY (common/relpath.h).
func CatalogDir(major int, catalogVersion uint32) string {
	return fmt.Sprintf("PG_%d_%d", major, catalogVersion)
}
