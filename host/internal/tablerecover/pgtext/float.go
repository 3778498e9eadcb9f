package pgtext

import (
	"math"
	"math/big"
	"strconv"
)

// appendFloat is float8out, or with bits 32 float4out: the least digits that are
// read as the same value, and among those the nearest. Unlike most, PostgreSQL
// takes no decimal that lies exactly between two values, which a reader would
// have to round to even (common/d2s.c).
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	if math.Signbit(v) {
		dst, v = append(dst, '-'), -v
	}
	if v == 0 {
		return append(dst, '0')
	}
	sci := strconv.FormatFloat(v, 'e', -1, bits)
	if mayBeHalfway(v, bits) && halfway(sci, v, bits) {
		sci = withinBounds(len(sci), v, bits)
	}
	digits, exp := splitScientific(sci)
	return layOut(dst, digits, exp, bits)
}

// layOut writes digits as PostgreSQL does: with an exponent where that is less than
// -4, or not less than 15 (float8) or 6 (float4).
func layOut(dst, digits []byte, exp, bits int) []byte {
	limit := 15
	if bits == 32 {
		limit = 6
	}
	switch {
	case exp < -4 || exp >= limit:
		dst = append(dst, digits[0])
		if len(digits) > 1 {
			dst = append(append(dst, '.'), digits[1:]...)
		}
		sign := byte('+')
		if exp < 0 {
			sign, exp = '-', -exp
		}
		dst = append(dst, 'e', sign)
		if exp < 10 {
			dst = append(dst, '0')
		}
		return strconv.AppendInt(dst, int64(exp), 10)
	case exp < 0:
		dst = append(dst, "0."...)
		for range -exp - 1 {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	for i := range max(exp+1, len(digits)) {
		if i == exp+1 {
			dst = append(dst, '.')
		}
		if i < len(digits) {
			dst = append(dst, digits[i])
		} else {
			dst = append(dst, '0')
		}
	}
	return dst
}

// splitScientific takes d.ddde±xx apart.
func splitScientific(s string) (digits []byte, exp int) {
	for i := range len(s) {
		if s[i] == 'e' {
			exp, _ = strconv.Atoi(s[i+1:])
			break
		}
		if s[i] != '.' {
			digits = append(digits, s[i])
		}
	}
	for len(digits) > 1 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return digits, exp
}

// mayBeHalfway leaves out, fast, values next to which no number of 17 digits (9
// for float4) can lie exactly between two values: below, it would need too many
// binary digits behind the point, above, too high a power of 5 in an odd number.
func mayBeHalfway(v float64, bits int) bool {
	if bits == 32 {
		return v >= 1<<20 && v < 1e20
	}
	return v >= 1<<50 && v < 1e45
}

// neighbours are the bounds of what is read as v.
func neighbours(v float64, bits int) (low, high *big.Float) {
	down, up := math.Nextafter(v, 0), math.Nextafter(v, math.Inf(1))
	if bits == 32 {
		down, up = float64(math.Nextafter32(float32(v), 0)), float64(math.Nextafter32(float32(v), float32(math.Inf(1))))
	}
	exact := func(f float64) *big.Float { return new(big.Float).SetPrec(200).SetFloat64(f) }
	half := big.NewFloat(0.5)
	low = new(big.Float).SetPrec(200).Add(exact(down), exact(v))
	high = new(big.Float).SetPrec(200).Add(exact(up), exact(v))
	return low.Mul(low, half), high.Mul(high, half)
}

func parseExact(s string) *big.Float {
	f, _, err := big.ParseFloat(s, 10, 200, big.ToNearestEven)
	if err != nil {
		return new(big.Float) // s is strconv's own
	}
	return f
}

func halfway(s string, v float64, bits int) bool {
	low, high := neighbours(v, bits)
	d := parseExact(s)
	return d.Cmp(low) == 0 || d.Cmp(high) == 0
}

// withinBounds finds the least digits strictly within the bounds; some number of
// at most 17 is.
func withinBounds(atLeast int, v float64, bits int) string {
	low, high := neighbours(v, bits)
	for precision := range 18 {
		s := strconv.FormatFloat(v, 'e', precision, 64)
		if d := parseExact(s); len(s) >= atLeast && d.Cmp(low) > 0 && d.Cmp(high) < 0 {
			return s
		}
	}
	return strconv.FormatFloat(v, 'e', 17, 64)
}
