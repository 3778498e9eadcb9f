package crashfs

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/walplex/walplex/sdk/durable"
)

// FS is the file system. It may be used by several goroutines.
type FS struct {
	mu     sync.Mutex
	root   *inode
	locks  map[*inode]chan struct{} // closed when the lock is let go
	fault  func(Call) *Fault
	counts map[Op]int
	log    []Call
	inodes []*inode // all, in the order of their making: writeback is reproducible
}

var _ durable.FS = (*FS)(nil)

// New makes an empty file system. Its root "/" is there, and so is "." as the
// same directory.
func New() *FS {
	f := &FS{root: newDir(0o777), locks: map[*inode]chan struct{}{}, counts: map[Op]int{}}
	f.inodes = []*inode{f.root}
	return f
}

// Crash is power loss: it answers the file system as it is found afterwards. rng
// decides how much of what was not synced survives: nothing, everything, or any
// part of it. What goes on with f no longer matters; open files of f do not reach
// the new file system, which has no locks and no faults.
func (f *FS) Crash(rng *rand.Rand) *FS {
	keep := 0.0
	switch rng.IntN(4) {
	case 0:
	case 1:
		keep = 1
	default:
		keep = rng.Float64()
	}
	return f.CrashKeeping(rng, keep)
}

// CrashKeeping is Crash where each unsynced page, size and name survives with
// probability keep.
func (f *FS) CrashKeeping(rng *rand.Rand, keep float64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	img := f.copy()
	img.writeback(rng, keep)
	for _, n := range img.inodes {
		if n.isDir() {
			n.names, n.pending = maps.Clone(n.diskNames), nil
			continue
		}
		n.data = n.onDisk()
		n.disk, n.lostSize = slices.Clone(n.data), false
		clear(n.dirty)
	}
	return img
}

// Kill is the death of the process without power loss: all that was written can
// be read, what was not synced is still not, locks are free. Open files of f do
// not reach the new file system.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.copy()
}

// Writeback is what the kernel may do at any time: each dirty page, changed size
// and changed name is written with probability keep.
func (f *FS) Writeback(rng *rand.Rand, keep float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writeback(rng, keep)
}

func (f *FS) writeback(rng *rand.Rand, keep float64) {
	for _, n := range f.inodes {
		n.writeback(rng, keep)
	}
}

// copy is a file system of its own with the same images.
func (f *FS) copy() *FS {
	to := &FS{locks: map[*inode]chan struct{}{}, counts: map[Op]int{}}
	twin := map[*inode]*inode{}
	for _, n := range f.inodes {
		c := *n
		c.data, c.disk, c.dirty = slices.Clone(n.data), slices.Clone(n.disk), maps.Clone(n.dirty)
		twin[n] = &c
		to.inodes = append(to.inodes, &c)
	}
	twins := func(names map[string]*inode) map[string]*inode {
		m := make(map[string]*inode, len(names))
		for name, n := range names {
			m[name] = twin[n] // nil stays nil: a removal
		}
		return m
	}
	for _, c := range to.inodes {
		if !c.isDir() {
			continue
		}
		c.names, c.diskNames = twins(c.names), twins(c.diskNames)
		pending := make([]nameOp, len(c.pending))
		for i, op := range c.pending {
			pending[i] = nameOp{twins(op.names)}
		}
		c.pending = pending
	}
	to.root = twin[f.root]
	return to
}

// walk finds the inode of a clean name, nil when there is none.
func (f *FS) walk(name string) *inode {
	n := f.root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" || part == "." {
			continue
		}
		if n = n.names[part]; n == nil {
			return nil
		}
	}
	return n
}

// split finds the directory that holds name's entry, and the entry's name.
func (f *FS) split(name string) (dir *inode, base string, err error) {
	dir = f.walk(filepath.Dir(name))
	if dir == nil {
		return nil, "", syscall.ENOENT
	}
	if !dir.isDir() {
		return nil, "", syscall.ENOTDIR
	}
	return dir, filepath.Base(name), nil
}

func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	name = filepath.Clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault := f.called(Call{Op: OpOpen, Name: name}); fault != nil {
		return nil, pathErr("open", name, fault.Err)
	}
	n, err := f.openInode(name, flag, perm)
	if err != nil {
		return nil, pathErr("open", name, err)
	}
	return &file{fs: f, name: name, flag: flag, n: n}, nil
}

