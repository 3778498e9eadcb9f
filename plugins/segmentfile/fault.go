package segmentfile

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/walplex/walplex/sdk"
)

// explain adds to an error of the file system what a person should do about it.
// what says what was being done, with the file or LSN. It answers nil for nil.
func explain(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("cannot %s: %w: the disk is full: make room; what was reported flushed is safe, the server keeps the rest, and receiving goes on by itself then", what, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("cannot %s: %w: mount the file system writable again, and look into the kernel's log for why it is not; what was reported flushed is safe, the server keeps the rest, and receiving goes on by itself then", what, err)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("cannot %s: %w: the disk has failed to read or write: look into the kernel's log; the sink starts again from what is really on the disk, and goes on by itself once it works", what, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("cannot %s: %w: the directory, or a file in it, has vanished: mount or restore it; the server keeps what was not flushed, and receiving goes on by itself then", what, err)
	case errors.Is(err, fs.ErrPermission):
		return sdk.Permanentf("cannot %s: %w: give the user that walplex runs as read and write permission for the directory and all that is in it", what, err)
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}

// notDurable is the error of a failed sync. The kernel may have dropped what was
// to be written, so that the sync is not to be tried again.
func notDurable(err error, what string) error {
	if err == nil {
		return nil
	}
	return explain(err, what+" durable (what was written since the last flush is received again)")
}
