package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockSuffix is behind the socket's name in that of its lock.
const lockSuffix = ".lock"

// socket is a listening control socket and the lock on its name.
type socket struct {
	net.Listener
	lock *os.File
}

// listen makes the socket, in place of one that a dead host has left.
func listen(ctx context.Context, path string) (_ *socket, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the control socket: %w", err)
	}
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := private(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket: %w", err)
	}
	if st, err := os.Lstat(path); err != nil || st.Mode().Perm() != 0o600 {
		_ = l.Close()
		return nil, fmt.Errorf("the control socket %s does not have mode 0600 (%v)", path, err)
	}
	return &socket{Listener: l, lock: lock}, nil
}

// Close removes the socket and lets go of its name. The lock's file stays: a
// host that starts now may have opened it.
func (s *socket) Close() error { return errors.Join(s.Listener.Close(), s.lock.Close()) }

// takeLock locks the name of the socket for this process.
func takeLock(path string) (*os.File, error) {
	name := path + lockSuffix
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the control socket: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		defer f.Close()
		return nil, fmt.Errorf("the control socket %s is in use by %s; stop that host, or set another path in host.control", path, holder(f))
	case err == nil:
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock the control socket with %s: %w", name, err)
	}
	return f, nil
}

// holder is who has the lock, as it has written.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if pid, e := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && e == nil {
		return fmt.Sprintf("the walplex host with process %d", pid)
	}
	return "another walplex host"
}

// removeStale removes the socket of a host that has died: we have its lock.
// Nothing but a socket is removed.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the control socket: %w", err)
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s, the path of the control socket, is something else; remove it, or set another path in host.control", path)
	}
	// Someone may listen who knows of no lock.
	if c, err := net.Dial("unix", path); err == nil {
		defer c.Close()
		return fmt.Errorf("another program%s listens on %s; stop it, or set another path in host.control", processOf(c), path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the control socket that a dead host has left: %w", err)
	}
	return nil
}

// Accept answers connections of this user's and of root's processes only.
func (s *socket) Accept() (net.Conn, error) {
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if allowed(c) {
			return c, nil
		}
		_ = c.Close()
	}
}
