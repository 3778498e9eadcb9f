package xlogreader

import (
	"encoding/binary"

	"github.com/walplex/walplex/sdk/wal"
)

// skipped is the rest of a record that began before the Reader's start.
type skipped struct {
	active bool    // its bytes, or padding behind it, are being skipped
	was    bool    // the start lay inside a record
	left   uint32  // bytes of it still to come
	tail   []byte  // all that there was of it, if it can be the end of a split header
	to     wal.LSN // where the first record began
}

// beginSkipped is entered when the first page continues a record.
func (r *Reader) beginSkipped(h *pageHeader) {
	r.skipped.active, r.skipped.was, r.skipped.left = true, true, h.remLen
	r.state = inSkipped
}

// continueSkipped checks that the page with header h continues the record that
// is being skipped.
func (r *Reader) continueSkipped(h *pageHeader) error {
	at := h.addr
	if h.info&firstIsContrecord == 0 {
		return wal.Errorf(at, "there is no contrecord flag at %s", at)
	}
	if h.remLen != r.skipped.left {
		return wal.Errorf(at, "invalid contrecord length %d (expected %d) at %s", h.remLen, r.skipped.left, at)
	}
	r.state = inSkipped
	return nil
}

// skip passes over the record's bytes on this page, then its padding.
func (r *Reader) skip() (Status, error) {
	k := &r.skipped
	b := r.take(min(int(k.left), r.room(), r.atHand()))
	k.left -= uint32(len(b))
	if k.left+uint32(len(b)+len(k.tail)) < wal.RecordHeaderSize {
		k.tail = append(k.tail, b...)
	}
	switch {
	case k.left == 0:
		r.state, r.end = inPadding, r.pos.AlignUp()
	case r.pos%wal.PageSize == 0:
		r.state = inPageHeader
	default:
		return NeedMore, nil
	}
	return 0, nil
}

// noteSkippedTo is called where a record begins.
func (r *Reader) noteSkippedTo() {
	if r.skipped.was && r.skipped.to == 0 {
		r.skipped.to = r.pos
	}
}

// skippedSwitch reports whether the zeros at lsn at are the padding of an
// XLOG_SWITCH of which only the end was seen, and then skips them. Its header
// can be split between two segments: whoever begins with the second meets 8 or
// 16 bytes of it, with xl_info and xl_rmid among them.
func (r *Reader) skippedSwitch(at wal.LSN) bool {
	tail := r.skipped.tail
	if at != r.skipped.to || len(tail) != 8 && len(tail) != 16 {
		return false
	}
	var header [wal.RecordHeaderSize]byte
	copy(header[len(header)-len(tail):], tail)
	if !isSwitch(header[:]) {
		return false
	}
	r.cur.begun = false
	r.skipped.active, r.skipped.to, r.skipped.tail = true, 0, nil
	r.state, r.valid, r.end = inPadding, r.start, r.opts.SegmentSize.End(at)
	return true
}

// overwrite drops the record that is incomplete at the end of the last page:
// the server that wrote it crashed, and this page says that it went on here.
func (r *Reader) overwrite(h *pageHeader) error {
	if h.info&firstIsContrecord != 0 {
		return contrecordRequested(r.pos)
	}
	if r.cur.begun {
		r.overwritten = r.cur.start
	}
	r.cur.begun, r.skipped.active = false, false
	r.state = atRecord
	return nil
}

// checkOverwrite compares the XLOG_OVERWRITE_CONTRECORD that follows a dropped
// record with what was dropped (xlogrecovery.c: VerifyOverwriteContrecord).
func (r *Reader) checkOverwrite(rec *wal.Record) error {
	dropped := r.overwritten
	r.overwritten = 0
	main := rec.MainData()
	if rec.RmgrID != wal.RmgrXLOG || rec.Info&infoMask != infoOverwriteContrecord || len(main) < 8 {
		return nil
	}
	if named := wal.LSN(binary.LittleEndian.Uint64(main)); named != dropped {
		return wal.Errorf(rec.StartLSN, "mismatching overwritten LSN %s -> %s", named, dropped)
	}
	return nil
}
