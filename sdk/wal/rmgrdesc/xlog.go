package rmgrdesc

import (
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// Operations of XLOG that have a description (catalog/pg_control.h).
const (
	xlogCheckpointShutdown  = 0x00
	xlogCheckpointOnline    = 0x10
	xlogNextOID             = 0x30
	xlogBackupEnd           = 0x50
	xlogParameterChange     = 0x60
	xlogRestorePoint        = 0x70
	xlogFPWChange           = 0x80
	xlogEndOfRecovery       = 0x90
	xlogOverwriteContrecord = 0xD0
	xlogCheckpointRedo      = 0xE0 // since PG17
)

// xlogHasWALLevel is whether CheckPoint and xl_end_of_recovery have a wal_level
// (and then there is XLOG_CHECKPOINT_REDO, which is nothing else).
var xlogHasWALLevel = changes[bool]{{wal.PG14, false}, {wal.PG17, true}}

// descXLOG is xlog_desc (access/rmgrdesc/xlogdesc.c).
func descXLOG(dst []byte, r *wal.Record, loc *time.Location) []byte {
	c := mainData(r)
	hasWALLevel := xlogHasWALLevel.in(r.Version)
	switch op := operation(r); op {
	case xlogCheckpointShutdown, xlogCheckpointOnline:
		return descCheckpoint(dst, c, hasWALLevel, op == xlogCheckpointShutdown)
	case xlogNextOID:
		if oid := c.u32(); !c.short {
			dst = appendUint(dst, "", oid)
		}
	case xlogRestorePoint:
		c.skip(8) // rp_time
		dst = append(dst, c.cstring()...)
	case xlogBackupEnd:
		if startpoint := c.lsn(); !c.short {
			dst = appendLSN(dst, "", startpoint)
		}
	case xlogParameterChange:
		return descParameterChange(dst, c)
	case xlogFPWChange:
		if fpw := c.bool(); !c.short {
			dst = appendChoice(dst, "", fpw, "true", "false")
		}
	case xlogEndOfRecovery:
		return descEndOfRecovery(dst, c, hasWALLevel, loc)
	case xlogOverwriteContrecord:
		overwritten, at := c.lsn(), c.i64()
		if !c.short {
			dst = appendLSN(dst, "lsn ", overwritten)
			dst = appendTime(dst, "; time ", at, loc)
		}
	case xlogCheckpointRedo:
		if !hasWALLevel {
			return dst
		}
		if level := c.i32(); !c.short {
			dst = appendWALLevel(dst, "wal_level ", level)
		}
	}
	return c.end(dst)
}

// descCheckpoint describes a CheckPoint (catalog/pg_control.h).
func descCheckpoint(dst []byte, c cursor, hasWALLevel, shutdown bool) []byte {
	redo := c.lsn()
	tli, prevTLI := c.u32(), c.u32()
	fpw := c.bool()
	c.skip(3)
	level := c.i32() // padding where there is none
	xid, epoch := c.u32(), c.u32()
	oid, multi, offset := c.u32(), c.u32(), c.u32()
	oldestXID, oldestXIDDB := c.u32(), c.u32()
	oldestMulti, oldestMultiDB := c.u32(), c.u32()
	c.skip(4 + 8) // padding, time
	oldestCommitTs, newestCommitTs := c.u32(), c.u32()
	oldestActive := c.u32()
	if c.short {
		return c.end(dst)
	}

	dst = appendLSN(dst, "redo ", redo)
	dst = appendUint(dst, "; tli ", tli)
	dst = appendUint(dst, "; prev tli ", prevTLI)
	dst = appendChoice(dst, "; fpw ", fpw, "true", "false")
	if hasWALLevel {
		dst = appendWALLevel(dst, "; wal_level ", level)
	}
	dst = appendUint(dst, "; xid ", epoch)
	dst = appendUint(dst, ":", xid)
	dst = appendUint(dst, "; oid ", oid)
	dst = appendUint(dst, "; multi ", multi)
	dst = appendUint(dst, "; offset ", offset)
	dst = appendUint(dst, "; oldest xid ", oldestXID)
	dst = appendUint(dst, " in DB ", oldestXIDDB)
	dst = appendUint(dst, "; oldest multi ", oldestMulti)
	dst = appendUint(dst, " in DB ", oldestMultiDB)
	dst = appendUint(dst, "; oldest/newest commit timestamp xid: ", oldestCommitTs)
	dst = appendUint(dst, "/", newestCommitTs)
	dst = appendUint(dst, "; oldest running xid ", oldestActive)
	return appendChoice(dst, "; ", shutdown, "shutdown", "online")
}

// descParameterChange describes an xl_parameter_change
// (access/xlog_internal.h).
func descParameterChange(dst []byte, c cursor) []byte {
	connections, workers, senders := c.i32(), c.i32(), c.i32()
	prepared, locks, level := c.i32(), c.i32(), c.i32()
	hints, commitTs := c.bool(), c.bool()
	if c.short {
		return c.end(dst)
	}
	dst = appendInt(dst, "max_connections=", connections)
	dst = appendInt(dst, " max_worker_processes=", workers)
	dst = appendInt(dst, " max_wal_senders=", senders)
	dst = appendInt(dst, " max_prepared_xacts=", prepared)
	dst = appendInt(dst, " max_locks_per_xact=", locks)
	dst = appendWALLevel(dst, " wal_level=", level)
	dst = appendChoice(dst, " wal_log_hints=", hints, "on", "off")
	return appendChoice(dst, " track_commit_timestamp=", commitTs, "on", "off")
}

// descEndOfRecovery describes an xl_end_of_recovery (access/xlog_internal.h).
func descEndOfRecovery(dst []byte, c cursor, hasWALLevel bool, loc *time.Location) []byte {
	at := c.i64()
	tli, prevTLI := c.u32(), c.u32()
	var level int32
	if hasWALLevel {
		level = c.i32()
	}
	if c.short {
		return c.end(dst)
	}
	dst = appendUint(dst, "tli ", tli)
	dst = appendUint(dst, "; prev tli ", prevTLI)
	dst = appendTime(dst, "; time ", at, loc)
	if hasWALLevel {
		dst = appendWALLevel(dst, "; wal_level ", level)
	}
	return dst
}

// walLevels are the values of WalLevel (access/xlog.h).
var walLevels = [...]string{"minimal", "replica", "logical"}

func appendWALLevel(dst []byte, label string, level int32) []byte {
	dst = append(dst, label...)
	if level < 0 || int(level) >= len(walLevels) {
		return append(dst, '?')
	}
	return append(dst, walLevels[level]...)
}
