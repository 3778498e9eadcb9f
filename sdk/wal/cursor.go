package wal

import "encoding/binary"

// cursor reads little-endian fields one after another. Once a field does not
// fit, it and all later ones read as zero and short stays set, so that a
// decoder can read a group of fields and ask once.
type cursor struct {
	buf   []byte
	off   int // bytes read
	short bool
}

func (c *cursor) u8() uint8 {
	if c.short || len(c.buf)-c.off < 1 {
		c.short = true
		return 0
	}
	v := c.buf[c.off]
	c.off++
	return v
}

func (c *cursor) u16() uint16 {
	if c.short || len(c.buf)-c.off < 2 {
		c.short = true
		return 0
	}
	v := binary.LittleEndian.Uint16(c.buf[c.off:])
	c.off += 2
	return v
}

func (c *cursor) u32() uint32 {
	if c.short || len(c.buf)-c.off < 4 {
		c.short = true
		return 0
	}
	v := binary.LittleEndian.Uint32(c.buf[c.off:])
	c.off += 4
	return v
}

func (c *cursor) u64() uint64 {
	if c.short || len(c.buf)-c.off < 8 {
		c.short = true
		return 0
	}
	v := binary.LittleEndian.Uint64(c.buf[c.off:])
	c.off += 8
	return v
}

// skip passes over n bytes.
func (c *cursor) skip(n int) {
	if c.short || n < 0 || len(c.buf)-c.off < n {
		c.short = true
		return
	}
	c.off += n
}
