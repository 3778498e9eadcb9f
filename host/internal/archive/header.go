package archive

import (
	"encoding/binary"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// HeaderSize is the size of the header that begins a segment, bytes
// (SizeOfXLogLongPHD in access/xlog_internal.h).
const HeaderSize = 40

// longHeaderFlag is XLP_LONG_HEADER.
const longHeaderFlag = 0x0002

// Header is what a segment's first page header says (XLogLongPageHeaderData in
// access/xlog_internal.h).
type Header struct {
	Magic       uint16
	Info        uint16
	Timeline    wal.TimelineID // of the page: an ancestor's where the timeline began in this segment
	PageAddr    wal.LSN        // of the page: the segment's start
	RemLen      uint32         // bytes that are still to come of a record that began before; 0 none
	SystemID    uint64
	SegmentSize wal.SegmentSize
	PageSize    uint32 // XLOG_BLCKSZ, bytes
}

// ParseHeader reads the first HeaderSize bytes of a segment. Nothing is checked.
func ParseHeader(b []byte) Header {
	le := binary.LittleEndian
	return Header{
		Magic:       le.Uint16(b[0:]),
		Info:        le.Uint16(b[2:]),
		Timeline:    wal.TimelineID(le.Uint32(b[4:])),
		PageAddr:    wal.LSN(le.Uint64(b[8:])),
		RemLen:      le.Uint32(b[16:]),
		SystemID:    le.Uint64(b[24:]),
		SegmentSize: wal.SegmentSize(le.Uint32(b[32:])),
		PageSize:    le.Uint32(b[36:]),
	}
}

// CheckName checks that the header is that of the segment of this name, of
// whatever version of PostgreSQL.
func (h Header) CheckName(segment string) error {
	if h.Info&longHeaderFlag == 0 || !h.SegmentSize.Valid() {
		return fmt.Errorf("it does not begin with a segment's header (page magic %04X, segment size %d)", h.Magic, uint32(h.SegmentSize))
	}
	_, n, err := h.SegmentSize.ParseFileName(segment)
	if err != nil {
		return err
	}
	if at := h.SegmentSize.LSN(n); h.PageAddr != at {
		return fmt.Errorf("it holds the WAL at %s, its name says %s", h.PageAddr, at)
	}
	return nil
}
