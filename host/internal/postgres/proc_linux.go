package postgres

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// attrFor starts a program as the server's user, in a process group of its own
// so that a terminal's Ctrl-C reaches only us, and has the kernel end it with
// SIGQUIT (immediate shutdown) when we die.
func attrFor(u serverUser) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: u.cred, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}

// children lists the processes whose parent is pid.
func children(pid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var found []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended since
		}
		// pid (name) state ppid …; the name may hold spaces and parentheses.
		_, rest, ok := cutLast(b, ')')
		fields := bytes.Fields(rest)
		if !ok || len(fields) < 2 || string(fields[1]) != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found = append(found, child)
		}
	}
	return found
}

func cutLast(b []byte, sep byte) (before, after []byte, ok bool) {
	i := bytes.LastIndexByte(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}

// running reports whether the process exists and is no zombie.
func running(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := cutLast(b, ')')
	fields := bytes.Fields(rest)
	return len(fields) > 0 && fields[0][0] != 'Z' && fields[0][0] != 'X'
}

// watchdogAttr is attrFor for the process that must outlive us.
func watchdogAttr(u serverUser) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: u.cred, Setpgid: true}
}
