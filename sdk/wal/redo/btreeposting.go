package redo

import (
	"errors"
	"fmt"
)

// A posting list tuple (access/nbtree.h) stands for many with equal keys:
//
//	 0                          6                      postingOffset
//	+--------------------------+--------+-------------+-----+-----+----
//	| postingOffset | n, flags | t_info | keys        | TID | TID | …
//	+--------------------------+--------+-------------+-----+-----+----
//
// t_info has indexAltTID, and the third 16 bits of t_tid have btreeIsPosting.
const (
	btreeIsPosting  = 0x2000 // BT_IS_POSTING
	btreeOffsetMask = 0x0FFF // BT_OFFSET_MASK: how many TIDs
)

// btreeTuple splits a tuple of a leaf into what its keys are in, header
// included, and its TIDs, both in place. A tuple without posting list is all
// keys, and has one TID, in its header.
func btreeTuple(t []byte) (keys, tids []byte, err error) {
	size, err := indexTupleLen(t)
	if err != nil {
		return nil, nil, err
	}
	count := int(le.Uint16(t[4:]))
	if le.Uint16(t[6:])&indexAltTID == 0 {
		return t[:size], t[:tidSize], nil
	}
	if count&btreeIsPosting == 0 {
		return nil, nil, errors.New("a pivot tuple is on a leaf")
	}
	count &= btreeOffsetMask
	at := int(le.Uint16(t[0:]))<<16 | int(le.Uint16(t[2:]))
	if at < indexTupleSize || at != maxAlign(at) || at+count*tidSize > size || count < 2 {
		return nil, nil, fmt.Errorf("a tuple of %d bytes has a posting list of %d TIDs at %d", size, count, at)
	}
	return t[:at], t[at : at+count*tidSize], nil
}

// postingRoom is where a posting list's TIDs are collected, and its tuple built.
type postingRoom struct{ tids, tuple page }

// formPosting is _bt_form_posting: the tuple of these keys and TIDs, built in
// room. One TID makes a tuple without posting list.
func formPosting(room *page, keys, tids []byte) ([]byte, error) {
	count, size := len(tids)/tidSize, len(keys)
	if count > 1 {
		size = maxAlign(size + len(tids))
	}
	if count < 1 || count > btreeOffsetMask || size > indexSizeMask || len(keys) != maxAlign(len(keys)) {
		return nil, fmt.Errorf("no tuple is made of %d bytes of keys and %d TIDs", len(keys), count)
	}
	t := room[:size]
	clear(t[copy(t, keys):])
	info := le.Uint16(t[6:])&^(indexSizeMask|indexAltTID) | uint16(size)
	if count == 1 {
		copy(t, tids)
	} else {
		le.PutUint16(t[0:], 0)
		le.PutUint16(t[2:], uint16(len(keys)))
		le.PutUint16(t[4:], uint16(count)|btreeIsPosting)
		info |= indexAltTID
		copy(t[len(keys):], tids)
	}
	le.PutUint16(t[6:], info)
	return t, nil
}

// swapPosting is _bt_swap_posting, in place: a new TID gets into a posting list
// at index at, and what was the last TID comes out.
func swapPosting(posting []byte, at int, tid []byte) (last [tidSize]byte, err error) {
	_, tids, err := btreeTuple(posting)
	if err != nil {
		return last, err
	}
	count := len(tids) / tidSize
	if at <= 0 || at >= count {
		return last, fmt.Errorf("posting list tuple with %d items cannot be split at offset %d", count, at)
	}
	copy(last[:], tids[len(tids)-tidSize:])
	copy(tids[(at+1)*tidSize:], tids[at*tidSize:])
	copy(tids[at*tidSize:(at+1)*tidSize], tid)
	return last, nil
}

// btreeInsertPosting inserts a tuple behind a posting list in whose midst its
// TID belongs. Block data is where in the list, and the tuple as it was.
func btreeInsertPosting(c *change) error {
	if c.ref.ID != 0 {
		return strangeBlock(c)
	}
	n, at := int(c.main.u16()), int(c.data.u16())
	if err := c.err(); err != nil {
		return err
	}
	item := c.data.rest()
	if _, err := indexTupleLen(item); err != nil {
		return err
	}
	posting, err := c.page.item(n - 1)
	if err != nil {
		return err
	}
	last, err := swapPosting(posting, at, item[:tidSize])
	if err != nil {
		return err
	}
	if err := c.page.insertAt(item, n); err != nil {
		return err
	}
	inserted, err := c.page.item(n)
	if err != nil {
		return err
	}
	copy(inserted[:tidSize], last[:])
	return nil
}

