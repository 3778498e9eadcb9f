package waldump

import (
	"strings"

	"github.com/walplex/walplex/sdk/wal"
)

// digits reads numbers at the start of a string as C's sscanf does, and like
// it does not mind what follows.
type digits struct {
	rest string
	bad  bool
}

const spaces = " \t\n\v\f\r"

// number reads an unsigned number of the base, of at most width digits where
// width is not 0. As in C, white space and a sign may stand before it, and what
// exceeds 32 bits is cut.
func (s *digits) number(base uint64, width int) uint32 {
	t := strings.TrimLeft(s.rest, spaces)
	if width == 0 {
		width = len(t)
	}
	left := width
	negative := false
	if t != "" && left > 0 && (t[0] == '-' || t[0] == '+') {
		negative = t[0] == '-'
		t = t[1:]
		left--
	}
	if base == 16 && left > 2 && len(t) > 2 && t[0] == '0' && t[1]|0x20 == 'x' && digit(t[2]) < 16 {
		t = t[2:]
		left -= 2
	}
	n, i := uint64(0), 0
	for i < len(t) && i < left && digit(t[i]) < base {
		n = n*base + digit(t[i])
		i++
	}
	if i == 0 {
		s.bad = true
		return 0
	}
	s.rest = t[i:]
	if negative {
		n = -n
	}
	return uint32(n)
}

// literal reads one given byte.
func (s *digits) literal(c byte) {
	if s.bad || s.rest == "" || s.rest[0] != c {
		s.bad = true
		return
	}
	s.rest = s.rest[1:]
}

func digit(c byte) uint64 {
	switch {
	case '0' <= c && c <= '9':
		return uint64(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return uint64(c|0x20-'a') + 10
	}
	return 255
}

// scanLSN reads "%X/%X".
func scanLSN(s string) (wal.LSN, bool) {
	sc := digits{rest: s}
	hi := sc.number(16, 0)
	sc.literal('/')
	if sc.bad {
		return 0, false
	}
	lo := sc.number(16, 0)
	return wal.LSN(hi)<<32 | wal.LSN(lo), !sc.bad
}

// scanNumber reads "%u".
func scanNumber(s string) (uint32, bool) {
	sc := digits{rest: s}
	n := sc.number(10, 0)
	return n, !sc.bad
}

// scanRelation reads "%u/%u/%u".
func scanRelation(s string) (rel wal.RelFileLocator, ok bool) {
	sc := digits{rest: s}
	rel.Spc = wal.OID(sc.number(10, 0))
	sc.literal('/')
	if !sc.bad {
		rel.DB = wal.OID(sc.number(10, 0))
	}
	sc.literal('/')
	if !sc.bad {
		rel.Rel = wal.OID(sc.number(10, 0))
	}
	return rel, !sc.bad
}

// scanSegmentName reads "%08X%08X%08X" (XLogFromFileName), which a suffix may
// follow.
func scanSegmentName(name string, size wal.SegmentSize) (wal.TimelineID, wal.SegNo, error) {
	if len(name) > wal.SegmentNameLen && wal.IsSegmentName(name[:wal.SegmentNameLen]) {
		name = name[:wal.SegmentNameLen]
	}
	return size.ParseFileName(name)
}
