package durable

import (
	"os"
	"syscall"
)

// ODSync is the flag of OpenFile with which a write is durable when it returns,
// as far as SyncData would make it.
const ODSync = syscall.O_DSYNC

// tryLock takes the lock or fails with EWOULDBLOCK. The lock belongs to the open
// file: it ends when the process does, however that happens.
func tryLock(f *os.File) error {
	return osFile{f}.control(func(fd uintptr) error {
		return syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	})
}

// allocate is posix_fallocate without glibc's way of doing it by writing.
func allocate(fd uintptr, size int64) error { return syscall.Fallocate(int(fd), 0, 0, size) }

func syncData(fd uintptr) error { return syscall.Fdatasync(int(fd)) }
