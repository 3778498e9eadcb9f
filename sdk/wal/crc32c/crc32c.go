package crc32c

import "encoding/binary"

// Sizes of a record's header, in bytes (access/xlogrecord.h).
const (
	headerSize = 24 // SizeOfXLogRecord
	crcOffset  = 20 // offsetof(XLogRecord, xl_crc)
)

// Update adds the bytes of p to crc, which is 0 before the first ones.
func Update(crc uint32, p []byte) uint32 { return update(crc, p) }

// Record is what xl_crc of the record must be. rec is all of it, from xl_tot_len
// on, without page headers; of less than a header it is 0.
func Record(rec []byte) uint32 {
	if len(rec) < headerSize {
		return 0
	}
	return record(rec)
}

// Holds reports whether the checksum of the record, as of [Record], is right.
func Holds(rec []byte) bool {
	return len(rec) >= headerSize && record(rec) == binary.LittleEndian.Uint32(rec[crcOffset:])
}
