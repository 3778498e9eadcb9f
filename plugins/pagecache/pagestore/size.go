package pagestore

import "fmt"

// Size is what the store takes on disk, in bytes.
type Size struct {
	Values uint64 // the log of values
	Index  uint64
}

// Size asks the file system and the index.
func (s *Store) Size() (Size, error) {
	if err := s.visible.enter(); err != nil {
		return Size{}, err
	}
	defer s.visible.leave()
	names, err := s.fs.List(s.reader.dir)
	if err != nil {
		return Size{}, err
	}
	var size Size
	for _, name := range names {
		info, err := s.fs.Stat(s.fs.PathJoin(s.reader.dir, name))
		if err != nil {
			return Size{}, fmt.Errorf("size of the log of values: %w", err)
		}
		size.Values += uint64(info.Size())
	}
	size.Index = s.ix.db.Metrics().DiskSpaceUsage()
	return size, nil
}
