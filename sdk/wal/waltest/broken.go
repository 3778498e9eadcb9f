package waltest

import (
	"fmt"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// Patch overwrites the bytes at lsn. Beyond the end the WAL is extended with
// zeros, and no record can follow any more.
func (w *Writer) Patch(lsn wal.LSN, b []byte) {
	if lsn < w.opts.Start {
		panic(fmt.Sprintf("waltest: %s lies before the first byte, %s", lsn, w.opts.Start))
	}
	at := int(lsn - w.opts.Start)
	if at+len(b) > len(w.data) {
		w.broken = true
		w.zeroTo(lsn + wal.LSN(len(b)))
	}
	copy(w.data[at:], b)
}

// Flip inverts all bits of the byte at lsn.
func (w *Writer) Flip(lsn wal.LSN) {
	w.Patch(lsn, []byte{^w.data[lsn-w.opts.Start]})
}

// PadTo extends the WAL with zeros up to lsn, as in a segment file that was
// allocated ahead. No record can follow.
func (w *Writer) PadTo(lsn wal.LSN) {
	w.broken = w.broken || lsn > w.End()
	w.zeroTo(lsn)
}

// PadSegment is PadTo the end of the segment.
func (w *Writer) PadSegment() {
	if w.opts.SegmentSize.Offset(w.End()) != 0 {
		w.PadTo(w.opts.SegmentSize.End(w.End()))
	}
}

// Abandon writes only the first n bytes of a record and zeros to the page's
// end; the next page begins with XLOG_OVERWRITE_CONTRECORD. That is what a
// server leaves that crashed in the middle of the record and started again. Some
// of the record must be missing on the pages that follow.
func (w *Writer) Abandon(rec Record, n int) (abandoned, overwrite wal.LSN) {
	raw := rec.assemble(w.opts.Version)
	w.seal(raw)
	abandoned = w.lay(raw, n)
	if w.End()%wal.PageSize != 0 {
		n += w.room()
		w.zeroTo(pageEnd(w.End()))
	}
	if n < 1 || n >= len(raw) {
		panic(fmt.Sprintf("waltest: of a record of %d bytes nothing is left to abandon on the pages that follow", len(raw)))
	}
	w.overwrite = true
	overwrite, _ = w.Append(OverwriteContrecord(abandoned, time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)))
	return abandoned, overwrite
}
