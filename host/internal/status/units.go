package status

import (
	"fmt"
	"math"
	"time"
)

// Bytes is a size for people, in PostgreSQL's units of 1024 (pg_size_pretty),
// with three digits.
func Bytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	v, i := float64(n), 0
	for math.Abs(v) >= 1000 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return figure(v, i == 0) + " " + units[i]
}

// Count is a number for people.
func Count(n int64) string {
	units := []string{"", " k", " M", " G", " T"}
	v, i := float64(n), 0
	for v >= 10000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	return figure(v, i == 0) + units[i]
}

// figure writes three digits; a whole number as it is.
func figure(v float64, whole bool) string {
	switch {
	case whole || math.Abs(v) >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Duration is a time for people: its two largest units.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Millisecond:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return two(d, time.Minute, "min", time.Second, "s")
	case d < day:
		return two(d, time.Hour, "h", time.Minute, "min")
	case d < 100*365*day:
		return two(d, day, "d", time.Hour, "h")
	}
	return "more than 100 years"
}

func two(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	s := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest != 0 {
		s += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return s
}
