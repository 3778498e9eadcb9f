package archiveverify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// chunkSize is how much of a file is read at a time, bytes: whole pages.
const chunkSize = 256 << 10

// shortHeaderSize is SizeOfXLogShortPHD (access/xlog_internal.h), bytes.
const shortHeaderSize = 24

// walker reads parts, one after the other.
type walker struct {
	v   *verifier
	buf []byte
	rec wal.Record

	p      *part
	seg    *segment
	file   string             // of it, without the directory
	r      *xlogreader.Reader // nil while a page is looked for at which to begin
	began  wal.LSN            // where r began
	open   bool               // a fault was found, and no record has held since
	openIn *segment           // the file of that fault
	bad    wal.LSN            // up to here reaches what does not hold
	from   wal.LSN            // no page before is looked at

	begun wal.LSN // of a record that a chunk has cut
	total uint32  // its length, bytes
}

// read reads a part.
func (w *walker) read(ctx context.Context, p *part) error {
	*w = walker{v: w.v, buf: w.buf, p: p, rec: wal.Record{Blocks: w.rec.Blocks}}
	w.begin(p.from)
	for i := p.first; i < len(p.run.segs) && !w.done(i); i++ {
		w.seg = p.run.segs[i]
		w.file = w.seg.forms[0].Name
		if err := w.segment(ctx, i < p.next); err != nil {
			return err
		}
	}
	return nil
}

// done reports that what lies behind the part is not needed: the record that
// begins behind it is known, or is another part's to find.
func (w *walker) done(i int) bool {
	return i >= w.p.next && (w.p.after != 0 || w.p.overrun != nil || w.r == nil || w.p.begin == 0 && w.r.RecordsEnd() == w.began)
}

func (w *walker) begin(at wal.LSN) {
	w.began = at
	w.r = xlogreader.New(at, xlogreader.Options{SystemID: w.v.systemID, SegmentSize: w.v.size, Timeline: w.p.run.tli, File: true})
}

// segment reads a segment's first form, of the part or behind it.
func (w *walker) segment(ctx context.Context, own bool) error {
	c, err := w.v.openForm(w.seg.forms[0])
	if err != nil {
		w.broken(own, KindRead, w.seg.start, err.Error())
		return nil
	}
	defer c.Close()
	pos, end := w.seg.start, w.seg.start+wal.LSN(w.v.size)
	for pos < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(c, w.buf[:min(chunkSize, int(end-pos))])
		w.feed(pos, w.buf[:n])
		pos += wal.LSN(n)
		if own {
			w.p.bytes += int64(n)
			w.v.progress.done.Add(int64(n))
		}
		if err != nil {
			w.ended(own, pos, err)
			return nil
		}
		if !own && w.done(w.p.next) {
			return nil
		}
	}
	if own {
		w.behind(c)
	}
	return nil
}

// ended is called where a file ends before its segment does.
func (w *walker) ended(own bool, pos wal.LSN, err error) {
	short := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	n := int64(pos - w.seg.start)
	switch {
	case short && w.seg.partial():
		// So it is while it is being received.
		w.p.short = w.p.short || own
		if own && w.seg != w.p.run.segs[len(w.p.run.segs)-1] {
			w.broken(own, KindSize, pos, fmt.Sprintf("the file ends after %d bytes, at %s, and later segments are there", n, pos))
		}
	case short && n == 0 && w.seg.forms[0].Suffix == "":
		w.broken(own, KindSize, pos, "the file is empty")
	case short:
		w.broken(own, KindSize, pos, fmt.Sprintf("the file ends after %d bytes, at %s: a segment has %d", n, pos, w.v.size))
	default:
		w.broken(own, KindRead, pos, err.Error())
	}
}

// broken notes that a file gives no more. The next one is read anew.
func (w *walker) broken(own bool, kind string, at wal.LSN, reason string) {
	if own {
		w.p.fault(Fault{Kind: kind, Timeline: w.p.run.tli, File: w.file, LSN: at, Reason: reason})
	}
	w.open, w.openIn, w.bad, w.r = true, w.seg, at, nil
}

