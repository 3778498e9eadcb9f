// Package xlogreader turns the bytes of PostgreSQL's WAL into records: it is
// pushed bytes in any split, and makes every check that the server makes
// (src/backend/access/transam/xlogreader.c), in its wording.
//
// The WAL is a row of pages of 8192 bytes, each with a header; records lie in
// what is left, 8-aligned, and run on over pages and segments:
//
//	page header          records                                     page end
//	+-------+-----------+--------------+--------------+---------------------+
//	| long  | record 1  | record 2     | record 3     | record 4, first part|
//	+-------+-----------+--------------+--------------+---------------------+
//	+-------+------------------------------+-----------+--------------------+
//	| short | record 4, rest, xlp_rem_len  | record 5  | record 6 …         |
//	+-------+------------------------------+-----------+--------------------+
//
// The long header, with system identifier and sizes, begins every segment. Its
// fields and the header of a record are drawn in package waltest and package
// wal.
//
//	r := xlogreader.New(start, xlogreader.Options{SegmentSize: size})
//	for each piece of WAL {
//		r.Feed(piece)
//		for {
//			status, err := r.Next(&rec)
//			if err != nil { … corrupt: stop }
//			if status != xlogreader.Record && status != xlogreader.Fragment { break }
//			… use rec
//		}
//	}
//
// Three outcomes are never mixed: more bytes are needed ([NeedMore]), the WAL
// ends here ([EndOfWAL], only in files), and it is corrupt (an error).
// What a crash leaves behind in a file may look corrupt too: a record cut off
// by zeros, or an old page of a recycled segment. PostgreSQL takes every such
// place for the end of WAL; a caller that reads the last segment of a crashed
// cluster has to do the same.
//
// A record is handed over once all bytes up to its end have been fed, so its
// EndLSN never lies beyond [Reader.Fed]. EndLSN is PostgreSQL's EndRecPtr:
// MAXALIGNed, and for XLOG_SWITCH the segment's end; it may be exactly a page's
// end and is not moved over the next page's header.
//
// A record that was begun but never completed, because the server crashed, is
// dropped where the WAL says so (XLP_FIRST_IS_OVERWRITE_CONTRECORD). If
// fragments of it were handed over, they are followed by a record with another
// StartLSN, and that is all that is said about them.
//
// The package is pure: no I/O, no clock, no goroutine, no log. It allocates
// nothing per record; its one buffer grows with the bytes of a record that have
// arrived, to [Options].MaxWhole at most.
package xlogreader
