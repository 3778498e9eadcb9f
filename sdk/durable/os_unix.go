//go:build unix && !linux

package durable

import (
	"errors"
	"os"
	"syscall"
)

// ODSync is the flag of OpenFile with which a write is durable when it returns.
const ODSync = os.O_SYNC

// tryLock takes the lock or fails with EWOULDBLOCK. The lock belongs to the open
// file: it ends when the process does, however that happens.
func tryLock(f *os.File) error {
	return (&osFile{File: f}).control(func(fd uintptr) error {
		return syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	})
}

// allocate is not to be had in the same way on every system: the file is made
// sparse instead.
func allocate(uintptr, int64) error { return errors.ErrUnsupported }

func syncData(fd uintptr) error { return syscall.Fsync(int(fd)) }

// openDirect: there is no way that every system has.
func openDirect(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
