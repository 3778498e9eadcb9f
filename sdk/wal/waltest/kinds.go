package waltest

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// Infos of the records made here (catalog/pg_control.h, access/xact.h,
// access/heapam_xlog.h, storage/standbydefs.h, replication/message.h).
const (
	infoNoop                = 0x20 // XLOG_NOOP
	infoSwitch              = 0x40 // XLOG_SWITCH
	infoFPI                 = 0xB0 // XLOG_FPI
	infoOverwriteContrecord = 0xD0 // XLOG_OVERWRITE_CONTRECORD
	infoXactCommit          = 0x00 // XLOG_XACT_COMMIT
	infoHeapInsert          = 0x00 // XLOG_HEAP_INSERT
	infoHeapInit            = 0x80 // XLOG_HEAP_INIT_PAGE
	infoRunningXacts        = 0x10 // XLOG_RUNNING_XACTS
	infoLogicalMessage      = 0x00 // XLOG_LOGICAL_MESSAGE
)

// Commit is XLOG_XACT_COMMIT of a transaction without anything else to tell.
func Commit(xid wal.XID, at time.Time) Record {
	return Record{Rmgr: wal.RmgrTransaction, Info: infoXactCommit, XID: xid,
		Main: binary.LittleEndian.AppendUint64(nil, timestamp(at))}
}

// HeapInsert is XLOG_HEAP_INSERT of a tuple with data bytes at line pointer
// off; off 1 initialises the page.
func HeapInsert(xid wal.XID, rel wal.RelFileLocator, block wal.BlockNumber, off uint16, data []byte) Record {
	rec := Record{Rmgr: wal.RmgrHeap, Info: infoHeapInsert, XID: xid,
		Main: append(binary.LittleEndian.AppendUint16(nil, off), 0)}
	// xl_heap_header: t_infomask2, t_infomask, t_hoff; then the padding up to t_hoff.
	tuple := append([]byte{1, 0, 0x02, 0x08, 24, 0}, data...)
	k := Block{Rel: rel, Block: block, Data: tuple}
	if off == 1 {
		rec.Info |= infoHeapInit
		k.Flags |= wal.BlockWillInit
	}
	rec.Blocks = []Block{k}
	return rec
}

// FullPageImage is XLOG_FPI of a page, stored without its hole.
func FullPageImage(rel wal.RelFileLocator, block wal.BlockNumber, page []byte) Record {
	return Record{Rmgr: wal.RmgrXLOG, Info: infoFPI, Blocks: []Block{
		{Rel: rel, Block: block, Image: page, Apply: true, Flags: wal.BlockImageHole}}}
}

// HeapPage is a page with a standard header, the given free space in bytes
// between pd_lower and pd_upper, and fill everywhere else.
func HeapPage(free int, fill byte) []byte {
	page := make([]byte, blockSize)
	lower := 24 + 4*8
	for i := range page[24:] {
		if at := 24 + i; at < lower || at >= lower+free {
			page[at] = fill
		}
	}
	binary.LittleEndian.PutUint16(page[12:], uint16(lower))
	binary.LittleEndian.PutUint16(page[14:], uint16(lower+free))
	binary.LittleEndian.PutUint16(page[16:], blockSize)
	binary.LittleEndian.PutUint16(page[18:], blockSize|4) // pd_pagesize_version
	return page
}

// LogicalMessage is XLOG_LOGICAL_MESSAGE with n bytes of content.
func LogicalMessage(prefix string, n int) Record {
	main := make([]byte, 24, 24+len(prefix)+1+n)
	binary.LittleEndian.PutUint32(main[0:], 5) // dbId
	binary.LittleEndian.PutUint64(main[8:], uint64(len(prefix)+1))
	binary.LittleEndian.PutUint64(main[16:], uint64(n))
	main = append(append(main, prefix...), 0)
	for i := range n {
		main = append(main, byte('a'+i%23))
	}
	return Record{Rmgr: wal.RmgrLogicalMessage, Info: infoLogicalMessage, Main: main}
}

// RunningXacts is XLOG_RUNNING_XACTS of a server without running transactions
// (storage/standbydefs.h: xl_running_xacts).
func RunningXacts(next wal.XID) Record {
	main := make([]byte, 24)
	binary.LittleEndian.PutUint32(main[12:], uint32(next))   // nextXid
	binary.LittleEndian.PutUint32(main[16:], uint32(next))   // oldestRunningXid
	binary.LittleEndian.PutUint32(main[20:], uint32(next-1)) // latestCompletedXid
	return Record{Rmgr: wal.RmgrStandby, Info: infoRunningXacts, Main: main}
}

// OverwriteContrecord is XLOG_OVERWRITE_CONTRECORD: the record at lsn was
// never completed (access/xlog_internal.h: xl_overwrite_contrecord).
func OverwriteContrecord(lsn wal.LSN, at time.Time) Record {
	main := binary.LittleEndian.AppendUint64(nil, uint64(lsn))
	return Record{Rmgr: wal.RmgrXLOG, Info: infoOverwriteContrecord, Main: binary.LittleEndian.AppendUint64(main, timestamp(at))}
}

// filler is an XLOG_NOOP record of exactly size bytes, a multiple of 8 (which
// is why no size falls between the short and the long main data header).
func filler(size int) []byte {
	n := size - wal.RecordHeaderSize
	b := header(wal.RmgrXLOG, infoNoop, 0)
	switch {
	case n == 0:
		return b
	case n <= 2+math.MaxUint8:
		b = append(b, idDataShort, uint8(n-2))
		return append(b, make([]byte, n-2)...)
	}
	b = binary.LittleEndian.AppendUint32(append(b, idDataLong), uint32(n-5))
	return append(b, make([]byte, n-5)...)
}

// timestamp is TimestampTz: microseconds since 2000-01-01 (datatype/timestamp.h).
func timestamp(t time.Time) uint64 {
	return uint64(t.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Microseconds())
}
