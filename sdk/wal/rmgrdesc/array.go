package rmgrdesc

import (
	"encoding/binary"

	"github.com/walplex/walplex/sdk/wal"
)

// appendArray appends the next n elements of size bytes as array_desc does
// (access/rmgrdesc/rmgrdesc_utils.c): " [a, b]". Of an array that is cut short
// the elements that are there, and no bracket.
func appendArray(dst []byte, c *cursor, n int64, size int, element func(dst, e []byte) []byte) []byte {
	if c.short {
		return dst
	}
	a := c.array(n, size).buf
	dst = append(dst, " ["...)
	for i := 0; i < len(a); i += size {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = element(dst, a[i:i+size])
	}
	if c.short {
		return dst
	}
	return append(dst, ']')
}

// appendOffsets appends the label and the next n OffsetNumbers as an array.
func appendOffsets(dst []byte, label string, c *cursor, n uint16) []byte {
	if c.short {
		return dst
	}
	return appendArray(append(dst, label...), c, int64(n), 2, offsetElement)
}

// offsetElement is offset_elem_desc.
func offsetElement(dst, e []byte) []byte {
	return appendUint(dst, "", binary.LittleEndian.Uint16(e))
}

// redirectElement is redirect_elem_desc.
func redirectElement(dst, e []byte) []byte {
	dst = appendUint(dst, "", binary.LittleEndian.Uint16(e))
	return appendUint(dst, "->", binary.LittleEndian.Uint16(e[2:]))
}

// oidElement is oid_elem_desc.
func oidElement(dst, e []byte) []byte {
	return appendUint(dst, "", binary.LittleEndian.Uint32(e))
}

// blockID reads a BlockIdData (storage/block.h): the block number's high half
// comes first.
func (c *cursor) blockID() wal.BlockNumber {
	high := wal.BlockNumber(c.u16())
	return high<<16 | wal.BlockNumber(c.u16())
}

// data0 is a cursor over the data of block reference 0; ok is whether it has any
// (XLogRecHasBlockData).
func data0(r *wal.Record) (c cursor, ok bool) {
	b := block(r, 0)
	if b == nil || b.Flags&wal.BlockHasData == 0 {
		return cursor{short: true}, false
	}
	return cursor{buf: r.BlockData(b)}, true
}
