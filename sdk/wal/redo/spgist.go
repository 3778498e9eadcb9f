package redo

import (
	"fmt"
	"slices"

	"github.com/walplex/walplex/sdk/wal"
)

// An SP-GiST index's page (access/spgist_private.h). SpGistPageOpaqueData is its
// special space:
//
//	 0       2              4              6
//	+-------+--------------+--------------+----------------+
//	| flags | nRedirection | nPlaceholder | spgist_page_id |
//	+-------+--------------+--------------+----------------+
//
// Its tuples, of which each may have become a dead one, and keeps its number:
//
//	 0                                        4        6            12
//	+----------------------------------------+--------+------------+------
//	| state 2, allTheSame 1, nNodes 13,      | size   |  prefix, from 8, and nodes, which are index tuples
//	|   prefixSize 16                        |        |
//	+----------------------------------------+--------+------------+------
//	| state 2, size 30                       | t_info | heap TID   | leaf datum
//	+----------------------------------------+--------+------------+------
//	| state 2, size 30 = 16                  | t_info | link       | xid
//	+----------------------------------------+--------+------------+------
const (
	spgOpaqueSize = 8
	spgPageID     = 0xFF82

	spgInnerHeader = 8  // SGITHDRSZ
	spgLeafHeader  = 12 // SpGistLeafTupleData
	spgDeadSize    = 16 // SGDTSIZE
)

// Flags of a page.
const (
	spgLeaf  = 1 << 2
	spgNulls = 1 << 3
)

// States of a tuple.
const (
	spgLive        = 0
	spgRedirect    = 1
	spgDead        = 2
	spgPlaceholder = 3
)

// spgistRedo are the records of spg_redo (access/spgist/spgxlog.c).
func spgistRedo(v wal.Version) operations {
	offsetsAt := 10 // spgxlogVacuumRedirect
	if v < wal.PG16 {
		offsetsAt = 8 // without isCatalogRel
	}
	return operations{
		0x1: spgAddLeaf,
		0x2: spgMoveLeafs,
		0x3: spgAddNode,
		0x4: spgSplitTuple,
		0x5: spgPickSplit,
		0x6: spgVacuumLeaf,
		0x7: spgVacuumRoot,
		0x8: func(c *change) error { return spgVacuumRedirect(c, offsetsAt) },
	}
}

// spgOpaque is a page's SpGistPageOpaqueData, in place.
type spgOpaque []byte

func (p *page) spgOpaque() (spgOpaque, error) {
	s, err := p.specialSpace(spgOpaqueSize)
	return s, err
}

func (o spgOpaque) redirections() int     { return int(le.Uint16(o[2:])) }
func (o spgOpaque) addRedirections(n int) { le.PutUint16(o[2:], uint16(o.redirections()+n)) }
func (o spgOpaque) placeholders() int     { return int(le.Uint16(o[4:])) }
func (o spgOpaque) addPlaceholders(n int) { le.PutUint16(o[4:], uint16(o.placeholders()+n)) }

// spgInit is SpGistInitPage.
func (p *page) spgInit(flags uint16) {
	p.init(spgOpaqueSize)
	s := p[pageSize-spgOpaqueSize:]
	le.PutUint16(s[0:], flags)
	le.PutUint16(s[6:], spgPageID)
}

// spgLeafFlags are those of a new leaf.
func spgLeafFlags(nulls bool) uint16 {
	if nulls {
		return spgLeaf | spgNulls
	}
	return spgLeaf
}

// spgState is spgxlogState: what dead tuples are made with.
type spgState struct {
	xid   wal.XID // of whom redirections are for; PG17 calls it redirectXid
	build bool    // an index is being built: nobody needs redirections
}

// spgState reads a spgxlogState, padding included.
func (c *cursor) spgState() spgState {
	c.align(4)
	s := spgState{xid: c.xid(), build: c.bool()}
	c.skip(3)
	return s
}

// leafTuple reads a leaf tuple, which has no alignment.
func (c *cursor) leafTuple() []byte {
	if !c.fits(spgLeafHeader) {
		return nil
	}
	n := le.Uint32(c.buf[c.off:]) >> 2
	if n < spgLeafHeader || n > pageSize {
		c.short = true
	}
	return c.bytes(int(n))
}

// innerTuple reads an inner tuple, which has no alignment.
func (c *cursor) innerTuple() []byte {
	if !c.fits(spgInnerHeader) {
		return nil
	}
	n := le.Uint16(c.buf[c.off+4:])
	if n < spgInnerHeader {
		c.short = true
	}
	return c.bytes(int(n))
}

