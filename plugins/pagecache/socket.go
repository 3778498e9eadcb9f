package pagecache

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/walplex/walplex/sdk"
)

// newSocketSuffix ends the name under which a socket is made. It is renamed once
// its permissions are right, over what a process that died has left.
const newSocketSuffix = "~"

// probeTimeout bounds the attempt to reach another owner of the socket.
const probeTimeout = time.Second

// listenUnix makes a Unix socket at path for its user alone. It replaces a socket
// that nobody answers, and nothing else.
func listenUnix(path string) (net.Listener, error) {
	if err := checkSocket(path); err != nil {
		return nil, err
	}
	made := path + newSocketSuffix
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("serve pages: %w", err)
	}
	l.SetUnlinkOnClose(false) // the name will be another
	err = os.Chmod(made, 0o600)
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve pages: %w", err), l.Close(), os.Remove(made))
	}
	return l, nil
}

// checkSocket says whether the name is free, or a dead process's.
func checkSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return sdk.Permanentf("serve pages: %s is there and is no socket; remove it, or set listen to another path", path)
	}
	c, err := net.DialTimeout("unix", path, probeTimeout)
	if err != nil {
		return nil // nobody answers
	}
	return errors.Join(fmt.Errorf("serve pages: another process answers at %s; end it, or set listen to another path", path), c.Close())
}
