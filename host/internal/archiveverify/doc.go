// Package archiveverify reads a whole archive and says whether everything in it
// holds: every page, record, checksum and back-link of every segment, plain or
// compressed, the holes between segments, and the switches between timelines.
//
// # How
//
// Segments that follow each other without a hole are a run. A run is cut into
// parts, which are read at the same time:
//
//	segment   41      42      43      44      45      46
//	        |-------|-------|-------|-------|-------|-------|
//	part    [ 1            ]──▶ reads on up to the first record of part 2
//	                        [ 2            ]──▶
//
// A part begins in the midst of a record, whose rest it skips. The part before
// reads on until it has seen that record and the one that follows it: so each
// record is checked by someone who knows what precedes it, and both have to agree
// on where the first record of a part begins.
//
// Behind a fault, reading begins again at the next page whose address is right.
// What is found wrong before a record holds again is the same fault, up to the
// end of the file.
//
// # What is the end and not a fault
//
// At the end of a timeline's last run, WAL may end anywhere: in a .partial, and
// also in a segment under its final name, since that is what a copy of pg_wal
// looks like. It has ended when nothing follows but zeros and pages that a
// recycled segment has kept from its former place; if a page with its right
// address follows, the place is a fault. Timeline.EndsIn says where it ended.
//
// # Timelines
//
// A timeline's history file must be there, and agree with that of its parent. The
// new timeline's first segment must repeat, up to the switch point, the bytes of
// the old timeline's segment of the same number, as far as that was received; each
// of its pages must carry the timeline that the history says; a record must begin
// at the switch point, and the record that begins the new timeline must follow.
// What an old timeline holds behind the switch point is its own and is checked
// like the rest.
//
// # Bounds
//
// Memory is a buffer and a decompressor for each goroutine, whatever the size of
// segments. Reports list a limited number of faults, holes and foreign files, and
// count the rest.
package archiveverify