// spgAdd is addOrReplaceTuple: it adds a tuple, in place of a placeholder if there
// is a tuple of the number.
func (p *page) spgAdd(tuple []byte, n int) error {
	if n <= p.maxOffset() {
		old, err := p.normalItem(n, spgDeadSize)
		if err != nil {
			return err
		}
		if state := old[0] & 3; state != spgPlaceholder {
			return fmt.Errorf("SPGiST tuple %d to be replaced is not a placeholder, but of state %d", n, state)
		}
		o, err := p.spgOpaque()
		if err != nil {
			return err
		}
		if o.placeholders() == 0 {
			return fmt.Errorf("a page without placeholders has one as tuple %d", n)
		}
		o.addPlaceholders(-1)
		return p.spgReplace(tuple, n)
	}
	return p.spgInsert(tuple, n)
}

// spgReplace puts a tuple in place of another.
func (p *page) spgReplace(tuple []byte, n int) error {
	if err := p.indexTupleDelete(n); err != nil {
		return err
	}
	return p.spgInsert(tuple, n)
}

// spgInsert adds a tuple with the number.
func (p *page) spgInsert(tuple []byte, n int) error {
	if n < 1 || len(tuple) == 0 {
		return fmt.Errorf("a tuple of %d bytes cannot become tuple %d", len(tuple), n)
	}
	_, err := p.addItem(tuple, n, 0)
	return err
}

// spgDeadTuple is spgFormDeadTuple.
func spgDeadTuple(s spgState, state int, block uint32, offset int) (t [spgDeadSize]byte) {
	le.PutUint32(t[0:], spgDeadSize<<2|uint32(state))
	if state == spgRedirect {
		putTID(t[6:], block, offset)
		le.PutUint32(t[12:], uint32(s.xid))
	} else {
		putTID(t[6:], invalidBlock, 0)
	}
	return t
}

// spgMultiDelete is spgPageIndexMultiDelete: of the tuples, the first named becomes
// a dead one of one state, all others of another; redirections lead to block and
// offset.
func (p *page) spgMultiDelete(s spgState, ns offsets, firstState, restState int, block uint32, offset int) error {
	if ns.len() == 0 {
		return nil
	}
	if ns.len() > maxItems {
		return fmt.Errorf("%d items are to be deleted of a page", ns.len())
	}
	o, err := p.spgOpaque()
	if err != nil {
		return err
	}
	var list [maxItems]uint16
	sorted := ns.appendTo(list[:0])
	slices.Sort(sorted)
	if err := p.indexMultiDelete(sorted); err != nil {
		return err
	}
	for _, n := range sorted {
		state := restState
		if int(n) == ns.at(0) {
			state = firstState
		}
		t := spgDeadTuple(s, state, block, offset)
		if err := p.spgInsert(t[:], int(n)); err != nil {
			return err
		}
		switch state {
		case spgRedirect:
			o.addRedirections(1)
		case spgPlaceholder:
			o.addPlaceholders(1)
		}
	}
	return nil
}

// spgSetLink is spgUpdateNodeLink: node i, from 0, of inner tuple n leads to block
// and offset.
func (p *page) spgSetLink(n, i int, block uint32, offset int) error {
	t, err := p.normalItem(n, spgInnerHeader)
	if err != nil {
		return err
	}
	head := le.Uint32(t)
	nodes, at := int(head>>3&0x1FFF), spgInnerHeader+int(head>>16)
	if i >= nodes || at > len(t) {
		return fmt.Errorf("failed to find requested node %d in SPGiST inner tuple %d of %d nodes", i, n, nodes)
	}
	t = t[at:]
	for ; ; i-- {
		size, err := indexTupleLen(t)
		if err != nil {
			return fmt.Errorf("a node of SPGiST inner tuple %d: %w", n, err)
		}
		if i == 0 {
			putTID(t, block, offset)
			return nil
		}
		t = t[size:]
	}
}

// spgSetNext sets the number of the tuple behind leaf tuple n in its chain
// (SGLT_SET_NEXTOFFSET).
func (p *page) spgSetNext(n, next int) error {
	t, err := p.normalItem(n, spgLeafHeader)
	if err != nil {
		return err
	}
	le.PutUint16(t[4:], le.Uint16(t[4:])&0xC000|uint16(next)&0x3FFF)
	return nil
}
