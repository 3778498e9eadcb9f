package wal

import "encoding/binary"

// ImageBytes answers the sum of ImageLen over the block references of a record,
// and makes all checks of [Record.Decode] on the way, without its work: what
// statistics need of a record, apart from the fields of its header.
//
// rec holds the record from xl_tot_len on, without page headers: all of it, or
// its first bytes. ok is false where Decode would refuse the record, and where
// the bytes given do not hold all its headers.
func ImageBytes(v Version, rec []byte) (n uint32, ok bool) {
	if len(rec) < RecordHeaderSize {
		return 0, false
	}
	total := binary.LittleEndian.Uint32(rec)
	if total < RecordHeaderSize {
		return 0, false
	}
	if simple(rec, total) {
		return 0, true
	}
	rec = rec[:min(uint64(len(rec)), uint64(total))]
	payload, last := uint64(0), -1
	off := RecordHeaderSize
	for uint64(total)-uint64(off) > payload {
		h := rec[off:]
		if len(h) < 2 {
			return 0, false
		}
		if id := int(h[0]); id <= MaxBlockID {
			size, image := blockHeader(v, h, last >= 0)
			if size == 0 || id <= last {
				return 0, false
			}
			last = id
			payload += uint64(image) + uint64(binary.LittleEndian.Uint16(h[2:]))
			n += uint32(image)
			off += size
			continue
		}
		size := 0
		switch h[0] {
		case blockIDDataShort:
			return n, uint64(total)-uint64(off)-2 == payload+uint64(h[1])
		case blockIDDataLong:
			return n, len(h) >= 5 && uint64(total)-uint64(off)-5 == payload+uint64(binary.LittleEndian.Uint32(h[1:]))
		case blockIDOrigin:
			size = 3
		case blockIDTopLevelXID:
			size = 5
		}
		if size == 0 || size > len(h) {
			return 0, false
		}
		off += size
	}
	return n, uint64(total)-uint64(off) == payload
}

// simple reports whether the record, of total bytes, has no block or one without
// an image, and up to 255 bytes of main data: what most records are. It may say
// no, never yes, where that is not so.
func simple(rec []byte, total uint32) bool {
	const (
		ids     = RecordHeaderSize         // of the first id
		oneMain = ids + 4 + 12 + 4         // of the id behind one block
		length  = bkpHasImage | bkpSameRel // by which a header is longer or shorter
	)
	if len(rec) <= oneMain+1 {
		return len(rec) > ids+1 && rec[ids] == blockIDDataShort && total-(ids+2) == uint32(rec[ids+1])
	}
	if rec[ids] == blockIDDataShort {
		return total-(ids+2) == uint32(rec[ids+1])
	}
	data := uint32(binary.LittleEndian.Uint16(rec[ids+2:]))
	return rec[ids] <= MaxBlockID && rec[ids+1]&length == 0 && (rec[ids+1]&bkpHasData != 0) == (data != 0) &&
		rec[oneMain] == blockIDDataShort && total-(oneMain+2) == data+uint32(rec[oneMain+1])
}

// blockHeader answers the size of the block header with which h begins, and that
// of its image as stored; a size of 0 if it is not sound, or cut off. follows
// says that there was a block before it.
func blockHeader(v Version, h []byte, follows bool) (size int, image uint16) {
	const fixed, relation = 4 + 4, 12 // of the header with the block's number; of RelFileLocator
	if len(h) < fixed {
		return 0, 0
	}
	bits := h[1]
	if (bits&bkpHasData != 0) != (binary.LittleEndian.Uint16(h[2:]) != 0) {
		return 0, 0
	}
	size = fixed + relation
	if bits&bkpSameRel != 0 {
		size = fixed
		if !follows {
			return 0, 0
		}
	}
	if bits&bkpHasImage != 0 {
		n := 0
		if n, image = imageHeader(v, h[4:]); n == 0 {
			return 0, 0
		}
		size += n
	}
	if size > len(h) {
		return 0, 0
	}
	return size, image
}

// imageHeader does the same for the header of an image.
func imageHeader(v Version, h []byte) (size int, image uint16) {
	const fixed, compressedHole = 5, 2
	if len(h) < fixed+compressedHole { // a relation or a block number follows
		return 0, 0
	}
	image = binary.LittleEndian.Uint16(h)
	offset, flags, hole := binary.LittleEndian.Uint16(h[2:]), imageFlags(v, h[4]), BlockSize-image
	size = fixed
	if flags&BlockImageCompressed != 0 {
		hole = 0
		if image == BlockSize {
			return 0, 0
		}
		if flags&BlockImageHole != 0 {
			hole = binary.LittleEndian.Uint16(h[fixed:])
			size += compressedHole
		}
	}
	if flags&BlockImageHole == 0 && (offset != 0 || hole != 0) ||
		flags&BlockImageHole != 0 && (offset == 0 || hole == 0 || image == BlockSize) {
		return 0, 0
	}
	return size, image
}
