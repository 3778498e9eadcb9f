package segmentfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/walplex/walplex/sdk"
)

// Files of the sink's own in the directory.
const (
	formatFile = ".walplex-segment_file"
	lockFile   = ".walplex.lock"
)

// formatVersion is the version of the directory's format that is written, and
// the highest that is read:
//
//	1  plain segments of one timeline
//	2  segments may be compressed, and timelines follow each other
const formatVersion = 2

// maxFormatFile bounds what is read of the format file, in bytes.
const maxFormatFile = 64 << 10

// format is the content of the format file.
type format struct {
	Version int `json:"version"`
}

// checkFormat refuses a directory that a later release has written. One without
// a format file is taken as it is.
func checkFormat(d *directory) error {
	name := d.join(formatFile)
	b, err := d.readSmall(formatFile, maxFormatFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explain(err, "read the version of the archive's format")
	}
	var v format
	if err := json.Unmarshal(b, &v); err != nil || v.Version < 1 {
		return sdk.Permanentf("%s does not say the version of the archive's format: restore it, or remove it if the directory holds nothing but WAL segments", name)
	}
	if v.Version > formatVersion {
		return sdk.Permanentf("%s: the archive has format version %d, this walplex knows up to %d: use a later release of walplex, or another directory", name, v.Version, formatVersion)
	}
	return nil
}

// writeFormat writes the format file, which shows too that the directory can be
// written to.
func writeFormat(d *directory) error {
	b, err := json.Marshal(format{Version: formatVersion})
	if err != nil {
		return fmt.Errorf("cannot encode the version of the archive's format: %w", err)
	}
	return explain(d.writeFile(formatFile, append(b, '\n')), "write to the directory")
}
