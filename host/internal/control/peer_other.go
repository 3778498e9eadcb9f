//go:build !linux

package control

import (
	"context"
	"net"
	"syscall"
)

// private listens with mode 0600. The mask is the process's: what other
// goroutines make in this moment is closed to others than its owner too.
func private(ctx context.Context, path string) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	var lc net.ListenConfig
	return lc.Listen(ctx, "unix", path)
}

// allowed relies on the socket's mode.
func allowed(net.Conn) bool { return true }

func processOf(net.Conn) string { return "" }
