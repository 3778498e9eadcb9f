//go:build unix && !linux

package postgres

import "syscall"

// attrFor starts a program as the server's user, in a process group of its own
// so that a terminal's Ctrl-C reaches only us.
func attrFor(u serverUser) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: u.cred, Setpgid: true}
}

// children is not known without /proc: PostgreSQL's processes end by themselves
// when they notice that the postmaster is gone.
func children(int) []int { return nil }

func running(pid int) bool { return syscall.Kill(pid, 0) == nil }

// watchdogAttr is attrFor for the process that must outlive us.
func watchdogAttr(u serverUser) *syscall.SysProcAttr { return attrFor(u) }
