package tablerecover

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// The head of a page, and flags of its line pointers (storage/bufpage.h, itemid.h).
const (
	pdLower       = 12
	pdUpper       = 14
	pdSpecial     = 16
	pdSizeVersion = 18
	pageHeader    = 24
	itemSize      = 4

	pageLayout = wal.BlockSize | 4 // PG_PAGE_LAYOUT_VERSION

	itemNormal = 1
)

var errPage = errors.New("the page is damaged")

// checkPage refuses what is no page, and reports whether it is new: all zero.
func checkPage(p []byte) (isNew bool, err error) {
	lower, upper, special := int(le16(p[pdLower:])), int(le16(p[pdUpper:])), int(le16(p[pdSpecial:]))
	if upper == 0 {
		return true, nil
	}
	if lower < pageHeader || lower > upper || upper > special || special > wal.BlockSize || le16(p[pdSizeVersion:]) != pageLayout {
		return false, fmt.Errorf("%w: pd_lower %d, pd_upper %d, pd_special %d, size and version %#x", errPage, lower, upper, special, le16(p[pdSizeVersion:]))
	}
	return false, nil
}

// items is how many line pointers a page has.
func items(p []byte) int { return (int(le16(p[pdLower:])) - pageHeader) / itemSize }

// item is what line pointer n points to, from 1; nil if it has nothing of its own.
func item(p []byte, n int) ([]byte, error) {
	if n < 1 || n > items(p) {
		return nil, fmt.Errorf("%w: it has no line pointer %d", errPage, n)
	}
	lp := le32(p[pageHeader+(n-1)*itemSize:])
	off, flags, length := int(lp&0x7FFF), lp>>15&3, int(lp>>17)
	if flags != itemNormal {
		return nil, nil
	}
	if off < int(le16(p[pdUpper:])) || off+length > int(le16(p[pdSpecial:])) {
		return nil, fmt.Errorf("%w: line pointer %d points to %d bytes at %d", errPage, n, length, off)
	}
	return p[off : off+length : off+length], nil
}
