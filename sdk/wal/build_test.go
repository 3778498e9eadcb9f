package wal

import (
	"encoding/binary"
	"slices"
)

// part is a piece of a record under construction: its header and what follows
// all headers.
type part struct{ header, payload []byte }

// block describes a block reference as PostgreSQL would write it; the flags
// follow from what is set.
type block struct {
	id     uint8
	fork   uint8
	bits   uint8 // of fork_flags, beyond those that follow from the rest
	rel    RelFileLocator
	same   bool // BKPBLOCK_SAME_REL: no relation in the header
	blkno  BlockNumber
	data   []byte
	image  []byte // as stored
	info   uint8  // bimg_info in the version's own bits
	hole   uint16 // offset
	length uint16 // of the hole, stored if the image is compressed and has one
}

func (b block) bytes(v Version) part {
	le := binary.LittleEndian
	bits := b.fork | b.bits
	if b.image != nil {
		bits |= bkpHasImage
	}
	if b.data != nil {
		bits |= bkpHasData
	}
	if b.same {
		bits |= bkpSameRel
	}
	h := le.AppendUint16([]byte{b.id, bits}, uint16(len(b.data)))
	if b.image != nil {
		h = le.AppendUint16(h, uint16(len(b.image)))
		h = append(le.AppendUint16(h, b.hole), b.info)
		f := imageFlags(v, b.info)
		if f&BlockImageCompressed != 0 && f&BlockImageHole != 0 {
			h = le.AppendUint16(h, b.length)
		}
	}
	if !b.same {
		h = le.AppendUint32(h, uint32(b.rel.Spc))
		h = le.AppendUint32(h, uint32(b.rel.DB))
		h = le.AppendUint32(h, uint32(b.rel.Rel))
	}
	return part{le.AppendUint32(h, uint32(b.blkno)), slices.Concat(b.image, b.data)}
}

// mainData is the main data part, short or long as PostgreSQL chooses.
func mainData(data []byte) part {
	if len(data) > 255 {
		return part{binary.LittleEndian.AppendUint32([]byte{blockIDDataLong}, uint32(len(data))), data}
	}
	return part{[]byte{blockIDDataShort, byte(len(data))}, data}
}

// raw is a header without payload.
func raw(header ...byte) part { return part{header: header} }

// buildRecord puts parts together to a record without checksum.
func buildRecord(id RmgrID, info uint8, xid XID, parts ...part) []byte {
	rec := make([]byte, RecordHeaderSize)
	for _, p := range parts {
		rec = append(rec, p.header...)
	}
	for _, p := range parts {
		rec = append(rec, p.payload...)
	}
	binary.LittleEndian.PutUint32(rec[0:], uint32(len(rec)))
	binary.LittleEndian.PutUint32(rec[4:], uint32(xid))
	binary.LittleEndian.PutUint64(rec[8:], 0x1000000)
	rec[16], rec[17] = info, uint8(id)
	return rec
}
