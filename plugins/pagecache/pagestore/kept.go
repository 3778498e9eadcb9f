package pagestore

import "github.com/walplex/walplex/sdk/wal"

// Operations of Transaction (access/xact.h).
const (
	xactOpMask         = 0x70 // XLOG_XACT_OPMASK
	xactCommit         = 0x00 // XLOG_XACT_COMMIT
	xactPrepare        = 0x10 // XLOG_XACT_PREPARE
	xactAbort          = 0x20 // XLOG_XACT_ABORT
	xactCommitPrepared = 0x30 // XLOG_XACT_COMMIT_PREPARED
	xactAbortPrepared  = 0x40 // XLOG_XACT_ABORT_PREPARED
	xactHasInfo        = 0x80 // XLOG_XACT_HAS_INFO
)

// keptAlone reports whether a record without block references is kept; see the
// package documentation.
func keptAlone(rmgr wal.RmgrID, info uint8) bool {
	switch rmgr {
	case wal.RmgrXLOG, wal.RmgrStorage, wal.RmgrCLOG, wal.RmgrDatabase, wal.RmgrTablespace,
		wal.RmgrMultiXact, wal.RmgrRelMap, wal.RmgrCommitTs:
		return true
	case wal.RmgrTransaction:
		switch info & xactOpMask {
		case xactCommit, xactPrepare, xactAbort, xactCommitPrepared, xactAbortPrepared:
			return true
		}
		return false
	}
	return rmgr.Custom()
}
