package tablerecover

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// OIDs of the catalogs that are read (catalog/pg_*.h).
const (
	oidType      wal.OID = 1247
	oidAttribute wal.OID = 1249
	oidProc      wal.OID = 1255
	oidClass     wal.OID = 1259
	oidDatabase  wal.OID = 1262
	oidIndex     wal.OID = 2610
	oidInherits  wal.OID = 2611
	oidNamespace wal.OID = 2615
	oidEnum      wal.OID = 3501
	oidRange     wal.OID = 3541
)

// globalSpace is the tablespace of shared relations (catalog/pg_tablespace.dat).
const globalSpace wal.OID = 1664

// fixed makes columns of names and types of fixed lengths.
func fixed(cols ...string) []column {
	out := make([]column, 0, len(cols)/2)
	for i := 0; i < len(cols); i += 2 {
		c := column{name: cols[i]}
		switch cols[i+1] {
		case "oid", "int4":
			c.len, c.align = 4, 'i'
		case "int2":
			c.len, c.align = 2, 's'
		case "bool", "char":
			c.len, c.align = 1, 'c'
		case "name":
			c.len, c.align = 64, 'c'
		}
		out = append(out, c)
	}
	return out
}

// attributeColumns are pg_attribute's first columns, all that it takes to find the
// rest of them (catalog/pg_attribute.h).
func attributeColumns(v wal.Version) []column {
	var first []column
	switch {
	case v <= wal.PG15:
		first = fixed("attrelid", "oid", "attname", "name", "atttypid", "oid", "attstattarget", "int4", "attlen", "int2", "attnum", "int2",
			"attndims", "int4", "attcacheoff", "int4", "atttypmod", "int4")
	case v <= wal.PG17:
		first = fixed("attrelid", "oid", "attname", "name", "atttypid", "oid", "attlen", "int2", "attnum", "int2", "attcacheoff", "int4",
			"atttypmod", "int4", "attndims", "int2")
	default:
		first = fixed("attrelid", "oid", "attname", "name", "atttypid", "oid", "attlen", "int2", "attnum", "int2", "atttypmod", "int4",
			"attndims", "int2")
	}
	return append(first, fixed("attbyval", "bool", "attalign", "char", "attstorage", "char", "attcompression", "char", "attnotnull", "bool",
		"atthasdef", "bool", "atthasmissing", "bool", "attidentity", "char", "attgenerated", "char", "attisdropped", "bool")...)
}

// databaseColumns are pg_database's first columns (catalog/pg_database.h). Its row
// type is described in every database, but one has to be found first.
func databaseColumns(v wal.Version) []column {
	switch {
	case v <= wal.PG14:
		return fixed("oid", "oid", "datname", "name", "datdba", "oid", "encoding", "int4", "datcollate", "name", "datctype", "name",
			"datistemplate", "bool", "datallowconn", "bool", "datconnlimit", "int4", "datlastsysoid", "oid", "datfrozenxid", "oid",
			"datminmxid", "oid", "dattablespace", "oid")
	case v <= wal.PG16:
		return fixed("oid", "oid", "datname", "name", "datdba", "oid", "encoding", "int4", "datlocprovider", "char",
			"datistemplate", "bool", "datallowconn", "bool", "datconnlimit", "int4", "datfrozenxid", "oid", "datminmxid", "oid", "dattablespace", "oid")
	default:
		return fixed("oid", "oid", "datname", "name", "datdba", "oid", "encoding", "int4", "datlocprovider", "char",
			"datistemplate", "bool", "datallowconn", "bool", "dathasloginevt", "bool", "datconnlimit", "int4", "datfrozenxid", "oid",
			"datminmxid", "oid", "dattablespace", "oid")
	}
}

// encodings are the names of a server's encodings (mb/pg_wchar.h, pg_enc).
func encodingName(n int32) string {
	names := [...]string{"SQL_ASCII", "EUC_JP", "EUC_CN", "EUC_KR", "EUC_TW", "EUC_JIS_2004", "UTF8", "MULE_INTERNAL", "LATIN1", "LATIN2",
		"LATIN3", "LATIN4", "LATIN5", "LATIN6", "LATIN7", "LATIN8", "LATIN9", "LATIN10", "WIN1256", "WIN1258", "WIN866", "WIN874", "KOI8R",
		"WIN1251", "WIN1252", "ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8", "WIN1250", "WIN1253", "WIN1254", "WIN1255", "WIN1257", "KOI8U"}
	if n < 0 || int(n) >= len(names) {
		return fmt.Sprintf("number %d", n)
	}
	return names[n]
}
