// Package wire is what the host and a sink process say to each other: the
// generated protocol (sink.proto) and the layout of a block. The host and
// package sdk share it; authors of sinks use package sdk and get no promise
// here, authors in other languages get sink.proto and this page.
//
// # Block
//
// A block is one stretch of WAL, laid out once by the host: the raw WAL, the
// bytes of records that a page header cut, and an index of records and block
// references. All numbers are little-endian, all offsets count bytes from the
// block's first byte:
//
//	 0  u32 magic "WPB1"          4  u16 layout version, 1
//	 6  u16 magic of WAL pages    8  u32 timeline        12  u32 0
//	16  u64 wal_start            24  u64 wal_end
//	32  u64 records_end          40  i64 server time, microseconds since 2000-01-01 UTC, 0 unknown
//	48  u32 wal offset           52  u32 wal length = wal_end - wal_start, or 0
//	56  u32 cut records offset   60  u32 cut records length
//	64  u32 index offset         68  u32 records in the index
//	72  u32 refs offset          76  u32 refs in all
//	80  16 bytes 0
//	96  a gap or none | raw WAL | cut records | index | refs
//
// Of much raw WAL the gap makes its offset in the block, modulo 4096, that of its
// LSN: where the block lies in the shared ring, whose slots begin with a page of
// memory, pages of WAL do too, and can be written to a disk from there.
//
// records_end is wal_end where no record is incomplete there, else the start
// of the incomplete one: every record that ends at or before wal_end ends at or
// before records_end too.
//
// One record in the index, 48 bytes:
//
//	 0  i32 start LSN - wal_start
//	 4  i32 end LSN - wal_start, -2^31 in all but the last fragment of a record
//	 8  u32 offset of its bytes  12  u32 length of its bytes
//	16  u32 xl_tot_len           20  u32 fragment offset
//	24  u32 main data offset in the record
//	28  u32 first ref            32  u8 refs   33  u8 rmgr   34  u8 xl_info   35  u8 0
//	36  u32 xid                  40  u32 toplevel xid
//	44  u16 origin               46  u16 0
//
// A record whose length differs from xl_tot_len is a fragment: the pieces of a
// record follow each other in order, in one block or several; only the last has
// an end LSN, and only when it is there has the record's checksum been seen to
// hold. Records of up to [MaxWhole] bytes are never cut into fragments.
//
// One block reference, 36 bytes; offsets count from the start of the record:
//
//	 0  u32 tablespace   4  u32 database   8  u32 relation   12  u32 block
//	16  u32 image offset 20  u32 data offset
//	24  u16 image length 26  u16 hole offset 28 u16 hole length 30  u16 data length
//	32  u16 flags (wal.BlockFlags) 34  u8 block id  35  u8 fork
//
// A sink that subscribed to raw WAL only gets the block up to the end of the
// raw WAL. Where all sinks have, blocks may have no records: their index and refs
// offsets are 0, and they hold up to twice as much raw WAL. A sink that is to see its own records alone gets a block with the wal
// length 0, in which the bytes of all records lie in the place of the cut ones
// (see [Selector]).
//
// The block travels in a gRPC message, or lies in memory that host and sink
// share (package ring), and only its place travels.
package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// Sizes of the layout, in bytes.
const (
	blockMagic      = 0x31425057 // "WPB1"
	layoutVersion   = 1
	headerSize      = 96
	recordEntrySize = 48
	refEntrySize    = 36
	noEnd           = -1 << 31

	// BlockWAL is how much raw WAL a block with records holds at most.
	BlockWAL = 256 << 10
	// RawBlockWAL is how much one without holds.
	RawBlockWAL = 2 * BlockWAL
	// walAlign is what the raw WAL's offset is aligned by, where there are
	// alignedWAL bytes of it or more.
	walAlign   = 4096
	alignedWAL = 64 << 10
	// MaxWhole is the largest record that is delivered in one piece.
	MaxWhole = 1 << 20
	// MaxBlock bounds a block: raw WAL, one record carried over and as much again
	// of cut records, and an index of the smallest records there can be.
	MaxBlock = headerSize + walAlign + 2*BlockWAL + 2*MaxWhole + BlockWAL/wal.RecordHeaderSize*recordEntrySize + BlockWAL/8*refEntrySize
)

var le = binary.LittleEndian

