package replay

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/slru"
)

// maxSLRUPages bounds the pages of SLRUs that are in memory: 8 MiB, some 30
// million transactions.
const maxSLRUPages = 1024

// slrus are the states of transactions, multixacts and commit times. They are
// small and changed in the order of the WAL, and so are done at once.
type slrus struct {
	disk   *disk
	pages  map[slru.Page]*slruPage
	recent [slru.CommitTs + 1]*slruPage // of each kind, the one that was changed last
	absent [slru.CommitTs + 1]slru.Page // of each kind, one that was looked for and is not there
	list   []slru.Page
	cuts   []slru.Truncation
}

type slruPage struct {
	name  slru.Page
	bytes [wal.BlockSize]byte
}

// record does what the record does to SLRUs.
func (s *slrus) record(rec *wal.Record) error {
	s.list = slru.Pages(rec, s.list[:0])
	for _, name := range s.list {
		page, err := s.page(name)
		if err != nil {
			return err
		}
		if page == nil {
			continue
		}
		if err := slru.Apply(page.bytes[:], rec, name); err != nil {
			return err
		}
	}
	s.cuts = slru.Truncated(rec, s.cuts[:0])
	for i := range s.cuts {
		if err := s.truncate(&s.cuts[i]); err != nil {
			return err
		}
	}
	return nil
}

// page is the page to change, nil where only one that exists is changed. One that
// is in no file is zero, as in recovery (SlruPhysicalReadPage).
func (s *slrus) page(name slru.Page) (*slruPage, error) {
	existing := name.Existing
	name.Existing, name.Init = false, false
	if p := s.recent[name.Kind]; p != nil && p.name == name {
		return p, nil
	}
	if existing && s.absent[name.Kind] == name {
		return nil, nil // as with every commit where no times are kept
	}
	p := s.pages[name]
	if p == nil {
		if len(s.pages) >= maxSLRUPages {
			if err := s.flush(); err != nil {
				return nil, err
			}
		}
		p = &slruPage{name: name}
		found, err := s.load(p)
		if err != nil {
			return nil, err
		}
		if !found && existing {
			s.absent[name.Kind] = name
			return nil, nil
		}
		s.pages[name] = p
		s.absent[name.Kind] = slru.Page{}
	}
	s.recent[name.Kind] = p
	return p, nil
}

// path is the file that holds a page, and where in it.
func (s *slrus) path(p slru.Page) (string, int64) {
	return filepath.Join(s.disk.dir, p.Kind.Dir(), slru.SegmentName(p.Number)), int64(p.Number%slru.PagesPerSegment) * wal.BlockSize
}

// load reads the page, and reports whether its file has it.
func (s *slrus) load(p *slruPage) (found bool, err error) {
	path, at := s.path(p.name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	n, err := f.ReadAt(p.bytes[:], at)
	if err == io.EOF {
		clear(p.bytes[n:])
		return n > 0, nil
	}
	return true, err
}

// flush writes all pages, in order, and forgets them.
func (s *slrus) flush() error {
	all := make([]*slruPage, 0, len(s.pages))
	for _, p := range s.pages {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *slruPage) int {
		return cmp.Or(cmp.Compare(a.name.Kind, b.name.Kind), cmp.Compare(a.name.Number, b.name.Number))
	})
	for _, p := range all {
		if err := s.write(p); err != nil {
			return err
		}
	}
	clear(s.pages)
	clear(s.recent[:])
	return nil
}

func (s *slrus) write(p *slruPage) error {
	path, at := s.path(p.name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	s.disk.changed[path], s.disk.changed[filepath.Dir(path)] = struct{}{}, struct{}{}
	_, err = f.WriteAt(p.bytes[:], at)
	return errors.Join(err, f.Close())
}

// truncate removes what a record cuts off: files of which no page stays
// (SimpleLruTruncate).
func (s *slrus) truncate(t *slru.Truncation) error {
	if err := s.flush(); err != nil {
		return err
	}
	dir := filepath.Join(s.disk.dir, t.Kind.Dir())
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		n, err := strconv.ParseUint(e.Name(), 16, 32)
		if err != nil {
			continue // no segment
		}
		first := uint32(n) * slru.PagesPerSegment
		if !t.Removes(first) || !t.Removes(first+slru.PagesPerSegment-1) {
			continue
		}
		s.disk.changed[dir] = struct{}{}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
