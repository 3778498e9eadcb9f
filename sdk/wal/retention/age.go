package retention

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseAge reads an age above zero: days, as in 7d, what [time.ParseDuration]
// reads, or both, as in 1d12h.
func ParseAge(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 32)
	var d time.Duration
	if err == nil && rest != "" {
		d, err = time.ParseDuration(rest)
	}
	if err != nil || d < 0 || n == 0 && d == 0 || n > uint64((math.MaxInt64-d)/day) {
		return 0, fmt.Errorf("%q is not an age: write days or hours, such as 7d, 36h or 1d12h", s)
	}
	return time.Duration(n)*day + d, nil
}
