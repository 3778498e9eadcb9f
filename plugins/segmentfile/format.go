package segmentfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
)

// Files of the sink's own in the directory.
const (
	formatFile = ".walplex-segment_file"
	lockFile   = ".walplex.lock"
)

// formatVersion is the version of the directory's format that is written, and
// the highest that is read.
const formatVersion = 1

// maxFormatFile bounds what is read of the format file, in bytes.
const maxFormatFile = 64 << 10

// format is the content of the format file.
type format struct {
	Version int `json:"version"`
}

// checkFormat refuses a directory that a later release has written. One without
// a format file is taken as it is.
func checkFormat(fsys durable.FS, dir string) error {
	name := filepath.Join(dir, formatFile)
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explain(err, "read the version of the archive's format")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFormatFile))
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
func writeFormat(fsys durable.FS, dir string) error {
	b, err := json.Marshal(format{Version: formatVersion})
	if err != nil {
		return fmt.Errorf("cannot encode the version of the archive's format: %w", err)
	}
	err = durable.WriteFileAtomic(fsys, filepath.Join(dir, formatFile), append(b, '\n'), filePerm)
	return explain(err, "write to the directory")
}
