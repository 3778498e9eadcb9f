package waldump

import (
	"encoding/binary"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/crc32c"
)

// count makes c count the records that w comes upon and that are simple, as take
// would, where that needs no more of them than their headers: w does not hand
// these over.
func (d *dump) count(w *walker, c *collected) {
	w.counts = nil
	if !w.headers || d.limit > 0 || d.filter.byBlocks() {
		return
	}
	w.counts, w.scan.filter = c, &d.filter
}

// count counts records from pos on, whose predecessor began at last and was
// taken, up to the first one that does not lie in one page, does not end at or
// before bound, or is not sound. It answers the start and the end of the last one.
//
// It does what record does, but a record costs some 10 ns instead of 60.
func (s *scanner) count(c *collected, last, pos, bound wal.LSN) (wal.LSN, wal.LSN) {
	if c.first == 0 {
		return last, pos // whether it is before the start of the range is not known
	}
	all := !s.filter.byRmgr && !s.filter.byXID
	mapped, base, version, shown := s.b, s.base, s.version, c.shown
	for {
		start := pos
		if pos%wal.PageSize == 0 {
			n := s.page(pos, 0)
			if n == 0 {
				break
			}
			start += wal.LSN(n)
		}
		b := mapped[start-base:]
		total := binary.LittleEndian.Uint32(b)
		end := (start + wal.LSN(total)).AlignUp()
		if total < wal.RecordHeaderSize || wal.LSN(total) > wal.PageSize-start%wal.PageSize || end > bound {
			break
		}
		rec := b[:total]
		rmgr, info := wal.RmgrID(rec[17]), rec[16]
		if wal.LSN(binary.LittleEndian.Uint64(rec[8:])) != last || rmgr > wal.RmgrMaxBuiltin && !rmgr.Valid(version) ||
			rmgr == wal.RmgrXLOG && info&0xF0 == infoSwitch || !crc32c.Holds(rec) {
			break
		}
		images, ok := wal.ImageBytes(version, rec)
		if !ok {
			break
		}
		if all || s.filter.showsHeader(rmgr, wal.XID(binary.LittleEndian.Uint32(rec[4:]))) {
			c.stats.count(rmgr, info, total, images)
			c.stats.end = end
			shown++
		}
		last, pos = start, end
	}
	c.shown = shown
	return last, pos
}
