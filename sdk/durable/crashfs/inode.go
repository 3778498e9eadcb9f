package crashfs

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// PageSize is the number of bytes that are written to disk together.
const PageSize = 512

// inode is a file or a directory.
type inode struct {
	mode  fs.FileMode
	mtime time.Time

	// Of a file: what programs see, and what is on disk.
	data     []byte
	disk     []byte // bytes beyond diskSize are there and cannot be seen
	diskSize int
	dirty    map[int]bool // pages of data that differ from disk
	lostSize bool         // a failed sync: the size on disk stays until it changes again

	// Of a directory: the same, and what was done between.
	names     map[string]*inode
	diskNames map[string]*inode
	pending   []nameOp
}

// nameOp changes one directory's names at once. A nil inode removes the name.
type nameOp struct{ names map[string]*inode }

func newFile(mode fs.FileMode) *inode {
	return &inode{mode: mode.Perm(), dirty: map[int]bool{}, mtime: time.Unix(0, 0)}
}

func newDir(mode fs.FileMode) *inode {
	return &inode{mode: fs.ModeDir | mode.Perm(), names: map[string]*inode{}, diskNames: map[string]*inode{}, mtime: time.Unix(0, 0)}
}

func (n *inode) isDir() bool { return n.mode.IsDir() }

// change alters the names that programs see, and remembers it for the disk.
func (n *inode) change(names map[string]*inode) {
	apply(n.names, names)
	n.pending = append(n.pending, nameOp{names})
}

func apply(to, change map[string]*inode) {
	for name, child := range change {
		if child == nil {
			delete(to, name)
		} else {
			to[name] = child
		}
	}
}

// syncNames writes all that was done to the directory.
func (n *inode) syncNames() {
	n.diskNames, n.pending = maps.Clone(n.names), nil
}

// writeNames writes each thing done to the directory with probability keep.
func (n *inode) writeNames(rng *rand.Rand, keep float64) {
	var left []nameOp
	for _, op := range n.pending {
		if rng.Float64() >= keep {
			left = append(left, nameOp{maps.Clone(op.names)})
			continue
		}
		apply(n.diskNames, op.names)
		for name := range op.names { // what was done to them before is overtaken
			for _, before := range left {
				delete(before.names, name)
			}
		}
	}
	n.pending = left
}

// write puts p at off as programs see it.
func (n *inode) write(p []byte, off int) {
	n.lostSize = false
	if end := off + len(p); end > len(n.data) {
		n.resize(end)
	}
	copy(n.data[off:], p)
	n.touch(off, off+len(p))
}

// resize cuts the file or extends it with zeros.
func (n *inode) resize(size int) {
	n.lostSize = false
	old := len(n.data)
	if size < old {
		clear(n.data[size:])
		n.data = n.data[:size]
	} else {
		n.data = slices.Grow(n.data, size-old)[:size]
		clear(n.data[old:])
	}
	// Of the part that came or went only pages that are on disk with other bytes
	// need writing: what was never written reads as zeros.
	lo, hi := min(old, size), min(max(old, size), (len(n.disk)+PageSize-1)/PageSize*PageSize)
	n.touch(lo, hi)
}

func (n *inode) touch(lo, hi int) {
	for p := lo / PageSize; p*PageSize < hi; p++ {
		n.dirty[p] = true
	}
}

// writePage writes one page to disk. The file's size is a thing of its own.
func (n *inode) writePage(p int) {
	lo := p * PageSize
	if hi := lo + PageSize; hi > len(n.disk) {
		n.disk = append(n.disk, make([]byte, hi-len(n.disk))...)
	}
	page := n.disk[lo : lo+PageSize]
	clear(page)
	if lo < len(n.data) {
		copy(page, n.data[lo:])
	}
	delete(n.dirty, p)
}

func (n *inode) writeSize(size int) {
	if size < n.diskSize && size < len(n.disk) {
		clear(n.disk[size:]) // what was cut off does not come back
	}
	n.diskSize = size
}

func (n *inode) sync() {
	for p := range n.dirty {
		n.writePage(p)
	}
	if !n.lostSize {
		n.writeSize(len(n.data))
	}
}

// syncRange writes the pages that hold the bytes from lo up to hi, and the size.
func (n *inode) syncRange(lo, hi int) {
	for p := lo / PageSize; p*PageSize < hi; p++ {
		n.writePage(p)
	}
	n.writeSize(len(n.data))
}

// failSync is what a failed sync leaves: nothing written, nothing left to write.
func (n *inode) failSync() {
	clear(n.dirty)
	n.lostSize = true
}

// writeback writes each dirty page with probability keep, and the size perhaps.
func (n *inode) writeback(rng *rand.Rand, keep float64) {
	for _, p := range slices.Sorted(maps.Keys(n.dirty)) {
		if rng.Float64() < keep {
			n.writePage(p)
		}
	}
	if !n.lostSize && n.diskSize != len(n.data) && rng.Float64() < keep {
		size := len(n.data)
		if size > n.diskSize && keep < 1 && rng.IntN(2) == 0 {
			size = n.diskSize + rng.IntN(size-n.diskSize)
		}
		n.writeSize(size)
	}
	n.writeNames(rng, keep)
}

// onDisk is the file's content after power loss.
func (n *inode) onDisk() []byte {
	b := make([]byte, n.diskSize)
	copy(b, n.disk)
	return b
}
