package crashfs

import (
	"fmt"
	"path/filepath"
)

// Op names an operation of the file system.
type Op string

// The operations. A call that only reads has no entry in the log.
const (
	OpOpen      Op = "open"
	OpMkdir     Op = "mkdir"
	OpReadDir   Op = "readdir"
	OpStat      Op = "stat"
	OpRename    Op = "rename"
	OpLink      Op = "link"
	OpRemove    Op = "remove"
	OpSyncDir   Op = "syncdir"
	OpLock      Op = "lock"
	OpRead      Op = "read"
	OpWrite     Op = "write"
	OpTruncate  Op = "truncate"
	OpAllocate  Op = "allocate"
	OpSync      Op = "sync" // File.Sync and File.SyncData
	OpCloseFile Op = "close"
)

// Call is one call of an operation.
type Call struct {
	Op     Op
	Name   string // clean path; the new one of a rename or link
	From   string // the old path of a rename or link
	Off    int64  // of a read or write; the size of a truncate or allocate
	Len    int    // bytes of a read or write
	Direct bool   // it was a direct write
	N      int    // which call of this Op it is on this file system, from 1
}

func (c Call) String() string {
	switch c.Op {
	case OpRead, OpWrite:
		return fmt.Sprintf("%s %s %d+%d", c.Op, filepath.Base(c.Name), c.Off, c.Len)
	case OpTruncate, OpAllocate:
		return fmt.Sprintf("%s %s %d", c.Op, filepath.Base(c.Name), c.Off)
	case OpRename, OpLink:
		return fmt.Sprintf("%s %s %s", c.Op, filepath.Base(c.From), filepath.Base(c.Name))
	}
	return fmt.Sprintf("%s %s", c.Op, filepath.Base(c.Name))
}

// Fault is how a call fails.
type Fault struct {
	Err     error // such as syscall.ENOSPC; the caller sees it in a *fs.PathError
	Written int   // bytes that a write still writes before it fails
}

// Inject sets the predicate that is asked before every call: a fault that it
// answers is what happens instead. nil takes it away. The predicate is called
// with the file system locked and must not use it.
//
// A fault of OpSync loses what was to be synced, see the package documentation.
func (f *FS) Inject(fault func(Call) *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Nth is a predicate: the n-th call from now on, counted from 1, of op on a name
// whose last part matches pattern (as [filepath.Match]) fails with fault.
func Nth(op Op, pattern string, n int, fault *Fault) func(Call) *Fault {
	seen := 0
	return func(c Call) *Fault {
		if c.Op != op || !matches(pattern, c.Name) {
			return nil
		}
		if seen++; seen != n {
			return nil
		}
		return fault
	}
}

// Always is a predicate: every call of op on a name whose last part matches
// pattern fails with fault.
func Always(op Op, pattern string, fault *Fault) func(Call) *Fault {
	return func(c Call) *Fault {
		if c.Op != op || !matches(pattern, c.Name) {
			return nil
		}
		return fault
	}
}

func matches(pattern, name string) bool {
	ok, err := filepath.Match(pattern, filepath.Base(name))
	return ok && err == nil
}

// Log is every call so far that could change something, in order; a call that
// failed by a fault is not in it.
func (f *FS) Log() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Call(nil), f.log...)
}

// ClearLog forgets the calls so far.
func (f *FS) ClearLog() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = nil
}

// called counts and logs a call and asks for its fault.
func (f *FS) called(c Call) *Fault {
	f.counts[c.Op]++
	c.N = f.counts[c.Op]
	if f.fault != nil {
		if fault := f.fault(c); fault != nil {
			return fault
		}
	}
	switch c.Op {
	case OpRead, OpReadDir, OpStat, OpOpen, OpCloseFile, OpLock:
	default:
		f.log = append(f.log, c)
	}
	return nil
}
