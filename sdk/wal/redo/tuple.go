package redo

import "github.com/walplex/walplex/sdk/wal"

// tuple is a heap tuple as it lies on a page, in bytes
// (access/htup_details.h, HeapTupleHeaderData):
//
//	 0      4      8           12                18         20        22    23
//	+------+------+-----------+------+----+-----+----------+---------+-----+-------
//	|t_xmin|t_xmax|t_cid or   |t_ctid           |t_infomask|t_       |t_   |nulls,
//	|      |      |t_xvac     |block hi, lo, off|2         |infomask |hoff |data …
//	+------+------+-----------+------+----+-----+----------+---------+-----+-------
//
// It has at least tupleHeaderSize bytes.
type tuple []byte

// tupleHeaderSize is SizeofHeapTupleHeader.
const tupleHeaderSize = 23

// Bits of t_infomask.
const (
	heapComboCID      = 0x0020
	heapXmaxKeyShr    = 0x0010
	heapXmaxExcl      = 0x0040
	heapXmaxLockOnly  = 0x0080
	heapXminFrozen    = 0x0300
	heapXmaxCommitted = 0x0400
	heapXmaxInvalid   = 0x0800
	heapXmaxIsMulti   = 0x1000
	heapMoved         = 0xC000
	heapXactMask      = 0xFFF0

	heapLockMask = heapXmaxKeyShr | heapXmaxExcl
	heapXmaxBits = heapXmaxCommitted | heapXmaxInvalid | heapXmaxIsMulti | heapLockMask | heapXmaxLockOnly
)

// Bits of t_infomask2.
const (
	heapKeysUpdated = 0x2000
	heapHotUpdated  = 0x4000
)

// Offset numbers in t_ctid that are none (storage/itemptr.h and
// access/htup_details.h).
const (
	specTokenOffset       = 0xFFFE
	movedPartitionsOffset = 0xFFFD
	movedPartitionsBlock  = wal.BlockNumber(0xFFFFFFFF)
)

func (t tuple) setXmin(x wal.XID)     { le.PutUint32(t[0:], uint32(x)) }
func (t tuple) setXmax(x wal.XID)     { le.PutUint32(t[4:], uint32(x)) }
func (t tuple) setField3(v uint32)    { le.PutUint32(t[8:], v) }
func (t tuple) ctidOffset() int       { return int(le.Uint16(t[16:])) }
func (t tuple) infomask2() uint16     { return le.Uint16(t[18:]) }
func (t tuple) setInfomask2(m uint16) { le.PutUint16(t[18:], m) }
func (t tuple) infomask() uint16      { return le.Uint16(t[20:]) }
func (t tuple) setInfomask(m uint16)  { le.PutUint16(t[20:], m) }
func (t tuple) hoff() int             { return int(t[22]) }

func (t tuple) setCtid(block wal.BlockNumber, offset int) {
	le.PutUint16(t[12:], uint16(block>>16))
	le.PutUint16(t[14:], uint16(block))
	le.PutUint16(t[16:], uint16(offset))
}

// clearCid is HeapTupleHeaderSetCmax to FirstCommandId, no combo: recovery has
// no commands.
func (t tuple) clearCid() {
	t.setField3(0)
	t.setInfomask(t.infomask() &^ heapComboCID)
}

// lockedOnly is HEAP_XMAX_IS_LOCKED_ONLY.
func (t tuple) lockedOnly() bool {
	m := t.infomask()
	return m&heapXmaxLockOnly != 0 || m&(heapXmaxIsMulti|heapLockMask) == heapXmaxExcl
}

// Bits of infobits_set in records (XLHL_*, access/heapam_xlog.h).
const (
	xlhlXmaxIsMulti  = 0x01
	xlhlXmaxLockOnly = 0x02
	xlhlXmaxExcl     = 0x04
	xlhlXmaxKeyShr   = 0x08
	xlhlKeysUpdated  = 0x10
)

// setInfobits is fix_infomask_from_infobits: it clears what says who holds xmax,
// and sets what the record says.
func (t tuple) setInfobits(bits uint8) {
	m := t.infomask() &^ (heapXmaxIsMulti | heapXmaxLockOnly | heapLockMask)
	for _, b := range [...]struct {
		bit  uint8
		mask uint16
	}{{xlhlXmaxIsMulti, heapXmaxIsMulti}, {xlhlXmaxLockOnly, heapXmaxLockOnly}, {xlhlXmaxExcl, heapXmaxExcl}, {xlhlXmaxKeyShr, heapXmaxKeyShr}} {
		if bits&b.bit != 0 {
			m |= b.mask
		}
	}
	t.setInfomask(m)
	m2 := t.infomask2() &^ heapKeysUpdated
	if bits&xlhlKeysUpdated != 0 {
		m2 |= heapKeysUpdated
	}
	t.setInfomask2(m2)
}

// forgetXmax clears what t_infomask says of xmax, and the marks of the old
// VACUUM FULL.
func (t tuple) forgetXmax() { t.setInfomask(t.infomask() &^ (heapXmaxBits | heapMoved)) }
