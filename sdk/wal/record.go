package wal

import "fmt"

// Record limits, in bytes (access/xlogrecord.h).
const (
	// RecordHeaderSize is SizeOfXLogRecord.
	RecordHeaderSize = 24
	// MaxRecordSize is XLogRecordMaxSize: 1020 MiB (checked by the server since PG16,
	// a consequence of MaxAllocSize before).
	MaxRecordSize = 1020 << 20
	// MaxBlockID is XLR_MAX_BLOCK_ID.
	MaxBlockID = 32
	// MaxHeaderSize bounds the record header with all block headers and the main
	// data header: whoever has this many first bytes of a record can decode it.
	MaxHeaderSize = RecordHeaderSize + (MaxBlockID+1)*(4+5+2+12+4) + 3 + 5 + 5
)

// RmgrID names a resource manager (access/rmgrlist.h). 0–21 are built in,
// 128–255 belong to extensions (since PG15).
type RmgrID uint8

// The built-in resource managers, identical in PG 14–18 (access/rmgrlist.h).
const (
	RmgrXLOG RmgrID = iota
	RmgrTransaction
	RmgrStorage
	RmgrCLOG
	RmgrDatabase
	RmgrTablespace
	RmgrMultiXact
	RmgrRelMap
	RmgrStandby
	RmgrHeap2
	RmgrHeap
	RmgrBtree
	RmgrHash
	RmgrGin
	RmgrGist
	RmgrSequence
	RmgrSPGist
	RmgrBRIN
	RmgrCommitTs
	RmgrReplicationOrigin
	RmgrGeneric
	RmgrLogicalMessage
	RmgrMaxBuiltin = RmgrLogicalMessage
)

// XID is a TransactionId. Zero is InvalidTransactionId.
type XID uint32

// OID is PostgreSQL's Oid.
type OID uint32

// BlockNumber counts pages of a relation's fork from 0 (storage/block.h).
type BlockNumber uint32

// ForkNumber is one of a relation's files (common/relpath.h).
type ForkNumber uint8

// The forks.
const (
	MainFork          ForkNumber = 0
	FSMFork           ForkNumber = 1
	VisibilityMapFork ForkNumber = 2
	InitFork          ForkNumber = 3
)

func (f ForkNumber) String() string {
	switch f {
	case MainFork:
		return "main"
	case FSMFork:
		return "fsm"
	case VisibilityMapFork:
		return "vm"
	case InitFork:
		return "init"
	}
	return fmt.Sprintf("fork%d", uint8(f))
}

// RelFileLocator names a relation's files: tablespace, database, relation file
// number (storage/relfilelocator.h; RelFileNode before PG16).
type RelFileLocator struct {
	Spc OID
	DB  OID
	Rel OID
}

func (r RelFileLocator) String() string { return fmt.Sprintf("%d/%d/%d", r.Spc, r.DB, r.Rel) }

// BlockFlags say what a block reference carries, in one numbering for all
// versions (not PostgreSQL's own bits, which moved between 14 and 15).
type BlockFlags uint16

// What a block reference can carry.
const (
	BlockWillInit   BlockFlags = 1 << iota // BKPBLOCK_WILL_INIT: redo re-initialises the page
	BlockHasImage                          // BKPBLOCK_HAS_IMAGE
	BlockHasData                           // BKPBLOCK_HAS_DATA
	BlockImageApply                        // BKPIMAGE_APPLY: redo restores the image; else it is for wal_consistency_checking
	BlockImageHole                         // BKPIMAGE_HAS_HOLE
	BlockImagePGLZ                         // compressed with pglz
	BlockImageLZ4                          // compressed with LZ4 (since PG15)
	BlockImageZSTD                         // compressed with Zstandard (since PG15)
	BlockSameRel                           // BKPBLOCK_SAME_REL: the header did not repeat the relation

	BlockImageCompressed = BlockImagePGLZ | BlockImageLZ4 | BlockImageZSTD
)

// BlockRef is one block reference of a record. Offsets count bytes from the
// start of the record.
type BlockRef struct {
	Rel         RelFileLocator
	Block       BlockNumber
	ID          uint8
	Fork        ForkNumber
	Flags       BlockFlags
	ImageOffset uint32 // of the image's bytes as stored
	ImageLen    uint16 // bytes as stored (bimg_len)
	HoleOffset  uint16 // of the hole in the page, bytes
	HoleLen     uint16 // of the hole, bytes
	DataLen     uint16 // bytes of block data
	DataOffset  uint32
}

// WillInit reports that redo initialises the page from the record alone.
func (b *BlockRef) WillInit() bool { return b.Flags&BlockWillInit != 0 }

// HasImage reports that the record carries an image of the page.
func (b *BlockRef) HasImage() bool { return b.Flags&BlockHasImage != 0 }

// ApplyImage reports that redo restores the page from the image.
func (b *BlockRef) ApplyImage() bool { return b.Flags&BlockImageApply != 0 }

// Record is one decoded WAL record. Everything that it points to is borrowed:
// whoever filled it says until when.
type Record struct {
	StartLSN LSN // of xl_tot_len
	EndLSN   LSN // PostgreSQL's EndRecPtr: what becomes pd_lsn of the pages that it changes
	PrevLSN  LSN // xl_prev: StartLSN of the record before

	Version     Version
	RmgrID      RmgrID
	Info        uint8 // xl_info; the resource manager owns the high four bits
	XID         XID
	TopLevelXID XID    // of a subtransaction's first record with wal_level=logical, else 0 (since PG14)
	Origin      uint16 // replication origin, 0 none
	TotalLen    uint32 // xl_tot_len, bytes
	CRC         uint32 // xl_crc, CRC-32C

	// FragmentOffset is where Data begins in the record: 0, except in later
	// fragments of a record too large to be handed over whole.
	FragmentOffset uint32

	MainDataOffset uint32 // bytes from the start of the record
	MainDataLen    uint32

	Blocks []BlockRef // in the order of the record
	Data   []byte     // the record's bytes from xl_tot_len on, without page headers; all TotalLen of them unless it is a fragment
}

// Whole reports that Data holds the entire record.
func (r *Record) Whole() bool { return r.FragmentOffset == 0 && len(r.Data) == int(r.TotalLen) }

// Last reports that Data reaches the record's end: of a whole record, and of
// the last fragment.
func (r *Record) Last() bool {
	return uint64(r.FragmentOffset)+uint64(len(r.Data)) == uint64(r.TotalLen)
}

// MainData is the record's main data, of a fragment the part that it holds,
// which may be none.
func (r *Record) MainData() []byte { return r.part(r.MainDataOffset, r.MainDataLen) }

// BlockData is the data that belongs to block reference b.
func (r *Record) BlockData(b *BlockRef) []byte { return r.part(b.DataOffset, uint32(b.DataLen)) }

// ImageData is the image of block reference b as stored: without the hole, and
// compressed as b.Flags says.
func (r *Record) ImageData(b *BlockRef) []byte { return r.part(b.ImageOffset, uint32(b.ImageLen)) }

// part is the portion of record bytes [off, off+n) that Data holds.
func (r *Record) part(off, n uint32) []byte {
	lo, hi := int64(off)-int64(r.FragmentOffset), int64(off)+int64(n)-int64(r.FragmentOffset)
	lo, hi = max(lo, 0), min(hi, int64(len(r.Data)))
	if lo >= hi {
		return nil
	}
	return r.Data[lo:hi:hi]
}
