package wal

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Limits of wal_segment_size, in bytes (access/xlog_internal.h: WalSegMinSize,
// WalSegMaxSize).
const (
	MinSegmentSize     = 1 << 20
	MaxSegmentSize     = 1 << 30
	DefaultSegmentSize = 16 << 20
)

// PageSize is XLOG_BLCKSZ, in bytes: the size of a WAL page of a stock build.
const PageSize = 8192

// SegmentSize is a cluster's wal_segment_size, in bytes: a power of two
// between [MinSegmentSize] and [MaxSegmentSize].
type SegmentSize uint32

// Valid reports whether PostgreSQL accepts the size (IsValidWalSegSize).
func (s SegmentSize) Valid() bool {
	return s >= MinSegmentSize && s <= MaxSegmentSize && bits.OnesCount32(uint32(s)) == 1
}

// SegNo numbers the segments of a timeline from the LSN 0 (XLogSegNo).
type SegNo uint64

// SegNo is the segment that holds the byte at lsn (XLByteToSeg).
func (s SegmentSize) SegNo(lsn LSN) SegNo { return SegNo(uint64(lsn) / uint64(s)) }

// Offset is the position of lsn in its segment, in bytes (XLogSegmentOffset).
func (s SegmentSize) Offset(lsn LSN) uint32 { return uint32(lsn) & uint32(s-1) }

// Start is the first LSN of the segment that holds lsn.
func (s SegmentSize) Start(lsn LSN) LSN { return lsn &^ LSN(s-1) }

// End is the LSN after the segment that holds lsn.
func (s SegmentSize) End(lsn LSN) LSN { return s.Start(lsn) + LSN(s) }

// LSN is the first LSN of segment n (XLogSegNoOffsetToRecPtr with offset 0).
func (s SegmentSize) LSN(n SegNo) LSN { return LSN(uint64(n) * uint64(s)) }

// PerXLogID is the number of segments in 4 GiB of WAL (XLogSegmentsPerXLogId).
func (s SegmentSize) PerXLogID() uint64 { return (1 << 32) / uint64(s) }

// FileName is the name of segment n on timeline tli (XLogFileName).
func (s SegmentSize) FileName(tli TimelineID, n SegNo) string {
	return fmt.Sprintf("%08X%08X%08X", uint32(tli), uint32(uint64(n)/s.PerXLogID()), uint32(uint64(n)%s.PerXLogID()))
}

// SegmentNameLen is the length of a segment's file name (XLOG_FNAME_LEN).
const SegmentNameLen = 24

// PartialSuffix ends the name of a segment that is still being received, as
// pg_receivewal names it.
const PartialSuffix = ".partial"

// ParseFileName reads a segment's file name, without suffix. A name that no
// cluster of this segment size can have is an error.
func (s SegmentSize) ParseFileName(name string) (TimelineID, SegNo, error) {
	if !IsSegmentName(name) {
		return 0, 0, fmt.Errorf("%q is not the name of a WAL segment: want %d upper-case hexadecimal digits", name, SegmentNameLen)
	}
	tli, _ := strconv.ParseUint(name[0:8], 16, 32)
	log, _ := strconv.ParseUint(name[8:16], 16, 32)
	seg, _ := strconv.ParseUint(name[16:24], 16, 32)
	if tli == 0 {
		return 0, 0, fmt.Errorf("%q is not the name of a WAL segment: timeline 0 does not exist", name)
	}
	if seg >= s.PerXLogID() {
		return 0, 0, fmt.Errorf("%q is not the name of a WAL segment of %d bytes: its last part must be below %X", name, uint32(s), s.PerXLogID())
	}
	return TimelineID(tli), SegNo(log*s.PerXLogID() + seg), nil
}

// IsSegmentName reports whether name has the form of a segment's file name
// (IsXLogFileName).
func IsSegmentName(name string) bool {
	return len(name) == SegmentNameLen && strings.Trim(name, "0123456789ABCDEF") == ""
}

// HistoryFileName is the name of a timeline's history file (TLHistoryFileName).
func HistoryFileName(tli TimelineID) string { return fmt.Sprintf("%08X.history", uint32(tli)) }
