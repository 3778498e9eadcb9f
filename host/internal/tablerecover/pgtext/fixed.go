package pgtext

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"

	"github.com/walplex/walplex/sdk/wal"
)

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// nameLen is NAMEDATALEN.
const nameLen = 64

// fixedLen is how many bytes the values of an output function have, where all
// have the same number.
func fixedLen(output string) (int, bool) {
	switch output {
	case "boolout", "charout":
		return 1, true
	case "int2out":
		return 2, true
	case "int4out", "oidout", "xidout", "cidout", "float4out", "date_out", "regprocout", "regprocedureout", "regoperout", "regoperatorout",
		"regclassout", "regcollationout", "regtypeout", "regroleout", "regnamespaceout", "regconfigout", "regdictionaryout":
		return 4, true
	case "tidout", "macaddr_out":
		return 6, true
	case "int8out", "xid8out", "float8out", "cash_out", "time_out", "timestamp_out", "timestamptz_out", "pg_lsn_out", "macaddr8_out":
		return 8, true
	case "timetz_out":
		return 12, true
	case "interval_out", "uuid_out", "point_out":
		return 16, true
	case "circle_out", "line_out":
		return 24, true
	case "lseg_out", "box_out":
		return 32, true
	case "nameout":
		return nameLen, true
	}
	return 0, false
}

// fixed makes text of a value that has [fixedLen] bytes.
func (f *Formatter) fixed(dst []byte, output string, v []byte) ([]byte, bool, error) {
	switch output {
	case "time_out", "timetz_out":
		if le64(v) > usecPerDay {
			return nil, true, fmt.Errorf("%d is no time of a day", int64(le64(v)))
		}
		dst = appendTime(dst, int64(le64(v)))
		if output == "timetz_out" {
			dst = appendZone(dst, int32(le32(v[8:])))
		}
		return dst, true, nil
	case "boolout":
		if v[0] != 0 {
			return append(dst, 't'), true, nil
		}
		return append(dst, 'f'), true, nil
	case "charout":
		return f.char(dst, v[0]), true, nil
	case "int2out":
		return strconv.AppendInt(dst, int64(int16(le16(v))), 10), true, nil
	case "int4out":
		return strconv.AppendInt(dst, int64(int32(le32(v))), 10), true, nil
	case "int8out":
		return strconv.AppendInt(dst, int64(le64(v)), 10), true, nil
	case "oidout", "xidout", "cidout":
		return strconv.AppendUint(dst, uint64(le32(v)), 10), true, nil
	case "xid8out":
		return strconv.AppendUint(dst, le64(v), 10), true, nil
	case "float4out":
		return appendFloat(dst, float64(math.Float32frombits(le32(v))), 32), true, nil
	case "float8out":
		return appendFloat(dst, float(v), 64), true, nil
	case "cash_out":
		return appendMoney(dst, int64(le64(v))), true, nil
	case "pg_lsn_out":
		return append(dst, wal.LSN(le64(v)).String()...), true, nil
	case "tidout":
		return fmt.Appendf(dst, "(%d,%d)", uint32(le16(v))<<16|uint32(le16(v[2:])), le16(v[4:])), true, nil
	case "macaddr_out", "macaddr8_out":
		return appendMAC(dst, v), true, nil
	case "uuid_out":
		return appendUUID(dst, v), true, nil
	case "nameout":
		if n := bytes.IndexByte(v, 0); n >= 0 {
			v = v[:n]
		}
		return append(dst, v...), true, nil
	case "date_out":
		return appendDate(dst, int32(le32(v))), true, nil
	case "timestamp_out":
		return appendTimestamp(dst, int64(le64(v)), ""), true, nil
	case "timestamptz_out":
		return appendTimestamp(dst, int64(le64(v)), "+00"), true, nil
	case "interval_out":
		return f.interval(dst, int64(le64(v)), int32(le32(v[8:])), int32(le32(v[12:]))), true, nil
	case "point_out":
		return appendPoint(dst, v), true, nil
	case "lseg_out":
		return append(appendPoints(append(dst, '['), v), ']'), true, nil
	case "box_out":
		return appendPoints(dst, v), true, nil
	case "line_out":
		return append(appendFloats(append(dst, '{'), v), '}'), true, nil
	case "circle_out":
		dst = append(appendPoint(append(dst, '<'), v), ',')
		return append(appendFloat(dst, float(v[16:]), 64), '>'), true, nil
	}
	if n, ok := fixedLen(output); ok && n == 4 { // the reg* types: "-" is none
		if le32(v) == 0 {
			return append(dst, '-'), true, nil
		}
		return strconv.AppendUint(dst, uint64(le32(v)), 10), true, nil
	}
	return nil, false, nil
}

// char is charout: bytes beyond ASCII are octal since PG16.
func (f *Formatter) char(dst []byte, c byte) []byte {
	switch {
	case c == 0:
		return dst
	case c >= 0x80 && f.Version >= wal.PG16:
		return fmt.Appendf(dst, "\\%03o", c)
	}
	return append(dst, c)
}

// appendMoney is cash_out with lc_monetary C.
func appendMoney(dst []byte, v int64) []byte {
	u := uint64(v)
	if v < 0 {
		dst, u = append(dst, '-'), -u
	}
	dst = append(dst, '$')
	whole := strconv.FormatUint(u/100, 10)
	for i := range len(whole) {
		if i > 0 && (len(whole)-i)%3 == 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, whole[i])
	}
	return fmt.Appendf(dst, ".%02d", u%100)
}

func appendMAC(dst, v []byte) []byte {
	for i, b := range v {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = hex.AppendEncode(dst, []byte{b})
	}
	return dst
}

func appendUUID(dst, v []byte) []byte {
	for i := range v {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, v[i:i+1])
	}
	return dst
}

func float(b []byte) float64 { return math.Float64frombits(le64(b)) }

func appendFloats(dst, v []byte) []byte {
	for i := 0; i < len(v); i += 8 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFloat(dst, float(v[i:]), 64)
	}
	return dst
}

func appendPoint(dst, v []byte) []byte {
	return append(appendFloats(append(dst, '('), v[:16]), ')')
}

// appendPoints appends points with commas between them.
func appendPoints(dst, v []byte) []byte {
	for i := 0; i < len(v); i += 16 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendPoint(dst, v[i:])
	}
	return dst
}
