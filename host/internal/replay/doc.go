// Package replay goes through the WAL of a data directory as PostgreSQL's crash
// recovery does, and leaves behind the relations' pages as it does
// (PerformWalRecovery in access/transam/xlogrecovery.c): it begins at the redo
// location of the checkpoint that pg_control or backup_label names, and ends with
// the WAL.
//
//	pg_wal/… ──▶ [xlogreader] ──▶ record ──▶ each block reference ──▶ window ──▶ sorted by page
//	    │                           └─▶ files made, truncated, dropped               │
//	    └────── record, once more ────────────────────────────────────────▶ [redo] ◀─┘
//	                                      relation's file ──▶ page ──────────▶ │ ──▶ relation's file, fsync
//
// Since each page can be had by itself, they are not changed in the order of the
// WAL. The changes of a stretch of WAL, the window, wait until there are as many as
// [Options].Memory holds; those that an image, or a record that makes the page
// anew, a truncation or a drop make pointless are forgotten. Then they are sorted
// by page, and every page is read, changed and written once, in the order of
// blocks. A change that waits takes 16 bytes, and a page 24 to 300: the record is
// read from its segment again, which is mapped into memory as the kernel has it.
//
// A record is passed over by a page whose pd_lsn is not below the record's end,
// unless the record has an image of the page or initialises it
// (XLogReadBufferForRedoExtended). A page that is not there, or was never
// initialised, must be of a relation that a later record drops or truncates
// (log_invalid_page in access/transam/xlogutils.c).
//
// The states of transactions, multixacts and commit times (package slru) are few
// pages; they are kept in memory and written in the end.
//
// Not done are changes that are not logged: of the free space map all but its
// images (a truncation empties it), unlogged relations, and the first page of
// commit times where a server begins to keep them. pg_control and the WAL stay as
// they were: the pages are what the result is for. A tablespace that is made lies
// in the directory itself; one that is a link is followed, and should lead to a copy
// too.
//
// The work is one goroutine's.
package replay