func (f *FS) openInode(name string, flag int, perm fs.FileMode) (*inode, error) {
	dir, base, err := f.split(name)
	if err != nil {
		return nil, err
	}
	n := dir.names[base]
	writes := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, syscall.ENOENT
	case n != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, syscall.EEXIST
	case n != nil && n.isDir():
		return nil, syscall.EISDIR
	case n == nil:
		n = newFile(perm)
		f.inodes = append(f.inodes, n)
		dir.change(map[string]*inode{base: n})
	}
	if flag&os.O_TRUNC != 0 && writes && len(n.data) > 0 {
		n.resize(0)
	}
	return n, nil
}

func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	name = filepath.Clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault := f.called(Call{Op: OpMkdir, Name: name}); fault != nil {
		return pathErr("mkdir", name, fault.Err)
	}
	n := f.root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" || part == "." {
			continue
		}
		next := n.names[part]
		if next == nil {
			next = newDir(perm)
			f.inodes = append(f.inodes, next)
			n.change(map[string]*inode{part: next})
		}
		if !next.isDir() {
			return pathErr("mkdir", name, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	name = filepath.Clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault := f.called(Call{Op: OpReadDir, Name: name}); fault != nil {
		return nil, pathErr("open", name, fault.Err)
	}
	n := f.walk(name)
	if n == nil {
		return nil, pathErr("open", name, syscall.ENOENT)
	}
	if !n.isDir() {
		return nil, pathErr("readdirent", name, syscall.ENOTDIR)
	}
	var list []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(n.names)) {
		list = append(list, fs.FileInfoToDirEntry(n.names[base].info(base)))
	}
	return list, nil
}

func (f *FS) Stat(name string) (fs.FileInfo, error) {
	name = filepath.Clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault := f.called(Call{Op: OpStat, Name: name}); fault != nil {
		return nil, pathErr("stat", name, fault.Err)
	}
	n := f.walk(name)
	if n == nil {
		return nil, pathErr("stat", name, syscall.ENOENT)
	}
	return n.info(filepath.Base(name)), nil
}

func (f *FS) Rename(oldName, newName string) error {
	return f.rename(Call{Op: OpRename, Name: filepath.Clean(newName), From: filepath.Clean(oldName)})
}

func (f *FS) Link(oldName, newName string) error {
	return f.rename(Call{Op: OpLink, Name: filepath.Clean(newName), From: filepath.Clean(oldName)})
}

// rename does Rename and Link, as c.Op says.
func (f *FS) rename(c Call) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(err error) error { return pathErr(string(c.Op), c.Name, err) }
	if fault := f.called(c); fault != nil {
		return fail(fault.Err)
	}
	from, oldBase, err := f.split(c.From)
	if err != nil {
		return fail(err)
	}
	to, newBase, err := f.split(c.Name)
	if err != nil {
		return fail(err)
	}
	n, there := from.names[oldBase], to.names[newBase]
	switch {
	case n == nil:
		return fail(syscall.ENOENT)
	case from != to:
		return fail(syscall.EXDEV)
	case c.Op == OpLink && n.isDir():
		return fail(syscall.EPERM)
	case c.Op == OpLink && there != nil:
		return fail(syscall.EEXIST)
	case there != nil && there.isDir() && !n.isDir():
		return fail(syscall.EISDIR)
	case there == n: // two names of one file, or the same name
		return nil
	case c.Op == OpLink:
		to.change(map[string]*inode{newBase: n})
	default:
		to.change(map[string]*inode{oldBase: nil, newBase: n})
	}
	return nil
}

func (f *FS) Remove(name string) error {
	name = filepath.Clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault := f.called(Call{Op: OpRemove, Name: name}); fault != nil {
		return pathErr("remove", name, fault.Err)
	}
	dir, base, err := f.split(name)
	if err != nil {
		return pathErr("remove", name, err)
	}
	switch n := dir.names[base]; {
	case n == nil:
		return pathErr("remove", name, syscall.ENOENT)
	case len(n.names) > 0:
		return pathErr("remove", name, syscall.ENOTEMPTY)
	}
	dir.change(map[string]*inode{base: nil})
	return nil
}

func (f *FS) SyncDir(name string) error {
	name = filepath.Clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault := f.called(Call{Op: OpSyncDir, Name: name}); fault != nil {
		return pathErr("sync", name, fault.Err)
	}
	n := f.walk(name)
	if n == nil {
		return pathErr("open", name, syscall.ENOENT)
	}
	if n.isDir() {
		n.syncNames()
	}
	return nil
}

// info describes the inode under one of its names.
func (n *inode) info(name string) fs.FileInfo {
	return fileInfo{name: name, size: int64(len(n.data)), mode: n.mode, mtime: n.mtime}
}

type fileInfo struct {
	name  string
	size  int64 // bytes
	mode  fs.FileMode
	mtime time.Time
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return i.mtime }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

func pathErr(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
