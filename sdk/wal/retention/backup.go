package retention

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/walplex/walplex/sdk/wal"
)

// Backup is a base backup that an archive knows of by its backup history file.
type Backup struct {
	Name     string // of the file, without the suffix of a compression
	Timeline wal.TimelineID
	Start    wal.LSN // from which on it needs WAL
}

// newestPrefix begins a wish that counts backups instead of naming one.
const newestPrefix = "newest:"

// ParseBackupName takes apart the name of a backup history file, the segment in
// which the backup begins and where in it (BackupHistoryFileName in
// access/xlog_internal.h):
//
//	00000001000000000000000A.00000028.backup
func ParseBackupName(size wal.SegmentSize, name string) (Backup, bool) {
	segment, rest, _ := strings.Cut(name, ".")
	offset, isBackup := strings.CutSuffix(rest, ".backup")
	tli, no, err := size.ParseFileName(segment)
	if err != nil || !isBackup || len(offset) != 8 {
		return Backup{}, false
	}
	n, err := strconv.ParseUint(offset, 16, 32)
	if err != nil || n >= uint64(size) {
		return Backup{}, false
	}
	return Backup{Name: name, Timeline: tli, Start: size.LSN(no) + wal.LSN(n)}, true
}

// Label is the backup's label in a backup history file, "" where it has none.
func Label(history []byte) string {
	for line := range bytes.Lines(history) {
		if label, ok := strings.CutPrefix(strings.TrimRight(string(line), "\r\n"), "LABEL: "); ok {
			return label
		}
	}
	return ""
}

// CheckBackup checks the form of what [Since] is asked for.
func CheckBackup(want string) error {
	_, _, err := newest(want)
	return err
}

// newest reads a wish that counts.
func newest(want string) (n int, ok bool, err error) {
	count, ok := strings.CutPrefix(want, newestPrefix)
	if !ok {
		return 0, false, nil
	}
	if n, err = strconv.Atoi(count); err != nil || n < 1 {
		return 0, true, fmt.Errorf("%q: write newest:1, newest:2 and so on, a backup's label, or the name of its backup history file", want)
	}
	return n, true, nil
}

// Since is the first segment that a backup needs. want is "newest:N" for the N
// newest ones together, the name of a backup history file, or a label; of several
// with that label the oldest counts. The newest are those of the highest timeline,
// and there those that begin last. An error says that no such backup is known, and
// nothing is to be removed then.
func Since(size wal.SegmentSize, want string, backups []Backup, label func(b *Backup) (string, error)) (wal.SegNo, error) {
	n, count, err := newest(want)
	if err != nil {
		return 0, err
	}
	if b, ok := ParseBackupName(size, want); ok {
		return size.SegNo(b.Start), nil
	}
	var found []Backup
	for i := range backups {
		if !count {
			is, err := label(&backups[i])
			if err != nil {
				return 0, err
			}
			if is != want {
				continue
			}
		}
		found = append(found, backups[i])
	}
	switch {
	case count && len(found) < n:
		return 0, fmt.Errorf("the archive has the backup history files of %d backups, and the WAL of the %d newest is to be kept", len(found), n)
	case len(found) == 0:
		return 0, fmt.Errorf("none of the %d backup history files in the archive is of a backup with the label %q", len(backups), want)
	case count:
		slices.SortFunc(found, func(a, b Backup) int {
			return cmp.Or(cmp.Compare(b.Timeline, a.Timeline), cmp.Compare(b.Start, a.Start))
		})
		found = found[:n]
	}
	start := found[0].Start
	for _, b := range found {
		start = min(start, b.Start)
	}
	return size.SegNo(start), nil
}
