package pages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

// Fork names a fork of a relation.
type Fork struct {
	Rel  wal.RelFileLocator
	Fork wal.ForkNumber
}

func (f Fork) String() string { return fmt.Sprintf("relation %s, fork %s", f.Rel, f.Fork) }

// dataDir are the files of a data directory that hold pages.
type dataDir struct {
	root      string
	segment   uint32            // blocks of a segment
	forks     map[Fork][]string // names of the segments, in order
	blocks    map[Fork]uint32
	slru      map[relfile.Kind]map[uint32]string // by number
	maps      []relfile.File
	mapNames  []string
	temporary int
}

// readDataDir looks for the files in all places where they can be.
func readDataDir(ctx context.Context, root string, c *Control) (*dataDir, error) {
	d := &dataDir{root: root, segment: c.SegmentBlocks, forks: map[Fork][]string{}, blocks: map[Fork]uint32{}, slru: map[relfile.Kind]map[uint32]string{}}
	for _, dir := range []string{"global", "pg_xact", "pg_multixact/offsets", "pg_multixact/members", "pg_commit_ts"} {
		if err := d.readDir(dir); err != nil {
			return nil, err
		}
	}
	for _, pattern := range []string{"base/*", "pg_tblspc/*/" + c.catalogDir() + "/*"} {
		dirs, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			rel, err := filepath.Rel(root, dir)
			if err != nil {
				return nil, err
			}
			if err := d.readDir(filepath.ToSlash(rel)); err != nil {
				return nil, err
			}
		}
	}
	return d, d.joinSegments()
}

func (d *dataDir) readDir(dir string) error {
	entries, err := os.ReadDir(filepath.Join(d.root, filepath.FromSlash(dir)))
	if err != nil {
		if info, statErr := os.Stat(filepath.Join(d.root, filepath.FromSlash(dir))); statErr == nil && !info.IsDir() {
			return nil // a file where databases are
		}
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return err
		}
		if err := d.add(name, info.Size()); err != nil {
			return err
		}
	}
	return nil
}

// add takes a file.
func (d *dataDir) add(name string, size int64) error {
	f := relfile.Parse(name)
	switch f.Kind {
	case relfile.Other:
	case relfile.Temporary:
		d.temporary++
	case relfile.RelMap:
		d.maps, d.mapNames = append(d.maps, f), append(d.mapNames, name)
	case relfile.Relation:
		fork := Fork{f.Rel, f.Fork}
		for len(d.forks[fork]) <= int(f.Segment) {
			d.forks[fork] = append(d.forks[fork], "")
		}
		if size%wal.BlockSize != 0 {
			return fmt.Errorf("%s has %d bytes, which is no number of pages of %d", name, size, wal.BlockSize)
		}
		d.forks[fork][f.Segment] = name
		if size > 0 {
			d.blocks[fork] = max(d.blocks[fork], f.Segment*d.segment+uint32(size/wal.BlockSize))
		}
	default:
		if d.slru[f.Kind] == nil {
			d.slru[f.Kind] = map[uint32]string{}
		}
		d.slru[f.Kind][f.Segment] = name
	}
	return nil
}

// joinSegments refuses relations of which a segment is missing.
func (d *dataDir) joinSegments() error {
	for fork, names := range d.forks {
		for i, name := range names {
			if name == "" {
				return fmt.Errorf("segment %d of %s is missing in %s", i, fork, d.root)
			}
		}
	}
	return nil
}

// unlogged says that nothing of a relation is logged but its init fork.
func (d *dataDir) unlogged(rel wal.RelFileLocator) bool {
	_, ok := d.forks[Fork{rel, wal.InitFork}]
	return ok
}

// forkFile reads blocks of a fork across its segments, from one goroutine.
type forkFile struct {
	d     *dataDir
	names []string
	open  *os.File
	at    int // segment that is open
}

func (d *dataDir) file(f Fork) *forkFile { return &forkFile{d: d, names: d.forks[f], at: -1} }

// read reads blocks from first on into b, all in one segment.
func (f *forkFile) read(first uint32, b []byte) error {
	segment := int(first / f.d.segment)
	if segment != f.at {
		if err := f.close(); err != nil {
			return err
		}
		file, err := os.Open(filepath.Join(f.d.root, filepath.FromSlash(f.names[segment])))
		if err != nil {
			return err
		}
		f.open, f.at = file, segment
	}
	if _, err := f.open.ReadAt(b, int64(first%f.d.segment)*wal.BlockSize); err != nil {
		return fmt.Errorf("read block %d of %s: %w", first, f.names[segment], err)
	}
	return nil
}

func (f *forkFile) close() error {
	if f.open == nil {
		return nil
	}
	err := f.open.Close()
	f.open, f.at = nil, -1
	return err
}

// catalogDir is the directory of this server's files in tablespaces.
func (c *Control) catalogDir() string { return relfile.CatalogDir(c.Major, c.CatalogVersion) }
