package waltest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/walplex/walplex/sdk/wal"
)

// Record is what a resource manager would hand to XLogInsert.
type Record struct {
	Rmgr        wal.RmgrID
	Info        uint8
	XID         wal.XID
	TopLevelXID wal.XID // 0: not stored
	Origin      uint16  // 0: not stored
	Blocks      []Block
	Main        []byte
}

// Block is a block reference to be. Whether the relation is stored or marked
// as the same as the block's before follows from Rel, as in the server.
type Block struct {
	ID    uint8
	Rel   wal.RelFileLocator
	Fork  wal.ForkNumber
	Block wal.BlockNumber

	// Flags may have BlockWillInit; BlockImageHole, to leave the hole between
	// pd_lower and pd_upper out of Image; and one of the compression flags, to
	// say that Image already is what that method made of the page.
	Flags wal.BlockFlags

	Image []byte // a page of 8192 bytes, or compressed bytes; nil: no image
	Apply bool   // the image is to be restored, not only compared

	HoleOffset, HoleLen uint16 // of a compressed image with BlockImageHole, bytes

	Data []byte
}

// Block header flags in fork_flags (access/xlogrecord.h).
const (
	bkpHasImage = 0x10 // BKPBLOCK_HAS_IMAGE
	bkpHasData  = 0x20 // BKPBLOCK_HAS_DATA
	bkpWillInit = 0x40 // BKPBLOCK_WILL_INIT
	bkpSameRel  = 0x80 // BKPBLOCK_SAME_REL
)

// Ids that stand where a block id would (access/xlogrecord.h).
const (
	idTopLevelXID = 252 // XLR_BLOCK_ID_TOPLEVEL_XID, since PG14
	idOrigin      = 253 // XLR_BLOCK_ID_ORIGIN
	idDataLong    = 254 // XLR_BLOCK_ID_DATA_LONG
	idDataShort   = 255 // XLR_BLOCK_ID_DATA_SHORT
)

const blockSize = 8192 // BLCKSZ of a stock build

// assemble makes the record's bytes, with xl_prev and xl_crc still to come
// (XLogRecordAssemble).
func (rec Record) assemble(v wal.Version) []byte {
	b := header(rec.Rmgr, rec.Info, rec.XID)
	var payload []byte
	for i := range rec.Blocks {
		var before *Block
		if i > 0 {
			before = &rec.Blocks[i-1]
		}
		b, payload = rec.Blocks[i].assemble(b, payload, before, v)
	}
	if rec.Origin != 0 {
		b = binary.LittleEndian.AppendUint16(append(b, idOrigin), rec.Origin)
	}
	if rec.TopLevelXID != 0 {
		b = binary.LittleEndian.AppendUint32(append(b, idTopLevelXID), uint32(rec.TopLevelXID))
	}
	switch n := len(rec.Main); {
	case n > math.MaxUint8:
		b = binary.LittleEndian.AppendUint32(append(b, idDataLong), uint32(n))
	case n > 0:
		b = append(b, idDataShort, uint8(n))
	}
	b = append(append(b, payload...), rec.Main...)
	if len(b) > wal.MaxRecordSize {
		panic(fmt.Sprintf("waltest: a record of %d bytes is larger than XLogRecordMaxSize", len(b)))
	}
	return b
}

// assemble appends the block's header to b and its image and data to payload.
func (k *Block) assemble(b, payload []byte, before *Block, v wal.Version) (header, rest []byte) {
	if k.ID > wal.MaxBlockID || len(k.Data) > math.MaxUint16 || len(k.Image) > blockSize {
		panic(fmt.Sprintf("waltest: block %d with %d bytes of image and %d of data breaks a limit", k.ID, len(k.Image), len(k.Data)))
	}
	flags := uint8(k.Fork)
	if k.Image != nil {
		flags |= bkpHasImage
	}
	if len(k.Data) > 0 {
		flags |= bkpHasData
	}
	if k.Flags&wal.BlockWillInit != 0 {
		flags |= bkpWillInit
	}
	if before != nil && before.Rel == k.Rel {
		flags |= bkpSameRel
	}
	b = binary.LittleEndian.AppendUint16(append(b, k.ID, flags), uint16(len(k.Data)))
	if k.Image != nil {
		b, payload = k.assembleImage(b, payload, v)
	}
	if flags&bkpSameRel == 0 {
		b = binary.LittleEndian.AppendUint32(b, uint32(k.Rel.Spc))
		b = binary.LittleEndian.AppendUint32(b, uint32(k.Rel.DB))
		b = binary.LittleEndian.AppendUint32(b, uint32(k.Rel.Rel))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(k.Block))
	return b, append(payload, k.Data...)
}

