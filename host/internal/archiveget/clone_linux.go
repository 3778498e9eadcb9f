package archiveget

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// cloneFile makes to share all of from's blocks, on a file system that can
// (FICLONE: btrfs, XFS).
func cloneFile(to, from *os.File) bool {
	return unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil
}

// allocate gives the file size bytes, zeros where nothing was written, which are
// on the disk: PostgreSQL writes into segments without expecting that it is full.
func allocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}
