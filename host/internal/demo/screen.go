package demo

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// screen draws lines over those that it drew before.
type screen struct {
	style style
	size  func() (columns, rows int)
	drawn int // lines that the cursor is below of
}

// newScreen answers nil when out is no terminal that can move its cursor.
func newScreen(out io.Writer) *screen {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return nil
	}
	size := func() (int, int) {
		w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			return 0, 0
		}
		return int(w.Col), int(w.Row)
	}
	if c, _ := size(); c == 0 {
		return nil
	}
	return &screen{size: size, style: os.Getenv("NO_COLOR") == ""}
}

// draw is what draws the lines, to be written at once so that nothing flickers.
// What does not fit is cut: columns to the right, lines from above.
func (s *screen) draw(lines []string) string {
	columns, rows := s.size()
	if len(lines) > rows-1 {
		lines = lines[len(lines)-max(1, rows-1):]
	}
	var b strings.Builder
	if up := min(s.drawn, rows-1); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteByte('\r')
	for _, l := range lines {
		b.WriteString(clip(l, columns))
		b.WriteString("\x1b[K\n") // clears the rest of the line
	}
	b.WriteString("\x1b[J") // and what is below
	s.drawn = len(lines)
	return b.String()
}
