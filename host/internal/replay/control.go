package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/walplex/walplex/host/internal/pages"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

var le = binary.LittleEndian

// control is what pg_control says, and what backup_label says instead.
type control struct {
	*pages.Control
	backup bool // begun with a base backup: its end must be reached
}

// readControl reads global/pg_control, and backup_label if there is one.
func readControl(dataDir string) (*control, error) {
	p, err := pages.ReadControl(dataDir)
	if err != nil {
		return nil, err
	}
	if p.SegmentBlocks != relfile.SegmentBlocks {
		return nil, fmt.Errorf("%s: the files of relations have %d blocks each, and only %d are known here", dataDir, p.SegmentBlocks, relfile.SegmentBlocks)
	}
	c := &control{Control: p}
	return c, c.readLabel(filepath.Join(dataDir, "backup_label"))
}

// readLabel takes the start from a backup's label (build_backup_content in
// access/transam/xlogbackup.c).
func (c *control) readLabel(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "START WAL LOCATION: "); ok {
			location, _, _ := strings.Cut(rest, " ")
			if c.Redo, err = wal.ParseLSN(location); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			c.backup = true
		}
		if rest, ok := strings.CutPrefix(line, "START TIMELINE: "); ok {
			if _, err := fmt.Sscanf(rest, "%d", &c.Timeline); err != nil {
				return fmt.Errorf("%s: %q: %w", path, strings.TrimSpace(line), err)
			}
		}
	}
	if !c.backup {
		return fmt.Errorf("%s names no start WAL location", path)
	}
	return nil
}
