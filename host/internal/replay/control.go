package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/crc32c"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

var le = binary.LittleEndian

// Where pg_control's fields lie, in bytes (ControlFileData and CheckPoint in
// catalog/pg_control.h), the same in PG14 to PG18 but for the CRC at the end.
const (
	controlSystemID   = 0   // system_identifier
	controlCatalog    = 12  // catalog_version_no
	controlRedo       = 40  // checkPointCopy.redo
	controlTimeline   = 48  // checkPointCopy.ThisTimeLineID
	controlBlockSize  = 216 // blcksz
	controlRelSegSize = 220 // relseg_size
	controlWALBlock   = 224 // xlog_blcksz
	controlWALSegSize = 228 // xlog_seg_size
	controlChecksums  = 252 // data_checksum_version
	controlCRC        = 288
	controlCRC18      = 292 // since PG18, for default_char_signedness
	controlSize       = 296
)

// control is what pg_control says, and what backup_label says instead.
type control struct {
	systemID  uint64
	version   int // major, of PG_VERSION
	catalog   uint32
	redo      wal.LSN
	timeline  wal.TimelineID
	segment   wal.SegmentSize
	checksums bool
	backup    bool // begun with a base backup: its end must be reached
}

// readControl reads global/pg_control, and backup_label if there is one.
func readControl(dataDir string) (*control, error) {
	path := filepath.Join(dataDir, "global", "pg_control")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) < controlSize {
		return nil, fmt.Errorf("%s has %d bytes, fewer than %d", path, len(b), controlSize)
	}
	if le.Uint32(b[controlCRC:]) != crc32c.Update(0, b[:controlCRC]) && le.Uint32(b[controlCRC18:]) != crc32c.Update(0, b[:controlCRC18]) {
		return nil, fmt.Errorf("%s: incorrect checksum: it is damaged, or of a server older than 14", path)
	}
	c := &control{
		systemID:  le.Uint64(b[controlSystemID:]),
		catalog:   le.Uint32(b[controlCatalog:]),
		redo:      wal.LSN(le.Uint64(b[controlRedo:])),
		timeline:  wal.TimelineID(le.Uint32(b[controlTimeline:])),
		segment:   wal.SegmentSize(le.Uint32(b[controlWALSegSize:])),
		checksums: le.Uint32(b[controlChecksums:]) != 0,
	}
	for _, size := range []struct {
		name string
		at   int
		want uint32
	}{{"block size", controlBlockSize, wal.BlockSize}, {"blocks per segment", controlRelSegSize, relfile.SegmentBlocks}, {"WAL block size", controlWALBlock, wal.PageSize}} {
		if have := le.Uint32(b[size.at:]); have != size.want {
			return nil, fmt.Errorf("%s: %s %d, and only %d is known here", path, size.name, have, size.want)
		}
	}
	if c.version, err = readVersion(filepath.Join(dataDir, "PG_VERSION")); err != nil {
		return nil, err
	}
	return c, c.readLabel(filepath.Join(dataDir, "backup_label"))
}

// readVersion reads the major version.
func readVersion(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
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
			if c.redo, err = wal.ParseLSN(location); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			c.backup = true
		}
		if rest, ok := strings.CutPrefix(line, "START TIMELINE: "); ok {
			if _, err := fmt.Sscanf(rest, "%d", &c.timeline); err != nil {
				return fmt.Errorf("%s: %q: %w", path, strings.TrimSpace(line), err)
			}
		}
	}
	if !c.backup {
		return fmt.Errorf("%s names no start WAL location", path)
	}
	return nil
}
