package archiveprune

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/retention"
)

// survey is what lies in the directory.
type survey struct {
	dir      string
	size     wal.SegmentSize
	segments []retention.Segment
	backups  []retention.Backup
	files    map[string]string // the file of a backup history by its name without suffix
}

// take reads the names.
func take(dir string) (*survey, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &survey{dir: dir, files: map[string]string{}}
	var names []archive.File
	infos := map[string]os.FileInfo{}
	for _, e := range entries {
		f, ok := archive.ParseName(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		if infos[f.Name], err = e.Info(); errors.Is(err, os.ErrNotExist) {
			continue // a sink has given it another name, or its retention has removed it
		}
		if err != nil {
			return nil, err
		}
		names = append(names, f)
	}
	if err := s.identify(names); err != nil {
		return nil, err
	}
	var files []retention.File
	for _, f := range names {
		if f.Kind == archive.Backup {
			if b, ok := retention.ParseBackupName(s.size, f.Base); ok {
				s.backups, s.files[b.Name] = append(s.backups, b), f.Name
			}
			continue
		}
		tli, no, err := s.size.ParseFileName(f.Base)
		if err != nil {
			continue // a history file, or no segment of this size
		}
		info := infos[f.Name]
		files = append(files, retention.File{Name: f.Name, Timeline: tli, No: no, Partial: f.Kind == archive.Partial, Size: info.Size(), Modified: info.ModTime()})
	}
	s.segments = retention.Segments(files)
	return s, nil
}

// identify takes the segment size from the newest finished segment of the highest
// timeline that has one.
func (s *survey) identify(names []archive.File) error {
	var finished []archive.File
	for _, f := range names {
		if f.Kind == archive.Segment {
			finished = append(finished, f)
		}
	}
	if len(finished) == 0 {
		return fmt.Errorf("%s holds no finished WAL segment; give the directory in which the segments lie", s.dir)
	}
	newest := slices.MaxFunc(finished, func(a, b archive.File) int { return cmp.Compare(a.Base, b.Base) })
	h, err := readHeader(filepath.Join(s.dir, newest.Name))
	if err != nil {
		return err
	}
	if err := h.CheckName(newest.Base); err != nil {
		return fmt.Errorf("%s is no WAL segment: %w", filepath.Join(s.dir, newest.Name), err)
	}
	s.size = h.SegmentSize
	return nil
}

func (s *survey) decide(o *Options) (retention.Decision, error) {
	rules := retention.Rules{Age: o.Age, Size: o.Size}
	if o.Backup != "" {
		var err error
		rules.Backup = true
		if rules.Since, err = retention.Since(s.size, o.Backup, s.backups, s.label); err != nil {
			return retention.Decision{}, err
		}
	}
	var top wal.TimelineID
	for i := range s.segments {
		top = max(top, s.segments[i].Timeline)
	}
	needed, err := retention.Newest(s.segments, top, s.spans)
	if err != nil {
		return retention.Decision{}, err
	}
	return retention.Decide(s.segments, rules, needed, o.Now), nil
}

// spans reports whether a record takes the whole segment.
func (s *survey) spans(g *retention.Segment) (bool, error) {
	for _, f := range g.Files {
		if !f.Partial {
			h, err := readHeader(filepath.Join(s.dir, f.Name))
			return retention.Spans(s.size, h.Info, h.RemLen), err
		}
	}
	return true, nil
}

// maxBackupHistory bounds what is read of a backup history file, in bytes.
const maxBackupHistory = 64 << 10

// label reads a backup's label.
func (s *survey) label(b *retention.Backup) (string, error) {
	c, err := archive.OpenFile(filepath.Join(s.dir, s.files[b.Name]))
	if err != nil {
		return "", err
	}
	defer c.Close()
	text, err := io.ReadAll(io.LimitReader(c, maxBackupHistory))
	return retention.Label(text), err
}
