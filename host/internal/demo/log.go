package demo

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// What an error shows of the log.
const (
	shownLog      = 12
	shownLogBytes = 16 << 10
)

// openLog begins the host's log. The directory is opened to the server's user,
// who has to pass through it.
func (d *demo) openLog() error {
	if err := os.Chmod(d.dir, 0o711); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(d.dir, "host.log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	d.logFile, d.log = f, slog.New(slog.NewTextHandler(f, nil))
	return nil
}

// lastLog is the end of the log, to be put after an error.
func (d *demo) lastLog() string {
	st, err := d.logFile.Stat()
	if err != nil {
		return ""
	}
	n := min(st.Size(), shownLogBytes)
	b, err := io.ReadAll(io.NewSectionReader(d.logFile, st.Size()-n, n))
	if err != nil {
		return ""
	}
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	if lines = lines[max(0, len(lines)-shownLog):]; lines[0] == "" {
		return ""
	}
	return "\nthe last lines of the host's log:\n  " + strings.Join(lines, "\n  ")
}
