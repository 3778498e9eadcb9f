package pages

import "fmt"

// A heap tuple's header (access/htup_details.h), 23 bytes before its bitmap of
// NULLs:
//
//	 0        4        8            12              18            20           22
//	+--------+--------+------------+---------------+-------------+------------+-------+
//	|t_xmin  |t_xmax  |t_cid/t_xvac|t_ctid: block  |t_infomask2  |t_infomask  |t_hoff |
//	|        |        |            |u32 (hi,lo), u16|            |            |       |
//	+--------+--------+------------+---------------+-------------+------------+-------+

// infomask and infomask2 are the flags of these fields.
var (
	infomask = []flag{
		{0x0300, "XMIN_FROZEN"},
		{0x0001, "HASNULL"}, {0x0002, "HASVARWIDTH"}, {0x0004, "HASEXTERNAL"}, {0x0008, "HASOID_OLD"},
		{0x0010, "XMAX_KEYSHR_LOCK"}, {0x0020, "COMBOCID"}, {0x0040, "XMAX_EXCL_LOCK"}, {0x0080, "XMAX_LOCK_ONLY"},
		{0x0100, "XMIN_COMMITTED"}, {0x0200, "XMIN_INVALID"}, {0x0400, "XMAX_COMMITTED"}, {0x0800, "XMAX_INVALID"},
		{0x1000, "XMAX_IS_MULTI"}, {0x2000, "UPDATED"}, {0x4000, "MOVED_OFF"}, {0x8000, "MOVED_IN"},
	}
	infomask2 = []flag{{0x2000, "KEYS_UPDATED"}, {0x4000, "HOT_UPDATED"}, {0x8000, "HEAP_ONLY"}}
)

// attributes are the bits of t_infomask2 that count a tuple's columns.
const attributes = 0x07FF

// tupleText is a heap tuple, field by field; t has its header.
func tupleText(t []byte) []field {
	mask2 := le.Uint16(t[18:])
	hoff := int(t[22])
	out := []field{
		{"t_xmin", fmt.Sprint(le.Uint32(t))},
		{"t_xmax", fmt.Sprint(le.Uint32(t[4:]))},
		{"t_cid", fmt.Sprint(le.Uint32(t[8:]))},
		{"t_ctid", fmt.Sprintf("(%d,%d)", uint32(le.Uint16(t[12:]))<<16|uint32(le.Uint16(t[14:])), le.Uint16(t[16:]))},
		{"t_infomask2", fmt.Sprintf("%d columns", mask2&attributes)},
		{"t_infomask", flagText(uint32(le.Uint16(t[20:])), infomask)},
		{"t_hoff", fmt.Sprint(hoff)},
	}
	if flags := uint32(mask2 &^ attributes); flags != 0 {
		out[4].value += ", " + flagText(flags, infomask2)
	}
	if hoff < tupleHeader-1 || hoff > len(t) {
		return append(out, field{"data", hexText(t[tupleHeader-1:])})
	}
	if le.Uint16(t[20:])&1 != 0 && hoff > tupleHeader-1 {
		out = append(out, field{"nulls", fmt.Sprintf("%08b", t[tupleHeader-1:hoff])})
	}
	return append(out, field{"data", hexText(t[hoff:])})
}
