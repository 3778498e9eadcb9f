package pgtext

import (
	"encoding/hex"
	"fmt"
	"strconv"
)

// isVariable reports whether [variable] knows the output function.
func isVariable(output string) bool {
	switch output {
	case "textout", "varcharout", "bpcharout", "json_out", "unknownout", "pg_node_tree_out", "xml_out", "byteaout", "numeric_out",
		"inet_out", "cidr_out", "bit_out", "varbit_out", "path_out", "poly_out", "jsonb_out", "tsvectorout", "tsqueryout",
		"int2vectorout", "oidvectorout", "pg_snapshot_out", HstoreOut:
		return true
	}
	return false
}

// HstoreOut is the output function of the extension hstore: a name that none of
// the server's own has.
const HstoreOut = "$libdir/hstore hstore_out"

// variable makes text of what a varlena holds.
func variable(dst []byte, output string, v []byte) (_ []byte, known bool, err error) {
	switch output {
	case "textout", "varcharout", "bpcharout", "json_out", "unknownout", "pg_node_tree_out":
		return append(dst, v...), true, nil
	case "xml_out":
		dst, err = appendXML(dst, v)
	case "byteaout":
		return hex.AppendEncode(append(dst, `\x`...), v), true, nil
	case "numeric_out":
		dst, err = appendNumeric(dst, v)
	case "inet_out":
		dst, err = appendInet(dst, v, false)
	case "cidr_out":
		dst, err = appendInet(dst, v, true)
	case "bit_out", "varbit_out":
		dst, err = appendBits(dst, v)
	case "path_out":
		dst, err = appendPath(dst, v)
	case "poly_out":
		dst, err = appendPolygon(dst, v)
	case "jsonb_out":
		dst, err = appendJSONB(dst, v, 0)
	case "tsvectorout":
		dst, err = appendTSVector(dst, v)
	case "tsqueryout":
		dst, err = appendTSQuery(dst, v)
	case "int2vectorout":
		dst, err = appendVector(dst, v, 2)
	case "oidvectorout":
		dst, err = appendVector(dst, v, 4)
	case "pg_snapshot_out":
		dst, err = appendSnapshot(dst, v)
	case HstoreOut:
		dst, err = appendHstore(dst, v)
	default:
		return nil, false, nil
	}
	return dst, true, err
}

// appendBits is bit_out: the number of bits, then the bits from the highest on.
func appendBits(dst, v []byte) ([]byte, error) {
	if len(v) < 4 {
		return nil, errShort
	}
	n := int(int32(le32(v)))
	if n < 0 || n > (len(v)-4)*8 {
		return nil, errShort
	}
	for i := range n {
		dst = append(dst, '0'+v[4+i/8]>>(7-i%8)&1)
	}
	return dst, nil
}

// appendPath is path_out: number of points, whether it is closed, 4 bytes, points.
func appendPath(dst, v []byte) ([]byte, error) {
	if len(v) < 12 || (len(v)-12)%16 != 0 || int(le32(v)) != (len(v)-12)/16 {
		return nil, errShort
	}
	if le32(v[4:]) == 0 {
		return append(appendPoints(append(dst, '['), v[12:]), ']'), nil
	}
	return append(appendPoints(append(dst, '('), v[12:]), ')'), nil
}

// appendPolygon is poly_out: number of points, the box around it, points.
func appendPolygon(dst, v []byte) ([]byte, error) {
	if len(v) < 36 || (len(v)-36)%16 != 0 || int(le32(v)) != (len(v)-36)/16 {
		return nil, errShort
	}
	return append(appendPoints(append(dst, '('), v[36:]), ')'), nil
}

// appendVector is int2vectorout and oidvectorout: an array of one dimension.
func appendVector(dst, v []byte, size int) ([]byte, error) {
	if len(v) < 12 || le32(v) == 0 && len(v) == 12 {
		return dst, nil
	}
	if len(v) < 20 || le32(v) != 1 || le32(v[4:]) != 0 || uint64(le32(v[12:])) > uint64(len(v)-20)/uint64(size) {
		return nil, errShort
	}
	for i := range int(le32(v[12:])) {
		if i > 0 {
			dst = append(dst, ' ')
		}
		if at := v[20+i*size:]; size == 2 {
			dst = strconv.AppendInt(dst, int64(int16(le16(at))), 10)
		} else {
			dst = strconv.AppendUint(dst, uint64(le32(at)), 10)
		}
	}
	return dst, nil
}

// appendSnapshot is pg_snapshot_out.
func appendSnapshot(dst, v []byte) ([]byte, error) {
	if len(v) < 20 || uint64(le32(v)) != uint64(len(v)-20)/8 {
		return nil, errShort
	}
	dst = fmt.Appendf(dst, "%d:%d:", le64(v[4:]), le64(v[12:]))
	for i := 20; i+8 <= len(v); i += 8 {
		if i > 20 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, le64(v[i:]), 10)
	}
	return dst, nil
}

// appendHstore is hstore_out (contrib/hstore): the number of pairs with a flag of
// this format, the end of each key and value with a flag for NULL, then the strings.
func appendHstore(dst, v []byte) ([]byte, error) {
	if len(v) < 4 {
		return nil, errShort
	}
	if le32(v)>>31 == 0 && len(v) > 4 {
		return nil, fmt.Errorf("it is of the old format of hstore, before PostgreSQL 9.0")
	}
	n := int(le32(v) & 0x0FFFFFFF)
	if n > (len(v)-4)/8 {
		return nil, errShort
	}
	strings, at := v[4+8*n:], 0
	for i := range 2 * n {
		entry := le32(v[4+4*i:])
		end := int(entry & 0x3FFFFFFF)
		if end < at || end > len(strings) {
			return nil, errShort
		}
		switch {
		case i%2 == 1:
			dst = append(dst, "=>"...)
		case i > 0:
			dst = append(dst, ", "...)
		}
		if i%2 == 1 && entry&0x40000000 != 0 {
			dst = append(dst, "NULL"...)
		} else {
			dst = appendQuoted(dst, strings[at:end], '\\')
		}
		at = end
	}
	return dst, nil
}

// appendQuoted appends s in double quotes. Quotes and backslashes in it are
// escaped by the byte escape, or doubled where that is 0.
func appendQuoted(dst, s []byte, escape byte) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' || c == '\\' {
			if escape != 0 {
				dst = append(dst, escape)
			} else {
				dst = append(dst, c)
			}
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
