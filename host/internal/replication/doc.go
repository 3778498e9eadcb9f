// Package replication speaks PostgreSQL's streaming replication protocol for
// physical replication, as a client of a walsender (replication/walsender.c;
// the protocol is in the manual's chapter "Streaming Replication Protocol").
//
// It is the only package that imports pgconn and pglogrepl. They do the
// connection (libpq's connection strings, TLS, SCRAM, message framing),
// IDENTIFY_SYSTEM, TIMELINE_HISTORY, and the decoding of what the server sends
// while streaming. Owned here, because pglogrepl does it otherwise:
//
//   - the standby status: pglogrepl puts the write LSN where flush and apply are
//     zero, which confirms WAL that nobody has flushed. Here zero stays zero;
//   - START_REPLICATION: a slot only where one is given, and quoted; a start at
//     the very end of a timeline answers with the next timeline and no stream;
//   - the end of a stream from either side, after which the same connection takes
//     commands again, so that a stream can be rewound without a new login;
//   - slots, with RESERVE_WAL, without which restart_lsn stays NULL;
//   - deadlines: reads are bounded by one deadline on the socket, not by a
//     goroutine a message, and go on after a deadline has passed.
//
// # What travels inside CopyData
//
// Integers are big-endian, times are microseconds since 2000-01-01 UTC.
//
//	XLogData (server)
//	 0   1               9               17              25
//	+---+---------------+---------------+---------------+------------- … -+
//	|'w'| start LSN     | server's end  | server's time | WAL, ≤ 128 KiB  |
//	+---+---------------+---------------+---------------+------------- … -+
//
//	keepalive (server)
//	 0   1               9               17  18
//	+---+---------------+---------------+---+
//	|'k'| server's end  | server's time | R |   R = 1: reply at once
//	+---+---------------+---------------+---+
//
//	standby status (client)
//	 0   1               9               17              25              33  34
//	+---+---------------+---------------+---------------+---------------+---+
//	|'r'| written up to | flushed up to | applied up to | client's time | R |
//	+---+---------------+---------------+---------------+---------------+---+
//
// # Goroutines
//
// One goroutine owns a [Conn]: it calls everything. The one exception is
// [Conn.SendStatus], which any goroutine may call at any time: every byte that
// goes out while streaming is written under one mutex, a whole message in one
// write, so that a status never waits for a read and never mixes with another.
//
// # Liveness
//
// When nothing has arrived for half of Config.ReceiverTimeout, Receive sends the
// last status once more and asks for a reply; at the full value it fails with a
// transient error. Only the time spent waiting in Receive counts, so a consumer
// that holds the stream back is not taken for a dead server. Such a consumer must
// let SendStatus be called at intervals, or the server's wal_sender_timeout ends
// the stream.
//
// # Errors
//
// Every failure is an [*Error] that says whether trying again can help and what
// to do; only the end of the caller's context is passed on as it is. No error and
// no String method gives away a password.
package replication
