package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
)

// span is bytes of a file, from up to before to.
type span struct{ from, to int64 }

// spans are sorted and do not touch each other.
type spans []span

func (s spans) remove(x span) spans {
	var out spans
	for _, y := range s {
		if y.to <= x.from || y.from >= x.to {
			out = append(out, y)
			continue
		}
		if y.from < x.from {
			out = append(out, span{y.from, x.from})
		}
		if y.to > x.to {
			out = append(out, span{x.to, y.to})
		}
	}
	return out
}

func (s spans) add(x span) spans {
	var out spans
	for _, y := range s {
		if y.to < x.from || y.from > x.to {
			continue
		}
		x = span{min(x.from, y.from), max(x.to, y.to)}
	}
	placed := x.from >= x.to
	for _, y := range s {
		if y.to >= x.from && y.from <= x.to && x.from < x.to {
			continue
		}
		if !placed && y.from > x.to {
			out, placed = append(out, x), true
		}
		out = append(out, y)
	}
	if !placed {
		out = append(out, x)
	}
	return out
}

func (s spans) covers(x span) bool {
	if x.from >= x.to {
		return true
	}
	for _, y := range s {
		if y.from <= x.from && x.to <= y.to {
			return true
		}
	}
	return false
}

// forever is behind the end of every file.
const forever = 1 << 62

// disk is what power loss would leave at a point of a trace, in the worst case:
// the bytes whose write had returned before an fsync or fdatasync of the file
// began that has returned without an error, and that were not written since; the
// names that were there when an fsync of their directory began that has returned.
// A call takes away from that when it begins, and adds to it when it returns.
type disk struct {
	root     string // nothing outside of it is looked at
	names    map[string]*diskName
	at       map[string]int64      // by path and descriptor: where the next write goes
	returned map[*traceCall]func() // what a call that has begun does when it returns
	syncs    map[string]int        // by path, of the successful ones
}

// diskName is an entry of a directory.
type diskName struct {
	file    *diskFile
	durable bool
	renamed bool // from a durable name: power loss leaves that one or this one
}

// diskFile is a file's bytes.
type diskFile struct {
	unsynced []*diskWrite
	synced   spans
}

type diskWrite struct {
	span
	done bool
}

func newDisk(root string) *disk {
	return &disk{root: root, names: map[string]*diskName{}, at: map[string]int64{},
		returned: map[*traceCall]func(){}, syncs: map[string]int{}}
}

func (d *disk) inside(path string) bool { return path == d.root || strings.HasPrefix(path, d.root+"/") }

// step takes the next step. An error is something that the disk does not know
// how to take.
func (d *disk) step(s traceStep) error {
	if s.returns {
		if fn := d.returned[s.traceCall]; fn != nil {
			delete(d.returned, s.traceCall)
			fn()
		}
		return nil
	}
	switch s.name {
	case "openat":
		return d.open(s.traceCall, s.pathAt(0, 1))
	case "mkdirat":
		path := s.pathAt(0, 1)
		d.made(s.traceCall, path, func() { d.names[path] = &diskName{file: &diskFile{}} })
	case "write", "pwrite64":
		return d.write(s.traceCall, s.fdPath(0))
	case "fsync", "fdatasync":
		d.sync(s.traceCall, s.fdPath(0))
	case "ftruncate":
		if n := d.names[s.fdPath(0)]; n != nil {
			n.file.cut(s.number(1))
		}
	case "lseek":
		key := s.arg(0)
		d.then(s.traceCall, s.fdPath(0), func() { d.at[key] = s.ret })
	case "linkat":
		from, to := s.pathAt(0, 1), s.pathAt(2, 3)
		d.made(s.traceCall, to, func() { d.names[to] = &diskName{file: d.fileOf(from)} })
	case "renameat", "renameat2":
		d.rename(s.traceCall, s.pathAt(0, 1), s.pathAt(2, 3))
	case "unlinkat":
		d.unlink(s.traceCall, s.pathAt(0, 1))
	default:
		for i := range s.args {
			text, _ := s.text(i)
			if d.inside(s.fdPath(i)) || d.inside(text) {
				return fmt.Errorf("%s(%s): a call that this test does not know", s.name, strings.Join(s.args, ", "))
			}
		}
	}
	return nil
}

// then has fn run when the call has returned without an error.
func (d *disk) then(c *traceCall, path string, fn func()) {
	if d.inside(path) {
		d.returned[c] = func() {
			if c.ret >= 0 {
				fn()
			}
		}
	}
}

// made is then for a call that makes a name, which it may have done where its
// thread has ended in it.
func (d *disk) made(c *traceCall, path string, fn func()) {
	if d.inside(path) {
		d.returned[c] = func() {
			if c.ret >= 0 || c.lost {
				fn()
			}
		}
	}
}

func (d *disk) fileOf(path string) *diskFile {
	if n := d.names[path]; n != nil {
		return n.file
	}
	return &diskFile{}
}

