package segmentfile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

// maxHistoryFile bounds what is read of a history file, in bytes.
const maxHistoryFile = 16 << 20

// writeHistory puts a timeline's history file into the archive, durably. One that
// is there with other bytes stays: two servers have made the same timeline.
func (d *directory) writeHistory(tli wal.TimelineID, data []byte) error {
	name := wal.HistoryFileName(tli)
	held, err := d.readSmall(name, maxHistoryFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return explain(err, "read "+name)
	case !bytes.Equal(held, data):
		return sdk.Permanentf("history file %s (SHA-256 %x) has other bytes than the server's (SHA-256 %x): a history file is never replaced: "+
			"two servers were promoted to timeline %d, and this archive holds the other one's: stop the wrong server, or use a new directory for this one",
			d.join(name), sha256.Sum256(held), sha256.Sum256(data), tli)
	}
	// Also where it is there: power loss may still take it.
	return explain(d.writeFile(name, data), "write "+name)
}

// readSmall reads a file that is at most limit bytes long.
func (d *directory) readSmall(name string, limit int64) ([]byte, error) {
	f, err := d.fs.OpenFile(d.join(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// descends reports whether WAL of timeline held can be continued on timeline tli
// with this history: it is an ancestor. ended is where the history left it, 0
// where that is not known or has not come.
func descends(held, tli wal.TimelineID, history []byte) (ours bool, ended wal.LSN, err error) {
	if held == tli {
		return true, 0, nil
	}
	if held > tli || len(history) == 0 {
		return false, 0, nil
	}
	h, err := wal.ParseHistory(tli, history)
	if err != nil {
		return false, 0, err
	}
	ended, ours = h.SwitchPoint(held)
	return ours, ended, nil
}