// behind makes sure that a file ends with its segment, and reads the checksum of
// a compressed one.
func (w *walker) behind(c *archive.Content) {
	end := w.seg.start + wal.LSN(w.v.size)
	var b [1]byte
	switch n, err := io.ReadFull(c, b[:]); {
	case n > 0:
		w.p.fault(Fault{Kind: KindSize, Timeline: w.p.run.tli, File: w.file, LSN: end, Reason: fmt.Sprintf("the file goes on behind the segment's %d bytes", w.v.size)})
	case !errors.Is(err, io.EOF) && !(w.seg.partial() && errors.Is(err, io.ErrUnexpectedEOF)):
		w.p.fault(Fault{Kind: KindRead, Timeline: w.p.run.tli, File: w.file, LSN: w.seg.start, Reason: err.Error()})
	}
}

// feed reads what lies at pos.
func (w *walker) feed(pos wal.LSN, b []byte) {
	for len(b) > 0 {
		if w.r == nil {
			n := w.seek(pos, b)
			pos, b = pos+wal.LSN(n), b[n:]
			if w.r == nil {
				return
			}
		}
		err := w.records(b)
		if err == nil {
			w.remember(w.r.RecordsEnd(), pos, b)
			return
		}
		w.wrong(err, pos, b)
		if w.from <= pos {
			continue
		}
		n := min(len(b), int(w.from-pos))
		pos, b = pos+wal.LSN(n), b[n:]
	}
}

// errZeros is zeros where a record should begin.
var errZeros = errors.New("zeros")

// records reads the records in b. It answers what does not hold.
func (w *walker) records(b []byte) error {
	w.r.Feed(b)
	for {
		status, err := w.r.Next(&w.rec)
		switch {
		case err != nil:
			return err
		case status == xlogreader.EndOfWAL:
			return errZeros
		case status == xlogreader.NeedMore:
			return nil
		case status == xlogreader.Fragment && !w.rec.Last():
			continue
		}
		p := w.p
		if w.rec.StartLSN >= p.to {
			if p.after == 0 {
				p.after = w.rec.StartLSN
			}
			continue
		}
		if p.begin == 0 {
			p.begin = w.rec.StartLSN
		}
		w.open = false
		p.record(&w.rec)
	}
}

// wrong notes what does not hold in b, which lies at pos, and where to look for
// what holds again.
func (w *walker) wrong(err error, pos wal.LSN, b []byte) {
	at, reason, tail := w.place(err, pos, b)
	page := at &^ (wal.PageSize - 1)
	w.from = page + wal.PageSize
	if at == page && at > w.began {
		w.from = page // its header may be right by itself
	}
	w.from = max(w.from, pos)
	w.r = nil
	w.note(at, reason, tail)
}

// place tells where and what, and whether it may be the end of the WAL.
func (w *walker) place(err error, pos wal.LSN, b []byte) (at wal.LSN, reason string, tail bool) {
	var e *wal.Error
	if !errors.As(err, &e) {
		at = w.r.RecordsEnd()
		w.bad = max(w.bad, at+1)
		return at, w.zeros(at), zero(page(pos, b, at))
	}
	at, reason = e.LSN, e.Reason
	w.bad = max(w.bad, at+1)
	if at%wal.PageSize == 0 {
		return at, reason, w.old(at, page(pos, b, at))
	}
	start, end := w.r.RecordsEnd(), wal.LSN(0)
	if start == at {
		end = w.recordEnd(at, pos, b)
	}
	if end == 0 {
		return at, reason, false
	}
	// All of the record is there, and its checksum is wrong. If it ends in zeros,
	// its end was never received.
	w.bad = max(w.bad, end)
	last := max(end-wal.MaxAlign, pos)
	return at, reason, end > last && zero(b[last-pos:end-pos])
}

// recordEnd is where the record at lsn ends whose checksum is wrong; 0 where that
// is not in b, which lies at pos.
func (w *walker) recordEnd(lsn, pos wal.LSN, b []byte) wal.LSN {
	w.remember(lsn, pos, b)
	if w.begun != lsn || w.total < wal.RecordHeaderSize || w.total > wal.MaxRecordSize {
		return 0
	}
	end := archive.RecordEnd(w.v.size, lsn, w.total)
	if end <= pos || end > pos+wal.LSN(len(b)) {
		return 0
	}
	return end
}

// remember keeps the length of the record that begins at lsn, if that is in b.
func (w *walker) remember(lsn, pos wal.LSN, b []byte) {
	if lsn >= pos && lsn+4 <= pos+wal.LSN(len(b)) {
		w.begun, w.total = lsn, binary.LittleEndian.Uint32(b[lsn-pos:])
	}
}

