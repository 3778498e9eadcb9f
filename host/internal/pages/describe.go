package pages

import (
	"fmt"
	"io"
	"strings"

	"github.com/walplex/walplex/sdk/wal"
)

// Describe writes a page for people to read.
func Describe(w io.Writer, p []byte, fork wal.ForkNumber, block wal.BlockNumber, lsn wal.LSN) error {
	if len(p) != wal.BlockSize {
		return fmt.Errorf("a page of %d bytes, want %d", len(p), wal.BlockSize)
	}
	kind := KindOf(p, fork, block)
	var b strings.Builder
	fmt.Fprintf(&b, "block %d, fork %s, %s page, as of %s\n", block, fork, kind, lsn)
	if kind == Empty {
		_, err := io.WriteString(w, b.String())
		return err
	}
	for _, f := range headerText(p) {
		fmt.Fprintf(&b, "  %-20s %s\n", f.name, f.value)
	}
	switch kind {
	case VisibilityMap:
		describeMap(&b, p, block)
	case FreeSpaceMap:
		fmt.Fprintf(&b, "  content              %d bytes that are not zero\n", nonZero(p[headerSize:]))
	default:
		describeItems(&b, p, kind)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// field is a name and a value of a page.
type field struct{ name, value string }

// headerText is the page's header.
func headerText(p []byte) []field {
	return []field{
		{"pd_lsn", pageLSN(p).String()},
		{"pd_checksum", fmt.Sprintf("0x%04X", le.Uint16(p[8:]))},
		{"pd_flags", flagText(uint32(le.Uint16(p[atFlags:])), pageFlags)},
		{"pd_lower", fmt.Sprint(le.Uint16(p[atLower:]))},
		{"pd_upper", fmt.Sprint(le.Uint16(p[atUpper:]))},
		{"pd_special", fmt.Sprint(le.Uint16(p[atSpecial:]))},
		{"pd_pagesize_version", fmt.Sprintf("%d, %d", le.Uint16(p[18:])&0xFF00, p[18])},
		{"pd_prune_xid", fmt.Sprint(le.Uint32(p[20:]))},
	}
}

// flag is a bit with its name.
type flag struct {
	bit  uint32
	name string
}

// pageFlags are those of pd_flags.
var pageFlags = []flag{{1, "HAS_FREE_LINES"}, {2, "PAGE_FULL"}, {4, "ALL_VISIBLE"}}

// flagText names the bits that are set, and gives what has no name as a number.
func flagText(v uint32, flags []flag) string {
	if v == 0 {
		return "0"
	}
	var names []string
	for _, f := range flags {
		if v&f.bit == f.bit {
			names = append(names, f.name)
			v &^= f.bit
		}
	}
	if v != 0 {
		names = append(names, fmt.Sprintf("0x%X", v))
	}
	return strings.Join(names, "|")
}

func nonZero(b []byte) (n int) {
	for _, c := range b {
		if c != 0 {
			n++
		}
	}
	return n
}

// describeMap sums up a page of the visibility map: two bits a heap page.
func describeMap(b *strings.Builder, p []byte, block wal.BlockNumber) {
	var visible, frozen int
	for _, c := range p[headerSize:] {
		for ; c != 0; c >>= 2 {
			visible += int(c & 1)
			frozen += int(c >> 1 & 1)
		}
	}
	first := uint64(block) * (wal.BlockSize - headerSize) * 4
	fmt.Fprintf(b, "  of heap blocks %d to %d: %d all visible, %d all frozen\n", first, first+(wal.BlockSize-headerSize)*4-1, visible, frozen)
}

// maxShown is how many bytes of a tuple are shown in hexadecimal.
const maxShown = 64

func hexText(b []byte) string {
	if len(b) > maxShown {
		return fmt.Sprintf("%x… (%d bytes)", b[:maxShown], len(b))
	}
	return fmt.Sprintf("%x", b)
}

// describeItems writes line pointers with their tuples, and the special space.
func describeItems(b *strings.Builder, p []byte, kind Kind) {
	for n := 1; n <= items(p); n++ {
		id := itemOf(p, n)
		fmt.Fprintf(b, "  %4d  %s\n", n, id)
		tuple := itemBytes(p, id)
		if tuple == nil {
			continue
		}
		if (kind == Heap || kind == Sequence) && len(tuple) >= tupleHeader {
			for _, f := range tupleText(tuple) {
				fmt.Fprintf(b, "        %-12s %s\n", f.name, f.value)
			}
			continue
		}
		fmt.Fprintf(b, "        %s\n", hexText(tuple))
	}
	if special := int(le.Uint16(p[atSpecial:])); special >= headerSize && special < wal.BlockSize {
		fmt.Fprintf(b, "  special space  %s\n", hexText(p[special:]))
	}
}

// itemBytes are the bytes of a line pointer's tuple, nil without any.
func itemBytes(p []byte, id item) []byte {
	if id.flags == itemUnused || id.flags == itemMoved || id.length == 0 || id.offset < headerSize || id.offset+id.length > len(p) {
		return nil
	}
	return p[id.offset:][:id.length]
}
