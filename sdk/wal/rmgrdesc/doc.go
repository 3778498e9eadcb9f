// Package rmgrdesc describes records as pg_waldump does: the text after "desc:"
// and the operation's name, of every built-in resource manager, as the major
// version that wrote the record prints it (access/rmgrdesc/*.c of REL_14_STABLE
// to REL_18_STABLE).
//
//	desc: COMMIT 2026-02-03 04:05:06.000007 UTC; rels: base/5/16384
//	             ^ from here on: [Append]
//
// Not part of it are the block references that pg_waldump prints after it.
//
// What differs between majors is in tables that name the major since when it
// holds. Timestamps are in the time zone of the one who asks, as pg_waldump's are
// in that of its process.
//
// It is pure, allocates nothing once dst is large enough, and trusts no length in
// a record: of a body that ends before its format says, the whole parts are
// described, followed by [Truncated]. pg_waldump reads what lies in memory behind
// it.
package rmgrdesc
