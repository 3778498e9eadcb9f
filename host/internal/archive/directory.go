package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/walplex/walplex/sdk/wal"
)

// openSegment opens a segment under whatever name it has, the surest first;
// fs.ErrNotExist when it has none.
func openSegment(dir, segment string) (*Content, error) {
	for _, name := range append(Names(segment), PartialNames(segment)...) {
		c, err := OpenFile(filepath.Join(dir, name))
		if !errors.Is(err, os.ErrNotExist) {
			return c, err
		}
	}
	return nil, fmt.Errorf("segment %s in %s: %w", segment, dir, os.ErrNotExist)
}

// inventory are the segments of a directory, by timeline.
type inventory map[wal.TimelineID][]string

// list reads the directory's names. A segment that lies there under several is
// counted once.
func list(dir string) (inventory, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	seen := inventory{}
	for _, e := range entries {
		f, ok := ParseName(e.Name())
		if ok && (f.Kind == Segment || f.Kind == Partial) {
			seen[f.Timeline()] = append(seen[f.Timeline()], f.Base)
		}
	}
	for tli, names := range seen {
		slices.Sort(names)
		seen[tli] = slices.Compact(names)
	}
	if len(seen) == 0 {
		return nil, fmt.Errorf("%s holds no WAL segment", dir)
	}
	return seen, nil
}
