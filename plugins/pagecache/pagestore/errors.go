package pagestore

import "errors"

// What a read or an open can end with. They are wrapped with the place and with
// what to do.
var (
	// ErrNotFound is the end of a read of a page of which nothing is held.
	ErrNotFound = errors.New("page not found")
	// ErrNoBase is the end of a read of a page that was changed since the store
	// began, and of which no image came.
	ErrNoBase = errors.New("no base of the page yet")
	// ErrBelowHorizon is the end of a read at an LSN before the store began.
	ErrBelowHorizon = errors.New("below the horizon of the page cache")
	// ErrNotReached is the end of a wait for an LSN that did not come in time.
	ErrNotReached = errors.New("LSN not reached")
	// ErrDamaged says that the store's files are not what was written.
	ErrDamaged = errors.New("the page cache is damaged")
	// ErrClosed says that the store is being closed, or has failed.
	ErrClosed = errors.New("the page cache is closed")
	// ErrFormat says that the store's directory is of another format, or is none.
	ErrFormat = errors.New("not a page cache of this format")
	// ErrLocked says that another process has the store open.
	ErrLocked = errors.New("the page cache is in use by another process")
)
