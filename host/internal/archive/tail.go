package archive

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/walplex/walplex/sdk/wal"
)

// shortHeaderSize is the size of the header of any page but a segment's first,
// bytes (SizeOfXLogShortPHD in access/xlog_internal.h).
const shortHeaderSize = 24

// RecordEnd is where the last of n bytes of a record ends that begin at lsn:
// page headers lie in between.
func RecordEnd(size wal.SegmentSize, lsn wal.LSN, n uint32) wal.LSN {
	for {
		if lsn%wal.PageSize == 0 {
			lsn += pageHeaderSize(size, lsn)
		}
		room := wal.PageSize - lsn%wal.PageSize
		if wal.LSN(n) <= room {
			return lsn + wal.LSN(n)
		}
		n -= uint32(room)
		lsn += room
	}
}

func pageHeaderSize(size wal.SegmentSize, page wal.LSN) wal.LSN {
	if size.Offset(page) == 0 {
		return HeaderSize
	}
	return shortHeaderSize
}

// GoesOn reports whether WAL goes on behind a place at which it does not hold: r
// gives a segment of version from its start on, and at is that place or where the
// record begins that does not hold. Where a crash or a copy cut the WAL off
// nothing follows but zeros, or old pages of a recycled segment; where a page
// with the right address follows, the place is damaged.
//
// The place may be a record that began before the segment; then it is the rest
// of that record that does not hold. An error is one of reading.
func GoesOn(r io.Reader, version wal.Version, start, at wal.LSN) (bool, error) {
	var page [wal.PageSize]byte
	var size wal.SegmentSize
	behind := at // the end of what does not hold
	for lsn := start; ; lsn += wal.PageSize {
		n, err := io.ReadFull(r, page[:])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			clear(page[n:])
		} else if err != nil {
			return false, err
		}
		if n < shortHeaderSize {
			return false, nil
		}
		h := binary.LittleEndian
		if lsn == start && n >= HeaderSize {
			first := ParseHeader(page[:])
			size = first.SegmentSize
			if at < start && size.Valid() {
				behind = RecordEnd(size, start, first.RemLen)
			}
		}
		if at >= lsn && at < lsn+wal.PageSize-3 && at%wal.PageSize != 0 && size.Valid() {
			// xl_tot_len; of a length that is itself damaged no page follows that
			// holds the record's rest.
			behind = RecordEnd(size, at, min(h.Uint32(page[at%wal.PageSize:]), wal.MaxRecordSize))
			if behind > start+wal.LSN(size) {
				behind = at
			}
		}
		if lsn >= behind && lsn > at && h.Uint16(page[:]) == version.Magic() && wal.LSN(h.Uint64(page[8:])) == lsn {
			return true, nil
		}
	}
}