// btreeDedup merges tuples with equal keys into posting lists: main data is how
// many lists are made, block data for each the first item's number and how many
// items it is made of (BTDedupInterval).
func btreeDedup(c *change) error {
	if c.ref.ID != 0 {
		return strangeBlock(c)
	}
	count := int(c.main.u16())
	intervals := c.data.offsets(2 * count)
	if err := c.err(); err != nil {
		return err
	}
	p := c.page
	o, err := p.btreeOpaque()
	if err != nil {
		return err
	}
	var temp page
	var room postingRoom
	if err := p.tempCopySpecial(&temp); err != nil {
		return err
	}
	n, first, done := 1, o.firstDataKey(), 0
	for last := p.maxOffset(); n <= last; {
		items := 1
		if n >= first && done < count && n == intervals.at(2*done) {
			if items = intervals.at(2*done + 1); items < 2 || items > last-n+1 {
				return fmt.Errorf("a posting list is to be made of %d items from %d on, of %d", items, n, last)
			}
			done++
		}
		if err := p.btreeMerge(&temp, &room, n, items); err != nil {
			return err
		}
		n += items
	}
	if done != count {
		return fmt.Errorf("posting lists are made of items that are not there: %d of %d fit", done, count)
	}
	*p = temp
	return c.btreeFlags(0, btpHasGarbage)
}

// btreeMerge appends to temp the tuple that items of p become, from n on; one
// stays as it is.
func (p *page) btreeMerge(temp *page, room *postingRoom, n, items int) error {
	base, err := p.item(n)
	if err != nil {
		return err
	}
	if items == 1 {
		return temp.appendItem(base)
	}
	keys, _, err := btreeTuple(base)
	if err != nil {
		return err
	}
	tids := room.tids[:0]
	for ; items > 0; items-- {
		item, err := p.item(n)
		if err != nil {
			return err
		}
		_, more, err := btreeTuple(item)
		if err != nil {
			return err
		}
		if len(tids)+len(more) > pageSize {
			return errors.New("a posting list does not fit a page")
		}
		tids = append(tids, more...)
		n++
	}
	t, err := formPosting(&room.tuple, keys, tids)
	if err != nil {
		return err
	}
	return temp.appendItem(t)
}

// btreeVacuum and btreeDelete delete items, and TIDs of posting lists.
func btreeVacuum(c *change) error {
	return btreeDeleteItems(c, int(c.main.u16()), int(c.main.u16()))
}

func btreeDelete(c *change) error {
	c.main.skip(4) // snapshotConflictHorizon
	return btreeDeleteItems(c, int(c.main.u16()), int(c.main.u16()))
}

// btreeDeleteItems reads block data: the numbers of the items that go, of those
// that lose TIDs, and for each of the latter an xl_btree_update, how many of its
// TIDs go and which, counted from 0.
func btreeDeleteItems(c *change, deleted, updated int) error {
	if c.ref.ID != 0 {
		return strangeBlock(c)
	}
	gone, changed := c.data.offsets(deleted), c.data.offsets(updated)
	if err := c.err(); err != nil {
		return err
	}
	var room postingRoom
	for i := range changed.len() {
		tids := c.data.offsets(int(c.data.u16()))
		if c.data.short {
			return errShort
		}
		if err := c.page.btreeUpdatePosting(&room, changed.at(i), tids); err != nil {
			return err
		}
	}
	if err := c.page.deleteItems(gone); err != nil {
		return err
	}
	return c.btreeFlags(0, btpHasGarbage)
}

// btreeUpdatePosting takes TIDs out of the posting list that is item n, in
// ascending order (_bt_update_posting); at least one remains.
func (p *page) btreeUpdatePosting(room *postingRoom, n int, deleted offsets) error {
	item, err := p.item(n)
	if err != nil {
		return err
	}
	keys, tids, err := btreeTuple(item)
	if err != nil {
		return err
	}
	left, next := room.tids[:0], 0
	for i := range len(tids) / tidSize {
		if next < deleted.len() && deleted.at(next) == i {
			next++
			continue
		}
		left = append(left, tids[i*tidSize:(i+1)*tidSize]...)
	}
	if next != deleted.len() {
		return fmt.Errorf("of %d TIDs to delete from a posting list of %d only %d are there", deleted.len(), len(tids)/tidSize, next)
	}
	t, err := formPosting(&room.tuple, keys, left)
	if err != nil {
		return err
	}
	return p.indexTupleOverwrite(n, t)
}
