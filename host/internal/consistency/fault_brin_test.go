package consistency

import "github.com/walplex/walplex/sdk/wal"

// Where fields of BRIN indexes lie on their pages, in bytes (access/brin_page.h).
const (
	brinPageType   = 8190
	brinMeta       = 24
	brinLastRevmap = 24 + 12
	brinRevmap     = 24
	brinRevmapSize = 1360 * 6
)

// brinFaults are mistakes in the redo of BRIN. Not among them is what the server's
// images cannot show: BRIN_EVACUATE_PAGE.
var brinFaults = []fault{
	{"CREATE_INDEX, the pages of a range", wal.RmgrBRIN, 0x00, 0, zero(brinMeta+8, 4)},
	{"CREATE_INDEX, the version", wal.RmgrBRIN, 0x00, 0, zero(brinMeta+4, 4)},
	{"CREATE_INDEX, the page's type", wal.RmgrBRIN, 0x00, 0, zero(brinPageType, 2)},
	{"CREATE_INDEX, pd_lower", wal.RmgrBRIN, 0x00, 0, lastIDLost},
	{"INSERT, skipped", wal.RmgrBRIN, 0x10, 0, skipped},
	{"INSERT, in the wrong place", wal.RmgrBRIN, 0x10, 0, exchanged(-1, -2)},
	{"INSERT, not in the range map", wal.RmgrBRIN, 0x10, 1, skipped},
	{"INSERT, in the wrong place of the range map", wal.RmgrBRIN, 0x10, 1, func(page, before []byte) {
		for i := brinRevmap; i < brinRevmap+brinRevmapSize-6; i += 6 {
			if [6]byte(page[i:]) != [6]byte(before[i:]) {
				copy(page[i+6:i+12], page[i:i+6])
				copy(page[i:i+6], before[i:i+6])
				return
			}
		}
	}},
	{"INSERT+INIT, the page's type", wal.RmgrBRIN, 0x90, 0, zero(brinPageType, 2)},
	{"INSERT+INIT, not in the range map", wal.RmgrBRIN, 0x90, 1, skipped},
	{"UPDATE, not inserted", wal.RmgrBRIN, 0x20, 0, skipped},
	{"UPDATE, not in the range map", wal.RmgrBRIN, 0x20, 1, skipped},
	{"UPDATE, the old tuple remains", wal.RmgrBRIN, 0x20, 2, skipped},
	{"UPDATE, the line pointers close up", wal.RmgrBRIN, 0x20, 2, lastIDLost},
	{"UPDATE+INIT, not inserted", wal.RmgrBRIN, 0xA0, 0, lastIDLost},
	{"UPDATE+INIT, the old tuple remains", wal.RmgrBRIN, 0xA0, 2, skipped},
	{"SAMEPAGE_UPDATE, skipped", wal.RmgrBRIN, 0x30, 0, skipped},
	{"SAMEPAGE_UPDATE, the old size", wal.RmgrBRIN, 0x30, 0, func(page, before []byte) {
		if lower(page) == lower(before) {
			copy(page[24:lower(page)], before[24:])
		}
	}},
	{"REVMAP_EXTEND, the last page of the range map", wal.RmgrBRIN, 0x40, 0, kept(brinLastRevmap, 4)},
	{"REVMAP_EXTEND, the page's type", wal.RmgrBRIN, 0x40, 1, zero(brinPageType, 2)},
	{"DESUMMARIZE, still in the range map", wal.RmgrBRIN, 0x50, 0, skipped},
	{"DESUMMARIZE, no tuple but a block", wal.RmgrBRIN, 0x50, 0, func(page, before []byte) {
		for i := brinRevmap; i < brinRevmap+brinRevmapSize; i += 6 {
			if [6]byte(page[i:]) != [6]byte(before[i:]) {
				copy(page[i:i+4], before[i:i+4])
				return
			}
		}
	}},
	{"DESUMMARIZE, the tuple remains", wal.RmgrBRIN, 0x50, 1, skipped},
}
