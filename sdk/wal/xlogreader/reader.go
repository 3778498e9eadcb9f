package xlogreader

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// Status is what [Reader.Next] found.
type Status uint8

// The outcomes of Next. The zero Status comes with an error.
const (
	// NeedMore: every byte fed so far is used up; Feed may be called.
	NeedMore Status = 1 + iota
	// Record: the wal.Record is filled and whole.
	Record
	// Fragment: the wal.Record is filled, but its Data is one piece of a record
	// larger than MaxWhole. Pieces come in order; wal.Record.Last tells the last.
	Fragment
	// EndOfWAL: zeros stand where a record would (Options.File only). Final.
	EndOfWAL
)

func (s Status) String() string {
	switch s {
	case NeedMore:
		return "need more"
	case Record:
		return "record"
	case Fragment:
		return "fragment"
	case EndOfWAL:
		return "end of WAL"
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Sizes, in bytes.
const (
	// DefaultMaxWhole is Options.MaxWhole where it is not set.
	DefaultMaxWhole = 1 << 20
	// MinMaxWhole is the least MaxWhole: two pages, in which the header of any
	// record and all that decoding needs of it fit.
	MinMaxWhole = 2 * wal.PageSize
	// FragmentSize is the size of every fragment but a record's last; MaxWhole
	// where that is smaller.
	FragmentSize = 64 << 10
)

// Options of a Reader.
type Options struct {
	// SystemID is the system identifier that the WAL must carry; 0 takes it
	// from the first long page header.
	SystemID uint64

	// SegmentSize is the cluster's wal_segment_size. Required.
	SegmentSize wal.SegmentSize

	// Timeline is the greatest xlp_tli that a page may carry: the timeline
	// being read, whose first pages may be its ancestors'. 0 admits any.
	// xlp_tli never decreases in any case.
	Timeline wal.TimelineID

	// MaxWhole, in bytes: records of up to this size are handed over whole,
	// larger ones in fragments. 0 is DefaultMaxWhole; less than MinMaxWhole is
	// MinMaxWhole.
	MaxWhole int

	// File says that the bytes come from segment files, where zeros at a
	// record's place are the end of WAL. In a stream they are corruption,
	// except behind a segment switch.
	File bool
}

// state is what the byte at Reader.pos belongs to.
type state uint8

const (
	inPageHeader state = iota
	atRecord           // a record's first byte, or zeros
	inRecord           // a record, of which got bytes are collected
	inPadding          // padding, up to Reader.end
	inSkipped          // the rest of a record whose head lies before the start
	ended
	failed
)

// Reader reads the WAL from one position on. It is for one goroutine.
type Reader struct {
	opts  Options
	start wal.LSN
	state state
	err   error // sticky

	buf   []byte  // what was given to Feed
	off   int     // bytes of buf that are used up
	pos   wal.LSN // of buf[off]
	valid wal.LSN // up to here are only complete records, headers and padding

	// Pages.
	header    [longHeaderSize]byte // a page header that came in pieces
	headerLen int
	version   wal.Version // of the first page; 0 before it
	systemID  uint64
	timeline  wal.TimelineID // xlp_tli of the last page

	// The record being collected.
	cur record

	skipped   skipped
	end       wal.LSN // of the padding
	lastStart wal.LSN // of the last complete record, 0 none
	lastEnd   wal.LSN
	dataOff   int

	// overwritten is where a record began that the next record overwrites, 0 none.
	overwritten wal.LSN
}

// New makes a Reader of the WAL from start on. It must be the start of a page,
// and is normally that of a segment: only there stand the system identifier
// and the sizes that are to be compared. A record that began before start is
// skipped ([Reader.SkippedTo]). Options that no cluster can have, and any other
// start, are answered by the first Next as an error.
func New(start wal.LSN, o Options) *Reader {
	if o.MaxWhole == 0 {
		o.MaxWhole = DefaultMaxWhole
	}
	o.MaxWhole = min(max(o.MaxWhole, MinMaxWhole), wal.MaxRecordSize)
	r := &Reader{opts: o, start: start, pos: start, valid: start, systemID: o.SystemID, dataOff: -1}
	r.cur.fragment = min(o.MaxWhole, FragmentSize)
	switch {
	case !o.SegmentSize.Valid():
		r.fail(wal.Errorf(start, "cannot read WAL with segments of %d bytes: wal_segment_size is a power of two between 1 MiB and 1 GiB", uint32(o.SegmentSize)))
	case start == 0 || start%wal.PageSize != 0:
		r.fail(wal.Errorf(start, "cannot read WAL from %s: begin at the start of a page, best of a segment", start))
	}
	return r
}

// Feed gives the bytes that follow those fed before. They are borrowed, and
// must not be changed, until Next answers NeedMore; to call Feed before that is
// a programming error and panics. After an error or EndOfWAL it does nothing.
func (r *Reader) Feed(p []byte) {
	if r.state >= ended {
		return
	}
	if r.off < len(r.buf) {
		panic("xlogreader: Feed was called before Next answered NeedMore")
	}
	r.buf, r.off = p, 0
}

// Next reads on in the bytes fed, and fills rec with the next record or
// fragment. Whatever rec points to is valid until the next call of Next or
// Feed; its Blocks array is used again.
//
// An error is a [*wal.Error]: the WAL is corrupt at its LSN, and every later
// call answers the same.
func (r *Reader) Next(rec *wal.Record) (Status, error) {
	r.dataOff = -1
	for {
		status, err := r.step(rec)
		if err != nil {
			r.fail(err)
			return 0, err
		}
		if status != 0 {
			return status, nil
		}
	}
}

// step does what the state asks for; a zero Status means that there is more to
// do with the bytes at hand.
func (r *Reader) step(rec *wal.Record) (Status, error) {
	switch r.state {
	case atRecord:
		return r.beginRecord(rec)
	case inRecord:
		return r.collect(rec)
	case inPageHeader:
		return r.page()
	case inPadding:
		return r.pad(rec)
	case inSkipped:
		return r.skip()
	case ended:
		return EndOfWAL, nil
	}
	return 0, r.err
}

func (r *Reader) fail(err error) { r.state, r.err = failed, err }

// Fed is the LSN after the last byte fed.
func (r *Reader) Fed() wal.LSN { return r.pos + wal.LSN(len(r.buf)-r.off) }

// RecordsEnd is how far the WAL is complete, once Next has answered NeedMore:
// Fed, or the start of the record that is incomplete there; of one that began
// before the Reader's start, that start. After EndOfWAL it is where the WAL
// ends, after an error it is at or before the place of the error.
func (r *Reader) RecordsEnd() wal.LSN {
	if r.state == atRecord || r.state == inPageHeader && !r.cur.begun && !r.skipped.active {
		return r.pos
	}
	return r.valid
}

// LastRecord is where the last complete record starts and ends, zeros before
// the first.
func (r *Reader) LastRecord() (start, end wal.LSN) { return r.lastStart, r.lastEnd }

// SkippedTo is where the first record began, when the Reader's start lay inside
// a record whose head was not seen; zero before that is known, and when the
// start did not.
func (r *Reader) SkippedTo() wal.LSN { return r.skipped.to }

// DataOffset is where Data of the last record lies in the slice given to Feed,
// or -1 when it was put together in the Reader's buffer.
func (r *Reader) DataOffset() int { return r.dataOff }

// Version is the version whose WAL this is, 0 before the first page header.
func (r *Reader) Version() wal.Version { return r.version }

// SystemID is Options.SystemID, or what the first long page header said; 0
// before that.
func (r *Reader) SystemID() uint64 { return r.systemID }

// Timeline is xlp_tli of the last page whose header was read, 0 before the first.
func (r *Reader) Timeline() wal.TimelineID { return r.timeline }

// take uses up n bytes that are at hand.
func (r *Reader) take(n int) []byte {
	b := r.buf[r.off : r.off+n]
	r.off += n
	r.pos += wal.LSN(n)
	return b
}

// room is the number of bytes from pos to the page's end; at a page's start,
// the whole page.
func (r *Reader) room() int { return wal.PageSize - int(r.pos%wal.PageSize) }

// atHand is the number of bytes fed and not used up.
func (r *Reader) atHand() int { return len(r.buf) - r.off }

// between is entered where one record has ended and the next may begin.
func (r *Reader) between() {
	r.state = atRecord
	if r.pos%wal.PageSize == 0 {
		r.state, r.valid = inPageHeader, r.pos
	}
}
