package pgtext

import (
	"fmt"
	"math"
	"strconv"

	"github.com/walplex/walplex/sdk/wal"
)

// Times count microseconds, dates days, both from 2000-01-01 (datatype/timestamp.h).
const (
	usecPerSecond = 1_000_000
	usecPerDay    = 86400 * usecPerSecond
	epochDays     = 10957 // from 1970-01-01 to 2000-01-01
)

// civil is the date of a day in the Gregorian calendar, extended to before it was
// made; year 0 is 1 BC.
func civil(days int64) (year int64, month, day int) {
	// Eras of 400 years, each of which begins on the 1st of March, so that the
	// leap day comes last.
	z := days + epochDays + 719468
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day, month = int(doy-(153*mp+2)/5)+1, int(mp)+3
	year = yoe + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// appendDay appends the date of a day, and answers whether it lies before Christ.
func appendDay(dst []byte, days int64) (_ []byte, bc bool) {
	year, month, day := civil(days)
	if bc = year <= 0; bc {
		year = 1 - year
	}
	dst = append(appendPadded(dst, uint64(year), 4), '-')
	dst = append(appendPadded(dst, uint64(month), 2), '-')
	return appendPadded(dst, uint64(day), 2), bc
}

// appendPadded appends a number with zeros in front up to a width.
func appendPadded(dst []byte, n uint64, width int) []byte {
	for limit, digits := uint64(10), 1; digits < width; digits++ {
		if n < limit {
			dst = append(dst, '0')
		}
		limit *= 10
	}
	return strconv.AppendUint(dst, n, 10)
}

// appendClock appends seconds as hours, minutes and seconds.
func appendClock(dst []byte, sec uint64) []byte {
	dst = append(appendPadded(dst, sec/3600, 2), ':')
	dst = append(appendPadded(dst, sec/60%60, 2), ':')
	return appendPadded(dst, sec%60, 2)
}

// appendDate is date_out.
func appendDate(dst []byte, days int32) []byte {
	switch days {
	case math.MinInt32:
		return append(dst, "-infinity"...)
	case math.MaxInt32:
		return append(dst, "infinity"...)
	}
	dst, bc := appendDay(dst, int64(days))
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

// appendTime is time_out.
func appendTime(dst []byte, usec int64) []byte {
	return appendFraction(appendClock(dst, uint64(usec/usecPerSecond)), usec%usecPerSecond)
}

// appendFraction appends microseconds without closing zeros.
func appendFraction(dst []byte, usec int64) []byte {
	if usec == 0 {
		return dst
	}
	dst = appendPadded(append(dst, '.'), uint64(usec), 6)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// appendZone appends a zone, which is given in seconds west of Greenwich.
func appendZone(dst []byte, west int32) []byte {
	sign, sec := byte('+'), -int64(west)
	if sec < 0 {
		sign, sec = '-', -sec
	}
	dst = fmt.Appendf(append(dst, sign), "%02d", sec/3600)
	if sec%3600 != 0 {
		dst = fmt.Appendf(dst, ":%02d", sec/60%60)
	}
	if sec%60 != 0 {
		dst = fmt.Appendf(dst, ":%02d", sec%60)
	}
	return dst
}

// appendTimestamp is timestamp_out, and timestamptz_out with a zone's text.
func appendTimestamp(dst []byte, usec int64, zone string) []byte {
	switch usec {
	case math.MinInt64:
		return append(dst, "-infinity"...)
	case math.MaxInt64:
		return append(dst, "infinity"...)
	}
	days := floorDiv(usec, usecPerDay)
	dst, bc := appendDay(dst, days)
	dst = appendTime(append(dst, ' '), usec-days*usecPerDay)
	dst = append(dst, zone...)
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

// interval is interval_out: there are infinite ones since PG17.
func (f *Formatter) interval(dst []byte, usec int64, days, months int32) []byte {
	if f.Version >= wal.PG17 {
		switch {
		case usec == math.MaxInt64 && days == math.MaxInt32 && months == math.MaxInt32:
			return append(dst, "infinity"...)
		case usec == math.MinInt64 && days == math.MinInt32 && months == math.MinInt32:
			return append(dst, "-infinity"...)
		}
	}
	zero, before := true, false
	part := func(n int32, unit string) {
		if n == 0 {
			return
		}
		if !zero {
			dst = append(dst, ' ')
		}
		if before && n > 0 {
			dst = append(dst, '+')
		}
		dst = strconv.AppendInt(dst, int64(n), 10)
		dst = append(append(dst, ' '), unit...)
		if n != 1 {
			dst = append(dst, 's')
		}
		zero, before = false, n < 0
	}
	part(months/12, "year")
	part(months%12, "mon")
	part(days, "day")
	if usec == 0 && !zero {
		return dst
	}
	if !zero {
		dst = append(dst, ' ')
	}
	u := uint64(usec)
	switch {
	case usec < 0:
		dst, u = append(dst, '-'), -u
	case before:
		dst = append(dst, '+')
	}
	return appendFraction(appendClock(dst, u/usecPerSecond), int64(u%usecPerSecond))
}
