package xlogreader

import (
	"encoding/binary"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/crc32c"
)

// Records of RmgrXLOG that mean something to a reader, and the part of xl_info
// that says so (catalog/pg_control.h, access/xlogrecord.h).
const (
	infoMask                = 0xF0 // ~XLR_INFO_MASK
	infoSwitch              = 0x40 // XLOG_SWITCH
	infoOverwriteContrecord = 0xD0 // XLOG_OVERWRITE_CONTRECORD, since PG14.1
)

// lengthSize is the size of xl_tot_len, which never straddles a page's end.
const lengthSize = 4

// record is a record that is being collected because it is not in one piece.
type record struct {
	begun   bool // some of it was seen, not all handed over
	checked bool // its header is whole and was found valid
	swtch   bool // it is XLOG_SWITCH
	start   wal.LSN
	total   uint32 // xl_tot_len, 0 before it is known
	got     uint32 // bytes collected
	target  uint32 // bytes to collect before there is something to decide
	buf     []byte // the last of them: all, or those of this fragment

	// Of a record larger than MaxWhole.
	fragment int                        // size of fragments, a constant
	split    bool                       // it is handed over in fragments
	sent     uint32                     // bytes handed over
	crc      uint32                     // CRC-32C of the bytes behind the header that were handed over
	head     [wal.RecordHeaderSize]byte // the header, for the CRC's end
	decoded  wal.Record                 // what every fragment says
}

// beginRecord is entered at a record's place. A record that lies before it in
// one piece is handed over from there; any other is collected.
func (r *Reader) beginRecord(rec *wal.Record) (Status, error) {
	b := r.buf[r.off:]
	if len(b) >= wal.RecordHeaderSize {
		total := uint64(binary.LittleEndian.Uint32(b))
		size := (total + wal.MaxAlign - 1) &^ (wal.MaxAlign - 1)
		if total >= wal.RecordHeaderSize && size <= uint64(min(len(b), r.room())) && !isSwitch(b) {
			return r.recordInPlace(rec, b[:total:total], int(size))
		}
	}
	if len(b) == 0 {
		return NeedMore, nil
	}
	r.noteSkippedTo()
	r.valid = r.pos
	c := &r.cur
	c.begun, c.checked, c.swtch, c.split = true, false, false, false
	c.start, c.total, c.got, c.target = r.pos, 0, 0, lengthSize
	c.buf = c.buf[:0]
	r.state = inRecord
	return 0, nil
}

// recordInPlace checks and hands over the record b, which takes up size bytes.
func (r *Reader) recordInPlace(rec *wal.Record, b []byte, size int) (Status, error) {
	r.valid = r.pos
	if err := r.checkHeader(r.pos, b); err != nil {
		return 0, err
	}
	if !crc32c.Holds(b) {
		return 0, wrongCRC(r.pos)
	}
	r.noteSkippedTo()
	start := r.pos
	r.dataOff = r.off
	r.take(size)
	rec.FragmentOffset = 0
	rec.Data = b
	return r.handOver(rec, start, b)
}

// handOver fills rec with what the bytes of a whole, checked record say, and
// goes on behind it.
func (r *Reader) handOver(rec *wal.Record, start wal.LSN, b []byte) (Status, error) {
	rec.StartLSN, rec.EndLSN, rec.Version = start, r.pos, r.version
	if err := rec.Decode(b); err != nil {
		return 0, err
	}
	if r.overwritten != 0 {
		if err := r.checkOverwrite(rec); err != nil {
			return 0, err
		}
	}
	r.lastStart, r.lastEnd = start, r.pos
	r.between()
	return Record, nil
}

// collect adds to the record being collected, up to the next place where there
// is something to decide or the page's end.
func (r *Reader) collect(rec *wal.Record) (Status, error) {
	c := &r.cur
	for {
		if r.pos%wal.PageSize == 0 {
			r.state = inPageHeader
			return 0, nil
		}
		n := min(int(c.target-c.got), r.room(), r.atHand())
		c.add(r.take(n), r.opts.MaxWhole)
		if c.got < c.target {
			if r.atHand() == 0 {
				return NeedMore, nil
			}
			continue
		}
		switch {
		case c.total == 0:
			if status, err := r.lengthKnown(); status != 0 || err != nil || r.state != inRecord {
				return status, err
			}
		case !c.checked:
			if err := r.headerKnown(); err != nil {
				return 0, err
			}
		case c.got < c.total:
			return r.handOverFragment(rec)
		}
		if c.got == c.total {
			return 0, r.complete()
		}
	}
}

// add appends b to the buffer, which grows with what has arrived and never
// because of what a length announces.
func (c *record) add(b []byte, limit int) {
	if need := len(c.buf) + len(b); need > cap(c.buf) {
		grown := make([]byte, len(c.buf), min(max(need, 2*cap(c.buf), MinMaxWhole), limit))
		copy(grown, c.buf)
		c.buf = grown
	}
	c.buf = append(c.buf, b...)
	c.got += uint32(len(b))
}

