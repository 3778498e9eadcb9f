package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// plainError is an error whose text was written to be shown: it holds no value.
type plainError struct{ summary, hint string }

func (e *plainError) Error() string { return e.summary + ": " + e.hint }

var (
	errDuration = &plainError{"not a duration", `write a number and a unit (ns, us, ms, s, m, h), such as "10s" or "1h30m"`}
	errNegative = &plainError{"negative duration", `write a duration of zero or more, such as "10s"`}
	errBytes    = &plainError{"not a number of bytes", `write a whole number and a unit (B, KiB, MiB, GiB, TiB), such as "16MiB"`}
	errLSN      = &plainError{"not an LSN", `write two hexadecimal numbers and a slash, such as "16/B374D848"`}
)

func parseDuration(s string) (time.Duration, *plainError) {
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil {
		return 0, errDuration
	}
	if d < 0 {
		return 0, errNegative
	}
	return d, nil
}

var byteUnits = []struct {
	name  string
	bytes uint64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}, {"", 1}}

// parseBytes reads a size; the largest is math.MaxInt64.
func parseBytes(s string) (int64, *plainError) {
	s = strings.TrimSpace(s)
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
		if err != nil || n > math.MaxInt64/u.bytes {
			return 0, errBytes
		}
		return int64(n * u.bytes), nil
	}
	return 0, errBytes
}
