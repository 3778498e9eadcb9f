// Package filter compiles a sink's filter: a tree of comparisons, as package
// config reads it, becomes closures behind a table by resource manager, and what
// cannot work is found with its place in the file. It is pure: no I/O, no clock,
// no goroutine, no log.
//
// # Attributes
//
// The record that a filter sees. Those marked "block" are of its block
// references, all others of the record itself.
//
//	record.rmgr                   name    resource manager as pg_waldump names it ("Heap", "custom130"), or its number (130)
//	record.operation              name    as pg_waldump of the server's major names it: "INSERT", "INSERT+INIT", "COMMIT"
//	record.info                   number  xl_info, all 8 bits
//	record.xid                    number  transaction, 0 none
//	record.toplevel_xid           number  of a subtransaction's first record with wal_level=logical, else 0
//	record.origin                 number  replication origin, 0 none
//	record.length                 number  xl_tot_len, bytes
//	record.main_data_length       number  bytes
//	record.start_lsn              LSN     of the record's first byte, such as lsn("0/3000028")
//	record.end_lsn                LSN     PostgreSQL's EndRecPtr
//	record.has_image              bool    any of its blocks comes with an image of the page
//	record.tablespace      block  number  OID
//	record.database        block  number  OID, 0 for what the databases share
//	record.relation        block  number  relfilenode, not the relation's OID; or
//	                              name    "schema.table" or "db.schema.table", see below
//	record.fork            block  name    "main", "fsm", "vm", "init"
//	record.block           block  number  of the page in its fork
//
// Names compare by == and != and stand in lists; numbers and LSNs have an order
// too; a bool is a condition by itself. Names of resource managers are taken in
// any case, all others are exact: "INSERT" is not "INSERT+INIT", which is the
// same with a new page. An operation's name is one of several resource managers',
// so that it mostly comes with record.rmgr.
//
// # Blocks
//
// A record has none, one or up to 33 block references. A comparison of a block
// attribute holds if it holds for any block; != is the negation of ==, so it
// holds if no block is equal; of a record without blocks every comparison is
// false, and != is true. Each comparison looks by itself:
//
//	record.database == 5 && record.block < 10
//
// is a record with a block in database 5 and a block below 10, which need not be
// one block. Commits have no block references: a filter by database or relation
// that wants transactions' ends too says so, as in
// record.rmgr == "Transaction" || record.database == 5.
//
// # Relations by name
//
// A name is looked up in the catalog, which validate does not do. It is taken as
// it stands there, without folding to lower case; a dot in it, or a quote, is put
// in double quotes, as in SQL. It stands for the files of that relation alone: not
// for its indexes, its TOAST table, or its partitions, each of which has a name
// of its own.
//
// A record holds no name but the relfilenode, which TRUNCATE, VACUUM FULL,
// CLUSTER and some ALTER TABLE change. A filter with names watches for new files
// in the WAL ([Names.Stale]), and whoever holds it looks the names up again, and
// every few minutes besides. What this cannot do: records of a new file that come
// before its name is looked up, all those of the transaction that makes it among
// them, are not picked; nor is WAL that is older than the change where it is read
// for the first time after it; nor, for those minutes, a table that was renamed,
// or any change where the sink itself subscribes to some resource managers only
// and Storage is not among them, so that new files are not seen. A relfilenode
// once found stays for as long as the filter is used: WAL of the past is the same
// table's. What must not miss a record filters by database.
//
// # How a record is tested
//
//	rmgr mask ─0▶ no        one bit a resource manager: can any of its records match?
//	    │1
//	operation ─▶ yes / no   by major, resource manager and high bits of xl_info: what is certain without the rest
//	    │perhaps
//	closures ─▶ yes / no    the filter itself
//
// Nothing is allocated.
package filter
