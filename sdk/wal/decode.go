package wal

import "encoding/binary"

// Ids that stand where a block's id stands, and say what follows instead
// (access/xlogrecord.h).
const (
	blockIDDataShort   = 255 // XLR_BLOCK_ID_DATA_SHORT: main data of a u8 length
	blockIDDataLong    = 254 // XLR_BLOCK_ID_DATA_LONG: main data of a u32 length
	blockIDOrigin      = 253 // XLR_BLOCK_ID_ORIGIN: u16 RepOriginId
	blockIDTopLevelXID = 252 // XLR_BLOCK_ID_TOPLEVEL_XID: u32 (since PG14)
)

// Bits of a block header's fork_flags (access/xlogrecord.h).
const (
	bkpForkMask = 0x0F // BKPBLOCK_FORK_MASK
	bkpHasImage = 0x10 // BKPBLOCK_HAS_IMAGE
	bkpHasData  = 0x20 // BKPBLOCK_HAS_DATA
	bkpWillInit = 0x40 // BKPBLOCK_WILL_INIT
	bkpSameRel  = 0x80 // BKPBLOCK_SAME_REL
)

// imageBits are the bits of bimg_info (access/xlogrecord.h); 0 is a bit that
// the version lacks.
type imageBits struct{ hole, apply, pglz, lz4, zstd uint8 }

// They moved in PG15, when LZ4 and Zstandard came.
var (
	imageBits14 = imageBits{hole: 0x01, pglz: 0x02, apply: 0x04}
	imageBits15 = imageBits{hole: 0x01, apply: 0x02, pglz: 0x04, lz4: 0x08, zstd: 0x10}
)

func imageFlags(v Version, info uint8) (f BlockFlags) {
	bits := &imageBits15
	if v <= PG14 {
		bits = &imageBits14
	}
	if info&bits.hole != 0 {
		f |= BlockImageHole
	}
	if info&bits.apply != 0 {
		f |= BlockImageApply
	}
	if info&bits.pglz != 0 {
		f |= BlockImagePGLZ
	}
	if info&bits.lz4 != 0 {
		f |= BlockImageLZ4
	}
	if info&bits.zstd != 0 {
		f |= BlockImageZSTD
	}
	return f
}

// Decode fills the record from the bytes in which it begins. The caller has
// set StartLSN, EndLSN and Version, and keeps Data and FragmentOffset; all
// else is set here, Blocks in the array that it already has, so that decoding
// into the same Record again allocates nothing.
//
// head holds the record from xl_tot_len on, without page headers: all of it,
// or at least [MaxHeaderSize] bytes. It is not kept. It may be longer.
//
// An error is an [*Error] at StartLSN, for what DecodeXLogRecord (xlogreader.c)
// rejects; then the record's fields mean nothing. The CRC, xl_prev and xl_rmid
// are the caller's to check, the first before Decode: like PostgreSQL, Decode
// assumes that a record of a right checksum is right where it cannot tell. In
// particular an image may claim a hole beyond its page; [Images.Restore] refuses
// it.
func (r *Record) Decode(head []byte) error {
	if len(head) < RecordHeaderSize {
		return Errorf(r.StartLSN, "record header at %s needs %d bytes, but %d were given", r.StartLSN, RecordHeaderSize, len(head))
	}
	h := head[:RecordHeaderSize]
	r.TotalLen = binary.LittleEndian.Uint32(h[0:])
	r.XID = XID(binary.LittleEndian.Uint32(h[4:]))
	r.PrevLSN = LSN(binary.LittleEndian.Uint64(h[8:]))
	r.Info = h[16]
	r.RmgrID = RmgrID(h[17])
	r.CRC = binary.LittleEndian.Uint32(h[20:])
	r.TopLevelXID, r.Origin = 0, 0
	r.MainDataOffset, r.MainDataLen = 0, 0
	r.Blocks = r.Blocks[:0]
	if r.TotalLen < RecordHeaderSize {
		return Errorf(r.StartLSN, "invalid record length at %s: expected at least %d, got %d", r.StartLSN, RecordHeaderSize, r.TotalLen)
	}
	c := cursor{buf: head[:min(uint64(len(head)), uint64(r.TotalLen))], off: RecordHeaderSize}
	payload, err := r.decodeHeaders(&c)
	if err != nil {
		return err
	}
	return r.place(&c, payload)
}

// decodeHeaders reads the headers after the record's own, and answers how many
// bytes of images and data they announce.
func (r *Record) decodeHeaders(c *cursor) (payload uint64, _ error) {
	// What is not announced yet is headers still; uint64, so that lengths
	// cannot overflow to a sum that fits.
	for uint64(r.TotalLen)-uint64(c.off) > payload {
		switch id := c.u8(); id {
		case blockIDDataShort:
			r.MainDataLen = uint32(c.u8())
			return payload + uint64(r.MainDataLen), nil // the main data header is always last
		case blockIDDataLong:
			r.MainDataLen = c.u32()
			return payload + uint64(r.MainDataLen), nil
		case blockIDOrigin:
			r.Origin = c.u16()
		case blockIDTopLevelXID:
			r.TopLevelXID = XID(c.u32())
		default:
			n, err := r.decodeBlock(c, id)
			if err != nil {
				return 0, err
			}
			payload += n
		}
		if c.short {
			break
		}
	}
	return payload, nil
}

