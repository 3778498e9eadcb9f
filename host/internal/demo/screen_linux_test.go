package demo

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal of a size and answers the program's side.
func terminal(t *testing.T, columns, rows uint16) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	return slave
}

func TestTerminalIsKnown(t *testing.T) {
	tty := terminal(t, 101, 33)
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		out           *os.File
		term, noColor string
		screen, style bool
	}{
		{tty, "xterm-256color", "", true, true},
		{tty, "xterm", "1", true, false},
		{tty, "dumb", "", false, false},
		{tty, "", "", false, false},
		{file, "xterm", "", false, false},
	} {
		t.Setenv("TERM", c.term)
		t.Setenv("NO_COLOR", c.noColor)
		s := newScreen(c.out)
		if (s != nil) != c.screen {
			t.Errorf("%s with TERM=%s: a terminal %t, want %t", c.out.Name(), c.term, s != nil, c.screen)
			continue
		}
		if s == nil {
			continue
		}
		if columns, rows := s.size(); columns != 101 || rows != 33 || bool(s.style) != c.style {
			t.Errorf("%d columns, %d rows, marks %t; want 101, 33, %t", columns, rows, s.style, c.style)
		}
	}
}
