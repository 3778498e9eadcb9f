package primary

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// place is where a server says that its data directory is, and what proves that
// the one found there is its own: a standby on this machine may have the same
// path and system identifier as a primary elsewhere, but not the same start.
type place struct {
	dataDir  string
	systemID uint64
	started  int64 // pg_postmaster_start_time, Unix seconds
}

// startTolerance is how far the time in postmaster.pid, taken when the server's
// start began, may be from pg_postmaster_start_time, taken when it was nearly
// through. Seconds.
const startTolerance = 60

var errElsewhere = errors.New("the server's data directory is not on this machine, or not readable")

// diskOf reads how full the disk of the server's pg_wal is.
func diskOf(p place) (*Disk, error) {
	if !filepath.IsAbs(p.dataDir) || p.systemID == 0 {
		return nil, errElsewhere
	}
	id, err := controlSystemID(p.dataDir)
	if err != nil || id != p.systemID {
		return nil, errElsewhere
	}
	started, err := pidStart(p.dataDir)
	if err != nil || started-p.started > startTolerance || p.started-started > startTolerance {
		return nil, errElsewhere
	}
	dir := filepath.Join(p.dataDir, "pg_wal") // may be a link to another disk
	free, size, err := freeSpace(dir)
	if err != nil {
		return nil, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return &Disk{Path: dir, Free: free, Size: size}, nil
}

// controlSystemID is pg_control's first field (catalog/pg_control.h), in the
// server's byte order, which on this machine is ours.
func controlSystemID(dataDir string) (uint64, error) {
	b, err := readSome(filepath.Join(dataDir, "global", "pg_control"), 8)
	if err != nil || len(b) < 8 {
		return 0, errElsewhere
	}
	return binary.NativeEndian.Uint64(b), nil
}

// maxPIDFile is more than a postmaster.pid ever has, bytes.
const maxPIDFile = 4 << 10

// pidStart is line LOCK_FILE_LINE_START_TIME of postmaster.pid (utils/pidfile.h).
func pidStart(dataDir string) (int64, error) {
	b, err := readSome(filepath.Join(dataDir, "postmaster.pid"), maxPIDFile)
	if err != nil {
		return 0, err
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) < 3 {
		return 0, errElsewhere
	}
	return strconv.ParseInt(strings.TrimSpace(lines[2]), 10, 64)
}

func readSome(name string, n int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}
