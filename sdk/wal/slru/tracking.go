package slru

import "github.com/walplex/walplex/sdk/wal"

// Operations of XLOG (catalog/pg_control.h), and where their fields lie, in bytes.
const (
	xlogCheckpointShutdown = 0x00 // XLOG_CHECKPOINT_SHUTDOWN
	xlogCheckpointOnline   = 0x10 // XLOG_CHECKPOINT_ONLINE
	xlogParameterChange    = 0x60 // XLOG_PARAMETER_CHANGE

	checkPointNextXID      = 24 // nextXid of CheckPoint, its lower half
	checkPointOldestCommit = 72 // oldestCommitTsXid of CheckPoint
	changeTracks           = 25 // track_commit_timestamp of xl_parameter_change (access/xlog_internal.h)
)

// Tracking is whether the server keeps the times of commits as of the record, for the
// records that say so: checkpoints and PARAMETER_CHANGE.
func Tracking(rec *wal.Record) (on, told bool) {
	on, _, told = tracking(rec)
	return on, told
}

// tracking is Tracking, and whether the record may also be what changes it.
func tracking(rec *wal.Record) (on, changes, told bool) {
	if rec.RmgrID != wal.RmgrXLOG {
		return false, false, false
	}
	main := rec.MainData()
	switch rec.Info & infoMask {
	case xlogParameterChange:
		if len(main) > changeTracks {
			return main[changeTracks] != 0, true, true
		}
	case xlogCheckpointShutdown, xlogCheckpointOnline:
		if len(main) >= checkPointOldestCommit+4 {
			// Invalid where none are kept (DeactivateCommitTs).
			return le.Uint32(main[checkPointOldestCommit:]) != 0, false, true
		}
	}
	return false, false, false
}

// NextXID is the next xid that a checkpoint tells of: of an online one, that was the
// next one when it began.
func NextXID(rec *wal.Record) (next wal.XID, ok bool) {
	if _, changes, told := tracking(rec); told && !changes {
		return wal.XID(le.Uint32(rec.MainData()[checkPointNextXID:])), true
	}
	return 0, false
}

// TrackingBegins is the page that a server makes when it begins to keep the times of
// commits and has none so far (ActivateCommitTs): a PARAMETER_CHANGE for which Tracking
// is true, after it was false. next is the next xid then: the greatest one of all
// records so far and one, or [NextXID] of the last checkpoint. [Apply] makes the page.
func TrackingBegins(next wal.XID) Page {
	return Page{Kind: CommitTs, Number: CommitPage(next), Init: true}
}
