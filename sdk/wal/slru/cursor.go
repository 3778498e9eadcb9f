package slru

import (
	"errors"

	"github.com/walplex/walplex/sdk/wal"
)

// errShort says that a record has fewer bytes than its kind has fields.
var errShort = errors.New("the record's data is too short")

// cursor reads the little-endian fields of main data one after another. Once a field
// does not fit, it and all later ones read as zero and short stays set.
type cursor struct {
	buf   []byte
	short bool
}

func (c *cursor) skip(n int) {
	if c.short = c.short || len(c.buf) < n; !c.short {
		c.buf = c.buf[n:]
	}
}

func (c *cursor) u32() uint32 {
	if c.short || len(c.buf) < 4 {
		c.short = true
		return 0
	}
	v := le.Uint32(c.buf)
	c.buf = c.buf[4:]
	return v
}

// page reads a page's number, an int, since PG17 an int64. One that the kind cannot
// have counts as one that is not there.
func (c *cursor) page(v wal.Version, k Kind) uint32 {
	low := c.u32()
	if v >= wal.PG17 && c.u32() != 0 || low > k.LastPage() {
		c.short = true
	}
	return low
}
