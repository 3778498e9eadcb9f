package redo

import "github.com/walplex/walplex/sdk/wal"

// Mask takes out of a page, of [wal.BlockSize] bytes, what may differ between
// two servers that have done the same records to it, for comparison only: the
// page is no page afterwards. rmgr is the resource manager whose record is
// compared, or whose page it is; block is the page's number. It hides what the
// server's own check hides (access/common/bufmask.c and the rm_mask functions),
// the same in PG14 to PG18:
//
//	all                  pd_lsn, pd_checksum, the space between pd_lower and pd_upper
//	but Sequence,        pd_prune_xid, PD_HAS_FREE_LINES, PD_PAGE_FULL, PD_ALL_VISIBLE
//	  Generic
//	Heap, Heap2          hint bits, t_cid, a speculative t_ctid, padding behind tuples
//	Btree                lp_flags on leaves, BTP_HAS_GARBAGE, BTP_SPLIT_END, btpo_cycleid
//	Hash                 an unused page, lp_flags in buckets, LH_PAGE_HAS_DEAD_TUPLES
//	Gin                  a deleted page
//	Gist                 NSN, F_FOLLOW_RIGHT, F_HAS_GARBAGE, lp_flags on leaves;
//	                     and F_TUPLES_DELETED, which nobody reads: recovery sets it
//	                     where the server that wrote a DELETE does not
//	BRIN                 BRIN_EVACUATE_PAGE
//
// Pages of the visibility map, which the server's check does not compare at all
// since their bits lie where pages are empty, are compared but for pd_lsn and
// pd_checksum. A page whose header is out of order is masked that far only.
func Mask(b []byte, rmgr wal.RmgrID, fork wal.ForkNumber, block wal.BlockNumber) {
	if len(b) != pageSize {
		return
	}
	p := (*page)(b)
	clear(p[:10]) // pd_lsn, pd_checksum
	if fork == wal.VisibilityMapFork {
		return
	}
	if rmgr != wal.RmgrSequence && rmgr != wal.RmgrGeneric {
		p.setPruneXID(0)
		p.clearFlag(pdHasFreeLines | pdPageFull | pdAllVisible)
	}
	if p.isNew() || p.check() != nil {
		return
	}
	switch rmgr {
	case wal.RmgrHeap, wal.RmgrHeap2:
		p.maskUnused()
		p.maskHeap(block)
	case wal.RmgrBtree:
		p.maskUnused()
		p.maskBtree()
	case wal.RmgrHash:
		p.maskUnused()
		p.maskHash()
	case wal.RmgrGin:
		p.maskGin()
	case wal.RmgrGist:
		p.maskUnused()
		p.maskGist()
	case wal.RmgrBRIN:
		p.maskBRIN()
	case wal.RmgrXLOG: // as the images are
	default:
		p.maskUnused()
	}
}

// maskUnused is mask_unused_space.
func (p *page) maskUnused() { clear(p[p.lower():p.upper()]) }

// maskItemFlags is mask_lp_flags.
func (p *page) maskItemFlags() {
	for n := 1; n <= p.maxOffset(); n++ {
		id := p.id(n)
		p.setID(n, makeItemID(id.offset(), lpUnused, id.length()))
	}
}

// maskContent is mask_page_content: all but the header, and pd_lower and
// pd_upper.
func (p *page) maskContent() {
	clear(p[headerSize:])
	p.setLower(0)
	p.setUpper(0)
}

// maskHeap is what heap_mask does to tuples.
func (p *page) maskHeap(block wal.BlockNumber) {
	for n := 1; n <= p.maxOffset(); n++ {
		id := p.id(n)
		if !p.inside(id) {
			continue
		}
		end := id.offset() + id.length()
		if id.flags() == lpNormal && id.length() >= tupleHeaderSize {
			tuple(p[id.offset():end]).mask(block, n)
		}
		clear(p[end : id.offset()+maxAlign(id.length())])
	}
}

// mask hides the tuple's hint bits, t_cid, and the token of a speculative
// insertion.
func (t tuple) mask(block wal.BlockNumber, n int) {
	if t.infomask()&heapXminFrozen == heapXminFrozen {
		t.setInfomask(t.infomask() &^ (heapXmaxInvalid | heapXmaxCommitted))
	} else {
		t.setInfomask(t.infomask() &^ heapXactMask)
	}
	t.setField3(0)
	if t.ctidOffset() == specTokenOffset {
		t.setCtid(block, n)
	}
}

// What follows looks into the special spaces: const are sizes, offsets in bytes
// and flags (access/nbtree.h, hash.h, ginblock.h, gist.h, brin_page.h).

func (p *page) maskBtree() {
	const size, flagsAt, cycleAt = 16, 12, 14 // btpo_flags, btpo_cycleid
	const leaf, splitEnd, hasGarbage = 1 << 0, 1 << 5, 1 << 6
	s, err := p.specialSpace(size)
	if err != nil {
		return
	}
	flags := le.Uint16(s[flagsAt:])
	if flags&leaf != 0 {
		p.maskItemFlags()
	}
	le.PutUint16(s[flagsAt:], flags&^(splitEnd|hasGarbage))
	le.PutUint16(s[cycleAt:], 0)
}

func (p *page) maskHash() {
	const overflow, bucket, typeMask, hasDead = 1 << 0, 1 << 1, 0xF, 1 << 7
	const size, flagsAt = 16, 12 // hasho_flag
	s, err := p.specialSpace(size)
	if err != nil {
		return
	}
	flags := le.Uint16(s[flagsAt:])
	switch flags & typeMask {
	case 0:
		p.maskContent()
		flags = 0
	case overflow, bucket:
		p.maskItemFlags()
	}
	le.PutUint16(s[flagsAt:], flags&^hasDead)
}

func (p *page) maskGin() {
	const deleted = 1 << 2
	const size, flagsAt = 8, 6
	s, err := p.specialSpace(size)
	switch {
	case err != nil:
	case le.Uint16(s[flagsAt:])&deleted != 0:
		p.maskContent()
	case p.lower() > headerSize:
		p.maskUnused()
	}
}

func (p *page) maskGist() {
	const flagsAt = 12
	s, err := p.specialSpace(gistOpaqueSize)
	if err != nil {
		return
	}
	clear(s[:8]) // nsn
	flags := le.Uint16(s[flagsAt:])
	if flags&gistLeaf != 0 {
		p.maskItemFlags()
	}
	le.PutUint16(s[flagsAt:], flags&^(gistHasGarbage|gistTuplesDeleted)|gistFollowRight)
}

func (p *page) maskBRIN() {
	const evacuate, metaPage, regularPage = 1 << 0, 0xF091, 0xF093
	const size, flagsAt, typeAt = 8, 4, 6
	s, err := p.specialSpace(size)
	if err != nil {
		return
	}
	kind := le.Uint16(s[typeAt:])
	if kind == regularPage || kind == metaPage && p.lower() > headerSize {
		p.maskUnused()
	}
	le.PutUint16(s[flagsAt:], le.Uint16(s[flagsAt:])&^evacuate)
}
