package waldump

import (
	"fmt"
	"math"
	"strconv"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/rmgrdesc"
)

// printer makes the lines of records. It allocates nothing per record and may
// be used by several goroutines.
type printer struct {
	heads    [math.MaxUint8 + 1]string // up to the first LSN, with room for the numbers
	forks    [math.MaxUint8 + 1]string
	hex      [2 * (math.MaxUint8 + 1)]byte // two digits of each byte
	details  bool
	noMethod bool // see wording
}

func newPrinter(details, noMethod bool) *printer {
	p := &printer{details: details, noMethod: noMethod}
	for i := range p.heads {
		p.heads[i] = fmt.Sprintf("rmgr: %-11s len (rec/tot): %*s/%*s, tx: %*s, lsn: ", wal.RmgrID(i), lengthWidth, "", lengthWidth, "", xidWidth, "")
		p.hex[2*i], p.hex[2*i+1] = upperHex[i>>4], upperHex[i&15]
		p.forks[i] = wal.ForkNumber(i).String()
	}
	return p
}

// Widths of a line's numbers, in columns, and where they end, counted from the
// end of a head.
const (
	lengthWidth = 6
	xidWidth    = 10

	xidFromEnd   = len(", lsn: ")
	totalFromEnd = xidFromEnd + xidWidth + len(", tx: ")
	dataFromEnd  = totalFromEnd + lengthWidth + len("/")
)

// appendRecord appends a record's lines (XLogDumpDisplayRecord).
func (p *printer) appendRecord(b []byte, r *wal.Record) []byte {
	images := uint32(0)
	for i := range r.Blocks {
		images += uint32(r.Blocks[i].ImageLen)
	}
	if r.TotalLen < 1e6 {
		b = append(b, p.heads[r.RmgrID]...)
		putRight(b[:len(b)-dataFromEnd], r.TotalLen-images)
		putRight(b[:len(b)-totalFromEnd], r.TotalLen)
		putRight(b[:len(b)-xidFromEnd], uint32(r.XID))
	} else {
		b = append(b, p.heads[r.RmgrID][:len(p.heads[r.RmgrID])-dataFromEnd-lengthWidth]...)
		b = appendPadded(b, r.TotalLen-images, lengthWidth)
		b = appendPadded(append(b, '/'), r.TotalLen, lengthWidth)
		b = appendPadded(append(b, ", tx: "...), uint32(r.XID), xidWidth)
		b = append(b, ", lsn: "...)
	}
	b = p.appendLongLSN(b, r.StartLSN, ", prev ")
	b = p.appendLongLSN(b, r.PrevLSN, ", desc: ")
	b = append(b, r.Operation()...)
	b = append(b, ' ')
	b = appendDescription(b, r)
	if p.details {
		return p.appendDetails(append(b, '\n'), r)
	}
	return append(p.appendBlocks(b, r), '\n')
}

// appendDescription appends what rm_desc says.
func appendDescription(b []byte, r *wal.Record) []byte {
	if r.RmgrID.Custom() {
		// What pg_waldump says without the extension at hand (default_desc).
		return strconv.AppendUint(append(b, "rmid: "...), uint64(r.RmgrID), 10)
	}
	return rmgrdesc.Append(b, r)
}

// appendBlocks appends the block references on the record's own line.
func (p *printer) appendBlocks(b []byte, r *wal.Record) []byte {
	for i := range r.Blocks {
		ref := &r.Blocks[i]
		b = appendRef(append(b, ", "...), ref)
		if ref.Fork != wal.MainFork {
			b = append(append(b, " fork "...), p.forks[ref.Fork]...)
		}
		b = strconv.AppendUint(append(b, " blk "...), uint64(ref.Block), 10)
		if ref.HasImage() {
			b = append(b, " FPW"...)
			b = appendPurpose(b, ref)
		}
	}
	return b
}

// appendDetails appends a line for each block reference.
func (p *printer) appendDetails(b []byte, r *wal.Record) []byte {
	for i := range r.Blocks {
		ref := &r.Blocks[i]
		b = appendRef(append(b, '\t'), ref)
		b = append(append(b, " fork "...), p.forks[ref.Fork]...)
		b = strconv.AppendUint(append(b, " blk "...), uint64(ref.Block), 10)
		if ref.HasImage() {
			b = appendPurpose(append(b, " (FPW"...), ref)
			b = strconv.AppendUint(append(b, "); hole: offset: "...), uint64(ref.HoleOffset), 10)
			b = strconv.AppendUint(append(b, ", length: "...), uint64(ref.HoleLen), 10)
			if ref.Flags&wal.BlockImageCompressed != 0 {
				saved := uint32(wal.BlockSize) - uint32(ref.HoleLen) - uint32(ref.ImageLen)
				b = strconv.AppendUint(append(b, ", compression saved: "...), uint64(saved), 10)
				if !p.noMethod {
					b = append(append(b, ", method: "...), method(ref)...)
				}
			}
		}
		b = append(b, '\n')
	}
	return b
}

func appendRef(b []byte, ref *wal.BlockRef) []byte {
	b = strconv.AppendUint(append(b, "blkref #"...), uint64(ref.ID), 10)
	b = strconv.AppendUint(append(b, ": rel "...), uint64(ref.Rel.Spc), 10)
	b = strconv.AppendUint(append(b, '/'), uint64(ref.Rel.DB), 10)
	return strconv.AppendUint(append(b, '/'), uint64(ref.Rel.Rel), 10)
}

func appendPurpose(b []byte, ref *wal.BlockRef) []byte {
	if ref.ApplyImage() {
		return b
	}
	return append(b, " for WAL verification"...)
}

// method is what compressed the image.
func method(ref *wal.BlockRef) string {
	switch {
	case ref.Flags&wal.BlockImagePGLZ != 0:
		return "pglz"
	case ref.Flags&wal.BlockImageLZ4 != 0:
		return "lz4"
	case ref.Flags&wal.BlockImageZSTD != 0:
		return "zstd"
	}
	return "unknown"
}

// appendPadded appends n, right-aligned in width columns.
func appendPadded(b []byte, n uint32, width int) []byte {
	var digits [10]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			break
		}
	}
	for pad := width - (len(digits) - i); pad > 0; pad-- {
		b = append(b, ' ')
	}
	return append(b, digits[i:]...)
}

// putRight writes n's digits into the last columns of b.
func putRight(b []byte, n uint32) {
	for i := len(b) - 1; ; i-- {
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return
		}
	}
}

const upperHex = "0123456789ABCDEF"

// appendLongLSN appends "%X/%08X" and what follows it.
func (p *printer) appendLongLSN(b []byte, lsn wal.LSN, then string) []byte {
	b = appendHex(b, uint32(lsn>>32))
	b = append(b, "/00000000"...)
	digits := b[len(b)-8:]
	for i, n := 6, uint32(lsn); i >= 0; i, n = i-2, n>>8 {
		copy(digits[i:i+2], p.hex[2*(n&0xFF):])
	}
	return append(b, then...)
}

// appendHex appends "%X".
func appendHex(b []byte, n uint32) []byte {
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		b = append(b, upperHex[n>>shift&15])
	}
	return b
}
