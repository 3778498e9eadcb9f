package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

const (
	formatVersion = 1 // of the lines, in each file's header

	fileSuffix = ".jsonl"
	lockName   = "audit.lock"
	fileMode   = 0o600
	dirMode    = 0o700

	// bufferSize is how many bytes of lines wait before they are written.
	bufferSize = 256 << 10
	// maxHeader bounds a file's header line, in bytes.
	maxHeader = 4096
)

// header is a file's first line.
type header struct {
	Version  int            `json:"walplex_audit"`
	SystemID uint64         `json:"system_id,string"`
	Timeline wal.TimelineID `json:"timeline"`
	From     wal.LSN        `json:"from"`
	Level    string         `json:"level"`
	Filtered bool           `json:"filtered"` // the sink had a filter
}

// partial reports that the file need not have a line for every record.
func (h *header) partial() bool { return h.Filtered || h.Level != LevelRecord }

// parseHeader reads a file's first line, without its end.
func parseHeader(line []byte) (header, error) {
	var v struct {
		Version *int `json:"walplex_audit"`
	}
	if err := json.Unmarshal(line, &v); err != nil || v.Version == nil {
		return header{}, errors.New("its first line is not the header of an audit trail")
	}
	if *v.Version != formatVersion {
		return header{}, sdk.Permanentf("its format is version %d, and this walplex knows version %d: use the walplex that wrote it, or a newer one",
			*v.Version, formatVersion)
	}
	var h header
	if err := json.Unmarshal(line, &h); err != nil {
		return header{}, fmt.Errorf("its header cannot be read: %w", err)
	}
	return h, nil
}

// fileName is the name of the file whose first record begins at p.
func fileName(p wal.Position) string {
	return fmt.Sprintf("%08X-%016X%s", uint32(p.Timeline), uint64(p.LSN), fileSuffix)
}

// parseFileName reads a name as fileName writes it.
func parseFileName(name string) (wal.Position, error) {
	tli, rest, _ := strings.Cut(name, "-")
	lsn, ok := strings.CutSuffix(rest, fileSuffix)
	t, err1 := strconv.ParseUint(tli, 16, 32)
	l, err2 := strconv.ParseUint(lsn, 16, 64)
	p := wal.Position{Timeline: wal.TimelineID(t), LSN: wal.LSN(l)}
	if !ok || err1 != nil || err2 != nil || fileName(p) != name {
		return wal.Position{}, fmt.Errorf("%q is not the name of an audit file, such as %s", name, fileName(wal.Position{Timeline: 1, LSN: 0x3000028}))
	}
	return p, nil
}

// listFiles answers the names of the trail's files in the order of the WAL, and
// those of other *.jsonl files.
func listFiles(fsys durable.FS, dir string) (ours, foreign []string, _ error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), fileSuffix) {
			continue
		}
		if _, err := parseFileName(e.Name()); err != nil {
			foreign = append(foreign, e.Name())
			continue
		}
		ours = append(ours, e.Name())
	}
	slices.Sort(ours)
	return ours, foreign, nil
}

// trail is the file that lines go to, and its successors.
type trail struct {
	fsys  durable.FS
	dir   string
	limit int64 // rotate_bytes

	head     header // of the file, and what the next one inherits
	name     string
	f        durable.File // nil: the next line begins a file
	off      int64        // bytes of the file that were written
	buf      []byte       // bytes behind them that were not
	line     []byte       // scratch
	unsynced bool         // bytes were written that are not durable
	unnamed  bool         // files were made whose names are not durable
}

// resume opens the file that the durable position names and cuts it durably to
// what is durable.
func (t *trail) resume(name string, offset int64) (cut int64, err error) {
	path := filepath.Join(t.dir, name)
	f, err := t.fsys.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, sdk.Permanentf("%s is gone, but %s says that its first %d bytes are durable: put it back, or empty the directory to begin a new trail",
			path, positionName, offset)
	}
	if err != nil {
		return 0, err
	}
	if cut, err = t.cut(f, path, offset); err != nil {
		return 0, errors.Join(err, f.Close())
	}
	t.name, t.f, t.off = name, f, offset
	return cut, nil
}

