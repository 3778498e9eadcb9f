// Package sdk is all that the author of a sink needs. A sink is a program that
// takes a PostgreSQL cluster's WAL from the walplex host, in its own process:
//
//	type Config struct {
//		Directory string `walplex:"directory,required" format:"path" doc:"where the counts are kept"`
//	}
//
//	func main() {
//		sdk.Serve(sdk.Define("counter", func(c *Config) sdk.Sink { return &sink{config: c} },
//			sdk.Records()))
//	}
//
// # The contract
//
// Order. A sink gets the WAL of one stream in the order of its LSNs, without
// gap, reordering or repetition within one Open. WAL is never skipped: there is
// no way to refuse a batch. A sink that cannot take one returns an error, and is
// started again at its own position; [Permanent] errors stop it until a person
// has acted.
//
// Position. The sink owns it: the host keeps no state. On Open a sink answers
// the timeline and the LSN up to which it holds everything durably, and whose
// WAL that is, or that it is new. After a crash of anything the host delivers
// from that answer on. A sink that keeps its position in the same atomic write
// as its data therefore has each record exactly once; any other sink has each
// at least once.
//   - A sink of records answers LSNs at which a record ends ([Batch.To] always
//     is one): everything that ends at or before it is held.
//   - A sink of raw WAL may answer any byte.
//
// Progress. Written is what Write has returned for, flushed what Flush has
// answered: it must survive power loss, because PostgreSQL removes WAL and
// commits synchronous transactions on the strength of it. Positions never go
// back within one Open.
//
// Base backup. A new sink may ask for one, of which it gets every file before the
// WAL that follows from the backup's start on: see [BackupReceiver]. Until it holds
// all of it durably it is new, and begins again after a crash of anything.
//
// Timelines. Where the source is promoted its WAL goes on on a new timeline, from
// a switch point that may lie before what a sink has written already: it is told
// by Rewind, answers its position on the new timeline, and goes on from there. A
// sink that is no [Rewinder] is stopped there with a permanent error.
//
// Memory. A batch and all that is reached through it is borrowed until Write
// returns.
//
// Concurrency. Open, Write, Flush and Close are called one after the other,
// never at the same time. ctx is cancelled when the host goes away or a deadline
// has passed; a sink then returns as soon as it can.
//
// Helpers. [PositionFile] keeps a position with small state, [Metrics] are shown
// by the host, package sinktest holds a sink to this contract. The pages in
// sdk/docs are WRITE_A_SINK.md, CONTRACT.md, PUBLISH.md and STABILITY.md.
//
// Output. Standard output belongs to the protocol. Log with the
// Logger of [OpenRequest]: lines arrive in the host's log under the sink's name.
package sdk
