package pagestore

import (
	"errors"
	"fmt"
	"io/fs"
)

// Size is what the store takes on disk, in bytes.
type Size struct {
	Values uint64 // the log of values
	Images uint64 // the log of images
	Index  uint64

	LiveImages uint64 // of Images, the entries to which keys lead
}

// Size asks the file system and the index.
func (s *Store) Size() (Size, error) {
	gen, err := s.visible.enter()
	if err != nil {
		return Size{}, err
	}
	defer s.visible.leave(gen)
	var size Size
	if size.Values, err = s.reader.size(); err != nil {
		return Size{}, err
	}
	if size.Images, err = s.images.reader.size(); err != nil {
		return Size{}, err
	}
	if err := s.eachLive(func(_ uint32, f liveImages) { size.LiveImages += uint64(f.bytes) }); err != nil {
		return Size{}, err
	}
	size.Index = s.ix.db.Metrics().DiskSpaceUsage()
	return size, nil
}

// size is how many bytes the log's files take.
func (r *logReader) size() (n uint64, err error) {
	names, err := r.fs.List(r.dir)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		info, err := r.fs.Stat(r.fs.PathJoin(r.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was collected meanwhile
		}
		if err != nil {
			return 0, fmt.Errorf("size of the log of %s: %w", r.fs.PathBase(r.dir), err)
		}
		n += uint64(info.Size())
	}
	return n, nil
}
