// Package redo does to a page what a record does to it: page bytes and a record
// become page bytes, as PostgreSQL's recovery makes them, of every built-in
// resource manager that changes pages of relations, PG14 to PG18
// (rm_redo of access/rmgrlist.h: heapam.c, nbtxlog.c, hash_xlog.c, ginxlog.c,
// gistxlog.c, spgxlog.c, brin_xlog.c, generic_xlog.c, sequence.c, xlog.c).
//
// A page as all of them lay it out (storage/bufpage.h), little-endian:
//
//	 0       8        10      12      14      16         18         20          24
//	+-------+--------+-------+-------+-------+----------+----------+-----------+
//	|pd_lsn |pd_     |pd_    |pd_    |pd_    |pd_special|pd_page   |pd_prune_  |
//	|hi, lo |checksum|flags  |lower  |upper  |          |size_ver  |xid        |
//	+-------+--------+-------+-------+-------+----------+----------+-----------+
//	| line pointer 1 | line pointer 2 | … up to pd_lower                       |
//	+--------------------------------------------------------------------------+
//	| nothing, up to pd_upper                                                  |
//	+--------------------------------------------------------------------------+
//	| … | tuple | tuple | up to pd_special                                     |
//	+--------------------------------------------------------------------------+
//	| special space, an index's own, up to 8192                                |
//	+--------------------------------------------------------------------------+
//
// Each block reference of a record is redone from its own page and the record
// alone: no other page is looked at. So any page can be had by itself, from its
// last image on:
//
//	for each record that refers to the page, by block reference i, in order of LSN {
//		err := redo.Apply(page, rec, i, &images)
//	}
//	for each record that changes it without naming it ([Implied]) {
//		err := redo.ApplyImplied(page, rec, implied)
//	}
//
// What the record says is trusted no more than any input: a record that does not
// fit its page, which a damaged page or record makes, is an error with LSN and
// reason, and the page stays as it was. Nothing is written outside the page, and
// nothing panics.
//
// What no record carries, no page here has: hint bits, the free space map (but
// images of it), pd_checksum (left as it is; whoever writes the page to a file
// has [SetChecksum] compute it), and what lies between pd_lower and pd_upper.
// [Mask] takes all that out of a page for comparison, as the server's own check
// does.
//
// Not pages of relations, and not here: the transactions' states and commit
// times, and multixacts (package slru); the relation map; nor what makes, drops
// and truncates files.
//
// Two things depend on the server and not on its WAL, and are done in one way
// here: VISIBLE sets pd_lsn of the heap page, as servers with data checksums or
// wal_log_hints do; and deletions mark a page of GiST F_TUPLES_DELETED, which
// nothing reads, as servers before 17.11 and 18.6 do.
//
// The package is pure: no I/O, no clock, no goroutine, no log. Apply allocates some
// hundred bytes a change, and [Redoer] for most changes nothing.
package redo