func (d *disk) open(c *traceCall, path string) error {
	flags := c.arg(2)
	if d.inside(path) && strings.Contains(flags, "O_APPEND") {
		return fmt.Errorf("%s is opened with O_APPEND, which this test does not know", path)
	}
	if n := d.names[path]; n != nil && strings.Contains(flags, "O_TRUNC") {
		n.file.cut(0)
	}
	d.made(c, path, func() {
		d.at[fmt.Sprintf("%d<%s>", c.ret, c.path)] = 0
		if strings.Contains(flags, "O_CREAT") && d.names[path] == nil {
			d.names[path] = &diskName{file: &diskFile{}}
		}
	})
	return nil
}

func (d *disk) write(c *traceCall, path string) error {
	if !d.inside(path) {
		return nil
	}
	n := d.names[path]
	if n == nil {
		return fmt.Errorf("%s is written to, but was not made in the trace", path)
	}
	fd, _, _ := strings.Cut(c.arg(0), "<")
	key := fd + "<" + path + ">"
	from := d.at[key]
	if c.name == "pwrite64" {
		from = c.number(3)
	}
	f, w := n.file, &diskWrite{span: span{from, from + c.number(2)}}
	f.synced = f.synced.remove(w.span)
	f.unsynced = append(f.unsynced, w)
	if c.lost {
		// It ended with its process, which may be printed long after the next process
		// has got the lock, or never.
		w.done, w.to = true, w.from
		return nil
	}
	d.returned[c] = func() {
		// What was not written, as when the disk is full, may be anything, and no sync
		// changes that.
		w.done, w.to = true, w.from+max(c.ret, 0)
		if c.name == "write" {
			d.at[key] = w.to
		}
	}
	return nil
}

func (d *disk) sync(c *traceCall, path string) {
	if !d.inside(path) {
		return
	}
	var entries []*diskName
	if c.name == "fsync" { // fdatasync promises nothing about names
		for p, n := range d.names {
			if filepath.Dir(p) == path {
				entries = append(entries, n)
			}
		}
	}
	var writes []*diskWrite
	f := d.fileOf(path)
	for _, w := range f.unsynced {
		if w.done {
			writes = append(writes, w)
		}
	}
	d.then(c, path, func() {
		d.syncs[path]++
		for _, n := range entries {
			n.durable = true
		}
		f.sync(writes)
	})
}

// sync makes durable what was written before the sync began, but for what was
// written again since.
func (f *diskFile) sync(writes []*diskWrite) {
	is := map[*diskWrite]bool{}
	for _, w := range writes {
		is[w] = true
	}
	var rest []*diskWrite
	for _, w := range f.unsynced {
		if is[w] {
			f.synced = f.synced.add(w.span)
		} else {
			rest = append(rest, w)
		}
	}
	for _, w := range rest {
		f.synced = f.synced.remove(w.span)
	}
	f.unsynced = rest
}

// cut takes away the bytes from size on.
func (f *diskFile) cut(size int64) {
	f.synced = f.synced.remove(span{size, forever})
	var rest []*diskWrite
	for _, w := range f.unsynced {
		if !w.done || w.from < size {
			rest = append(rest, w)
			if w.done {
				w.to = min(w.to, size)
			}
		}
	}
	f.unsynced = rest
}

func (d *disk) rename(c *traceCall, from, to string) {
	d.made(c, to, func() {
		if old := d.names[from]; old != nil {
			d.names[to] = &diskName{file: old.file, renamed: old.durable || old.renamed}
			delete(d.names, from)
		}
	})
}

func (d *disk) unlink(c *traceCall, path string) {
	old := d.names[path]
	if old == nil {
		return
	}
	delete(d.names, path)
	d.returned[c] = func() {
		if c.ret < 0 && !c.lost {
			d.names[path] = old
		}
	}
}

// holds reports why the bytes x of the file would not be there after power loss,
// nil if they would.
func (d *disk) holds(path string, x span) error {
	n := d.names[path]
	if n == nil {
		return fmt.Errorf("%s does not exist", path)
	}
	if !n.durable && !n.renamed {
		return fmt.Errorf("the name %s is not durable", path)
	}
	if err := d.named(filepath.Dir(path)); err != nil {
		return err
	}
	if !n.file.synced.covers(x) {
		return fmt.Errorf("bytes %d to %d of %s are not all durable, only %v", x.from, x.to, path, n.file.synced)
	}
	return nil
}

// holdsAll is holds for all that was written to the file.
func (d *disk) holdsAll(path string) error {
	if n := d.names[path]; n != nil && len(n.file.unsynced) > 0 {
		return fmt.Errorf("%s has bytes that are not durable", path)
	}
	return d.holds(path, span{})
}

// named reports why the directory would not be there after power loss.
func (d *disk) named(dir string) error {
	for p := dir; p != d.root && d.inside(p); p = filepath.Dir(p) {
		if n := d.names[p]; n == nil || !n.durable {
			return fmt.Errorf("the name of the directory %s is not durable", p)
		}
	}
	return nil
}
