package archiveverify

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
)

// segment is one segment of a timeline, in one form or several.
type segment struct {
	no    wal.SegNo
	start wal.LSN
	forms []archive.File // the first is read, the others are compared with it
}

func (s *segment) partial() bool { return s.forms[0].Kind == archive.Partial }

// survey is what lies in the directory.
type survey struct {
	dir       string
	size      wal.SegmentSize
	systemID  uint64
	version   wal.Version
	segments  map[wal.TimelineID][]*segment // in order
	histories map[wal.TimelineID]archive.File
	foreign   []string
	backups   int
}

// Known neighbours of segments that are not part of an archive: directories of
// pg_wal, and what the segment_file sink keeps beside its segments.
var neighbours = []string{"archive_status", "summaries", ".walplex-segment_file", ".walplex.lock"}

// take reads the names, and finds out whose WAL it is.
func take(dir string) (*survey, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &survey{dir: dir, segments: map[wal.TimelineID][]*segment{}, histories: map[wal.TimelineID]archive.File{}}
	var files []archive.File
	for _, e := range entries {
		f, ok := archive.ParseName(e.Name())
		switch {
		case slices.Contains(neighbours, e.Name()):
		case !ok || e.IsDir():
			s.foreign = append(s.foreign, e.Name())
		case f.Kind == archive.History:
			s.histories[f.Timeline()] = f
		case f.Kind == archive.Backup:
			s.backups++
		default:
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no WAL segment; give the directory in which the segments lie", dir)
	}
	if err := s.identify(files); err != nil {
		return nil, err
	}
	s.sort(files)
	return s, nil
}

// sort puts the files in order, and forms of the same segment together: the
// finished before the partial, the plain before the compressed.
func (s *survey) sort(files []archive.File) {
	slices.SortFunc(files, func(a, b archive.File) int {
		if c := strings.Compare(a.Base, b.Base); c != 0 {
			return c
		}
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.Suffix, b.Suffix)
	})
	for _, f := range files {
		tli, no, err := s.size.ParseFileName(f.Base)
		if err != nil || no == 0 {
			s.foreign = append(s.foreign, f.Name)
			continue
		}
		segs := s.segments[tli]
		if n := len(segs); n > 0 && segs[n-1].no == no {
			segs[n-1].forms = append(segs[n-1].forms, f)
			continue
		}
		s.segments[tli] = append(segs, &segment{no: no, start: s.size.LSN(no), forms: []archive.File{f}})
	}
}

// maxIdentified is how many segments are asked whose WAL the archive holds.
const maxIdentified = 64

// identify takes the word of most segments' headers for what the archive is: one
// that is damaged or foreign is found then when it is read.
func (s *survey) identify(files []archive.File) error {
	type identity struct {
		systemID uint64
		size     wal.SegmentSize
		magic    uint16
	}
	votes := map[identity]int{}
	var best identity
	var failed error
	for i := range min(len(files), maxIdentified) {
		f := files[i*len(files)/min(len(files), maxIdentified)]
		h, err := readHeader(filepath.Join(s.dir, f.Name))
		if err == nil {
			err = h.CheckName(f.Base)
		}
		if err == nil {
			if _, known := wal.VersionOfMagic(h.Magic); !known {
				err = fmt.Errorf("the page magic is %04X, of no PostgreSQL version known here (%d to %d)", h.Magic, wal.PG14, wal.PG18)
			}
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", f.Name, err))
			continue
		}
		id := identity{h.SystemID, h.SegmentSize, h.Magic}
		votes[id]++
		if votes[id] > votes[best] {
			best = id
		}
	}
	if len(votes) == 0 {
		return fmt.Errorf("%s: no segment has a header that can be read: %w", s.dir, failed)
	}
	s.systemID, s.size = best.systemID, best.size
	s.version, _ = wal.VersionOfMagic(best.magic)
	return nil
}

func readHeader(path string) (archive.Header, error) {
	c, err := archive.OpenFile(path)
	if err != nil {
		return archive.Header{}, err
	}
	defer c.Close()
	var b [archive.HeaderSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return archive.Header{}, err
	}
	return archive.ParseHeader(b[:]), nil
}
