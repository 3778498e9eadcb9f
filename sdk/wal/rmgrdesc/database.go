package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// databaseOperations describe what the operation in the high four bits of
// xl_info does to a database, by major (commands/dbcommands_xlog.h): PG15 put
// CREATE_WAL_LOG in the place of DROP.
var databaseOperations = changes[[]func(dst []byte, c cursor) []byte]{
	{wal.PG14, []func([]byte, cursor) []byte{descDatabaseCopy, descDatabaseDrop}},
	{wal.PG15, []func([]byte, cursor) []byte{descDatabaseCopy, descDatabaseCreate, descDatabaseDrop}},
}

// descDatabase is dbase_desc (access/rmgrdesc/dbasedesc.c).
func descDatabase(dst []byte, r *wal.Record) []byte {
	operations := databaseOperations.in(r.Version)
	if op := int(r.Info >> 4); op < len(operations) {
		return operations[op](dst, mainData(r))
	}
	return dst
}

// descDatabaseCopy describes an xl_dbase_create_file_copy_rec
// (xl_dbase_create_rec in PG14).
func descDatabaseCopy(dst []byte, c cursor) []byte {
	db, spc, sourceDB, sourceSpc := c.u32(), c.u32(), c.u32(), c.u32()
	if c.short {
		return c.end(dst)
	}
	dst = appendUint(dst, "copy dir ", sourceSpc)
	dst = appendUint(dst, "/", sourceDB)
	dst = appendUint(dst, " to ", spc)
	return appendUint(dst, "/", db)
}

// descDatabaseCreate describes an xl_dbase_create_wal_log_rec (since PG15).
func descDatabaseCreate(dst []byte, c cursor) []byte {
	db, spc := c.u32(), c.u32()
	if c.short {
		return c.end(dst)
	}
	dst = appendUint(dst, "create dir ", spc)
	return appendUint(dst, "/", db)
}

// descDatabaseDrop describes an xl_dbase_drop_rec: the database's directory in
// each of its tablespaces.
func descDatabaseDrop(dst []byte, c cursor) []byte {
	db, n := c.u32(), c.i32()
	if c.short {
		return c.end(dst)
	}
	tablespaces := c.array(int64(n), 4)
	dst = append(dst, "dir"...)
	for tablespaces.left() > 0 {
		dst = appendUint(dst, " ", tablespaces.u32())
		dst = appendUint(dst, "/", db)
	}
	return c.end(dst)
}
