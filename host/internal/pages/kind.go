package pages

import (
	"github.com/walplex/walplex/sdk/wal"
)

// Kind is what a page of a relation is, by which it is compared and shown.
type Kind uint8

// The kinds.
const (
	Empty    Kind = iota // all zero
	Heap                 // of a table, or a TOAST table
	Sequence             // commands/sequence.c
	Btree
	Hash
	Gin
	Gist
	SPGist
	BRIN
	Other // of an extension's access method
	VisibilityMap
	FreeSpaceMap
)

var kindNames = [...]string{"empty", "heap", "sequence", "btree", "hash", "gin", "gist", "spgist", "brin", "other", "vm", "fsm"}

func (k Kind) String() string { return kindNames[k] }

// rmgr is whose mask fits the kind.
func (k Kind) rmgr() wal.RmgrID {
	switch k {
	case Heap:
		return wal.RmgrHeap
	case Sequence:
		return wal.RmgrSequence
	case Btree:
		return wal.RmgrBtree
	case Hash:
		return wal.RmgrHash
	case Gin:
		return wal.RmgrGin
	case Gist:
		return wal.RmgrGist
	case SPGist:
		return wal.RmgrSPGist
	case BRIN:
		return wal.RmgrBRIN
	}
	return wal.RmgrGeneric
}

// The fields of a page's header (storage/bufpage.h), bytes.
const (
	headerSize = 24
	atFlags    = 10
	atLower    = 12
	atUpper    = 14
	atSpecial  = 16
)

// What the special spaces of index pages end with, or begin with (access/hash.h,
// gist.h, spgist_private.h, brin_page.h, nbtree.h, ginblock.h; commands/sequence.c).
const (
	hashPageID   = 0xFF80
	gistPageID   = 0xFF81
	spgistPageID = 0xFF82
	brinMeta     = 0xF091
	brinRegular  = 0xF093
	maxCycleID   = 0xFF7F // MAX_BT_CYCLE_ID
	ginFlags     = 0x1FF  // all flags of a page of GIN
	sequenceMark = 0x1717 // SEQ_MAGIC
)

// KindOf is what a page is. Pages of indexes say so in their special space, of
// which only the sizes of some tell a heap from others.
func KindOf(p []byte, fork wal.ForkNumber, block wal.BlockNumber) Kind {
	switch {
	case allZero(p):
		return Empty
	case fork == wal.VisibilityMapFork:
		return VisibilityMap
	case fork == wal.FSMFork:
		return FreeSpaceMap
	}
	special := int(le.Uint16(p[atSpecial:]))
	if special < headerSize || special > wal.BlockSize {
		return Other
	}
	last := le.Uint16(p[wal.BlockSize-2:])
	switch wal.BlockSize - special {
	case 0:
		return Heap
	case 8:
		switch {
		case last == spgistPageID:
			return SPGist
		case last >= brinMeta && last <= brinRegular:
			return BRIN
		case block == 0 && le.Uint32(p[special:]) == sequenceMark:
			return Sequence
		case last <= ginFlags:
			return Gin
		}
	case 16:
		switch {
		case last == hashPageID:
			return Hash
		case last == gistPageID:
			return Gist
		case last <= maxCycleID:
			return Btree
		}
	}
	return Other
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if le.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// pageLSN is pd_lsn.
func pageLSN(p []byte) wal.LSN { return wal.LSN(le.Uint32(p))<<32 | wal.LSN(le.Uint32(p[4:])) }

// neverLogged says that a page was added to its file and no record made anything
// of it: it is all zero, or initialised (PageInit) without content. The content of
// a visibility map lies where others have none.
func neverLogged(p []byte, fork wal.ForkNumber) bool {
	if allZero(p) {
		return true
	}
	if pageLSN(p) != 0 || le.Uint16(p[atLower:]) != headerSize || le.Uint16(p[atUpper:]) != le.Uint16(p[atSpecial:]) {
		return false
	}
	return fork != wal.VisibilityMapFork || allZero(p[headerSize:])
}
