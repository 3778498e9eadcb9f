package rmgrdesc

import (
	"bytes"
	"encoding/binary"

	"github.com/walplex/walplex/sdk/wal"
)

// cursor reads the little-endian fields of a body one after another, as C lays
// out the struct that the server wrote. Once a field does not fit, it and all
// later ones read as zero and short stays set: a describer reads a group of
// fields and asks once.
type cursor struct {
	buf   []byte
	off   int // bytes read
	short bool
}

// mainData is a cursor over the record's main data, what C gets by
// XLogRecGetData.
func mainData(r *wal.Record) cursor { return cursor{buf: r.MainData()} }

// blockData is a cursor over the data of the block reference with the id, what
// C gets by XLogRecGetBlockData; ok is whether the record has that reference.
func blockData(r *wal.Record, id uint8) (c cursor, ok bool) {
	b := block(r, id)
	if b == nil {
		return cursor{short: true}, false
	}
	return cursor{buf: r.BlockData(b)}, true
}

// block is the block reference with the id, nil without one: ids may have gaps.
func block(r *wal.Record, id uint8) *wal.BlockRef {
	for i := range r.Blocks {
		if r.Blocks[i].ID == id {
			return &r.Blocks[i]
		}
	}
	return nil
}

// left is how many bytes remain.
func (c *cursor) left() int { return len(c.buf) - c.off }

// fits reports that n more bytes remain, and otherwise that the body is short.
func (c *cursor) fits(n int) bool {
	if c.short || n < 0 || c.left() < n {
		c.short = true
		return false
	}
	return true
}

func (c *cursor) u8() uint8 {
	if !c.fits(1) {
		return 0
	}
	v := c.buf[c.off]
	c.off++
	return v
}

func (c *cursor) u16() uint16 {
	if !c.fits(2) {
		return 0
	}
	v := binary.LittleEndian.Uint16(c.buf[c.off:])
	c.off += 2
	return v
}

func (c *cursor) u32() uint32 {
	if !c.fits(4) {
		return 0
	}
	v := binary.LittleEndian.Uint32(c.buf[c.off:])
	c.off += 4
	return v
}

func (c *cursor) u64() uint64 {
	if !c.fits(8) {
		return 0
	}
	v := binary.LittleEndian.Uint64(c.buf[c.off:])
	c.off += 8
	return v
}

func (c *cursor) i32() int32 { return int32(c.u32()) }

func (c *cursor) i64() int64 { return int64(c.u64()) }

// bool reads one byte, which any value but 0 makes true.
func (c *cursor) bool() bool { return c.u8() != 0 }

// lsn reads an XLogRecPtr.
func (c *cursor) lsn() wal.LSN { return wal.LSN(c.u64()) }

// locator reads a RelFileLocator.
func (c *cursor) locator() wal.RelFileLocator {
	return wal.RelFileLocator{Spc: wal.OID(c.u32()), DB: wal.OID(c.u32()), Rel: wal.OID(c.u32())}
}

// skip passes over n bytes, padding among them.
func (c *cursor) skip(n int) {
	if c.fits(n) {
		c.off += n
	}
}

// array is a cursor over the next count elements of size bytes, as many of them
// as there are whole; it is short, and so is c, if that is fewer. A negative
// count, which no server writes, is short as well.
func (c *cursor) array(count int64, size int) cursor {
	if c.short || count < 0 {
		c.short = true
		return cursor{short: true}
	}
	whole := int64(c.left() / size)
	n := int(min(count, whole)) * size
	a := cursor{buf: c.buf[c.off : c.off+n : c.off+n]}
	c.off += n
	c.short = count > whole
	return a
}

// cstring reads a string that ends with NUL, without it. One without NUL is what
// remains, and short.
func (c *cursor) cstring() []byte {
	if c.short {
		return nil
	}
	rest := c.buf[c.off:]
	n := bytes.IndexByte(rest, 0)
	if n < 0 {
		c.off, c.short = len(c.buf), true
		return rest
	}
	c.off += n + 1
	return rest[:n]
}

// end closes a description: with [Truncated] if the body was short.
func (c *cursor) end(dst []byte) []byte {
	if c.short {
		return append(dst, Truncated...)
	}
	return dst
}
