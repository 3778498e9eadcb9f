// Package wal is the vocabulary of PostgreSQL's write-ahead log: positions,
// timelines, segments, resource managers, and records.
//
// It mirrors PostgreSQL's own definitions and names; every mirrored constant
// cites the header that it comes from. It is pure: no I/O, no clock, no
// goroutine, no log, and it allocates nothing per record.
//
// A record as it lies in the WAL (access/xlogrecord.h), once the page headers
// inside it are left out, little-endian:
//
//	 0        4        8                16     17      18     20       24
//	+--------+--------+----------------+------+-------+------+--------+
//	|xl_tot_ | xl_xid | xl_prev        |xl_   |xl_rmid| pad  | xl_crc |
//	|len     |        |                |info  |       |      |        |
//	+--------+--------+----------------+------+-------+------+--------+
//	| block headers, origin, toplevel xid, main data header           |
//	+------------------------------------------------------------------+
//	| block image and data of block 0, of block 1, …                   |
//	+------------------------------------------------------------------+
//	| main data                                                        |
//	+------------------------------------------------------------------+
//
// Supported majors are 14 to 18; the magic number of a WAL page says which
// ([VersionOfMagic]). Nothing else decides it.
package wal
