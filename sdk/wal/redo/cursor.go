package redo

import (
	"errors"

	"github.com/walplex/walplex/sdk/wal"
)

// cursor reads the little-endian fields of main data or block data one after
// another, as C lays them out. Once a field does not fit, it and all later ones
// read as zero and short stays set: a function reads a group of fields and asks
// once.
type cursor struct {
	buf   []byte
	off   int // bytes read
	short bool
}

// errShort says that a record has fewer bytes than its kind has fields.
var errShort = errors.New("the record's data is too short")

// err is errShort if anything read so far did not fit.
func (c *cursor) err() error {
	if c.short {
		return errShort
	}
	return nil
}

// left is how many bytes remain.
func (c *cursor) left() int { return len(c.buf) - c.off }

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
	v := le.Uint16(c.buf[c.off:])
	c.off += 2
	return v
}

func (c *cursor) u32() uint32 {
	if !c.fits(4) {
		return 0
	}
	v := le.Uint32(c.buf[c.off:])
	c.off += 4
	return v
}

func (c *cursor) u64() uint64 {
	if !c.fits(8) {
		return 0
	}
	v := le.Uint64(c.buf[c.off:])
	c.off += 8
	return v
}

// bool reads one byte, which any value but 0 makes true.
func (c *cursor) bool() bool { return c.u8() != 0 }

// xid reads a TransactionId.
func (c *cursor) xid() wal.XID { return wal.XID(c.u32()) }

// blockNumber reads a BlockNumber.
func (c *cursor) blockNumber() wal.BlockNumber { return wal.BlockNumber(c.u32()) }

// bytes reads n bytes, borrowed from the record; nil if they do not fit.
func (c *cursor) bytes(n int) []byte {
	if !c.fits(n) {
		return nil
	}
	b := c.buf[c.off : c.off+n : c.off+n]
	c.off += n
	return b
}

// rest reads all that remains.
func (c *cursor) rest() []byte { return c.bytes(c.left()) }

// skip passes over n bytes, padding among them.
func (c *cursor) skip(n int) {
	if c.fits(n) {
		c.off += n
	}
}

// align passes over padding up to a multiple of n bytes from the data's start.
func (c *cursor) align(n int) { c.skip((n - c.off%n) % n) }

// offsets reads n OffsetNumbers, item numbers.
func (c *cursor) offsets(n int) offsets { return offsets(c.bytes(2 * n)) }

// offsets is an array of OffsetNumber as it lies in a record.
type offsets []byte

func (o offsets) len() int     { return len(o) / 2 }
func (o offsets) at(i int) int { return int(le.Uint16(o[2*i:])) }
