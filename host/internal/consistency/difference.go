package consistency

import (
	"encoding/binary"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

var le = binary.LittleEndian

// headerFields are the fields of a page's header by their first byte
// (storage/bufpage.h).
var headerFields = []struct {
	offset int
	name   string
}{{20, "pd_prune_xid"}, {18, "pd_pagesize_version"}, {16, "pd_special"}, {14, "pd_upper"}, {12, "pd_lower"}, {10, "pd_flags"}, {8, "pd_checksum"}, {0, "pd_lsn"}}

// difference says where two pages that differ do so first, what lies there in
// the second, and in how many bytes they differ.
func difference(got, want *pageBytes) string {
	first, n := -1, 0
	for i := range got {
		if got[i] != want[i] {
			if n++; first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return "no difference"
	}
	lo := first &^ 7
	hi := min(lo+24, wal.BlockSize)
	return fmt.Sprintf("byte %d, %s, is %02x, the server's %02x; %d bytes differ\n\tfrom %d: %x\n\tserver: %s%x",
		first, place(want, first), got[first], want[first], n, lo, got[lo:hi], blanks(lo), want[lo:hi])
}

// blanks align the two rows.
func blanks(offset int) string { return fmt.Sprintf("%*s", max(len(fmt.Sprint(offset))-2, 0), "") }

// place says what a byte of a page belongs to.
func place(p *pageBytes, offset int) string {
	const header, idSize = 24, 4
	if offset < header {
		for _, f := range headerFields {
			if offset >= f.offset {
				return "header: " + f.name
			}
		}
	}
	lower, upper, special := int(le.Uint16(p[12:])), int(le.Uint16(p[14:])), int(le.Uint16(p[16:]))
	switch {
	case offset >= special:
		return fmt.Sprintf("special space + %d", offset-special)
	case offset < lower:
		return fmt.Sprintf("line pointer %d (or content + %d)", (offset-header)/idSize+1, offset-header)
	case offset < upper:
		return "unused space"
	}
	for n := 1; header+n*idSize <= min(lower, wal.BlockSize); n++ {
		id := le.Uint32(p[header+(n-1)*idSize:])
		start, length := int(id&0x7FFF), int(id>>17)
		if offset >= start && offset < start+(length+7)&^7 && length > 0 {
			return fmt.Sprintf("tuple %d of %d bytes + %d", n, length, offset-start)
		}
	}
	return "between tuples"
}
