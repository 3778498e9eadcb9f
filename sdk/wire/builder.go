package wire

import (
	"slices"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// Assembler turns a byte stream of WAL into blocks: it feeds the record reader
// and lays out each block once. Raw bytes are copied once, records that no page
// header cuts not at all. It is not safe for concurrent use.
//
// Use: Append until it takes less than it was given or the source is idle, then
// Seal, which hands the block over and starts the next in a new buffer.
type Assembler struct {
	reader   *xlogreader.Reader
	timeline wal.TimelineID
	raw      bool // blocks are made without records
	rec      wal.Record

	buf     []byte // header, raw WAL with room up to its limit, cut records
	walOff  int    // where the raw WAL begins
	walLen  int
	limit   int // of walLen
	index   []byte
	refs    []byte
	start   wal.LSN
	sent    int64
	records int
}

// NewAssembler begins at start, which the reader begins at too.
func NewAssembler(reader *xlogreader.Reader, timeline wal.TimelineID, start wal.LSN) *Assembler {
	return &Assembler{reader: reader, timeline: timeline, start: start}
}

// NewRawAssembler is NewAssembler for blocks without records, which sinks of raw
// WAL alone can take. The WAL is checked all the same.
func NewRawAssembler(reader *xlogreader.Reader, timeline wal.TimelineID, start wal.LSN) *Assembler {
	return &Assembler{reader: reader, timeline: timeline, start: start, raw: true}
}

// Append takes bytes that follow what was appended before, as many as the block
// has room for, and answers how many. An error is the WAL's (*wal.Error) or the
// reader's end of WAL; the block then still holds, and Seal still gives, all
// that came before it. What lies at the beginning of Room already is not copied.
func (a *Assembler) Append(p []byte, serverTime int64) (int, error) {
	room := a.Room()
	n := min(len(p), len(room))
	if n > 0 && &room[0] != &p[0] {
		copy(room, p[:n])
	}
	return n, a.take(n, serverTime)
}

// Room is the block's memory for the bytes that follow what was appended before,
// for who can put them there without a copy.
func (a *Assembler) Room() []byte {
	if a.buf == nil {
		panic("wire: WAL for a block before SetBuffer")
	}
	return a.buf[a.walOff+a.walLen : a.walOff+a.limit : a.walOff+a.limit]
}

// take appends the first n bytes of Room.
func (a *Assembler) take(n int, serverTime int64) error {
	at := a.walOff + a.walLen
	a.walLen += n
	a.sent = serverTime
	if n == 0 {
		return nil
	}
	a.reader.Feed(a.buf[at : at+n])
	for {
		st, err := a.reader.Next(&a.rec)
		if err != nil {
			return err
		}
		switch st {
		case xlogreader.NeedMore:
			return nil
		case xlogreader.EndOfWAL:
			return ErrEndOfWAL
		}
		a.records++
		if !a.raw {
			a.add(at)
		}
	}
}

// ErrEndOfWAL says that the source's WAL ends here in zeros, which only files do.
var ErrEndOfWAL = wal.Errorf(0, "end of WAL")

// add indexes a.rec; fed is the block offset of what the reader was fed.
func (a *Assembler) add(fed int) {
	r := &a.rec
	off := a.reader.DataOffset()
	if off >= 0 {
		off += fed
	} else {
		off = len(a.buf)
		a.buf = append(a.buf, r.Data...)
	}
	var e [recordEntrySize]byte
	le.PutUint32(e[0:], uint32(int32(int64(r.StartLSN)-int64(a.start))))
	end := int32(noEnd)
	if r.EndLSN != 0 {
		end = int32(int64(r.EndLSN) - int64(a.start))
	}
	le.PutUint32(e[4:], uint32(end))
	le.PutUint32(e[8:], uint32(off))
	le.PutUint32(e[12:], uint32(len(r.Data)))
	le.PutUint32(e[16:], r.TotalLen)
	le.PutUint32(e[20:], r.FragmentOffset)
	le.PutUint32(e[24:], r.MainDataOffset)
	le.PutUint32(e[28:], uint32(len(a.refs)/refEntrySize))
	e[32], e[33], e[34] = byte(len(r.Blocks)), byte(r.RmgrID), r.Info
	le.PutUint32(e[36:], uint32(r.XID))
	le.PutUint32(e[40:], uint32(r.TopLevelXID))
	le.PutUint16(e[44:], r.Origin)
	a.index = append(a.index, e[:]...)
	for i := range r.Blocks {
		a.refs = appendRef(a.refs, &r.Blocks[i])
	}
}

func appendRef(dst []byte, b *wal.BlockRef) []byte {
	var e [refEntrySize]byte
	le.PutUint32(e[0:], uint32(b.Rel.Spc))
	le.PutUint32(e[4:], uint32(b.Rel.DB))
	le.PutUint32(e[8:], uint32(b.Rel.Rel))
	le.PutUint32(e[12:], uint32(b.Block))
	le.PutUint32(e[16:], b.ImageOffset)
	le.PutUint32(e[20:], b.DataOffset)
	le.PutUint16(e[24:], b.ImageLen)
	le.PutUint16(e[26:], b.HoleOffset)
	le.PutUint16(e[28:], b.HoleLen)
	le.PutUint16(e[30:], b.DataLen)
	le.PutUint16(e[32:], uint16(b.Flags))
	e[34], e[35] = b.ID, byte(b.Fork)
	return append(dst, e[:]...)
}

// SetBuffer gives the memory of the next block, which is handed out by Seal. It
// is grown where it is too small.
//
// The block ends with a stretch of BlockWAL, or RawBlockWAL, of the WAL, whatever came before, so
// that large blocks begin and end with pages again after a small one.
func (a *Assembler) SetBuffer(buf []byte) {
	size := BlockWAL
	if a.raw {
		size = RawBlockWAL
	}
	a.limit = size - int(a.start%wal.LSN(size))
	a.walOff = headerSize + int((a.start-headerSize)%walAlign)
	room := a.walOff + a.limit
	a.buf = slices.Grow(buf[:0], room)[:room]
}

// NeedsBuffer reports that SetBuffer must come before the next Append.
func (a *Assembler) NeedsBuffer() bool { return a.buf == nil }

// Empty reports that nothing was appended since the last Seal.
func (a *Assembler) Empty() bool { return a.walLen == 0 }

// Records is how many records and fragments were found since the last Seal.
func (a *Assembler) Records() int { return a.records }

// Full reports that the block has no room left.
func (a *Assembler) Full() bool { return a.buf != nil && a.walLen == a.limit }

// End is the LSN after the last byte appended.
func (a *Assembler) End() wal.LSN { return a.start + wal.LSN(a.walLen) }

// Reader is the reader that the assembler feeds, to ask it for its state.
func (a *Assembler) Reader() *xlogreader.Reader { return a.reader }

// Seal completes the block and hands it over.
func (a *Assembler) Seal() []byte {
	a.close()
	b, cutOff := a.buf, a.walOff+a.walLen
	h := b[:headerSize]
	clear(b[:a.walOff])
	le.PutUint32(h[0:], blockMagic)
	le.PutUint16(h[4:], layoutVersion)
	le.PutUint16(h[6:], a.reader.Version().Magic())
	le.PutUint32(h[8:], uint32(a.timeline))
	le.PutUint64(h[16:], uint64(a.start))
	le.PutUint64(h[24:], uint64(a.End()))
	le.PutUint64(h[32:], uint64(min(a.reader.RecordsEnd(), a.End())))
	le.PutUint64(h[40:], uint64(a.sent))
	le.PutUint32(h[48:], uint32(a.walOff))
	le.PutUint32(h[52:], uint32(a.walLen))
	if a.raw {
		return a.next(b)
	}
	le.PutUint32(h[56:], uint32(cutOff))
	le.PutUint32(h[60:], uint32(len(b)-cutOff))
	le.PutUint32(h[64:], uint32(len(b)))
	le.PutUint32(h[68:], uint32(a.records))
	le.PutUint32(h[72:], uint32(len(b)+len(a.index)))
	le.PutUint32(h[76:], uint32(len(a.refs)/refEntrySize))
	b = append(b, a.index...)
	b = append(b, a.refs...)
	return a.next(b)
}

// next begins the block that follows b, and answers b.
func (a *Assembler) next(b []byte) []byte {
	a.start = a.End()
	a.buf, a.walLen, a.records = nil, 0, 0
	a.index, a.refs = a.index[:0], a.refs[:0]
	return b
}

// close takes out what the block has no use for: the room that is left behind its
// raw WAL, and before that of a small block the gap that aligns it.
func (a *Assembler) close() {
	front, room := 0, a.limit-a.walLen
	if a.walLen < alignedWAL {
		front = a.walOff - headerSize
	}
	if front == 0 && room == 0 {
		return
	}
	cut := a.buf[a.walOff+a.limit:]
	for i := 8; i < len(a.index); i += recordEntrySize {
		off := int(le.Uint32(a.index[i:]))
		if off >= a.walOff+a.limit {
			off -= room
		}
		le.PutUint32(a.index[i:], uint32(off-front))
	}
	copy(a.buf[a.walOff-front:], a.buf[a.walOff:a.walOff+a.walLen])
	a.walOff -= front
	n := copy(a.buf[a.walOff+a.walLen:], cut)
	a.buf = a.buf[:a.walOff+a.walLen+n]
}
