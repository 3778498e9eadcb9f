package pagestore

import (
	"fmt"
	"hash/crc32"
	"math"

	"github.com/walplex/walplex/sdk/wal"
)

// The layout of a file of the log; see the package documentation.
const (
	logMagic      = 0x31565057 // "WPV1"
	logFormat     = 1
	logHeaderSize = 64
	entryHeader   = 24

	kindRecord   = 1
	kindFragment = 2
	kindImage    = 3
)

// castagnoli is CRC-32C, which Go computes with the processor's instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeLogHeader(systemID uint64, number uint32) (b [logHeaderSize]byte) {
	le.PutUint32(b[0:], logMagic)
	le.PutUint32(b[4:], logFormat)
	le.PutUint64(b[8:], systemID)
	le.PutUint32(b[16:], number)
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func checkLogHeader(b []byte, systemID uint64, number uint32) error {
	switch {
	case len(b) < logHeaderSize || le.Uint32(b) != logMagic:
		return fmt.Errorf("%w: it has no header of a log of values", ErrDamaged)
	case le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli):
		return fmt.Errorf("%w: incorrect checksum in its header", ErrDamaged)
	case le.Uint32(b[4:]) != logFormat:
		return fmt.Errorf("%w: it has format %d, this walplex knows %d", ErrFormat, le.Uint32(b[4:]), logFormat)
	case le.Uint64(b[8:]) != systemID || le.Uint32(b[16:]) != number:
		return fmt.Errorf("%w: it is file %d of the cluster with system identifier %d", ErrDamaged, le.Uint32(b[16:]), le.Uint64(b[8:]))
	}
	return nil
}

// entry is the header of an entry of the log.
type entry struct {
	start   wal.LSN
	end     wal.LSN // 0 in all but a record's last fragment
	length  uint32  // bytes that follow
	kind    uint8
	version wal.Version
	crc     uint32
}

// encode writes the header for the bytes that will follow it.
func (e *entry) encode(b, data []byte) error {
	span := uint64(0)
	if e.end != 0 {
		span = uint64(e.end - e.start)
	}
	if span > math.MaxUint32 {
		return fmt.Errorf("record from %s to %s is longer than the format of the page cache allows", e.start, e.end)
	}
	le.PutUint64(b[0:], uint64(e.start))
	le.PutUint32(b[8:], uint32(span))
	le.PutUint32(b[12:], uint32(len(data)))
	b[16], b[17] = e.kind, uint8(e.version)
	b[18], b[19] = 0, 0
	le.PutUint32(b[20:], crc32.Update(crc32.Checksum(b[:20], castagnoli), castagnoli, data))
	return nil
}

func decodeEntry(b []byte) entry {
	e := entry{start: wal.LSN(le.Uint64(b)), length: le.Uint32(b[12:]), kind: b[16], version: wal.Version(b[17]), crc: le.Uint32(b[20:])}
	if span := le.Uint32(b[8:]); span != 0 {
		e.end = e.start + wal.LSN(span)
	}
	return e
}

// checksumHolds reports whether b, an entry from its header on, is what was
// written.
func (e *entry) checksumHolds(b []byte) bool {
	return e.crc == crc32.Update(crc32.Checksum(b[:20], castagnoli), castagnoli, b[entryHeader:])
}

// logName is the name of file number of the log.
func logName(number uint32) string { return fmt.Sprintf("%010d", number) }
