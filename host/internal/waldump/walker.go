package waldump

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// unbounded is the end of a range that has none.
const unbounded = ^wal.LSN(0)

// walker reads the records of a range in order, from a page's start on.
type walker struct {
	src   source
	r     *xlogreader.Reader
	rec   wal.Record
	next  wal.LSN // of what the reader is fed next
	end   wal.LSN // no record that ends behind it is read
	limit wal.LSN // what the reader is fed ends here

	// Why there are no more records, once done: nil where the end was reached,
	// a *fatal where a file cannot be read, ctx's error, or what is wrong with
	// the WAL.
	err     error
	done    bool
	pending bool // w.rec was read and not handed over

	// The record read last, handed over or not; zeros before the first.
	lastStart, lastEnd wal.LSN

	headers bool       // take needs no bytes of the records: they are scanned where they can be
	counts  *collected // where records need only be counted, nobody takes those that are simple
	scan    scanner
}

// newWalker makes a walker from a page's start on. headers says that no bytes of
// the records are needed: then Data of those handed over is nil.
func newWalker(src source, from, end wal.LSN, headers bool) *walker {
	w := &walker{src: src, end: end, limit: unbounded, headers: headers}
	if end != unbounded {
		w.limit = end.AlignUp() // a record is handed over together with its padding
	}
	w.begin(from, 0)
	return w
}

// begin lets a new reader read from a page's start on.
func (w *walker) begin(from wal.LSN, systemID uint64) {
	w.next = from
	w.r = xlogreader.New(from, xlogreader.Options{SegmentSize: w.src.size, SystemID: systemID, MaxWhole: wal.MaxRecordSize})
}

// firstPage bounds the addresses that are never mapped: a fault there is a nil
// pointer.
const firstPage = 4096

// each hands the records up to the first that begins at or behind to over to
// take, until that answers false; a record is valid until the next one. That
// first one stays at hand, in w.rec, for the next call: then w.done is false.
func (w *walker) each(ctx context.Context, to wal.LSN, take func(*wal.Record) bool) {
	// A mapped file that another program cuts short faults when it is read.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		fault := recover()
		if f, ok := fault.(interface{ Addr() uintptr }); ok && f.Addr() >= firstPage {
			w.finish(fatalf("could not read from file %s: it was cut short meanwhile", w.src.name()))
		} else if fault != nil {
			panic(fault)
		}
	}()
	for {
		if !w.pending && !w.read(ctx) {
			return
		}
		w.pending = w.rec.StartLSN >= to
		if w.pending || !take(&w.rec) || w.headers && !w.scanOn(to, take) {
			return
		}
	}
}

// read reads the next record into w.rec, with every check.
func (w *walker) read(ctx context.Context) bool {
	if w.done {
		return false
	}
	for {
		status, err := w.r.Next(&w.rec)
		switch {
		case err != nil:
			return w.finish(w.unlessBeyond(err))
		case status == xlogreader.Record:
			if w.rec.EndLSN > w.end && dataEnd(&w.rec) > w.end {
				return w.finish(nil)
			}
			if w.rec.StartLSN <= w.lastStart {
				continue // read again, see scanOn
			}
			w.lastStart, w.lastEnd = w.rec.StartLSN, w.rec.EndLSN
			return true
		case ctx.Err() != nil:
			return w.finish(ctx.Err())
		}
		if w.next >= w.limit && !w.extend(ctx) {
			return w.finish(nil)
		}
		b, err := w.src.at(ctx, w.next, w.limit)
		if err != nil {
			return w.finish(err)
		}
		w.r.Feed(b)
		w.next += wal.LSN(len(b))
	}
}

func (w *walker) finish(err error) bool {
	w.err, w.done = err, true
	return false
}

// unlessBeyond drops an error in what lies behind the end, of which some bytes
// were fed: where not all of a record's or page's header lies before it.
func (w *walker) unlessBeyond(err error) error {
	var e *wal.Error
	if errors.As(err, &e) && w.end < min(e.LSN+wal.RecordHeaderSize, pageEnd(e.LSN)) {
		return nil
	}
	return err
}

func pageEnd(lsn wal.LSN) wal.LSN { return lsn&^(wal.PageSize-1) + wal.PageSize }

// dataEnd is where the bytes of a record end, without padding; of a segment
// switch, which reaches to the segment's end, that of its header.
func dataEnd(r *wal.Record) wal.LSN {
	if isSwitch(r) {
		return r.StartLSN + wal.RecordHeaderSize
	}
	padding := (wal.MaxAlign - r.TotalLen%wal.MaxAlign) % wal.MaxAlign
	return r.EndLSN - wal.LSN(padding)
}

// infoSwitch is XLOG_SWITCH (catalog/pg_control.h).
const infoSwitch = 0x40

func isSwitch(r *wal.Record) bool {
	return r.RmgrID == wal.RmgrXLOG && r.Info&0xF0 == infoSwitch
}

// extend lets the reader have the rest of the segment where the end lies in the
// padding behind a switch record, which it hands over with all its padding.
func (w *walker) extend(ctx context.Context) bool {
	at, rest := w.r.RecordsEnd(), w.src.size.End(w.limit-1)
	if w.limit == rest || at+wal.RecordHeaderSize > w.end || at/wal.PageSize != (at+wal.RecordHeaderSize-1)/wal.PageSize {
		return false
	}
	b, err := w.src.at(ctx, at, at+wal.RecordHeaderSize)
	if err != nil || len(b) < wal.RecordHeaderSize {
		return false
	}
	if wal.RmgrID(b[17]) != wal.RmgrXLOG || b[16]&0xF0 != infoSwitch {
		return false
	}
	w.limit = rest
	return true
}

// close lets go of the files. The record read last is not valid any more.
func (w *walker) close() { w.src.close() }
