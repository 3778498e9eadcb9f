// Package tablerecover gives the rows of a table as they were at an LSN, from
// pages alone: those of the table, of the catalogs that describe it, and of the
// transactions' states, all as of that LSN. No server takes part.
//
// A table that was dropped, truncated or emptied is whole as of an LSN before the
// commit of what did that: its row in pg_class, its file and its rows are all
// still there, and the transaction that ended them is not committed.
//
//	database    pg_database, whose file the shared relation map names
//	catalogs    pg_class, pg_attribute, pg_type, pg_proc: the database's relation
//	            map; the others: pg_class
//	columns     pg_attribute says of every catalog, itself included, and of the
//	            table, where each column lies. Only its own first columns, and
//	            those of pg_database, are known here beforehand, by major version
//	rows        heap pages in order; a row counts if the transaction that made it
//	            has committed and none that removed it has, as pg_xact says
//	values      in line, compressed, or in the TOAST table, through its index
//
// Recover streams: it holds a page of rows, a value, and some pages of catalogs
// and indexes in memory. It refuses what it cannot give whole: views, foreign and
// unlogged tables, other access methods than heap, types whose text is not known
// (package pgtext). It never gives a value that it is not sure of.
//
// What a table's dropped columns held is left out, as are its generated columns,
// which COPY does not take. Rows of partitions come with their partitioned table;
// those of inheritance children do not.
package tablerecover