// note makes a fault of it, unless it belongs to the one before or to another
// part.
func (w *walker) note(at wal.LSN, reason string, tail bool) {
	p := w.p
	f := Fault{Kind: KindWAL, Timeline: p.run.tli, File: w.fileAt(at), LSN: at, Reason: reason, tail: tail}
	switch {
	case at >= p.to:
		if !tail && p.after == 0 {
			p.overrun = &f
		}
	case w.open && w.openIn == w.seg:
		p.hardTrail = p.hardTrail || !tail
	default:
		p.fault(f)
		if w.v.size.Offset(at) == 0 {
			p.recycled++
		}
	}
	w.open, w.openIn = true, w.seg
}

// fileAt is the file that holds the byte at lsn.
func (w *walker) fileAt(lsn wal.LSN) string {
	segs := w.p.run.segs
	i := int(w.v.size.SegNo(lsn) - segs[0].no)
	if i < 0 || i >= len(segs) {
		return w.file
	}
	return segs[i].forms[0].Name
}

// seek looks for a page at which to begin, in b, which lies at pos, and answers how
// many bytes it has passed over.
func (w *walker) seek(pos wal.LSN, b []byte) int {
	n := 0
	for ; n < len(b); n += wal.PageSize {
		at := pos + wal.LSN(n)
		one := b[n:min(n+wal.PageSize, len(b))]
		if at >= w.p.to {
			return len(b) // another part's
		}
		if at < w.from {
			continue
		}
		if len(one) >= shortHeaderSize && binary.LittleEndian.Uint16(one) == w.v.version.Magic() && wal.LSN(binary.LittleEndian.Uint64(one[8:])) == at {
			if at >= w.bad {
				w.p.hardTrail = w.p.hardTrail || w.p.trailing > 0
			}
			w.begin(at)
			return n
		}
		tail := w.old(at, one)
		if w.openIn != w.seg {
			w.note(at, w.why(at, one), tail)
		}
		w.p.hardTrail = w.p.hardTrail || w.p.trailing > 0 && !tail
	}
	return min(n, len(b))
}

// why says what is wrong with a page's header.
func (w *walker) why(at wal.LSN, b []byte) string {
	r := xlogreader.New(at, xlogreader.Options{SystemID: w.v.systemID, SegmentSize: w.v.size, Timeline: w.p.run.tli, File: true})
	r.Feed(b)
	var rec wal.Record
	if _, err := r.Next(&rec); err != nil {
		return err.Error()
	}
	return w.zeros(at)
}

// zeros words that zeros stand where a page or record should begin: of a page, as
// the server does in the midst of a record.
func (w *walker) zeros(at wal.LSN) string {
	if at%wal.PageSize != 0 {
		return "zeros stand where a record should begin, at " + at.String()
	}
	return fmt.Sprintf("invalid magic number 0000 in WAL segment %s, LSN %s, offset %d", w.v.size.FileName(w.p.run.tli, w.v.size.SegNo(at)), at, w.v.size.Offset(at))
}

// old reports whether a page holds nothing, or what a recycled segment has kept
// from its former place.
func (w *walker) old(at wal.LSN, b []byte) bool {
	if zero(b) {
		return true
	}
	if len(b) < shortHeaderSize {
		return false
	}
	_, known := wal.VersionOfMagic(binary.LittleEndian.Uint16(b))
	addr := wal.LSN(binary.LittleEndian.Uint64(b[8:]))
	return known && addr < at && w.v.size.Offset(addr) == w.v.size.Offset(at)
}

// page is the rest of the page from at on, as far as it is in b, which lies at pos.
func page(pos wal.LSN, b []byte, at wal.LSN) []byte {
	if at < pos || at > pos+wal.LSN(len(b)) {
		return nil
	}
	b = b[at-pos:]
	return b[:min(len(b), int(wal.PageSize-at%wal.PageSize))]
}

// zero reports whether there is nothing but zeros.
func zero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// openForm opens a form of a segment; one that was being received may have got
// its final name meanwhile.
func (v *verifier) openForm(f archive.File) (*archive.Content, error) {
	c, err := archive.OpenFile(filepath.Join(v.dir, f.Name))
	if f.Kind != archive.Partial || !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	for _, name := range archive.Names(f.Base) {
		if c, err := archive.OpenFile(filepath.Join(v.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return nil, err
}
