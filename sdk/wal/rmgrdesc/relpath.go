package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// The tablespaces that every cluster has (catalog/pg_tablespace.dat).
const (
	defaultTablespace wal.OID = 1663 // DEFAULTTABLESPACE_OID, pg_default
	globalTablespace  wal.OID = 1664 // GLOBALTABLESPACE_OID, pg_global
)

// tablespaceDirectories are TABLESPACE_VERSION_DIRECTORY of each major
// (common/relpath.h; CATALOG_VERSION_NO in catalog/catversion.h), between
// slashes.
var tablespaceDirectories = changes[string]{
	{wal.PG14, "/PG_14_202107181/"},
	{wal.PG15, "/PG_15_202209061/"},
	{wal.PG16, "/PG_16_202307071/"},
	{wal.PG17, "/PG_17_202406281/"},
	{wal.PG18, "/PG_18_202506291/"},
}

// forkSuffixes end the file names of each fork (forkNames in common/relpath.c).
var forkSuffixes = [...]string{
	wal.MainFork:          "",
	wal.FSMFork:           "_fsm",
	wal.VisibilityMapFork: "_vm",
	wal.InitFork:          "_init",
}

// appendRelPath appends the path of a relation's fork in the data directory, as
// relpathperm gives it (common/relpath.c). A fork that does not exist, for which
// it has no name, is shown as its number.
func appendRelPath(dst []byte, v wal.Version, rel wal.RelFileLocator, fork uint32) []byte {
	switch rel.Spc {
	case globalTablespace: // belongs to no database
		dst = append(dst, "global/"...)
	case defaultTablespace:
		dst = appendUint(dst, "base/", rel.DB)
		dst = append(dst, '/')
	default:
		dst = appendUint(dst, "pg_tblspc/", rel.Spc)
		dst = appendUint(dst, tablespaceDirectories.in(v), rel.DB)
		dst = append(dst, '/')
	}
	dst = appendUint(dst, "", rel.Rel)
	if fork >= uint32(len(forkSuffixes)) {
		return appendUint(dst, "_fork", fork)
	}
	return append(dst, forkSuffixes[fork]...)
}

// appendRelations appends the label and the paths of RelFileLocators, each after
// a blank; nothing without any.
func appendRelations(dst []byte, label string, rels cursor, v wal.Version) []byte {
	for ; rels.left() > 0; label = "" {
		dst = append(dst, label...)
		dst = append(dst, ' ')
		dst = appendRelPath(dst, v, rels.locator(), uint32(wal.MainFork))
	}
	return dst
}