// decodeBlock reads one block header (XLogRecordBlockHeader) but for its id,
// and answers how many bytes of image and data it announces. It leaves a header
// that is cut off to the caller.
func (r *Record) decodeBlock(c *cursor, id uint8) (payload uint64, _ error) {
	if id > MaxBlockID {
		return 0, Errorf(r.StartLSN, "invalid block_id %d at %s", id, r.StartLSN)
	}
	n := len(r.Blocks)
	if n > 0 && id <= r.Blocks[n-1].ID {
		return 0, Errorf(r.StartLSN, "out-of-order block_id %d at %s", id, r.StartLSN)
	}
	r.Blocks = append(r.Blocks, BlockRef{ID: id})
	b := &r.Blocks[n]

	bits := c.u8()
	b.Fork = ForkNumber(bits & bkpForkMask)
	b.DataLen = c.u16()
	if c.short {
		return 0, nil
	}
	if bits&bkpWillInit != 0 {
		b.Flags |= BlockWillInit
	}
	if bits&bkpHasData != 0 {
		b.Flags |= BlockHasData
	}
	if (bits&bkpHasData != 0) != (b.DataLen != 0) {
		return 0, r.dataLengthError(b)
	}
	if bits&bkpHasImage != 0 {
		b.Flags |= BlockHasImage
		if err := r.decodeImage(c, b); err != nil {
			return 0, err
		}
	}
	if bits&bkpSameRel == 0 {
		b.Rel = RelFileLocator{Spc: OID(c.u32()), DB: OID(c.u32()), Rel: OID(c.u32())}
	} else if n > 0 {
		b.Flags |= BlockSameRel
		b.Rel = r.Blocks[n-1].Rel
	} else if !c.short {
		return 0, Errorf(r.StartLSN, "BKPBLOCK_SAME_REL set but no previous rel at %s", r.StartLSN)
	}
	b.Block = BlockNumber(c.u32())
	return uint64(b.DataLen) + uint64(b.ImageLen), nil
}

func (r *Record) dataLengthError(b *BlockRef) error {
	if b.DataLen == 0 {
		return Errorf(r.StartLSN, "BKPBLOCK_HAS_DATA set, but no data included at %s", r.StartLSN)
	}
	return Errorf(r.StartLSN, "BKPBLOCK_HAS_DATA not set, but data length is %d at %s", b.DataLen, r.StartLSN)
}

// decodeImage reads the header of a block's image (XLogRecordBlockImageHeader,
// XLogRecordBlockCompressHeader). It leaves one that is cut off to the caller.
func (r *Record) decodeImage(c *cursor, b *BlockRef) error {
	b.ImageLen = c.u16()
	b.HoleOffset = c.u16()
	b.Flags |= imageFlags(r.Version, c.u8())
	compressed := b.Flags&BlockImageCompressed != 0
	hole := b.Flags&BlockImageHole != 0
	switch {
	case !compressed:
		b.HoleLen = BlockSize - b.ImageLen // wraps, as in PostgreSQL, where the image exceeds a page
	case hole:
		b.HoleLen = c.u16()
	}
	if c.short {
		return nil
	}
	switch {
	case hole && (b.HoleOffset == 0 || b.HoleLen == 0 || b.ImageLen == BlockSize):
		return Errorf(r.StartLSN, "BKPIMAGE_HAS_HOLE set, but hole offset %d length %d block image length %d at %s",
			b.HoleOffset, b.HoleLen, b.ImageLen, r.StartLSN)
	case !hole && (b.HoleOffset != 0 || b.HoleLen != 0):
		return Errorf(r.StartLSN, "BKPIMAGE_HAS_HOLE not set, but hole offset %d length %d at %s",
			b.HoleOffset, b.HoleLen, r.StartLSN)
	case compressed && b.ImageLen == BlockSize:
		return Errorf(r.StartLSN, "%s set, but block image length %d at %s",
			compressedBit(r.Version), b.ImageLen, r.StartLSN)
	}
	// An image that is neither compressed nor a page long has a hole length
	// above, so PostgreSQL's last check, "neither BKPIMAGE_HAS_HOLE nor
	// BKPIMAGE_COMPRESSED set", cannot fail here nor there.
	return nil
}

// compressedBit is the name by which the version's messages call compression.
func compressedBit(v Version) string {
	if v <= PG14 {
		return "BKPIMAGE_IS_COMPRESSED"
	}
	return "BKPIMAGE_COMPRESSED"
}

// place gives the images and data, which follow the headers in the order of the
// blocks, their offsets.
func (r *Record) place(c *cursor, payload uint64) error {
	if c.short && uint64(len(c.buf)) < uint64(r.TotalLen) {
		return Errorf(r.StartLSN, "record headers exceed the %d bytes given at %s", len(c.buf), r.StartLSN)
	}
	if c.short || uint64(r.TotalLen)-uint64(c.off) != payload {
		return Errorf(r.StartLSN, "record with invalid length at %s", r.StartLSN)
	}
	off := uint32(c.off)
	for i := range r.Blocks {
		b := &r.Blocks[i]
		b.ImageOffset = off
		off += uint32(b.ImageLen)
		b.DataOffset = off
		off += uint32(b.DataLen)
	}
	r.MainDataOffset = off
	return nil
}
