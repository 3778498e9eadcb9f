package supervisor

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dead reports whether the process has ended: it runs no code and no system call
// any more, so that nothing of it reads memory that it shares with the host. Kill
// does not always see to that: a process in an uninterruptible wait stays until
// the wait ends.
func (p *Process) Dead() bool { return p.dead(unix.WNOHANG) }

// AwaitDeath returns once the process is [Process.Dead].
func (p *Process) AwaitDeath() { p.dead(0) }

func (p *Process) dead(options int) bool {
	if p.cmd.Process == nil || errors.Is(p.cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return true // never started, or reaped
	}
	for {
		// WNOWAIT: go-plugin reaps it, once its pipes have ended too.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT|options, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return errors.Is(err, unix.ECHILD) // reaped meanwhile
		default:
			return info.Signo != 0
		}
	}
}