func (t *trail) cut(f durable.File, path string, offset int64) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() < offset {
		return 0, sdk.Permanentf("%s has %d bytes, but %s says that %d are durable: put the whole file back, or empty the directory to begin a new trail",
			path, info.Size(), positionName, offset)
	}
	first := make([]byte, min(maxHeader, offset))
	if _, err := f.ReadAt(first, 0); err != nil && err != io.EOF {
		return 0, err
	}
	line, _, _ := bytes.Cut(first, []byte{'\n'})
	h, err := parseHeader(line)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, sdk.Permanent(err))
	}
	if h.SystemID != t.head.SystemID {
		return 0, sdk.Permanentf("%s is of system %d, but %s is of system %d: put the file back that belongs there, or empty the directory to begin a new trail",
			path, h.SystemID, positionName, t.head.SystemID)
	}
	t.head.Timeline, t.head.From = h.Timeline, h.From
	if h.Level != t.head.Level || h.Filtered != t.head.Filtered {
		t.head.Timeline = 0 // no line has it: the next one begins a file
	}
	if err := f.Truncate(offset); err != nil {
		return 0, err
	}
	// Now, even where nothing had to be cut: the process that cut it may have been
	// killed before this. What is cut must not come back behind a next file.
	return info.Size() - offset, f.Sync()
}

// add takes the line that lies in buf from mark on, of a record that starts at
// start. It begins a file for it when that is due.
func (t *trail) add(start wal.Position, mark int) error {
	size := t.off + int64(len(t.buf))
	if t.f == nil || t.head.Timeline != start.Timeline || size > t.limit {
		t.line = append(t.line[:0], t.buf[mark:]...)
		t.buf = t.buf[:mark]
		if err := t.finish(); err != nil {
			return err
		}
		if err := t.begin(start); err != nil {
			return err
		}
		t.buf = append(t.buf, t.line...)
	}
	if len(t.buf) >= bufferSize {
		return t.write()
	}
	return nil
}

// begin makes the file whose first record is at start.
func (t *trail) begin(start wal.Position) error {
	t.name = fileName(start)
	f, err := t.fsys.OpenFile(filepath.Join(t.dir, t.name), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrExist) {
		return sdk.Permanentf("%s is there already, and this sink did not write it: move it away", filepath.Join(t.dir, t.name))
	}
	if err != nil {
		return err
	}
	t.f, t.off, t.unnamed = f, 0, true
	t.head.Timeline, t.head.From = start.Timeline, start.LSN
	t.buf = appendHeader(t.buf, &t.head)
	return nil
}

// finish ends the file: its bytes become durable.
func (t *trail) finish() error {
	if t.f == nil {
		return nil
	}
	if err := t.syncData(); err != nil {
		return err
	}
	f := t.f
	t.f = nil
	return f.Close()
}

// write hands the buffered lines to the operating system.
func (t *trail) write() error {
	if len(t.buf) == 0 {
		return nil
	}
	t.unsynced = true
	if _, err := t.f.WriteAt(t.buf, t.off); err != nil {
		return err
	}
	t.off += int64(len(t.buf))
	t.buf = t.buf[:0]
	return nil
}

func (t *trail) syncData() error {
	if err := t.write(); err != nil || !t.unsynced {
		return err
	}
	if err := t.f.SyncData(); err != nil {
		return err
	}
	t.unsynced = false
	return nil
}

// sync makes every line and every file's name durable.
func (t *trail) sync() error {
	if t.f != nil {
		if err := t.syncData(); err != nil {
			return err
		}
	}
	if !t.unnamed {
		return nil
	}
	if err := t.fsys.SyncDir(t.dir); err != nil {
		return err
	}
	t.unnamed = false
	return nil
}

func (t *trail) close() error {
	if t.f == nil {
		return nil
	}
	f := t.f
	t.f = nil
	return f.Close()
}
