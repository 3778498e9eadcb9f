package waldump

import (
	"encoding/binary"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/crc32c"
)

// scanner reads records whose bytes nobody needs, such as for statistics: where
// they lie, also over pages, without putting them together. It knows only what
// is sound. At anything else, it stops, and the walker's reader, which knows
// what is wrong or what follows, goes on from the last record.
type scanner struct {
	b        []byte  // what is mapped
	base     wal.LSN // of b
	size     wal.SegmentSize
	version  wal.Version
	magic    uint16
	timeline wal.TimelineID
	systemID uint64
	filter   *filter                    // for count
	split    [wal.RecordHeaderSize]byte // a record header over two pages
	head     [wal.MaxHeaderSize]byte    // of a record whose headers are not in one piece
}

// minScan is how much must be mapped behind a record for scanning to pay: the
// reader begins anew after it.
const minScan = 64 << 10

// Page headers (access/xlog_internal.h) and the record header
// (access/xlogrecord.h), in bytes.
const (
	shortHeaderSize = 24     // SizeOfXLogShortPHD
	longHeaderSize  = 40     // SizeOfXLogLongPHD
	isContrecord    = 0x0001 // XLP_FIRST_IS_CONTRECORD
	isLong          = 0x0002 // XLP_LONG_HEADER
	bkpRemovable    = 0x0004 // XLP_BKP_REMOVABLE, which means nothing here
	crcOffset       = 20     // of xl_crc
)

// scanOn hands records over to take, from behind the last one on, as long as
// they begin before to, are sound, and are mapped. It answers false where take
// did.
func (w *walker) scanOn(to wal.LSN, take func(*wal.Record) bool) bool {
	s := &w.scan
	pos := w.lastEnd
	if w.src.mapped == nil || pos < w.src.from || pos+minScan > w.src.from+wal.LSN(len(w.src.mapped)) || w.r.SystemID() == 0 && w.src.size.Offset(pos) == 0 {
		return true
	}
	s.b, s.base, s.size = w.src.mapped, w.src.from, w.src.size
	s.magic, s.timeline, s.systemID = w.r.Version().Magic(), w.r.Timeline(), w.r.SystemID()
	s.version = w.r.Version()
	before, more := w.lastStart, true
	for more {
		if w.counts != nil {
			w.lastStart, w.lastEnd = s.count(w.counts, w.lastStart, w.lastEnd, min(to, w.end))
			pos = w.lastEnd
		}
		end := s.record(&w.rec, pos, w.lastStart)
		if end == 0 || w.rec.StartLSN >= to || end > w.end {
			break
		}
		w.lastStart, w.lastEnd, pos = w.rec.StartLSN, end, end
		more = take(&w.rec)
	}
	if w.lastStart != before {
		// From the last record on: its place is compared with the next one's xl_prev.
		w.begin(w.lastStart&^(wal.PageSize-1), s.systemID)
	}
	return more
}

// record reads the record at or, where a page begins there, behind pos, whose
// predecessor began at prev, and answers its end; 0 if it is not sound, or not
// simple.
func (s *scanner) record(rec *wal.Record, pos, prev wal.LSN) wal.LSN {
	if pos%wal.PageSize == 0 {
		n := s.page(pos, 0)
		if n == 0 {
			return 0
		}
		pos += wal.LSN(n)
	}
	room := wal.PageSize - int(pos%wal.PageSize)
	piece := s.b[pos-s.base:][:room]
	total := binary.LittleEndian.Uint32(piece)
	if total < wal.RecordHeaderSize {
		return 0
	}
	piece = piece[:min(uint32(room), total)]
	header, crc := piece, uint32(0)
	if room >= wal.RecordHeaderSize {
		crc = crc32c.Update(0, piece[wal.RecordHeaderSize:])
	} else if header = s.splitHeader(piece, pos, total); header == nil {
		return 0
	}
	rmgr := wal.RmgrID(header[17])
	if !rmgr.Valid(s.version) || rmgr == wal.RmgrXLOG && header[16]&0xF0 == infoSwitch || wal.LSN(binary.LittleEndian.Uint64(header[8:])) != prev {
		return 0
	}
	head, end := piece, pos+wal.LSN(len(piece))
	if int(total) > room {
		if head, end, crc = s.rest(piece, pos, total, crc); end == 0 {
			return 0
		}
	}
	if crc32c.Update(crc, header[:crcOffset]) != binary.LittleEndian.Uint32(header[crcOffset:]) {
		return 0
	}
	rec.StartLSN, rec.EndLSN, rec.Version, rec.FragmentOffset, rec.Data = pos, end.AlignUp(), s.version, 0, nil
	if rec.Decode(head) != nil {
		return 0
	}
	return rec.EndLSN
}

// splitHeader puts together a header that only begins in the record's first
// piece; nil if the next page is not sound.
func (s *scanner) splitHeader(piece []byte, pos wal.LSN, total uint32) []byte {
	pos += wal.LSN(len(piece))
	n := s.page(pos, total-uint32(len(piece)))
	if n == 0 {
		return nil
	}
	copied := copy(s.split[:], piece)
	copy(s.split[copied:], s.b[pos-s.base+wal.LSN(n):])
	return s.split[:]
}

// rest goes on over the pages behind the record's first piece. It answers the
// bytes that hold its headers, its end, and the CRC with that of the rest; an
// end of 0 if something is not sound.
func (s *scanner) rest(piece []byte, pos wal.LSN, total, crc uint32) ([]byte, wal.LSN, uint32) {
	head := piece
	gather := len(piece) < len(s.head)
	if gather {
		head = s.head[:copy(s.head[:], piece)]
	}
	left, header := total-uint32(len(piece)), max(0, wal.RecordHeaderSize-len(piece))
	for pos += wal.LSN(len(piece)); ; {
		n := s.page(pos, left)
		if n == 0 {
			return nil, 0, 0
		}
		pos += wal.LSN(n)
		part := s.b[pos-s.base:][:min(uint32(wal.PageSize-n), left)]
		crc, header = crc32c.Update(crc, part[header:]), 0
		if gather {
			head = head[:len(head)+copy(s.head[len(head):], part)]
		}
		pos += wal.LSN(len(part))
		if left -= uint32(len(part)); left == 0 {
			return head, pos, crc
		}
	}
}

// page answers the length of the header of the page at lsn, of whose record left
// bytes continue there; 0 if it is not mapped or not just so.
func (s *scanner) page(lsn wal.LSN, left uint32) int {
	if lsn-s.base >= wal.LSN(len(s.b)) {
		return 0
	}
	h := s.b[lsn-s.base:][:longHeaderSize]
	size, info := shortHeaderSize, uint16(0)
	if left != 0 {
		info |= isContrecord
	}
	if s.size.Offset(lsn) == 0 {
		size, info = longHeaderSize, info|isLong
		if binary.LittleEndian.Uint64(h[24:]) != s.systemID || binary.LittleEndian.Uint32(h[32:]) != uint32(s.size) ||
			binary.LittleEndian.Uint32(h[36:]) != wal.PageSize {
			return 0
		}
	}
	if binary.LittleEndian.Uint16(h) != s.magic || binary.LittleEndian.Uint16(h[2:])&^bkpRemovable != info ||
		wal.TimelineID(binary.LittleEndian.Uint32(h[4:])) != s.timeline || wal.LSN(binary.LittleEndian.Uint64(h[8:])) != lsn ||
		left != 0 && binary.LittleEndian.Uint32(h[16:]) != left {
		return 0
	}
	return size
}
