package xlogreader

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// Sizes of page headers, in bytes (access/xlog_internal.h:
// SizeOfXLogShortPHD, SizeOfXLogLongPHD).
const (
	shortHeaderSize = 24
	longHeaderSize  = 40
)

// Bits of xlp_info (access/xlog_internal.h, PG 14–18).
const (
	firstIsContrecord          = 0x0001 // XLP_FIRST_IS_CONTRECORD
	longHeader                 = 0x0002 // XLP_LONG_HEADER
	firstIsOverwriteContrecord = 0x0008 // XLP_FIRST_IS_OVERWRITE_CONTRECORD
	allFlags                   = 0x000F // XLP_ALL_FLAGS
)

// pageHeader is a page header's fields (XLogPageHeaderData).
type pageHeader struct {
	magic  uint16
	info   uint16
	tli    wal.TimelineID
	addr   wal.LSN
	remLen uint32 // of the record that continues here, bytes
}

// page reads the header of the page at pos and decides what follows it.
func (r *Reader) page() (Status, error) {
	b, at := r.headerBytes()
	if b == nil {
		return NeedMore, nil
	}
	if r.opts.File && !r.cur.begun && !r.skipped.active && bytes.Count(b, []byte{0}) == len(b) {
		r.state = ended
		return EndOfWAL, nil
	}
	h, err := r.checkPage(at, b)
	if err != nil {
		return 0, err
	}
	switch {
	case h.info&firstIsOverwriteContrecord != 0 && (r.cur.begun || r.skipped.active):
		return 0, r.overwrite(&h)
	case r.cur.begun:
		return 0, r.continueRecord(&h)
	case r.skipped.active:
		return 0, r.continueSkipped(&h)
	case h.info&firstIsContrecord == 0:
		r.state = atRecord
		return 0, nil
	case at == r.start && h.remLen != 0:
		r.beginSkipped(&h)
		return 0, nil
	}
	return 0, contrecordRequested(r.pos)
}

// headerBytes is the whole header of the page at pos and that page's LSN, or
// nil while some of it is missing.
func (r *Reader) headerBytes() (b []byte, at wal.LSN) {
	at = r.pos &^ (wal.PageSize - 1)
	size := shortHeaderSize
	if r.opts.SegmentSize.Offset(at) == 0 {
		size = longHeaderSize
	}
	if r.headerLen == 0 && r.atHand() >= size {
		return r.take(size), at
	}
	n := min(size-r.headerLen, r.atHand())
	copy(r.header[r.headerLen:], r.take(n))
	if r.headerLen += n; r.headerLen < size {
		return nil, at
	}
	r.headerLen = 0
	return r.header[:size], at
}

// checkPage makes the checks of XLogReaderValidatePageHeader, in its order. b
// is as long as the header of a page at lsn at must be.
func (r *Reader) checkPage(at wal.LSN, b []byte) (h pageHeader, _ error) {
	h = pageHeader{
		magic:  binary.LittleEndian.Uint16(b[0:]),
		info:   binary.LittleEndian.Uint16(b[2:]),
		tli:    wal.TimelineID(binary.LittleEndian.Uint32(b[4:])),
		addr:   wal.LSN(binary.LittleEndian.Uint64(b[8:])),
		remLen: binary.LittleEndian.Uint32(b[16:]),
	}
	if r.version == 0 || h.magic != r.version.Magic() {
		version, known := wal.VersionOfMagic(h.magic)
		if !known || r.version != 0 {
			return h, r.magicError(at, &h)
		}
		r.version = version
	}
	// A long header stands on a segment's first page and nowhere else. The
	// server would also read one elsewhere, but never writes it.
	long := len(b) == longHeaderSize
	if h.info&^allFlags != 0 || !long && h.info&longHeader != 0 {
		return h, r.pageErrorf(at, &h, "invalid info bits %04X", h.info)
	}
	if h.info&longHeader != 0 {
		if err := r.checkLong(at, b); err != nil {
			return h, err
		}
	} else if long {
		return h, r.pageErrorf(at, &h, "invalid info bits %04X", h.info)
	}
	if h.addr != at {
		return h, r.pageErrorf(at, &h, "unexpected pageaddr %s", h.addr)
	}
	if h.tli < r.timeline {
		return h, r.pageErrorf(at, &h, "out-of-sequence timeline ID %d (after %d)", h.tli, r.timeline)
	}
	if r.opts.Timeline != 0 && h.tli > r.opts.Timeline {
		return h, r.pageErrorf(at, &h, "unexpected timeline ID %d (expected at most %d)", h.tli, r.opts.Timeline)
	}
	r.timeline = h.tli
	return h, nil
}

// checkLong compares what only a long header says (XLogLongPageHeaderData).
func (r *Reader) checkLong(at wal.LSN, b []byte) error {
	systemID := binary.LittleEndian.Uint64(b[24:])
	segmentSize := binary.LittleEndian.Uint32(b[32:])
	pageSize := binary.LittleEndian.Uint32(b[36:])
	const other = "WAL file is from different database system: "
	switch {
	case r.systemID != 0 && systemID != r.systemID:
		return wal.Errorf(at, other+"WAL file database system identifier is %d, pg_control database system identifier is %d", systemID, r.systemID)
	case segmentSize != uint32(r.opts.SegmentSize):
		return wal.Errorf(at, other+"incorrect segment size in page header")
	case pageSize != wal.PageSize:
		return wal.Errorf(at, other+"incorrect XLOG_BLCKSZ in page header")
	}
	r.systemID = systemID
	return nil
}

// magicError names the version of a page that cannot be read, or that does not
// belong to the pages before it.
func (r *Reader) magicError(at wal.LSN, h *pageHeader) error {
	hint := ""
	version, known := wal.VersionOfMagic(h.magic)
	switch {
	case known:
		hint = fmt.Sprintf(" (a page of %s, after pages of %s)", version, r.version)
	case h.magic>>8 == 0xD0 || h.magic>>8 == 0xD1: // all releases' since PG 7.1
		hint = fmt.Sprintf(" (a page of an unsupported version: %s to %d can be read)", wal.PG14, uint8(wal.PG18))
	}
	err := r.pageErrorf(at, h, "invalid magic number %04X", h.magic)
	err.Reason += hint
	return err
}

// pageErrorf adds the place as xlogreader.c does. The segment is named after
// the timeline that is read; the server would name the file that it has open.
func (r *Reader) pageErrorf(at wal.LSN, h *pageHeader, format string, args ...any) *wal.Error {
	tli := r.opts.Timeline
	if tli == 0 {
		tli = r.timeline
	}
	if tli == 0 {
		tli = h.tli
	}
	s := r.opts.SegmentSize
	return wal.Errorf(at, "%s in WAL segment %s, LSN %s, offset %d",
		fmt.Sprintf(format, args...), s.FileName(tli, s.SegNo(at)), at, s.Offset(at))
}

// contrecordRequested: the page says that a record continues on it, but none
// was begun.
func contrecordRequested(at wal.LSN) error {
	return wal.Errorf(at, "contrecord is requested by %s", at)
}
