// Package slru does to pages of the server's SLRUs (access/slru.h) what records do
// to them: the states of transactions, multixacts and their members, and the times
// of commits, PG14 to PG18 (clog.c, multixact.c, commit_ts.c, xact.c).
//
// No record refers to these pages. [Pages] says which ones a record changes, and
// [Apply] does it:
//
//	for each record, in order of LSN {
//		pages = slru.Pages(rec, pages[:0])
//		for each p of pages {
//			err := slru.Apply(page, rec, p)
//		}
//		for each t of slru.Truncated(rec, nil) { forget the pages that t.Removes }
//	}
//
// A page has 8192 bytes, no header, and so no LSN. All numbers are little-endian,
// and all ids wrap around at 2^32:
//
//	Xact (pg_xact): two bits an xid, the first one lowest; [Status]
//
//	+--------+--------+----- 32,768 xids a page
//	|x3x2x1x0|x7x6x5x4| …
//	+--------+--------+-----
//
//	MultiXactOffsets (pg_multixact/offsets): where the members of a multixact begin
//
//	+--------------------+----- 2,048 multixacts a page
//	| first member u32   | …
//	+--------------------+-----
//
//	MultiXactMembers (pg_multixact/members): groups of four, 20 bytes each
//
//	+------+------+------+------+--------+--------+--------+--------+----- 1,636 members
//	|status|status|status|status|xid u32 |xid u32 |xid u32 |xid u32 | …    a page; the last
//	+------+------+------+------+--------+--------+--------+--------+----- 12 bytes are 0
//
//	CommitTs (pg_commit_ts): 10 bytes an xid; 819 xids a page, the last 2 bytes are 0
//
//	+-------------------------+------------+-----
//	| µs since 2000-01-01 i64 | origin u16 | …
//	+-------------------------+------------+-----
//
// 32 pages make a file, named by its number in hexadecimal (SLRU_PAGES_PER_SEGMENT);
// files are removed as a whole, and so are pages.
//
// # What WAL does not say
//
// Whether the server keeps the times of commits (track_commit_timestamp), a commit
// does not say. [Pages] names the pages of [CommitTs] for every commit, with
// [Page.Existing] set, and a server that keeps no times has none of these pages.
// [Tracking] tells it for whoever wants to know it beforehand. A server that begins
// to keep times makes the page of the next xid without a record of its own;
// [TrackingBegins] says which.
//
// A multixact's record sets the offset of the next one too, as servers do since
// 14.21, 15.16, 16.12, 17.8 and 18.2; older ones set it with the next record, to the
// same value. Where the next offset is the first of another page, the WAL of
// older servers makes that page only later: so its page has Existing set as well.
//
// What a server does to these pages beside its WAL is not here: the state "sub-committed",
// which only lasts while a commit is on its way, and the zeroing of what lies behind
// the last id at a start, which is zero already but after a crash.
//
// # Order
//
// Applying records in the order of the WAL makes the pages as recovery makes them.
// Applying a sequence of them again, to pages that have some or all of it already,
// makes the same pages: which is how recovery gets from a backup, whose pages are
// of any time up to its end, to a state that holds.
//
// What the record says is trusted no more than any input: a record that does not
// fit the page is an error with LSN and reason, and the page stays as it was.
// Nothing panics. The package is pure: no I/O, no clock, no goroutine, no log; it
// allocates nothing but errors.
package slru
