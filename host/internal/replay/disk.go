package replay

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

// maxOpen bounds the files that are open at once.
const maxOpen = 512

// forkID names a fork of a relation.
type forkID struct {
	rel  wal.RelFileLocator
	fork wal.ForkNumber
}

// fork is a fork of a relation that records refer to.
type fork struct {
	id     forkID
	blocks wal.BlockNumber // its size, with what the window adds
	stored wal.BlockNumber // blocks that its files have
	table  []*chunk        // the slots of its pages in the window
	files  []*os.File      // open segments; nil where one is not open
}

// disk is the relations' files of a data directory.
type disk struct {
	dir     string
	catalog string // the directory in a tablespace
	sums    bool   // pages have checksums
	forks   map[forkID]*fork
	recent  [64]*fork // those met last, by a hash of their names

	open    int
	changed map[string]struct{} // files and directories to fsync in the end

	read, written uint64 // pages
}

func newDisk(dir string, c *control) *disk {
	return &disk{dir: dir, catalog: relfile.CatalogDir(c.Major, c.CatalogVersion), sums: c.Checksums, forks: map[forkID]*fork{}, changed: map[string]struct{}{}}
}

// fork is the fork of this name, whether it has files or not.
func (d *disk) fork(id forkID) (*fork, error) {
	slot := &d.recent[(uint32(id.rel.Rel)*31+uint32(id.rel.DB)+uint32(id.fork))%uint32(len(d.recent))]
	if f := *slot; f != nil && f.id == id {
		return f, nil
	}
	f := d.forks[id]
	if f == nil {
		f = &fork{id: id}
		if err := d.measure(f); err != nil {
			return nil, err
		}
		d.forks[id] = f
	}
	*slot = f
	return f, nil
}

// measure finds out how many blocks the fork's files have.
func (d *disk) measure(f *fork) error {
	f.stored = 0
	for segment := uint32(0); ; segment++ {
		path := d.path(f, segment)
		st, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		n := min(st.Size()/wal.BlockSize, relfile.SegmentBlocks)
		f.stored = wal.BlockNumber(segment)*relfile.SegmentBlocks + wal.BlockNumber(n)
		if n < relfile.SegmentBlocks {
			break
		}
	}
	f.blocks = f.stored
	return nil
}

// path is that of a segment.
func (d *disk) path(f *fork, segment uint32) string {
	return filepath.Join(d.database(f.id.rel.Spc, f.id.rel.DB), relfile.Base(f.id.rel.Rel, f.id.fork, segment))
}

// database is the directory of a database in a tablespace.
func (d *disk) database(spc, db wal.OID) string {
	return filepath.Join(d.dir, relfile.Dir(spc, db, d.catalog))
}

// file opens a segment, and makes it where it is not there.
func (d *disk) file(f *fork, segment uint32) (*os.File, error) {
	for int(segment) >= len(f.files) {
		f.files = append(f.files, nil)
	}
	if f.files[segment] != nil {
		return f.files[segment], nil
	}
	if d.open >= maxOpen {
		if err := d.closeFiles(); err != nil {
			return nil, err
		}
	}
	path := d.path(f, segment)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = d.makeFile(path)
	}
	if err != nil {
		return nil, err
	}
	d.open++
	f.files[segment] = file
	return file, nil
}

