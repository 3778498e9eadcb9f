package durable

import (
	"errors"
	"os"
	"strconv"
	"syscall"
)

// ODSync is the flag of OpenFile with which a write is durable when it returns,
// as far as SyncData would make it.
const ODSync = syscall.O_DSYNC

// tryLock takes the lock or fails with EWOULDBLOCK. The lock belongs to the open
// file: it ends when the process does, however that happens.
func tryLock(f *os.File) error {
	return (&osFile{File: f}).control(func(fd uintptr) error {
		return syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	})
}

// allocate is posix_fallocate without glibc's way of doing it by writing.
func allocate(fd uintptr, size int64) error { return syscall.Fallocate(int(fd), 0, 0, size) }

func syncData(fd uintptr) error { return syscall.Fdatasync(int(fd)) }

// openDirect opens the file that f is once more, whatever its name is by now, so
// that writes to it pass the page cache.
func openDirect(f *os.File) (*os.File, error) {
	var around *os.File
	err := (&osFile{File: f}).control(func(fd uintptr) (err error) {
		around, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(fd)), os.O_WRONLY|syscall.O_DIRECT, 0)
		return err
	})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) { // there is no /proc, or it is closed to us
		err = errors.ErrUnsupported
	}
	return around, err
}
