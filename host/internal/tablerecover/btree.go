package tablerecover

import (
	"context"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// A B-tree's pages (access/nbtree.h). Page 0 is the meta page; every page ends
// with links to its neighbours, its level and flags. An entry is 6 bytes of place
// and 2 of size and flags, then the key: here a value's OID and a chunk's number.
const (
	btMagic    = 0x053162
	btRoot     = 8  // in the meta page, from the page's head on
	btNext     = 4  // in the page's end
	btLevel    = 8  // likewise
	btFlags    = 12 // likewise
	btSpecial  = 16
	btDeleted  = 4
	btHalfDead = 16

	indexTuple     = 8
	indexAltTID    = 0x2000
	indexSize      = 0x1FFF
	btNattsMask    = 0x0FFF
	btPosting      = 0x2000
	maxBTreeLevels = 64
)

// tid is a place in a heap.
type tid struct {
	block wal.BlockNumber
	item  uint16
}

func parseTID(b []byte) tid {
	return tid{wal.BlockNumber(le16(b))<<16 | wal.BlockNumber(le16(b[2:])), le16(b[4:])}
}

// btPage is a page of the index, taken apart so far as a search needs it.
type btPage struct {
	p       []byte
	next    wal.BlockNumber
	level   uint32
	ignored bool // deleted, or about to be: only its link counts
}

func (t *toastTable) btree(ctx context.Context, block wal.BlockNumber) (btPage, error) {
	p, err := t.cache.page(ctx, t.index, block)
	if err != nil {
		return btPage{}, err
	}
	if isNew, err := checkPage(p); err != nil || isNew || le16(p[pdSpecial:]) != wal.BlockSize-btSpecial {
		return btPage{}, fmt.Errorf("block %d of index %s is no page of a B-tree", block, t.index)
	}
	end := p[wal.BlockSize-btSpecial:]
	return btPage{p, wal.BlockNumber(le32(end[btNext:])), le32(end[btLevel:]), le16(end[btFlags:])&(btDeleted|btHalfDead) != 0}, nil
}

// first is the number of the page's first entry behind its upper bound.
func (b *btPage) first() int {
	if b.next != 0 {
		return 2
	}
	return 1
}

// entry is an entry and its key's first column; a key that was cut off, or the
// first of an inner page, which has none, is less than all.
func (b *btPage) entry(n int) (e []byte, value wal.OID, err error) {
	lp := le32(b.p[pageHeader+(n-1)*itemSize:])
	off, length := int(lp&0x7FFF), int(lp>>17) // flags are of no use: a dead one may have been named by nobody else
	if off < pageHeader || length < indexTuple || off+length > wal.BlockSize-btSpecial {
		return nil, 0, fmt.Errorf("%w: an entry has %d bytes at %d", errPage, length, off)
	}
	e = b.p[off : off+length]
	info := le16(e[6:])
	if info&indexAltTID != 0 && le16(e[4:])&btPosting == 0 && le16(e[4:])&btNattsMask == 0 {
		return e, 0, nil
	}
	if length < indexTuple+4 {
		return e, 0, nil
	}
	return e, wal.OID(le32(e[indexTuple:])), nil
}

// search finds where the index says that the chunks of a value are.
func (t *toastTable) search(ctx context.Context, value wal.OID) ([]tid, error) {
	meta, err := t.cache.page(ctx, t.index, 0)
	if err != nil {
		return nil, err
	}
	if le32(meta[pageHeader:]) != btMagic {
		return nil, fmt.Errorf("relation %s is no B-tree", t.index)
	}
	block := wal.BlockNumber(le32(meta[pageHeader+btRoot:]))
	if block == 0 {
		return nil, nil // nothing was ever put in
	}
	for range maxBTreeLevels {
		page, err := t.moveRight(ctx, block, value)
		if err != nil {
			return nil, err
		}
		if page.level == 0 {
			return t.collect(ctx, page, value)
		}
		if block, err = page.child(value); err != nil {
			return nil, fmt.Errorf("index %s: %w", t.index, err)
		}
	}
	return nil, fmt.Errorf("index %s is deeper than %d levels", t.index, maxBTreeLevels)
}

// moveRight goes from page to page while all entries are less than the value: a
// page may have been split and its parent not know it yet.
func (t *toastTable) moveRight(ctx context.Context, block wal.BlockNumber, value wal.OID) (btPage, error) {
	blocks, err := t.snap.src.Blocks(ctx, t.index, wal.MainFork)
	if err != nil {
		return btPage{}, err
	}
	for range blocks {
		page, err := t.btree(ctx, block)
		if err != nil || page.next == 0 {
			return page, err
		}
		if !page.ignored {
			if items(page.p) < 1 {
				return page, fmt.Errorf("%w: block %d of index %s has no upper bound", errPage, block, t.index)
			}
			_, bound, err := page.entry(1)
			if err != nil || bound >= value {
				return page, err
			}
		}
		block = page.next
	}
	return btPage{}, fmt.Errorf("index %s goes round in circles", t.index)
}

// child is the last child whose entries begin below the value.
func (b *btPage) child(value wal.OID) (wal.BlockNumber, error) {
	if items(b.p) < b.first() {
		return 0, fmt.Errorf("%w: an inner page is empty", errPage)
	}
	var found []byte
	for n := b.first(); n <= items(b.p); n++ {
		e, v, err := b.entry(n)
		if err != nil {
			return 0, err
		}
		if n > b.first() && v >= value {
			break
		}
		found = e
	}
	return parseTID(found).block, nil
}

// collect gathers the places that leaf pages name for the value, from this page on.
func (t *toastTable) collect(ctx context.Context, page btPage, value wal.OID) (tids []tid, err error) {
	blocks, err := t.snap.src.Blocks(ctx, t.index, wal.MainFork)
	if err != nil {
		return nil, err
	}
	for range blocks {
		for n := page.first(); n <= items(page.p) && !page.ignored; n++ {
			e, v, err := page.entry(n)
			if err != nil {
				return nil, fmt.Errorf("index %s: %w", t.index, err)
			}
			if v > value {
				return tids, nil
			}
			if v == value {
				tids = appendTIDs(tids, e)
			}
		}
		if page.next == 0 {
			return tids, nil
		}
		if page, err = t.btree(ctx, page.next); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("index %s goes round in circles", t.index)
}

// appendTIDs appends the places of an entry, which has many when it is a posting list.
func appendTIDs(tids []tid, e []byte) []tid {
	if le16(e[6:])&indexAltTID == 0 || le16(e[4:])&btPosting == 0 {
		return append(tids, parseTID(e))
	}
	at := int(parseTID(e).block) // of the list in the entry
	for range le16(e[4:]) & btNattsMask {
		if at+6 > len(e) {
			break
		}
		tids = append(tids, parseTID(e[at:]))
		at += 6
	}
	return tids
}
