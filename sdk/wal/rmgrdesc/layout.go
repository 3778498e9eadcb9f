package rmgrdesc

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/walplex/walplex/sdk/wal"
)

// operations are a resource manager's layouts by operation, xl_info >> 4. What is
// absent has no description.
type operations [16]changes[layout]

// layout is how one operation is described: the fields of its main data, then
// what rest appends.
type layout struct {
	fields fields
	rest   func(dst []byte, r *wal.Record) []byte // nil: nothing follows
}

// append describes operation op of the record.
func (o *operations) append(dst []byte, r *wal.Record, op uint8) []byte {
	if o[op] == nil {
		return dst
	}
	l := o[op].in(r.Version)
	dst, whole := l.fields.append(dst, r.MainData())
	if !whole {
		return append(dst, Truncated...)
	}
	if l.rest == nil {
		return dst
	}
	return l.rest(dst, r)
}

// fields describe a C structure of fixed size, in the order of the description.
type fields []field

// field is a piece of a description: a text, then a value in its notation.
type field struct {
	text string
	off  uint8 // of the value in the structure, bytes
	as   notation
}

// notation is the type of a value and how it is written.
type notation uint8

const (
	asU16          notation = iota // %u
	asU32                          // %u
	asI8                           // %d
	asI32                          // %d
	asHex8                         // 0x%02X
	asDouble                       // %g
	asTruth                        // bool: T or F
	asBit0                         // of a byte: T or F
	asBit1                         // of a byte: T or F
	asBit2                         // of a byte: T or F
	asIf                           // bool: the text alone, if it is true
	asText                         // the text alone
	asLocator                      // RelFileLocator: %u/%u/%u
	asTID                          // ItemPointerData: block/offset
	asBlockID                      // BlockIdData: %u
	asFullXID                      // FullTransactionId: epoch:xid
	asNames                        // infobits_set: [NAME, NAME]
	asWords                        // infobits_set: NAME and a space, each
	asRestart                      // flags of xl_heap_truncate: [NAME, NAME]
	asRestartWords                 // flags of xl_heap_truncate: name and a space, each
)

// widths are the sizes of values, in bytes.
var widths = [...]uint8{
	asU16: 2, asU32: 4, asI8: 1, asI32: 4, asHex8: 1, asDouble: 8, asTruth: 1,
	asBit0: 1, asBit1: 1, asBit2: 1, asIf: 1, asText: 0,
	asLocator: 12, asTID: 6, asBlockID: 4, asFullXID: 8,
	asNames: 1, asWords: 1, asRestart: 1, asRestartWords: 1,
}

// append appends the fields of the structure that data begins with. It stops
// before the first one that data does not hold and answers whether there is none.
func (fs fields) append(dst, data []byte) ([]byte, bool) {
	for i := range fs {
		f := &fs[i]
		if len(data) < int(f.off)+int(widths[f.as]) {
			return dst, false
		}
		v := data[f.off:]
		if f.as == asIf && v[0] == 0 {
			continue
		}
		dst = append(dst, f.text...)
		switch f.as {
		case asU16:
			dst = strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint16(v)), 10)
		case asU32:
			dst = strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint32(v)), 10)
		case asIf, asText:
		default:
			dst = f.as.append(dst, cursor{buf: v})
		}
	}
	return dst, true
}

// append appends the value that c is at.
func (as notation) append(dst []byte, c cursor) []byte {
	switch as {
	case asI8:
		return appendInt(dst, "", int8(c.u8()))
	case asI32:
		return appendInt(dst, "", c.i32())
	case asHex8:
		return appendHex8(dst, c.u8())
	case asDouble:
		return appendDouble(dst, math.Float64frombits(c.u64()))
	case asTruth:
		return appendChoice(dst, "", c.bool(), "T", "F")
	case asBit0, asBit1, asBit2:
		return appendChoice(dst, "", c.u8()>>(as-asBit0)&1 != 0, "T", "F")
	case asLocator:
		return appendLocator(dst, "", c.locator())
	case asTID:
		dst = appendUint(dst, "", c.blockID())
		return appendUint(dst, "/", c.u16())
	case asBlockID:
		return appendUint(dst, "", c.blockID())
	case asFullXID:
		xid := c.u64()
		dst = appendUint(dst, "", uint32(xid>>32))
		return appendUint(dst, ":", uint32(xid))
	case asNames:
		return appendNames(dst, c.u8(), infobits[:])
	case asWords:
		return appendWords(dst, c.u8(), infobits[:])
	case asRestart:
		return appendNames(dst, c.u8(), truncateNames[:])
	case asRestartWords:
		return appendWords(dst, c.u8(), truncateWords[:])
	}
	return dst
}

// infobits are the bits of infobits_set from 0x01 on, XLHL_* without the prefix
// (access/heapam_xlog.h).
var infobits = [...]string{"IS_MULTI", "LOCK_ONLY", "EXCL_LOCK", "KEYSHR_LOCK", "KEYS_UPDATED"}

// The bits of xl_heap_truncate's flags from 0x01 on, XLH_TRUNCATE_*: names since
// PG16, words before.
var (
	truncateNames = [...]string{"CASCADE", "RESTART_SEQS"}
	truncateWords = [...]string{"cascade", "restart_seqs"}
)

// appendNames appends the names of the bits that are set as [NAME, NAME].
func appendNames(dst []byte, bits uint8, names []string) []byte {
	dst = append(dst, '[')
	separator := ""
	for i, name := range names {
		if bits>>i&1 != 0 {
			dst = append(append(dst, separator...), name...)
			separator = ", "
		}
	}
	return append(dst, ']')
}

// appendWords appends the names of the bits that are set, a space behind each.
func appendWords(dst []byte, bits uint8, names []string) []byte {
	for i, name := range names {
		if bits>>i&1 != 0 {
			dst = append(append(dst, name...), ' ')
		}
	}
	return dst
}

// appendHex8 appends the number as 0x%02X.
func appendHex8(dst []byte, v uint8) []byte {
	return append(dst, '0', 'x', upperHex[v>>4], upperHex[v&15])
}

// appendDouble appends the number as PostgreSQL's own printf does for %g
// (src/port/snprintf.c).
func appendDouble(dst []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	return strconv.AppendFloat(dst, v, 'g', 6, 64)
}
