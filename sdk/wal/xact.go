package wal

import "time"

// Bits of a Transaction record's xl_info (access/xact.h).
const (
	xactOpMask         = 0x70 // XLOG_XACT_OPMASK; 0x80 is XLOG_XACT_HAS_INFO
	xactCommit         = 0x00 // XLOG_XACT_COMMIT
	xactPrepare        = 0x10 // XLOG_XACT_PREPARE
	xactAbort          = 0x20 // XLOG_XACT_ABORT
	xactCommitPrepared = 0x30 // XLOG_XACT_COMMIT_PREPARED
	xactAbortPrepared  = 0x40 // XLOG_XACT_ABORT_PREPARED
)

// Where a Transaction record's time lies in its main data, in bytes.
const (
	xactTimeOffset   = 0  // xact_time of xl_xact_commit and xl_xact_abort (access/xact.h)
	preparedAtOffset = 16 // prepared_at of xl_xact_prepare (access/xact.h), after magic, total_len, xid, database
)

// XactTime is when the transaction was committed, aborted or prepared, in
// microseconds since 2000-01-01 00:00 UTC, for the records that say so: COMMIT,
// ABORT, COMMIT_PREPARED, ABORT_PREPARED and PREPARE. Of a record in fragments
// only the first one has it. [TimestampTime] converts it.
func (r *Record) XactTime() (micros int64, ok bool) {
	if r.RmgrID != RmgrTransaction || r.FragmentOffset > r.MainDataOffset {
		return 0, false
	}
	c := cursor{buf: r.MainData()}
	switch r.Info & xactOpMask {
	case xactCommit, xactAbort, xactCommitPrepared, xactAbortPrepared:
		c.skip(xactTimeOffset)
	case xactPrepare:
		c.skip(preparedAtOffset)
	default:
		return 0, false
	}
	micros = int64(c.u64())
	return micros, !c.short
}

// postgresEpoch is 2000-01-01 00:00 UTC (POSTGRES_EPOCH_JDATE in
// datatype/timestamp.h), in seconds since 1970-01-01 00:00 UTC.
const postgresEpoch = 946684800

// TimestampTime converts a TimestampTz, in microseconds since 2000-01-01 00:00
// UTC, to the time in UTC. It is exact for every value.
func TimestampTime(micros int64) time.Time {
	return time.Unix(micros/1e6+postgresEpoch, micros%1e6*1e3).UTC()
}
