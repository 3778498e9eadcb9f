package wal

// decompressPGLZ decompresses src into all of dst, and reports whether src is
// sound and fills dst exactly: pglz_decompress with check_complete
// (common/pg_lzcompress.c).
//
// src is groups of a control byte and up to eight items, one for each of its
// bits from the lowest: 0 is a literal byte, 1 a copy of bytes written before.
//
//	 0            1            2
//	+------+------+------------+- - - - - - +
//	|offset|length|offset      |more length |
//	|11..8 | − 3  |7..0        |            |
//	+------+------+------------+- - - - - - +
//
// The third byte is there if the length is 18, and adds to it. An offset may be
// less than the length: then what is copied repeats itself. A copy that runs
// beyond dst is cut off there.
func decompressPGLZ(dst, src []byte) bool {
	s, d := 0, 0
	for s < len(src) && d < len(dst) {
		control := src[s]
		s++
		for bit := 0; bit < 8 && s < len(src) && d < len(dst); bit++ {
			if control>>bit&1 == 0 {
				dst[d] = src[s]
				s++
				d++
				continue
			}
			if len(src)-s < 2 {
				return false
			}
			length := int(src[s]&0x0F) + 3
			offset := int(src[s]&0xF0)<<4 | int(src[s+1])
			s += 2
			if length == 18 {
				if s == len(src) {
					return false
				}
				length += int(src[s])
				s++
			}
			if offset == 0 || offset > d {
				return false
			}
			end := min(d+length, len(dst))
			for d < end {
				// What is copied grows, so that offset bytes at first and
				// twice as many each time repeat themselves.
				n := copy(dst[d:end], dst[d-offset:d])
				d += n
				offset += n
			}
		}
	}
	return s == len(src) && d == len(dst)
}

// DecompressPGLZ decompresses src into all of dst, and reports whether src is sound
// and fills dst exactly, as for values of pages (common/pg_lzcompress.h).
func DecompressPGLZ(dst, src []byte) bool { return decompressPGLZ(dst, src) }
