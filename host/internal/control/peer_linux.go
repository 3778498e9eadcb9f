package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// private listens with mode 0600 from the socket's first moment: Linux gives the
// name the mode of the socket that is bound to it (net/unix/af_unix.c).
func private(ctx context.Context, path string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	return lc.Listen(ctx, "unix", path)
}

// credentials are those of the process at the other end, as of its connect; of
// one that listens, as of its listen.
func credentials(c net.Conn) (*unix.Ucred, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%T is no Unix socket", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return nil, err
	}
	return cred, credErr
}

// allowed reports whether the process at the other end is root's or of our user.
func allowed(c net.Conn) bool {
	cred, err := credentials(c)
	return err == nil && mayControl(cred.Uid, os.Geteuid())
}

func processOf(c net.Conn) string {
	cred, err := credentials(c)
	if err != nil || cred.Pid == 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d)", cred.Pid)
}
