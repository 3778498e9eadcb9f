package rmgrdesc

import (
	"strconv"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

type unsigned interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
}

type signed interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~int
}

// appendUint appends the label and the number as %u.
func appendUint[T unsigned](dst []byte, label string, v T) []byte {
	return strconv.AppendUint(append(dst, label...), uint64(v), 10)
}

// appendInt appends the label and the number as %d.
func appendInt[T signed](dst []byte, label string, v T) []byte {
	return strconv.AppendInt(append(dst, label...), int64(v), 10)
}

const upperHex = "0123456789ABCDEF"

// appendHex appends the label and the number as %X.
func appendHex[T unsigned](dst []byte, label string, v T) []byte {
	dst = append(dst, label...)
	shift := 0
	for v>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, upperHex[v>>shift&15])
	}
	return dst
}

// appendLSN appends the label and the LSN as %X/%X of LSN_FORMAT_ARGS.
func appendLSN(dst []byte, label string, l wal.LSN) []byte {
	dst = appendHex(dst, label, uint32(l>>32))
	return appendHex(dst, "/", uint32(l))
}

// appendChoice appends the label and one of two words.
func appendChoice(dst []byte, label string, v bool, yes, no string) []byte {
	dst = append(dst, label...)
	if v {
		return append(dst, yes...)
	}
	return append(dst, no...)
}

// appendLocator appends the label and the relation as %u/%u/%u.
func appendLocator(dst []byte, label string, rel wal.RelFileLocator) []byte {
	dst = appendUint(dst, label, rel.Spc)
	dst = appendUint(dst, "/", rel.DB)
	return appendUint(dst, "/", rel.Rel)
}

// appendTime appends the label and a TimestampTz, in microseconds since
// 2000-01-01 00:00 UTC, as pg_waldump's own timestamptz_to_str does
// (bin/pg_waldump/compat.c): "2026-02-03 04:05:06.000007 UTC". Of a time before
// 2000 C's division leaves negative microseconds to the next full second; so
// it does here.
func appendTime(dst []byte, label string, micros int64, loc *time.Location) []byte {
	t := wal.TimestampTime(micros / 1e6 * 1e6).In(loc)
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	zone, _ := t.Zone()

	dst = strconv.AppendInt(append(dst, label...), int64(year), 10)
	dst = append(dst, "-MM-DD HH:MM:SS."...)
	digits := dst[len(dst)-len("MM-DD HH:MM:SS."):]
	putTwo(digits[0:], int(month))
	putTwo(digits[3:], day)
	putTwo(digits[6:], hour)
	putTwo(digits[9:], minute)
	putTwo(digits[12:], second)
	dst = appendMicros(dst, int(micros%1e6))
	dst = append(dst, ' ')
	return append(dst, zone...)
}

// appendMicros appends a number of magnitude less than a million as %06d, where
// a sign takes the place of a digit.
func appendMicros(dst []byte, v int) []byte {
	dst = append(dst, "000000"...)
	digits := dst[len(dst)-6:]
	if v < 0 {
		v = -v
		digits[0] = '-'
		if v >= 100000 { // needs all six, besides the sign
			dst = append(dst, '0')
			digits = dst[len(dst)-6:]
		}
	}
	if v >= 100000 {
		digits[0] = byte('0' + v/100000)
	}
	digits[1] = byte('0' + v/10000%10)
	putTwo(digits[2:], v/100%100)
	putTwo(digits[4:], v%100)
	return dst
}

// putTwo writes a number below 100 as %02d.
func putTwo(b []byte, v int) {
	b[0], b[1] = byte('0'+v/10), byte('0'+v%10)
}
