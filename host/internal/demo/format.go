package demo

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// group writes a number with commas.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// size writes a number of bytes in decimal units.
func size(bytes float64) string {
	units := [...]string{"kB", "MB", "GB", "TB"}
	if bytes < 1000 {
		return fmt.Sprintf("%.0f B", bytes)
	}
	i := 0
	for bytes /= 1000; bytes >= 999.95 && i < len(units)-1; i++ {
		bytes /= 1000
	}
	return fmt.Sprintf("%.1f %s", bytes, units[i])
}

// seconds writes a time with two decimals.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// cell is a part of a line, padded to a width: to the right when it is negative.
func cell(s string, width int) string {
	n := max(0, max(width, -width)-utf8.RuneCountInString(s))
	if width < 0 {
		return strings.Repeat(" ", n) + s
	}
	return s + strings.Repeat(" ", n)
}

// style marks text on a terminal; off, it leaves it as it is.
type style bool

func (s style) mark(code, text string) string {
	if !s || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + markEnd
}

func (s style) bold(t string) string  { return s.mark("1", t) }
func (s style) dim(t string) string   { return s.mark("2", t) }
func (s style) green(t string) string { return s.mark("32", t) }
func (s style) red(t string) string   { return s.mark("31", t) }

// markEnd ends a mark.
const markEnd = "\x1b[0m"

// clip cuts a line to so many columns; marks take none.
func clip(line string, width int) string {
	columns, open := 0, ""
	for i := 0; i < len(line); {
		if line[i] == '\x1b' {
			if n := strings.IndexByte(line[i:], 'm') + 1; n > 0 {
				if open = markEnd; line[i:i+n] == markEnd {
					open = ""
				}
				i += n
				continue
			}
		}
		if columns == width {
			return line[:i] + open
		}
		_, n := utf8.DecodeRuneInString(line[i:])
		i += n
		columns++
	}
	return line
}