// View reads a block. It borrows the bytes.
type View struct {
	b       []byte
	records int
	walEnd  int
	walOnly bool
}

// ParseBlock checks a block's header against its bytes. walOnly says that the
// block ends after the raw WAL.
func ParseBlock(b []byte, walOnly bool) (View, error) {
	if len(b) < headerSize || le.Uint32(b) != blockMagic {
		return View{}, fmt.Errorf("not a block of WAL: %d bytes without its magic number", len(b))
	}
	if v := le.Uint16(b[4:]); v != layoutVersion {
		return View{}, fmt.Errorf("block layout version %d, this side knows %d", v, layoutVersion)
	}
	v := View{b: b, walOnly: walOnly}
	walOff, walLen := uint64(le.Uint32(b[48:])), uint64(le.Uint32(b[52:]))
	selected := walLen == 0 && !walOnly && v.WALEnd() >= v.WALStart()
	if walOff < headerSize || walOff+walLen > uint64(len(b)) || uint64(v.WALEnd()-v.WALStart()) != walLen && !selected {
		return View{}, fmt.Errorf("block of WAL from %s to %s: its raw WAL of %d bytes does not fit", v.WALStart(), v.WALEnd(), walLen)
	}
	v.walEnd = int(walOff + walLen)
	if walOnly {
		return v, nil
	}
	if !v.HasRecords() {
		return View{}, fmt.Errorf("block of WAL from %s to %s comes without records, which this side wants", v.WALStart(), v.WALEnd())
	}
	index := uint64(le.Uint32(b[64:])) + uint64(le.Uint32(b[68:]))*recordEntrySize
	refs := uint64(le.Uint32(b[72:])) + uint64(le.Uint32(b[76:]))*refEntrySize
	if index > uint64(len(b)) || refs > uint64(len(b)) {
		return View{}, fmt.Errorf("block of WAL from %s to %s: its index of %d records does not fit", v.WALStart(), v.WALEnd(), le.Uint32(b[68:]))
	}
	v.records = int(le.Uint32(b[68:]))
	return v, nil
}

// Timeline is the timeline of the WAL.
func (v *View) Timeline() wal.TimelineID { return wal.TimelineID(le.Uint32(v.b[8:])) }

// Version is the major version whose format the WAL has, 0 before the first
// page header was seen.
func (v *View) Version() wal.Version {
	ver, _ := wal.VersionOfMagic(le.Uint16(v.b[6:]))
	return ver
}

// WALStart is the LSN of the first byte of raw WAL.
func (v *View) WALStart() wal.LSN { return wal.LSN(le.Uint64(v.b[16:])) }

// WALEnd is the LSN after the last byte of raw WAL.
func (v *View) WALEnd() wal.LSN { return wal.LSN(le.Uint64(v.b[24:])) }

// RecordsEnd is WALEnd, or the start of the record that is incomplete there.
func (v *View) RecordsEnd() wal.LSN { return wal.LSN(le.Uint64(v.b[32:])) }

// ServerTime is the server's clock when it sent the WAL, microseconds since
// 2000-01-01 UTC, 0 unknown.
func (v *View) ServerTime() int64 { return int64(le.Uint64(v.b[40:])) }

// HasWAL reports that the raw WAL is there, which a block of selected records
// lacks.
func (v *View) HasWAL() bool {
	return wal.LSN(v.walEnd-int(le.Uint32(v.b[48:]))) == v.WALEnd()-v.WALStart()
}

// HasRecords reports that the block was made with records, though it may hold
// none, or be read for its raw WAL only.
func (v *View) HasRecords() bool { return le.Uint32(v.b[64:]) != 0 }

// WAL is the raw WAL.
func (v *View) WAL() []byte { return v.b[le.Uint32(v.b[48:]):v.walEnd:v.walEnd] }

// WALOnly is the part of the block that a sink of raw WAL needs.
func (v *View) WALOnly() []byte { return v.b[:v.walEnd] }

// Len is the number of records and fragments.
func (v *View) Len() int { return v.records }

// RecordLSN is the start and the end LSN of entry i, which must be below Len;
// the end is 0 for all but the last fragment of a record.
func (v *View) RecordLSN(i int) (start, end wal.LSN) { return v.lsns(v.entry(i)) }