// assembleImage appends the image header (XLogRecordBlockImageHeader,
// XLogRecordBlockCompressHeader) and the image as stored.
func (k *Block) assembleImage(b, payload []byte, v wal.Version) (header, rest []byte) {
	image, hole, holeLen := k.Image, k.HoleOffset, k.HoleLen
	compressed := k.Flags&wal.BlockImageCompressed != 0
	if !compressed {
		if len(image) != blockSize {
			panic(fmt.Sprintf("waltest: an image of %d bytes is no page", len(image)))
		}
		hole, holeLen = 0, 0
		if k.Flags&wal.BlockImageHole != 0 {
			hole, holeLen = pageHole(image)
			image = append(append([]byte(nil), image[:hole]...), image[hole+holeLen:]...)
		}
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(image)))
	b = binary.LittleEndian.AppendUint16(b, hole)
	b = append(b, k.imageInfo(v, holeLen != 0))
	if compressed && holeLen != 0 {
		b = binary.LittleEndian.AppendUint16(b, holeLen)
	}
	return b, append(payload, image...)
}

// imageInfo is bimg_info, whose bits moved in PG15 (access/xlogrecord.h).
func (k *Block) imageInfo(v wal.Version, hole bool) uint8 {
	apply, pglz := uint8(0x02), uint8(0x04)
	if v < wal.PG15 {
		apply, pglz = 0x04, 0x02
	}
	var info uint8
	if hole {
		info |= 0x01 // BKPIMAGE_HAS_HOLE
	}
	if k.Apply {
		info |= apply // BKPIMAGE_APPLY
	}
	switch k.Flags & wal.BlockImageCompressed {
	case wal.BlockImagePGLZ:
		info |= pglz // BKPIMAGE_COMPRESS_PGLZ; BKPIMAGE_IS_COMPRESSED before PG15
	case wal.BlockImageLZ4:
		info |= 0x08 // BKPIMAGE_COMPRESS_LZ4, since PG15
	case wal.BlockImageZSTD:
		info |= 0x10 // BKPIMAGE_COMPRESS_ZSTD, since PG15
	}
	return info
}

// pageHole is the free space between pd_lower and pd_upper
// (storage/bufpage.h), 0 bytes where the page has no standard header.
func pageHole(page []byte) (offset, length uint16) {
	lower := binary.LittleEndian.Uint16(page[12:])
	upper := binary.LittleEndian.Uint16(page[14:])
	if lower < 24 || upper <= lower || upper > blockSize {
		return 0, 0
	}
	return lower, upper - lower
}

// header is an XLogRecord without length, xl_prev and CRC.
func header(rmgr wal.RmgrID, info uint8, xid wal.XID) []byte {
	return RecordHeader(0, xid, 0, info, rmgr, 0)
}

// RecordHeader is an XLogRecord with these fields, however wrong
// (access/xlogrecord.h).
func RecordHeader(totLen uint32, xid wal.XID, prev wal.LSN, info uint8, rmgr wal.RmgrID, crc uint32) []byte {
	b := make([]byte, wal.RecordHeaderSize)
	binary.LittleEndian.PutUint32(b[0:], totLen)
	binary.LittleEndian.PutUint32(b[4:], uint32(xid))
	binary.LittleEndian.PutUint64(b[8:], uint64(prev))
	b[16], b[17] = info, uint8(rmgr)
	binary.LittleEndian.PutUint32(b[20:], crc)
	return b
}

// seal completes the header: length, xl_prev, CRC.
func (w *Writer) seal(raw []byte) {
	binary.LittleEndian.PutUint32(raw[0:], uint32(len(raw)))
	binary.LittleEndian.PutUint64(raw[8:], uint64(w.prev))
	binary.LittleEndian.PutUint32(raw[20:], Checksum(raw))
}

// Checksum is the CRC-32C that a record's xl_crc must have: over everything
// behind the header, then over the header up to xl_crc.
func Checksum(raw []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(raw[wal.RecordHeaderSize:], table), table, raw[:20])
}
