package redo

import (
	"encoding/binary"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

var le = binary.LittleEndian

// Sizes in bytes, and limits (storage/bufpage.h, access/htup_details.h).
const (
	pageSize     = wal.BlockSize
	headerSize   = 24 // SizeOfPageHeaderData
	itemIDSize   = 4
	layoutNumber = 4 // PG_PAGE_LAYOUT_VERSION

	// maxHeapTuples is MaxHeapTuplesPerPage: tuple headers of 24 bytes, each
	// with its line pointer.
	maxHeapTuples = (pageSize - headerSize) / (24 + itemIDSize)
	// maxItems is how many line pointers fit on a page.
	maxItems = (pageSize - headerSize) / itemIDSize
)

// Flags of pd_flags (storage/bufpage.h).
const (
	pdHasFreeLines = 0x0001
	pdPageFull     = 0x0002
	pdAllVisible   = 0x0004
)

// page is one page of a relation. Offsets into it are in bytes from its start,
// items are numbered from 1.
type page [pageSize]byte

func (p *page) lsn() wal.LSN {
	return wal.LSN(uint64(le.Uint32(p[0:]))<<32 | uint64(le.Uint32(p[4:])))
}

func (p *page) setLSN(l wal.LSN) {
	le.PutUint32(p[0:], uint32(l>>32))
	le.PutUint32(p[4:], uint32(l))
}

func (p *page) flags() uint16         { return le.Uint16(p[10:]) }
func (p *page) setFlag(f uint16)      { le.PutUint16(p[10:], p.flags()|f) }
func (p *page) clearFlag(f uint16)    { le.PutUint16(p[10:], p.flags()&^f) }
func (p *page) lower() int            { return int(le.Uint16(p[12:])) }
func (p *page) upper() int            { return int(le.Uint16(p[14:])) }
func (p *page) special() int          { return int(le.Uint16(p[16:])) }
func (p *page) setLower(v int)        { le.PutUint16(p[12:], uint16(v)) }
func (p *page) setUpper(v int)        { le.PutUint16(p[14:], uint16(v)) }
func (p *page) pruneXID() wal.XID     { return wal.XID(le.Uint32(p[20:])) }
func (p *page) setPruneXID(x wal.XID) { le.PutUint32(p[20:], uint32(x)) }

// isNew is PageIsNew: the page was never initialised.
func (p *page) isNew() bool { return p.upper() == 0 }

// init is PageInit: an empty page with so many bytes of special space, which
// becomes MAXALIGNed.
func (p *page) init(specialSize int) {
	clear(p[:])
	special := pageSize - maxAlign(specialSize)
	p.setLower(headerSize)
	p.setUpper(special)
	le.PutUint16(p[16:], uint16(special))
	le.PutUint16(p[18:], pageSize|layoutNumber)
}

// check is the part of PageIsVerified and of the checks in bufpage.c that makes
// the rest of this file safe: the bounds in the header are in order.
func (p *page) check() error {
	if l, u, s := p.lower(), p.upper(), p.special(); l < headerSize || l > u || u > s || s > pageSize || s != maxAlign(s) {
		return fmt.Errorf("corrupted page pointers: lower = %d, upper = %d, special = %d", l, u, s)
	}
	return nil
}

// specialSpace is the special space if it has at least n bytes. Of what an index
// calls its opaque data, n is the size.
func (p *page) specialSpace(n int) ([]byte, error) {
	s := p.special()
	if s < headerSize || s > pageSize || pageSize-s < n {
		return nil, fmt.Errorf("special space begins at %d, want %d bytes", s, n)
	}
	return p[s:], nil
}

// contents is what follows the header (PageGetContents), of a metapage its data.
func (p *page) contents() []byte { return p[headerSize:] }

// maxAlign is MAXALIGN: rounded up to a multiple of 8.
func maxAlign(n int) int { return (n + 7) &^ 7 }

// itemID is a line pointer, ItemIdData (storage/itemid.h): lp_off in bits 0–14,
// lp_flags in 15–16, lp_len in 17–31, both in bytes.
type itemID uint32

// lp_flags.
const (
	lpUnused   = 0
	lpNormal   = 1
	lpRedirect = 2
	lpDead     = 3
)

func makeItemID(offset, flags, length int) itemID {
	return itemID(offset&0x7FFF | flags&3<<15 | length&0x7FFF<<17)
}

func (id itemID) offset() int      { return int(id & 0x7FFF) }
func (id itemID) flags() int       { return int(id >> 15 & 3) }
func (id itemID) length() int      { return int(id >> 17) }
func (id itemID) hasStorage() bool { return id.length() != 0 }
func (id itemID) used() bool       { return id.flags() != lpUnused }

// maxOffset is PageGetMaxOffsetNumber: how many line pointers there are, none
// more than fit on the page.
func (p *page) maxOffset() int {
	n := (min(p.lower(), pageSize) - headerSize) / itemIDSize
	return max(n, 0)
}

// id is line pointer n, which must be one of 1 to maxOffset: getItemID checks.
func (p *page) id(n int) itemID { return itemID(le.Uint32(p[headerSize+(n-1)*itemIDSize:])) }

// setID sets line pointer n, 1 to maxItems.
func (p *page) setID(n int, id itemID) { le.PutUint32(p[headerSize+(n-1)*itemIDSize:], uint32(id)) }

// getItemID is line pointer n, if there is one.
func (p *page) getItemID(n int) (itemID, error) {
	if m := p.maxOffset(); n < 1 || n > m {
		return 0, fmt.Errorf("no line pointer %d among %d", n, m)
	}
	return p.id(n), nil
}

// setItemID sets line pointer n, if there is one.
func (p *page) setItemID(n int, id itemID) error {
	if _, err := p.getItemID(n); err != nil {
		return err
	}
	p.setID(n, id)
	return nil
}

// item is item n's bytes, lp_len of them, in place: whatever lp_flags say, it
// has storage, and lies inside the page.
func (p *page) item(n int) ([]byte, error) {
	id, err := p.getItemID(n)
	if err != nil {
		return nil, err
	}
	if !p.inside(id) {
		return nil, fmt.Errorf("corrupted line pointer %d: offset = %d, size = %d", n, id.offset(), id.length())
	}
	o := id.offset()
	return p[o : o+id.length() : o+id.length()], nil
}

// normalItem is item n, which must be LP_NORMAL and have at least size bytes.
func (p *page) normalItem(n, size int) ([]byte, error) {
	t, err := p.item(n)
	if err != nil {
		return nil, err
	}
	if f := p.id(n).flags(); f != lpNormal {
		return nil, fmt.Errorf("line pointer %d has flags %d, not LP_NORMAL", n, f)
	}
	if len(t) < size {
		return nil, fmt.Errorf("item %d has %d bytes, fewer than %d", n, len(t), size)
	}
	return t, nil
}

// inside reports that an item has storage, all of it, with its alignment, where
// items lie: between pd_upper and pd_special.
func (p *page) inside(id itemID) bool {
	return id.hasStorage() && id.offset() >= max(p.upper(), headerSize) &&
		id.offset()+maxAlign(id.length()) <= min(p.special(), pageSize) && id.offset() == maxAlign(id.offset())
}