// makeFile makes a segment, and its database's directory where that is gone: a
// later record drops it, which was done already.
func (d *disk) makeFile(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	d.changed[dir] = struct{}{}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// readPages reads consecutive blocks, which are all of one segment; what the
// files do not have is zero.
func (d *disk) readPages(f *fork, block wal.BlockNumber, pages []byte) error {
	have := int(max(min(int64(f.stored)-int64(block), int64(len(pages)/wal.BlockSize)), 0)) * wal.BlockSize
	clear(pages[have:])
	if have == 0 {
		return nil
	}
	file, err := d.file(f, uint32(block/relfile.SegmentBlocks))
	if err != nil {
		return err
	}
	d.read += uint64(have / wal.BlockSize)
	n, err := file.ReadAt(pages[:have], int64(block%relfile.SegmentBlocks)*wal.BlockSize)
	if err == io.EOF { // the kernel's file ends before: a segment that is not full
		clear(pages[n:have])
		return nil
	}
	return err
}

// write writes consecutive blocks, which are all of one segment.
func (d *disk) write(f *fork, block wal.BlockNumber, pages []byte) error {
	file, err := d.file(f, uint32(block/relfile.SegmentBlocks))
	if err != nil {
		return err
	}
	n := wal.BlockNumber(len(pages) / wal.BlockSize)
	if d.sums {
		for i := range n {
			redo.SetChecksum(pages[i*wal.BlockSize:(i+1)*wal.BlockSize], block+i)
		}
	}
	d.changed[file.Name()] = struct{}{}
	d.written += uint64(n)
	f.stored = max(f.stored, block+n)
	_, err = file.WriteAt(pages, int64(block%relfile.SegmentBlocks)*wal.BlockSize)
	return err
}

// fill gives all segments but the last one of a fork their full size, as the
// server's have: pages between those that were written are zero.
func (d *disk) fill(f *fork) error {
	for segment := range uint32(f.stored / relfile.SegmentBlocks) {
		file, err := d.file(f, segment)
		if err != nil {
			return err
		}
		st, err := file.Stat()
		if err != nil {
			return err
		}
		if st.Size() < relfile.SegmentBlocks*wal.BlockSize {
			if err := file.Truncate(relfile.SegmentBlocks * wal.BlockSize); err != nil {
				return err
			}
			d.changed[file.Name()] = struct{}{}
		}
	}
	return nil
}

// create makes the fork's file, if there is none.
func (d *disk) create(f *fork) error {
	_, err := d.file(f, 0)
	return err
}

// truncate cuts the files to so many blocks. Nothing waits for the others.
func (d *disk) truncate(f *fork, blocks wal.BlockNumber) error {
	f.blocks = min(f.blocks, blocks)
	if f.stored <= blocks {
		return nil
	}
	last := uint32((f.stored - 1) / relfile.SegmentBlocks)
	for segment := uint32(blocks / relfile.SegmentBlocks); segment <= last; segment++ {
		file, err := d.file(f, segment)
		if err != nil {
			return err
		}
		keep := max(int64(blocks)-int64(segment)*relfile.SegmentBlocks, 0)
		if err := file.Truncate(keep * wal.BlockSize); err != nil {
			return err
		}
		d.changed[file.Name()] = struct{}{}
	}
	f.stored = blocks
	return nil
}

// remove removes the fork's files. Nothing waits for its pages.
func (d *disk) remove(f *fork) error {
	if err := d.closeFork(f); err != nil {
		return err
	}
	for segment := uint32(0); ; segment++ {
		path := d.path(f, segment)
		delete(d.changed, path)
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		d.changed[filepath.Dir(path)] = struct{}{}
	}
	d.forget(f)
	return nil
}

// forget takes a fork for one that was never met.
func (d *disk) forget(f *fork) {
	delete(d.forks, f.id)
	for i := range d.recent {
		if d.recent[i] == f {
			d.recent[i] = nil
		}
	}
}

func (d *disk) closeFork(f *fork) error {
	var errs []error
	for i, file := range f.files {
		if file != nil {
			errs = append(errs, file.Close())
			f.files[i] = nil
			d.open--
		}
	}
	return errors.Join(errs...)
}

func (d *disk) closeFiles() error {
	var errs []error
	for _, f := range d.forks {
		errs = append(errs, d.closeFork(f))
	}
	return errors.Join(errs...)
}

// sync has all that was changed survive the loss of power.
func (d *disk) sync() error {
	for _, f := range d.forks {
		if err := d.fill(f); err != nil {
			return err
		}
	}
	for path := range d.changed {
		if err := syncPath(path); err != nil {
			return err
		}
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *disk) close() error { return d.closeFiles() }
