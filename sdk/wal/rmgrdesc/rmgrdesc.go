package rmgrdesc

import (
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// Truncated ends the description of a record whose body ends before its format
// says.
const Truncated = " [record ends here]"

// Append appends the description of a whole record, as rm_desc gives it, without
// the operation's name. Timestamps are in UTC. Records of resource managers that
// are not built in have no description.
func Append(dst []byte, r *wal.Record) []byte { return AppendIn(dst, r, time.UTC) }

// AppendIn is [Append] with timestamps in the time zone: pg_waldump's output is
// that of time.Local, which goes by the environment's TZ as well.
func AppendIn(dst []byte, r *wal.Record, loc *time.Location) []byte {
	switch {
	case r.RmgrID == wal.RmgrXLOG:
		return descXLOG(dst, r, loc)
	case r.RmgrID == wal.RmgrTransaction:
		return descTransaction(dst, r, loc)
	case r.RmgrID <= wal.RmgrMaxBuiltin:
		return describers[r.RmgrID](dst, r)
	}
	return dst
}

// describer appends the description of one resource manager's records.
type describer func(dst []byte, r *wal.Record) []byte

// describers are the built-in resource managers' by their number, but for the
// two whose records have timestamps.
var describers = [wal.RmgrMaxBuiltin + 1]describer{
	wal.RmgrStorage:           descStorage,
	wal.RmgrCLOG:              descCLOG,
	wal.RmgrDatabase:          descDatabase,
	wal.RmgrTablespace:        descTablespace,
	wal.RmgrMultiXact:         descMultiXact,
	wal.RmgrRelMap:            descRelMap,
	wal.RmgrStandby:           descStandby,
	wal.RmgrHeap2:             descHeap2,
	wal.RmgrHeap:              descHeap,
	wal.RmgrBtree:             descBtree,
	wal.RmgrHash:              descHash,
	wal.RmgrGin:               descGin,
	wal.RmgrGist:              descGist,
	wal.RmgrSequence:          descSequence,
	wal.RmgrSPGist:            descSPGist,
	wal.RmgrBRIN:              descBRIN,
	wal.RmgrCommitTs:          descCommitTs,
	wal.RmgrReplicationOrigin: descReplicationOrigin,
	wal.RmgrGeneric:           descGeneric,
	wal.RmgrLogicalMessage:    descLogicalMessage,
}

// operation is the high four bits of xl_info, which are the resource manager's
// own (XLR_INFO_MASK in access/xlogrecord.h is the low four).
func operation(r *wal.Record) uint8 { return r.Info & 0xF0 }
