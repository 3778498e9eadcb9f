// Package waldump prints the records of WAL segments as PostgreSQL's pg_waldump
// does: its options, its output and its messages, byte for byte those of the
// pg_waldump of the major version that wrote the WAL, which the magic number of
// the pages tells (src/bin/pg_waldump). Only the program's name differs, in
// front of messages: it is what the caller calls itself.
//
// A record's line, and with -b a line for each block reference:
//
//	rmgr: Heap        len (rec/tot):     54/  8250, tx:        731, lsn: 0/03000148, prev 0/030000E8, desc: LOCK xmax: …, blkref #0: rel 1663/5/16384 blk 7 FPW
//
// Options are those of PG15 to PG18 together, and two of our own: --json prints
// one object a line, and --jobs bounds the number of goroutines.
//
// What pg_waldump does not do: a magic number that no supported version has is
// named, and a file whose name is not a segment's is refused by name.
//
// # Speed
//
// Segments are mapped, and records read where they lie. A range of more than a
// few MiB is cut into chunks, at the start of a page each, which goroutines
// read at the same time. A chunk's reader does not know what lies before it, so
// every reader goes on to the first record behind its own chunk, with all
// checks; only if the next chunk's reader began with that very record is its
// output taken, and otherwise the first one goes on into the next chunk. So
// output and errors are those of one reader that reads all.
//
//	chunk          |<------- 1 ------->|<------- 2 ------->|
//	records        | a | b | c |   d   | e | f |   g   | h |
//	reader 1         a   b   c   d      (e): begun by reader 2?
//	reader 2                     skipped e   f   g   h     (i)
//
// Statistics, and -q, need no more of a record than its header and the size of
// its images. Where a reader is at a sound record, those that follow it in what
// is mapped are checked and counted where they lie, without being decoded; at
// anything out of the ordinary the reader goes on from the last one.
package waldump
