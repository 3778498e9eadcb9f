// Package status is how a host stands, as data: what the control socket answers,
// `walplex status` prints, and metrics and readiness are made of.
//
// # The JSON
//
// One object, whose keys are only added to as long as version stays 1. LSNs are
// text as PostgreSQL writes them, null where not known; *_bytes are bytes,
// *_seconds seconds, *_at times of RFC 3339. Texts are for people and may change.
//
//	version, at, ok, ready
//	problems, not_ready   [{stream, sink, text}]; sink is empty for the stream itself
//	host                  {pid, version, started_at}
//	streams               [{
//	  name, source, slot, state, state_at, error, gap, system_identifier, timeline,
//	  received_lsn, server_lsn, confirmed_lsn, lag_bytes, lag_seconds,
//	  received_bytes, received_records, reconnects,
//	  held_bytes, ring_bytes, ring_used_bytes,
//	  primary             null without a slot, else {
//	    slot, known, error, level, why, remedy, exists, active, pid, wal_status,
//	    invalidation_reason, restart_lsn, wal_lsn, held_bytes, left_bytes, end,
//	    left_seconds, wal_bytes_per_second, safe_wal_bytes, keep_bytes,
//	    disk_free_bytes, disk_bytes, holder, at }
//	  sinks               [{
//	    name, type, state, required, on_lag, filtered, transport, pid, error,
//	    restarts, sent_lsn, written_lsn, flushed_lsn, applied_lsn, lag_bytes,
//	    lag_seconds, queue_bytes,
//	    catch_up          null, or {source, from_lsn, position_lsn, target_lsn,
//	                      progress (0 to 1), remaining_bytes, since_at, error}
//	    base_backup       null, or {phase, start_lsn, timeline, bytes, total_bytes,
//	                      since_at, error} }] }]
//
// state of a stream: starting, catching up, streaming, reconnecting, draining,
// stopped, failed. state of a sink: starting, live, catching up, base backup, down,
// crash loop, off. phase of a base backup: connecting, checkpoint, copying,
// finishing.
//
// ok is false when somebody should look: a stream has failed or is interrupted,
// a required sink is down or off, a slot comes close to its end. ready is true
// when every stream is streaming and every required sink is live.
//
// The lag of a stream in bytes is what the server has and we have not received.
// In seconds it is the age of the oldest WAL received that a required sink has not
// flushed; of a stream that is not connected, at least the time since it was.
package status
