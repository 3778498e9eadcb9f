package pages

import (
	"encoding/binary"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
)

// comparePage says how a page of the sink differs from the one in the data
// directory, but for what no record carries; "" where it does not. Both are
// overwritten.
func comparePage(ours, theirs []byte, fork wal.ForkNumber, block wal.BlockNumber) (Kind, string) {
	kind := KindOf(theirs, fork, block)
	if kind == Empty {
		kind = KindOf(ours, fork, block)
	}
	if neverLogged(theirs, fork) && neverLogged(ours, fork) {
		return kind, ""
	}
	switch kind {
	case Sequence:
		maskSequence(ours, theirs)
	case SPGist:
		maskLastUsed(ours)
		maskLastUsed(theirs)
	}
	for _, p := range [][]byte{ours, theirs} {
		redo.Mask(p, kind.rmgr(), fork, block)
	}
	return kind, difference(ours, theirs)
}

// A sequence's tuple after its header of 24 bytes (FormData_pg_sequence_data in
// commands/sequence.h): last_value i64, log_cnt i64, is_called.
const (
	tupleHeader  = 24
	sequenceData = 8 + 8 + 1
)

// maskSequence hides what the server is behind its own WAL in: a record is written
// for some values in advance, last_value as of the last of them; log_cnt of them
// are left in the page.
func maskSequence(ours, theirs []byte) {
	a, b := sequenceTuple(ours), sequenceTuple(theirs)
	if a == nil || b == nil {
		return
	}
	ahead, left := int64(le.Uint64(a)-le.Uint64(b)), int64(le.Uint64(b[8:]))
	if left > 0 && le.Uint64(a[8:]) == 0 && ahead != 0 && ahead%left == 0 {
		copy(b[:16], a[:16])
	}
}

// A meta page of SP-GiST (access/spgist_private.h): a flag of the special space, and
// behind the header a magic number and the pages that were used last, with what is
// free on them.
const (
	spgistFlags     = wal.BlockSize - 8
	spgistMeta      = 1 << 0
	spgistLastUsed  = headerSize + 4
	spgistCacheSize = 8 * (4 + 4)
)

// maskLastUsed hides the pages that SP-GiST used last, which it notes without a
// record (SpGistUpdateMetaPage).
func maskLastUsed(p []byte) {
	if KindOf(p, wal.MainFork, 0) == SPGist && le.Uint16(p[spgistFlags:])&spgistMeta != 0 {
		clear(p[spgistLastUsed:][:spgistCacheSize])
	}
}

// sequenceTuple is the data of the only tuple of a sequence, nil if there is none.
func sequenceTuple(p []byte) []byte {
	if KindOf(p, wal.MainFork, 0) != Sequence || le.Uint16(p[atLower:]) != headerSize+itemSize {
		return nil
	}
	id := itemOf(p, 1)
	if id.flags != itemNormal || id.length < tupleHeader+sequenceData || id.offset+id.length > wal.BlockSize {
		return nil
	}
	return p[id.offset+tupleHeader:][:sequenceData]
}

// Line pointers (storage/itemid.h).
const (
	itemSize   = 4
	itemUnused = 0
	itemNormal = 1
	itemMoved  = 2 // LP_REDIRECT
	itemDead   = 3
)

// item is a line pointer.
type item struct {
	offset, length int
	flags          int
}

var itemNames = [...]string{"unused", "normal", "redirect", "dead"}

func (i item) String() string {
	switch i.flags {
	case itemMoved:
		return fmt.Sprintf("redirect to %d", i.offset)
	case itemUnused:
		return "unused"
	}
	return fmt.Sprintf("%s, %d bytes at %d", itemNames[i.flags], i.length, i.offset)
}

// itemOf is line pointer n, from 1; p has it.
func itemOf(p []byte, n int) item {
	id := binary.LittleEndian.Uint32(p[headerSize+(n-1)*itemSize:])
	return item{offset: int(id & 0x7FFF), flags: int(id >> 15 & 3), length: int(id >> 17)}
}

// items is how many line pointers a page has, 0 where its header does not hold.
func items(p []byte) int {
	lower := int(le.Uint16(p[atLower:]))
	if lower < headerSize || lower > wal.BlockSize {
		return 0
	}
	return (lower - headerSize) / itemSize
}

// fields are those of a page's header by their first byte.
var fields = []struct {
	offset int
	name   string
}{{20, "pd_prune_xid"}, {18, "pd_pagesize_version"}, {16, "pd_special"}, {14, "pd_upper"}, {12, "pd_lower"}, {10, "pd_flags"}, {8, "pd_checksum"}, {0, "pd_lsn"}}

// difference says where two pages differ first, and in how many bytes; "" if they
// do not.
func difference(ours, theirs []byte) string {
	first, n := -1, 0
	for i := range ours {
		if ours[i] != theirs[i] {
			if n++; first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return ""
	}
	lo := first &^ 7
	hi := min(lo+16, len(theirs))
	return fmt.Sprintf("%s differ, from byte %d on (%s): %x in the data directory, %x from the sink", count(n, "byte", "bytes"), first, place(theirs, first), theirs[lo:hi], ours[lo:hi])
}

// count is a number and what it counts.
func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// place says what a byte of a page belongs to.
func place(p []byte, offset int) string {
	if offset < headerSize {
		for _, f := range fields {
			if offset >= f.offset {
				return f.name
			}
		}
	}
	lower, upper, special := int(le.Uint16(p[atLower:])), int(le.Uint16(p[atUpper:])), int(le.Uint16(p[atSpecial:]))
	switch {
	case special >= headerSize && offset >= special:
		return fmt.Sprintf("byte %d of the special space", offset-special)
	case offset < lower:
		return fmt.Sprintf("line pointer %d", (offset-headerSize)/itemSize+1)
	case offset < upper:
		return "unused space"
	}
	for n := 1; n <= items(p); n++ {
		if id := itemOf(p, n); id.length > 0 && offset >= id.offset && offset < id.offset+id.length {
			return fmt.Sprintf("byte %d of tuple %d", offset-id.offset, n)
		}
	}
	return "between tuples"
}
