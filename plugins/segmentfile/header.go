package segmentfile

import (
	"encoding/binary"

	"github.com/walplex/walplex/sdk/wal"
)

// Sizes of page headers, in bytes (access/xlog_internal.h:
// SizeOfXLogShortPHD, SizeOfXLogLongPHD).
const (
	shortHeaderSize = 24
	longHeaderSize  = 40
)

// Bits of xlp_info (access/xlog_internal.h).
const (
	firstIsContrecord          = 0x0001 // XLP_FIRST_IS_CONTRECORD
	longHeader                 = 0x0002 // XLP_LONG_HEADER
	firstIsOverwriteContrecord = 0x0008 // XLP_FIRST_IS_OVERWRITE_CONTRECORD
)

// header is what the first page of a segment says (XLogLongPageHeaderData).
type header struct {
	version     wal.Version // 0: of no release that is supported
	magic       uint16
	info        uint16
	timeline    wal.TimelineID
	addr        wal.LSN
	remLen      uint32 // of the record that continues here, bytes
	systemID    uint64
	segmentSize wal.SegmentSize
	pageSize    uint32 // bytes
}

// parseHeader reads the longHeaderSize bytes b.
func parseHeader(b []byte) header {
	h := header{
		magic:       binary.LittleEndian.Uint16(b[0:]),
		info:        binary.LittleEndian.Uint16(b[2:]),
		timeline:    wal.TimelineID(binary.LittleEndian.Uint32(b[4:])),
		addr:        wal.LSN(binary.LittleEndian.Uint64(b[8:])),
		remLen:      binary.LittleEndian.Uint32(b[16:]),
		systemID:    binary.LittleEndian.Uint64(b[24:]),
		segmentSize: wal.SegmentSize(binary.LittleEndian.Uint32(b[32:])),
		pageSize:    binary.LittleEndian.Uint32(b[36:]),
	}
	h.version, _ = wal.VersionOfMagic(h.magic)
	return h
}

// begins reports whether the header is that of the segment with this file name.
func (h *header) begins(name string) bool {
	if h.version == 0 || h.info&longHeader == 0 || !h.segmentSize.Valid() || h.pageSize != wal.PageSize {
		return false
	}
	tli, no, err := h.segmentSize.ParseFileName(name)
	return err == nil && h.addr == h.segmentSize.LSN(no) && h.timeline <= tli
}

// contrecordEnd is where the record that the segment's first page continues
// ends, padding included; the segment's start when there is none. Of the header
// of segment start it looks at info and remLen.
func contrecordEnd(start wal.LSN, size wal.SegmentSize, info uint16, remLen uint32) wal.LSN {
	if info&firstIsContrecord == 0 || remLen > wal.MaxRecordSize {
		return start
	}
	left, page, head := wal.LSN(remLen), start, wal.LSN(longHeaderSize)
	for left > wal.PageSize-head {
		left -= wal.PageSize - head
		page += wal.PageSize
		if head = shortHeaderSize; size.Offset(page) == 0 {
			head = longHeaderSize
		}
	}
	return (page + head + left).AlignUp()
}
