// Package primary watches what a stream costs its server: a replication slot
// whose sinks do not confirm keeps the server from removing WAL, until the disk
// is full or max_slot_wal_keep_size is reached and the slot is lost.
//
// [Judge] is pure: samples in, a judgement out. [Watcher] reads the samples over
// an ordinary connection, every [Interval], and says in the log when the level
// changes. A server that refuses ordinary connections costs nothing but the
// knowledge: that is said once, and everything is unknown.
//
// # The measure
//
//	     restart_lsn                     current LSN
//	─────────┼──────────── held ─────────────┼──────────── left ────────────┤ the end
//	         └──────────────────── allowance ───────────────────────────────┘
//
// The end is the nearest of: where the slot is lost (safe_wal_size of
// pg_replication_slots, from max_slot_wal_keep_size), and where the disk of
// pg_wal is full, which can be seen only where the server is on this machine.
// Where neither is known, UnboundedFactor × max_wal_size is where one is warned.
//
// The time left is what is left divided by the speed at which held grows: a slot
// that keeps up has no end, however fast the server writes.
package primary