// entry is entry i of the index.
func (v *View) entry(i int) []byte {
	return v.b[int(le.Uint32(v.b[64:]))+i*recordEntrySize:][:recordEntrySize]
}

func (v *View) lsns(e []byte) (start, end wal.LSN) {
	base := v.WALStart()
	start = base + wal.LSN(int64(int32(le.Uint32(e))))
	if d := int32(le.Uint32(e[4:])); d != noEnd {
		end = base + wal.LSN(int64(d))
	}
	return start, end
}

// Record fills rec from entry i, which must be below Len. It borrows the
// block's bytes and reuses the array of rec.Blocks. Fragments but the first have
// no PrevLSN and no CRC, which lie in the record's header.
func (v *View) Record(i int, rec *wal.Record) error {
	e := v.entry(i)
	off, n, first, refs, err := v.bounds(i, e)
	if err != nil {
		return err
	}
	rec.StartLSN, rec.EndLSN = v.lsns(e)
	rec.Version = v.Version()
	rec.RmgrID, rec.Info = wal.RmgrID(e[33]), e[34]
	rec.XID, rec.TopLevelXID = wal.XID(le.Uint32(e[36:])), wal.XID(le.Uint32(e[40:]))
	rec.Origin = le.Uint16(e[44:])
	rec.TotalLen, rec.FragmentOffset = le.Uint32(e[16:]), le.Uint32(e[20:])
	rec.MainDataOffset = le.Uint32(e[24:])
	rec.MainDataLen = rec.TotalLen - min(rec.MainDataOffset, rec.TotalLen)
	rec.Data = v.b[off : off+n : off+n]
	rec.PrevLSN, rec.CRC = 0, 0
	if rec.FragmentOffset == 0 && n >= wal.RecordHeaderSize {
		rec.PrevLSN = wal.LSN(le.Uint64(rec.Data[8:]))
		rec.CRC = le.Uint32(rec.Data[20:])
	}
	v.refs(rec, int(le.Uint32(v.b[72:]))+first*refEntrySize, refs)
	return nil
}

// bounds is where the bytes of entry i lie, whose bytes in the index are e, and
// which references are its own.
func (v *View) bounds(i int, e []byte) (off, n, firstRef, refs int, err error) {
	at, size := uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
	first, count := uint64(le.Uint32(e[28:])), uint64(e[32])
	if at+size > uint64(len(v.b)) || first+count > uint64(le.Uint32(v.b[76:])) {
		return 0, 0, 0, 0, fmt.Errorf("block of WAL from %s to %s: entry %d points outside of it", v.WALStart(), v.WALEnd(), i)
	}
	if total, fragment := uint64(le.Uint32(e[16:])), uint64(le.Uint32(e[20:])); count > wal.MaxBlockID+1 || fragment+size > total {
		return 0, 0, 0, 0, fmt.Errorf("block of WAL from %s to %s: entry %d has %d block references and the bytes %d to %d of a record of %d, which no record has",
			v.WALStart(), v.WALEnd(), i, count, fragment, fragment+size, total)
	}
	return int(at), int(size), int(first), int(count), nil
}

func (v *View) refs(rec *wal.Record, off, n int) {
	if cap(rec.Blocks) < n {
		rec.Blocks = make([]wal.BlockRef, wal.MaxBlockID+1)
	}
	rec.Blocks = rec.Blocks[:n]
	for i := range rec.Blocks {
		e := v.b[off+i*refEntrySize:][:refEntrySize]
		// Field by field: a literal is built elsewhere and then copied.
		r := &rec.Blocks[i]
		r.Rel.Spc, r.Rel.DB, r.Rel.Rel = wal.OID(le.Uint32(e)), wal.OID(le.Uint32(e[4:])), wal.OID(le.Uint32(e[8:]))
		r.Block = wal.BlockNumber(le.Uint32(e[12:]))
		r.ImageOffset, r.DataOffset = le.Uint32(e[16:]), le.Uint32(e[20:])
		r.ImageLen, r.HoleOffset, r.HoleLen = le.Uint16(e[24:]), le.Uint16(e[26:]), le.Uint16(e[28:])
		r.DataLen = le.Uint16(e[30:])
		r.Flags = wal.BlockFlags(le.Uint16(e[32:]))
		r.ID, r.Fork = e[34], wal.ForkNumber(e[35])
	}
}
