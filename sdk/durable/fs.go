// Package durable is the file system as a sink sees it: the few operations that
// a sink needs to make bytes survive power loss, as an interface, so that a test
// can put a file system behind it that forgets everything that was not synced.
//
// What survives power loss is exactly this, as on ext4 and xfs in the worst
// case: the bytes of a file that were there when File.Sync returned; a file's
// name (creation, rename, removal) that was there when FS.SyncDir of its
// directory returned. Everything else may be lost or may survive, byte by byte.
package durable

import (
	"context"
	"io"
	"io/fs"
	"time"
	"unsafe"
)

// FS is a file system. Names are paths as package os takes them. Errors are
// *fs.PathError as package os returns them.
type FS interface {
	// OpenFile opens a file for reading and writing; flag and perm as os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// MkdirAll makes a directory and its parents.
	MkdirAll(name string, perm fs.FileMode) error
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// Rename replaces newName by oldName atomically; durable after SyncDir of the
	// directories.
	Rename(oldName, newName string) error
	// Link makes newName another name of oldName, and fails with fs.ErrExist when
	// newName is there: a rename that cannot replace anything.
	Link(oldName, newName string) error
	Remove(name string) error
	// SyncDir makes the directory's entries durable.
	SyncDir(name string) error
	// Lock takes an exclusive lock that ends with the process or with Close of
	// what it returns. It waits up to wait for another holder.
	Lock(ctx context.Context, name string, wait time.Duration) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.Reader
	io.Writer
	io.ReaderAt
	io.WriterAt
	io.Seeker
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	// Allocate reserves room for size bytes without changing what is read where
	// data was, so that a full disk is found before it hurts. It extends the file
	// with zeros.
	Allocate(size int64) error
	// Sync makes the file's bytes and size durable (fsync).
	Sync() error
	// SyncData makes the bytes durable, and the size when it has changed (fdatasync).
	SyncData() error
}

// DirectAlign is what the place in memory, the length and the offset of what is
// written directly must be multiples of, in bytes.
const DirectAlign = 4096

// DirectWriter is a File that can be written to past the cache of the operating
// system, straight from the caller's memory: for much at a time, that nobody
// reads soon.
type DirectWriter interface {
	// WriteDirectAt is WriteAt, of what Aligned says is aligned. What it has
	// written is no more durable than after WriteAt, and is read back the same.
	// errors.ErrUnsupported says that the file system cannot do it; what was not
	// written is then to be written by WriteAt.
	WriteDirectAt(p []byte, off int64) (int, error)
}

// Aligned reports whether p can be written directly at an offset.
func Aligned(p []byte, off int64) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return at%DirectAlign == 0 && len(p)%DirectAlign == 0 && off%DirectAlign == 0
}
