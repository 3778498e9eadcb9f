package crashfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/walplex/walplex/sdk/durable"
)

// file is an open file.
type file struct {
	fs     *FS
	name   string
	flag   int
	n      *inode
	off    int64 // of Read, Write and Seek
	closed bool
}

// begin locks the file system for one operation, unlocked by the caller with end,
// and answers why it cannot be done.
func (f *file) begin(c Call) (*Fault, error) {
	f.fs.mu.Lock()
	if f.closed {
		return nil, pathErr(string(c.Op), f.name, os.ErrClosed)
	}
	c.Name = f.name
	if fault := f.fs.called(c); fault != nil {
		return fault, pathErr(string(c.Op), f.name, fault.Err)
	}
	return nil, nil
}

func (f *file) end() { f.fs.mu.Unlock() }

func (f *file) Read(p []byte) (int, error) {
	defer f.end()
	if _, err := f.begin(Call{Op: OpRead, Off: f.off, Len: len(p)}); err != nil {
		return 0, err
	}
	n, err := f.read(p, f.off)
	f.off += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	defer f.end()
	if _, err := f.begin(Call{Op: OpRead, Off: off, Len: len(p)}); err != nil {
		return 0, err
	}
	return f.read(p, off)
}

func (f *file) read(p []byte, off int64) (int, error) {
	if f.flag&os.O_WRONLY != 0 {
		return 0, pathErr("read", f.name, syscall.EBADF)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	if f.flag&os.O_APPEND != 0 {
		f.off = int64(len(f.n.data))
	}
	off := f.off
	f.fs.mu.Unlock()
	n, err := f.WriteAt(p, off)
	f.off += int64(n)
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	return f.writeAt(p, Call{Op: OpWrite, Off: off, Len: len(p)})
}

func (f *file) writeAt(p []byte, c Call) (int, error) {
	off := c.Off
	defer f.end()
	fault, err := f.begin(c)
	if fault != nil {
		p = p[:min(fault.Written, len(p))]
	} else if err != nil {
		return 0, err
	}
	if errW := f.writable("write"); errW != nil {
		return 0, errW
	}
	if len(p) > 0 {
		f.n.write(p, int(off))
	}
	if err == nil && f.flag&durable.ODSync == durable.ODSync {
		f.n.syncRange(int(off), int(off)+len(p))
	}
	return len(p), err
}

// WriteDirectAt implements [durable.DirectWriter], with a system's strictness.
func (f *file) WriteDirectAt(p []byte, off int64) (int, error) {
	if !durable.Aligned(p, off) {
		return 0, pathErr("write directly", f.name, errors.ErrUnsupported)
	}
	return f.writeAt(p, Call{Op: OpWrite, Off: off, Len: len(p), Direct: true})
}

func (f *file) writable(op string) error {
	if f.flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		return pathErr(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	f.fs.mu.Lock()
	defer f.end()
	switch whence {
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		offset += int64(len(f.n.data))
	}
	if offset < 0 {
		return 0, pathErr("seek", f.name, syscall.EINVAL)
	}
	f.off = offset
	return offset, nil
}

func (f *file) Close() error {
	defer f.end()
	_, err := f.begin(Call{Op: OpCloseFile})
	f.closed = true
	return err
}

func (f *file) Stat() (fs.FileInfo, error) {
	defer f.end()
	if _, err := f.begin(Call{Op: OpStat}); err != nil {
		return nil, err
	}
	return f.n.info(filepath.Base(f.name)), nil
}

func (f *file) Truncate(size int64) error {
	defer f.end()
	if _, err := f.begin(Call{Op: OpTruncate, Off: size}); err != nil {
		return err
	}
	if size < 0 || f.writable("truncate") != nil {
		return pathErr("truncate", f.name, syscall.EINVAL)
	}
	f.n.resize(int(size))
	return nil
}

func (f *file) Allocate(size int64) error {
	defer f.end()
	if _, err := f.begin(Call{Op: OpAllocate, Off: size}); err != nil {
		return err
	}
	if err := f.writable("allocate"); err != nil {
		return err
	}
	if int(size) > len(f.n.data) {
		f.n.resize(int(size))
	}
	return nil
}

func (f *file) Sync() error {
	defer f.end()
	fault, err := f.begin(Call{Op: OpSync})
	if fault != nil {
		f.n.failSync()
	}
	if err == nil {
		f.n.sync()
	}
	return err
}

func (f *file) SyncData() error { return f.Sync() }

// Lock takes the lock of the file, which is made when it is missing.
func (f *FS) Lock(ctx context.Context, name string, wait time.Duration) (io.Closer, error) {
	name = filepath.Clean(name)
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		lock, held, err := f.tryLock(name)
		if err != nil || lock != nil {
			return lock, pathErr("lock", name, err)
		}
		select {
		case <-ctx.Done():
			return nil, pathErr("lock", name, ctx.Err())
		case <-deadline.C:
			return nil, pathErr("lock", name, durable.ErrLocked)
		case <-held:
		}
	}
}

// tryLock answers the lock, or a channel that is closed when its holder lets go.
func (f *FS) tryLock(name string) (io.Closer, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault := f.called(Call{Op: OpLock, Name: name}); fault != nil {
		return nil, nil, fault.Err
	}
	n, err := f.openInode(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if held := f.locks[n]; held != nil {
		return nil, held, nil
	}
	f.locks[n] = make(chan struct{})
	return &lock{fs: f, n: n}, nil, nil
}

// lock is a lock that is held.
type lock struct {
	fs *FS
	n  *inode
}

var errUnlocked = errors.New("the lock was let go before")

func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.n == nil {
		return errUnlocked
	}
	close(l.fs.locks[l.n])
	delete(l.fs.locks, l.n)
	l.n = nil
	return nil
}
