package redo

import (
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// heapRedo are the records of Heap (heap_redo in access/heap/heapam.c, since
// PG18 heapam_xlog.c; structures in access/heapam_xlog.h). TRUNCATE is for
// logical decoding only.
func heapRedo(wal.Version) operations {
	return operations{
		0x0: redoInsert,
		0x1: redoDelete,
		0x2: redoUpdate,
		0x4: redoUpdate, // HOT_UPDATE
		0x5: redoConfirm,
		0x6: redoLock,
		0x7: redoInplace,
		0x8: redoInsert,
		0xA: redoUpdate,
		0xC: redoUpdate,
	}
}

// Parts of xl_info.
const (
	heapOpMask    = 0x70 // XLOG_HEAP_OPMASK
	heapHotUpdate = 0x40 // XLOG_HEAP_HOT_UPDATE
)

// Flags in records (XLH_*).
const (
	xlhInsertAllVisibleCleared = 1 << 0
	xlhInsertAllFrozenSet      = 1 << 5

	xlhUpdateOldAllVisibleCleared = 1 << 0
	xlhUpdateNewAllVisibleCleared = 1 << 1
	xlhUpdatePrefixFromOld        = 1 << 5
	xlhUpdateSuffixFromOld        = 1 << 6

	xlhDeleteAllVisibleCleared = 1 << 0
	xlhDeleteIsSuper           = 1 << 3
	xlhDeleteIsPartitionMove   = 1 << 4

	xlhLockAllFrozenCleared = 1 << 0
)

// heapHeader is what xl_heap_header and xl_multi_insert_tuple say of a tuple.
type heapHeader struct {
	infomask2, infomask uint16
	hoff                uint8
}

func (c *cursor) heapHeader() heapHeader {
	return heapHeader{c.u16(), c.u16(), c.u8()}
}

// begin makes t a tuple of a new version: what a record carries, and xmin.
func (t tuple) begin(h heapHeader, xmin wal.XID, block wal.BlockNumber, n int) {
	clear(t[:tupleHeaderSize])
	t.setInfomask2(h.infomask2)
	t.setInfomask(h.infomask)
	t[22] = h.hoff
	t.setXmin(xmin)
	t.clearCid()
	t.setCtid(block, n)
}

// placeTuple makes room on the page for a tuple of so many bytes behind its fixed
// header, under the number that the record says.
func (p *page) placeTuple(data, n int) (tuple, error) {
	if n == 0 {
		return nil, errors.New("a tuple without number")
	}
	t, _, err := p.placeItem(tupleHeaderSize+data, n, overwrite|isHeap)
	return t, err
}

// heapTuple is tuple n in place, which must be there.
func (p *page) heapTuple(n int) (tuple, error) {
	t, err := p.normalItem(n, tupleHeaderSize)
	return tuple(t), err
}

// data is the tuple's data, behind its header with nulls.
func (t tuple) data() ([]byte, error) {
	if h := t.hoff(); h < tupleHeaderSize || h > len(t) {
		return nil, fmt.Errorf("a tuple of %d bytes whose data begin at %d", len(t), h)
	}
	return t[t.hoff():], nil
}

// setPrunable is PageSetPrunable: the page may have something to prune once xid
// is old.
func (p *page) setPrunable(xid wal.XID) {
	if old := p.pruneXID(); old == 0 || precedes(xid, old) {
		p.setPruneXID(xid)
	}
}

// precedes is TransactionIdPrecedes: modulo 2^32, but for the permanent ids.
func precedes(a, b wal.XID) bool {
	const firstNormal = 3
	if a < firstNormal || b < firstNormal {
		return a < b
	}
	return int32(a-b) < 0
}

// redoInsert is heap_xlog_insert. Main data: offnum, flags. Block 0: the
// tuple's header and data; block 1, in some minor versions: the visibility map.
func redoInsert(c *change) error {
	if c.ref.Fork == wal.VisibilityMapFork {
		return c.clearMap()
	}
	n, flags := int(c.main.u16()), c.main.u8()
	h := c.data.heapHeader()
	data := c.data.rest()
	if err := c.err(); err != nil {
		return err
	}
	if c.ref.WillInit() {
		c.page.init(0)
	}
	t, err := c.page.placeTuple(len(data), n)
	if err != nil {
		return err
	}
	t.begin(h, c.rec.XID, c.ref.Block, n)
	copy(t[tupleHeaderSize:], data)
	c.page.setInsertVisibility(flags)
	return nil
}

// setInsertVisibility does what INSERT and MULTI_INSERT say of PD_ALL_VISIBLE.
func (p *page) setInsertVisibility(flags uint8) {
	if flags&xlhInsertAllVisibleCleared != 0 {
		p.clearFlag(pdAllVisible)
	}
	if flags&xlhInsertAllFrozenSet != 0 {
		p.setFlag(pdAllVisible)
	}
}

// redoDelete is heap_xlog_delete. Main data: xmax, offnum, infobits, flags, and
// the old tuple, for logical decoding only.
func redoDelete(c *change) error {
	if c.ref.Fork == wal.VisibilityMapFork {
		return c.clearMap()
	}
	xmax, n, infobits, flags := c.main.xid(), int(c.main.u16()), c.main.u8(), c.main.u8()
	if err := c.err(); err != nil {
		return err
	}
	t, err := c.page.heapTuple(n)
	if err != nil {
		return err
	}
	t.forgetXmax()
	t.setInfomask2(t.infomask2() &^ heapHotUpdated)
	t.setInfobits(infobits)
	if flags&xlhDeleteIsSuper != 0 {
		t.setXmin(0)
	} else {
		t.setXmax(xmax)
	}
	t.clearCid()
	if flags&xlhDeleteIsPartitionMove != 0 {
		t.setCtid(movedPartitionsBlock, movedPartitionsOffset)
	} else {
		t.setCtid(c.ref.Block, n)
	}
	c.page.setPrunable(c.rec.XID)
	if flags&xlhDeleteAllVisibleCleared != 0 {
		c.page.clearFlag(pdAllVisible)
	}
	return nil
}

// heapUpdate is xl_heap_update.
type heapUpdate struct {
	oldXmax, newXmax wal.XID
	oldN, newN       int
	oldInfobits      uint8
	flags            uint8
}

func (c *cursor) heapUpdate() heapUpdate {
	var u heapUpdate
	u.oldXmax, u.oldN, u.oldInfobits, u.flags = c.xid(), int(c.u16()), c.u8(), c.u8()
	u.newXmax, u.newN = c.xid(), int(c.u16())
	return u
}

// redoUpdate is heap_xlog_update, of UPDATE and HOT_UPDATE. Block 0 has the new
// version, with the tuple in its data; block 1 has the old one, if that is
// another page. Blocks 2 and 3, in some minor versions: the visibility map.
func redoUpdate(c *change) error {
	if c.ref.Fork == wal.VisibilityMapFork {
		return c.clearMap()
	}
	u := c.main.heapUpdate()
	newRef := c.block(0)
	if err := c.err(); err != nil || newRef == nil {
		return errors.Join(err, missing(newRef, 0))
	}
	var old tuple
	if c.ref.ID == 1 || c.block(1) == nil || c.block(1).Fork != wal.MainFork {
		var err error
		if old, err = c.updateOld(u, newRef.Block); err != nil {
			return err
		}
	}
	if c.ref.ID == 0 {
		return c.updateNew(u, old)
	}
	return nil
}

// missing is an error if a record lacks the block reference that it must have.
func missing(ref *wal.BlockRef, id int) error {
	if ref != nil {
		return nil
	}
	return fmt.Errorf("the record has no block %d", id)
}

// updateOld marks the old version as updated.
func (c *change) updateOld(u heapUpdate, newBlock wal.BlockNumber) (tuple, error) {
	t, err := c.page.heapTuple(u.oldN)
	if err != nil {
		return nil, err
	}
	t.forgetXmax()
	m2 := t.infomask2() &^ heapHotUpdated
	if c.rec.Info&heapOpMask == heapHotUpdate {
		m2 |= heapHotUpdated
	}
	t.setInfomask2(m2)
	t.setInfobits(u.oldInfobits)
	t.setXmax(u.oldXmax)
	t.clearCid()
	t.setCtid(newBlock, u.newN)
	c.page.setPrunable(c.rec.XID)
	if u.flags&xlhUpdateOldAllVisibleCleared != 0 {
		c.page.clearFlag(pdAllVisible)
	}
	return t, nil
}

// updateNew adds the new version. Block data: [prefix length], [suffix length],
// header, nulls, and the data between prefix and suffix, which are the old
// version's, then on the same page.
func (c *change) updateNew(u heapUpdate, old tuple) error {
	prefixLen, suffixLen := 0, 0
	if u.flags&xlhUpdatePrefixFromOld != 0 {
		prefixLen = int(c.data.u16())
	}
	if u.flags&xlhUpdateSuffixFromOld != 0 {
		suffixLen = int(c.data.u16())
	}
	h := c.data.heapHeader()
	var nulls []byte
	if prefixLen > 0 {
		nulls = c.data.bytes(int(h.hoff) - tupleHeaderSize)
	}
	data := c.data.rest()
	if err := c.err(); err != nil {
		return err
	}
	prefix, suffix, err := old.ends(prefixLen, suffixLen)
	if err != nil {
		return err
	}
	if c.ref.WillInit() {
		c.page.init(0)
	}
	t, err := c.page.placeTuple(len(nulls)+prefixLen+len(data)+suffixLen, u.newN)
	if err != nil {
		return err
	}
	t.begin(h, c.rec.XID, c.ref.Block, u.newN)
	t.setXmax(u.newXmax)
	rest := t[tupleHeaderSize:]
	for _, part := range [][]byte{nulls, prefix, data, suffix} {
		rest = rest[copy(rest, part):]
	}
	if u.flags&xlhUpdateNewAllVisibleCleared != 0 {
		c.page.clearFlag(pdAllVisible)
	}
	return nil
}

// ends are the first and the last bytes of the tuple's data.
func (t tuple) ends(prefix, suffix int) ([]byte, []byte, error) {
	if prefix == 0 && suffix == 0 {
		return nil, nil, nil
	}
	if t == nil {
		return nil, nil, errors.New("the record takes from an old version that is on another page")
	}
	data, err := t.data()
	if err != nil {
		return nil, nil, err
	}
	if prefix > len(data) || suffix > len(data) {
		return nil, nil, fmt.Errorf("the record takes %d and %d bytes from an old version of %d", prefix, suffix, len(data))
	}
	return data[:prefix], data[len(data)-suffix:], nil
}

// redoConfirm is heap_xlog_confirm: a speculative insertion becomes one. Main
// data: offnum.
func redoConfirm(c *change) error {
	n := int(c.main.u16())
	if err := c.err(); err != nil {
		return err
	}
	t, err := c.page.heapTuple(n)
	if err != nil {
		return err
	}
	t.setCtid(c.ref.Block, n)
	return nil
}

// redoLock is heap_xlog_lock. Main data: xmax, offnum, infobits, flags.
func redoLock(c *change) error {
	if c.ref.Fork == wal.VisibilityMapFork {
		return c.clearMap()
	}
	xmax, n, infobits := c.main.xid(), int(c.main.u16()), c.main.u8()
	c.main.skip(1)
	if err := c.err(); err != nil {
		return err
	}
	t, err := c.page.heapTuple(n)
	if err != nil {
		return err
	}
	t.forgetXmax()
	t.setInfobits(infobits)
	if t.lockedOnly() {
		t.setInfomask2(t.infomask2() &^ heapHotUpdated)
		t.setCtid(c.ref.Block, n)
	}
	t.setXmax(xmax)
	t.clearCid()
	return nil
}

// redoInplace is heap_xlog_inplace: the tuple's data are written over. Main
// data: offnum, and since PG18 invalidation messages.
func redoInplace(c *change) error {
	n := int(c.main.u16())
	data := c.data.rest()
	if err := c.err(); err != nil {
		return err
	}
	t, err := c.page.heapTuple(n)
	if err != nil {
		return err
	}
	old, err := t.data()
	if err != nil {
		return err
	}
	if len(old) != len(data) {
		return fmt.Errorf("wrong tuple length %d, not %d", len(data), len(old))
	}
	copy(old, data)
	return nil
}
