package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// OS is the file system of the operating system.
type OS struct{}

// lockPoll is how often a lock that somebody else holds is tried again.
const lockPoll = 20 * time.Millisecond

// ErrLocked is what an error of [FS.Lock] wraps when another holder did not let
// go in time.
var ErrLocked = errors.New("in use by another process")

func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

func (OS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (OS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (OS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (OS) Rename(oldName, newName string) error {
	return pathError("rename", newName, os.Rename(oldName, newName))
}
func (OS) Link(oldName, newName string) error {
	return pathError("link", newName, os.Link(oldName, newName))
}
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir makes the directory's entries durable. A file system that cannot sync
// a directory (EINVAL, such as some network file systems) writes them through.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// Lock takes a lock of the whole file with flock(2), and creates the file when it
// is missing. The holder's process id is in the file, for people to read.
func (OS) Lock(ctx context.Context, name string, wait time.Duration) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockWithin(ctx, f, wait); err != nil {
		f.Close()
		return nil, err
	}
	// The process id is a courtesy: a disk too full to take it is no reason not to
	// have the lock.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	return f, nil
}

// lockWithin tries until the lock is had, wait is over or ctx is done.
func lockWithin(ctx context.Context, f *os.File, wait time.Duration) error {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		err := tryLock(f)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return pathError("lock", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			return pathError("lock", f.Name(), ctx.Err())
		case <-deadline.C:
			return pathError("lock", f.Name(), heldBy(f))
		case <-poll.C:
		}
	}
}

// heldBy is ErrLocked with the holder's process id where the file tells it.
func heldBy(f *os.File) error {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return fmt.Errorf("%w (process %s)", ErrLocked, pid)
	}
	return ErrLocked
}

// osFile is a file of the operating system.
type osFile struct {
	*os.File
	around *os.File // the same one, opened past the cache; nil until it is needed
}

// WriteDirectAt implements [DirectWriter].
func (f *osFile) WriteDirectAt(p []byte, off int64) (int, error) {
	if f.around == nil {
		var err error
		if f.around, err = openDirect(f.File); err != nil {
			return 0, unsupported(f.Name(), err)
		}
	}
	n, err := f.around.WriteAt(p, off)
	return n, unsupported(f.Name(), err)
}

// unsupported has what systems answer where a file cannot be written to directly
// be errors.ErrUnsupported.
func unsupported(name string, err error) error {
	if errors.Is(err, syscall.EINVAL) {
		err = errors.ErrUnsupported
	}
	return pathError("write directly", name, err)
}

// Close closes the file, and what was opened beside it.
func (f *osFile) Close() error {
	var err error
	if f.around != nil {
		err = f.around.Close()
	}
	return errors.Join(f.File.Close(), err)
}

func (f *osFile) Allocate(size int64) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	err = f.control(func(fd uintptr) error { return allocate(fd, size) })
	if errors.Is(err, errors.ErrUnsupported) && st.Size() < size {
		return f.Truncate(size)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return pathError("allocate", f.Name(), err)
}

func (f *osFile) SyncData() error {
	return pathError("fdatasync", f.Name(), f.control(syncData))
}

// control calls fn with the file's descriptor until no signal interrupts it.
func (f *osFile) control(fn func(fd uintptr) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errFn error
	err = c.Control(func(fd uintptr) {
		for {
			if errFn = fn(fd); errFn != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return errFn
}

// pathError gives err the form that package os gives its errors, with the name
// of the file that is to be looked at.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		err = link.Err
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// parent is the directory that holds name's entry.
func parent(name string) string { return filepath.Dir(filepath.Clean(name)) }