// lengthKnown judges xl_tot_len before anything else of the record is looked at.
func (r *Reader) lengthKnown() (Status, error) {
	c := &r.cur
	total := binary.LittleEndian.Uint32(c.buf)
	if total == 0 && r.skippedSwitch(c.start) {
		return 0, nil
	}
	if total == 0 && r.opts.File {
		r.state = ended
		return EndOfWAL, nil
	}
	if total < wal.RecordHeaderSize {
		return 0, wal.Errorf(c.start, "invalid record length at %s: expected at least %d, got %d", c.start, wal.RecordHeaderSize, total)
	}
	c.total, c.target = total, wal.RecordHeaderSize
	return 0, nil
}

// headerKnown judges the record's header as soon as all of it is there.
func (r *Reader) headerKnown() error {
	c := &r.cur
	if err := r.checkHeader(c.start, c.buf); err != nil {
		return err
	}
	c.checked = true
	c.swtch = isSwitch(c.buf)
	c.target = c.total
	if c.total > uint32(r.opts.MaxWhole) {
		c.split, c.sent, c.crc = true, 0, 0
		copy(c.head[:], c.buf)
		c.target = uint32(c.fragment)
	}
	if c.start/wal.PageSize != r.pos/wal.PageSize {
		return r.checkTotal()
	}
	return nil
}

// continueRecord checks that the page with header h continues the record.
func (r *Reader) continueRecord(h *pageHeader) error {
	c := &r.cur
	if h.info&firstIsContrecord == 0 {
		return wal.Errorf(c.start, "there is no contrecord flag at %s", c.start)
	}
	if h.remLen == 0 || uint64(h.remLen)+uint64(c.got) != uint64(c.total) {
		return wal.Errorf(c.start, "invalid contrecord length %d (expected %d) at %s", h.remLen, int64(c.total)-int64(c.got), c.start)
	}
	r.state = inRecord
	if c.checked {
		return r.checkTotal()
	}
	return nil
}

// checkTotal bounds the record. As in PostgreSQL, that comes after the second
// page was found to agree with the length, so that old bytes that look like a
// long record are reported for what they are.
func (r *Reader) checkTotal() error {
	if c := &r.cur; c.total > wal.MaxRecordSize {
		return wal.Errorf(c.start, "record length %d at %s too long", c.total, c.start)
	}
	return nil
}

// complete checks the CRC of the collected record and turns to the padding
// behind it.
func (r *Reader) complete() error {
	c := &r.cur
	if !c.holds() {
		return wrongCRC(c.start)
	}
	r.state, r.end = inPadding, r.pos.AlignUp()
	if s := r.opts.SegmentSize; c.swtch && s.Offset(r.end) != 0 {
		r.end = s.End(r.end)
	}
	return nil
}

// pad skips the padding behind a record, and the rest of the segment behind a
// switch without a look at its page headers: servers leave them zero. Then the
// record is handed over.
func (r *Reader) pad(rec *wal.Record) (Status, error) {
	r.take(min(int(r.end-r.pos), r.atHand()))
	if r.pos != r.end {
		return NeedMore, nil
	}
	if r.skipped.active {
		r.skipped.active = false
		r.between()
		return 0, nil
	}
	c := &r.cur
	c.begun = false
	if c.split {
		return r.handOverLast(rec)
	}
	rec.FragmentOffset = 0
	rec.Data = c.buf[:len(c.buf):len(c.buf)]
	return r.handOver(rec, c.start, c.buf)
}

// checkHeader makes the checks of ValidXLogRecordHeader on the record at lsn at
// whose xl_tot_len is known to be valid.
func (r *Reader) checkHeader(at wal.LSN, b []byte) error {
	if rmgr := wal.RmgrID(b[17]); rmgr > wal.RmgrMaxBuiltin && (rmgr < minCustomRmgr || r.version < wal.PG15) {
		return wal.Errorf(at, "invalid resource manager ID %d at %s", uint8(rmgr), at)
	}
	prev := wal.LSN(binary.LittleEndian.Uint64(b[8:]))
	// Nothing is known of what precedes the first record but that it lies before.
	if r.lastStart == 0 && prev >= at || r.lastStart != 0 && prev != r.lastStart {
		return wal.Errorf(at, "record with incorrect prev-link %s at %s", prev, at)
	}
	return nil
}

// minCustomRmgr is RM_MIN_CUSTOM_ID (access/rmgr.h, since PG15).
const minCustomRmgr wal.RmgrID = 128

// holds reports whether the CRC of the collected record is right. Of one that is
// handed over in fragments, the last is collected, in which the header never is.
func (c *record) holds() bool {
	if !c.split {
		return crc32c.Holds(c.buf)
	}
	const crcOffset = 20 // of xl_crc
	crc := crc32c.Update(crc32c.Update(c.crc, c.buf), c.head[:crcOffset])
	return crc == binary.LittleEndian.Uint32(c.head[crcOffset:])
}

// wrongCRC is ValidXLogRecord's error.
func wrongCRC(at wal.LSN) error {
	return wal.Errorf(at, "incorrect resource manager data checksum in record at %s", at)
}

// isSwitch reports whether the record header b is that of XLOG_SWITCH.
func isSwitch(b []byte) bool {
	return wal.RmgrID(b[17]) == wal.RmgrXLOG && b[16]&infoMask == infoSwitch
}
