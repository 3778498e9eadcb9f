// Package waltest writes PostgreSQL WAL for tests: valid WAL of any supported
// version, and WAL broken on purpose.
//
// A [Writer] lays records out as the server does (access/transam/xloginsert.c,
// xlog.c): pages with long and short headers, records that continue over pages
// and segments, MAXALIGN, xl_prev and CRC-32C.
//
//	w := waltest.New(waltest.Options{Version: wal.PG15})
//	start, end := w.Append(waltest.Commit(731, when))
//	reader.Feed(w.Bytes())
//
// A page header, little-endian; the second line only on a segment's first page
// (access/xlog_internal.h: XLogPageHeaderData, XLogLongPageHeaderData):
//
//	 0       2      4       8                16        20      24
//	+-------+------+-------+----------------+---------+-------+
//	|magic  |info  |tli    |pageaddr        |rem_len  |padding|
//	+-------+------+-------+----------------+---------+-------+
//	|sysid                 |seg_size        |blcksz           |
//	+----------------------+----------------+-----------------+
//	24                     32               36               40
//
// It needs no *testing.T: a call that no WAL can satisfy (a record beyond the
// format's limits, an address before the first byte) panics. A Writer is for
// one goroutine.
package waltest

import (
	"encoding/binary"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// Sizes of page headers, in bytes (access/xlog_internal.h:
// SizeOfXLogShortPHD, SizeOfXLogLongPHD).
const (
	ShortHeaderSize = 24
	LongHeaderSize  = 40
)

// Bits of xlp_info (access/xlog_internal.h).
const (
	FirstIsContrecord          = 0x0001 // XLP_FIRST_IS_CONTRECORD
	LongHeader                 = 0x0002 // XLP_LONG_HEADER
	BkpRemovable               = 0x0004 // XLP_BKP_REMOVABLE
	FirstIsOverwriteContrecord = 0x0008 // XLP_FIRST_IS_OVERWRITE_CONTRECORD
)

// Options describe the cluster whose WAL is written. The zero value is a
// PostgreSQL 15 cluster on timeline 1 with segments of 1 MiB, from its second
// segment on.
type Options struct {
	Version     wal.Version     // default PG15
	SystemID    uint64          // xlp_sysid, default [DefaultSystemID]
	SegmentSize wal.SegmentSize // default wal.MinSegmentSize, which keeps tests small
	Timeline    wal.TimelineID  // xlp_tli, default 1
	Start       wal.LSN         // a page's start; default: the start of segment 1
	Prev        wal.LSN         // xl_prev of the first record, default 0 (as after initdb)
}

// DefaultSystemID is the system identifier of a cluster that a test did not name.
const DefaultSystemID = 7_000_000_000_000_000_001

// Appended is one complete record that was written.
type Appended struct {
	Start wal.LSN // of xl_tot_len
	End   wal.LSN // PostgreSQL's EndRecPtr
	Raw   []byte  // the record without page headers, xl_tot_len bytes
}

// Writer appends records to WAL in memory.
type Writer struct {
	opts      Options
	data      []byte
	records   []Appended
	prev      wal.LSN
	overwrite bool // the next page gets FirstIsOverwriteContrecord
	broken    bool // bytes were put beyond the last record: nothing can follow
}

// New starts WAL at o.Start. The first page's header is written with the first
// record.
func New(o Options) *Writer {
	if o.Version == 0 {
		o.Version = wal.PG15
	}
	if o.SystemID == 0 {
		o.SystemID = DefaultSystemID
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = wal.MinSegmentSize
	}
	if o.Timeline == 0 {
		o.Timeline = 1
	}
	if o.Start == 0 {
		o.Start = wal.LSN(o.SegmentSize)
	}
	if o.Version.Magic() == 0 || !o.SegmentSize.Valid() || o.Start%wal.PageSize != 0 {
		panic(fmt.Sprintf("waltest: no cluster has %s, segments of %d bytes and a page at %s", o.Version, o.SegmentSize, o.Start))
	}
	return &Writer{opts: o, prev: o.Prev}
}

// Options are those of New with the defaults filled in.
func (w *Writer) Options() Options { return w.opts }

// Bytes is all WAL written, from Options.Start to [Writer.End]. It is the
// Writer's own buffer, valid until the next call that writes.
func (w *Writer) Bytes() []byte { return w.data }

// End is the LSN after the last byte written.
func (w *Writer) End() wal.LSN { return w.opts.Start + wal.LSN(len(w.data)) }

// Records are the complete records written, in order.
func (w *Writer) Records() []Appended { return w.records }

// SetTimeline makes pages from the next one on carry tli, as the WAL of a
// promoted standby does.
func (w *Writer) SetTimeline(tli wal.TimelineID) { w.opts.Timeline = tli }

// Append writes a record and answers its StartLSN and EndLSN.
func (w *Writer) Append(rec Record) (start, end wal.LSN) {
	return w.put(rec.assemble(w.opts.Version))
}

// AppendRaw writes a record whose bytes after the 24-byte header are body as
// they are: a correct page layout, xl_prev and CRC around block headers that
// may be nonsense.
func (w *Writer) AppendRaw(rmgr wal.RmgrID, info uint8, xid wal.XID, body []byte) (start, end wal.LSN) {
	return w.put(append(header(rmgr, info, xid), body...))
}

// Switch writes an XLOG_SWITCH record and zeros up to the segment's end, which
// is what servers write.
func (w *Writer) Switch() (start, end wal.LSN) {
	return w.switchSegment(func(page wal.LSN) { w.zeroTo(page + wal.PageSize) })
}

// SwitchWithPages is Switch with a header on each page of the padding: as long
// as a server has not written the zeros yet.
func (w *Writer) SwitchWithPages() (start, end wal.LSN) {
	return w.switchSegment(func(page wal.LSN) {
		w.pageHeader(0, 0)
		w.zeroTo(page + wal.PageSize)
	})
}

func (w *Writer) switchSegment(pad func(page wal.LSN)) (start, end wal.LSN) {
	start, end = w.put(header(wal.RmgrXLOG, infoSwitch, 0))
	if w.opts.SegmentSize.Offset(end) != 0 {
		end = w.opts.SegmentSize.End(end)
	}
	w.zeroTo(min(pageEnd(w.End()), end))
	for w.End() < end {
		pad(w.End())
	}
	w.records[len(w.records)-1].End = end
	return start, end
}

// LogicalMessage writes a logical decoding message with n bytes of content
// (replication/message.h): the handiest way to a record of any size.
func (w *Writer) LogicalMessage(prefix string, n int) (start, end wal.LSN) {
	return w.Append(LogicalMessage(prefix, n))
}

// FillTo writes one record after which exactly room bytes are left in the page
// that the next record begins in: a multiple of 8; 0 ends the record at the
// page's end. A record that cannot be so short runs on into the next page.
func (w *Writer) FillTo(room int) (start, end wal.LSN) {
	here := w.room()
	size := here - room
	if size < wal.RecordHeaderSize {
		size = here + wal.PageSize - headerSize(w.opts.SegmentSize, pageEnd(w.place())) - room
	}
	if room < 0 || room%wal.MaxAlign != 0 || size < wal.RecordHeaderSize {
		panic(fmt.Sprintf("waltest: no record can leave %d bytes in a page", room))
	}
	return w.put(filler(size))
}

// FillToSegmentEnd writes records until exactly room bytes are left in the
// segment's last page.
func (w *Writer) FillToSegmentEnd(room int) {
	last := w.opts.SegmentSize.End(w.End()) - wal.PageSize
	if w.End() >= last && w.room()-room < wal.RecordHeaderSize {
		last += wal.LSN(w.opts.SegmentSize)
	}
	for w.End() < last {
		w.FillTo(0)
	}
	w.FillTo(room)
}

// room is the number of bytes that the next record can have in its first page.
func (w *Writer) room() int { return int(pageEnd(w.place()) - w.place()) }

// place is where the next record will begin.
func (w *Writer) place() wal.LSN {
	if end := w.End(); end%wal.PageSize == 0 {
		return end + wal.LSN(headerSize(w.opts.SegmentSize, end))
	}
	return w.End()
}

// put seals raw, lays it out from the current end on, and notes it as a
// complete record.
func (w *Writer) put(raw []byte) (start, end wal.LSN) {
	w.seal(raw)
	start = w.lay(raw, len(raw))
	w.zeroTo(w.End().AlignUp())
	end = w.End()
	w.prev = start
	w.records = append(w.records, Appended{Start: start, End: end, Raw: raw})
	return start, end
}

// lay writes the first n bytes of raw with the page headers in between.
func (w *Writer) lay(raw []byte, n int) (start wal.LSN) {
	if w.broken {
		panic("waltest: nothing can be appended behind bytes put beyond the last record")
	}
	if w.End()%wal.PageSize == 0 {
		w.pageHeader(0, 0)
	}
	start = w.End()
	for at := 0; at < n; {
		if w.End()%wal.PageSize == 0 {
			w.pageHeader(FirstIsContrecord, uint32(len(raw)-at))
		}
		piece := min(n-at, w.room())
		w.data = append(w.data, raw[at:at+piece]...)
		at += piece
	}
	return start
}

// pageHeader writes the header of the page that begins at the current end.
func (w *Writer) pageHeader(info uint16, remLen uint32) {
	info |= BkpRemovable
	if w.overwrite {
		info |= FirstIsOverwriteContrecord
		w.overwrite = false
	}
	at := w.End()
	if w.opts.SegmentSize.Offset(at) == 0 {
		info |= LongHeader
	}
	w.data = append(w.data, PageHeader(w.opts.Version.Magic(), info, w.opts.Timeline, at, remLen)...)
	if info&LongHeader != 0 {
		w.data = binary.LittleEndian.AppendUint64(w.data, w.opts.SystemID)
		w.data = binary.LittleEndian.AppendUint32(w.data, uint32(w.opts.SegmentSize))
		w.data = binary.LittleEndian.AppendUint32(w.data, wal.PageSize)
	}
}

// PageHeader is a short page header with these fields, however wrong.
func PageHeader(magic, info uint16, tli wal.TimelineID, pageAddr wal.LSN, remLen uint32) []byte {
	b := make([]byte, ShortHeaderSize)
	binary.LittleEndian.PutUint16(b[0:], magic)
	binary.LittleEndian.PutUint16(b[2:], info)
	binary.LittleEndian.PutUint32(b[4:], uint32(tli))
	binary.LittleEndian.PutUint64(b[8:], uint64(pageAddr))
	binary.LittleEndian.PutUint32(b[16:], remLen)
	return b
}

// headerSize is the size of the header of the page at lsn.
func headerSize(s wal.SegmentSize, lsn wal.LSN) int {
	if s.Offset(lsn) == 0 {
		return LongHeaderSize
	}
	return ShortHeaderSize
}

// pageEnd is the LSN after the page that holds the byte at lsn.
func pageEnd(lsn wal.LSN) wal.LSN { return lsn&^(wal.PageSize-1) + wal.PageSize }

func (w *Writer) zeroTo(lsn wal.LSN) {
	if n := int(lsn) - int(w.End()); n > 0 {
		w.data = append(w.data, make([]byte, n)...)
	}
}
