// Package pages is what the commands `walplex page …` do with the pages that a
// page_cache sink answers (package pageclient).
//
//	verify   holds every page of a data directory, whose server is stopped, against the sink's
//	export   writes a relation's files as of an LSN, for a stock server to read
//	diff     what changed on a page between two LSNs
//	history  the records that touched a page
//	decode   a page for people to read
//
// # Verify
//
// The target is the LSN of the shutdown checkpoint, of pg_control. Pages are
// compared as the server's own check of its WAL compares them ([redo.Mask]): but for
// what no record carries, hint bits above all. By what it is masked, a page's kind,
// is read from the page ([KindOf]). Beyond that:
//
//	empty pages     a page that was added to a file and never logged, all zero or
//	                initialised without content and without an LSN, equals a page
//	                of which the sink has nothing
//	sequences       last_value and log_cnt may be behind the sink's by the values
//	                that the server had logged in advance
//	spgist          the pages that an index used last, on its meta page, are not logged
//	vm              a page of a database made by CREATE DATABASE STRATEGY wal_log may lack
//	                bits, which that leaves out of the WAL: "vm, in part"
//	fsm             left out: its changes are not logged
//	temporary and   left out, but for the init forks of the latter: nothing of them
//	unlogged        is logged
//	pg_xact         compared up to the next transaction's id, of pg_control; multixacts
//	                and commit times likewise, in the range that pg_control tells
//
// A block that only one side has is a difference.
//
// # Export
//
// Files are as md.c lays them out, in segments of 1 GiB. Blocks that the relation
// has and that nothing was ever logged of are zero, as in the server's own files.
package pages
