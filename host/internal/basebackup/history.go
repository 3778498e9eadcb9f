package basebackup

import (
	"fmt"
	"strings"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// historyFileName is the name of a backup's history file: the segment in which it
// begins, and where in it (BackupHistoryFileName in access/xlog_internal.h).
func historyFileName(size wal.SegmentSize, tli wal.TimelineID, start wal.LSN) string {
	return fmt.Sprintf("%s.%08X.backup", size.FileName(tli, size.SegNo(start)), size.Offset(start))
}

// historyTime is how PostgreSQL writes times in backup_label.
const historyTime = "2006-01-02 15:04:05 MST"

// historyFile is what PostgreSQL writes into pg_wal when a backup ends, if it
// archives (build_backup_content in access/transam/xlogbackup.c): backup_label
// with three lines more.
func historyFile(label []byte, size wal.SegmentSize, tli wal.TimelineID, stop wal.LSN, at time.Time) ([]byte, error) {
	const first = "START WAL LOCATION: "
	text := string(label)
	line, rest, ok := strings.Cut(text, "\n")
	if !ok || !strings.HasPrefix(line, first) {
		return nil, fmt.Errorf("the backup's %s does not begin with %q", labelFile, first)
	}
	if rest != "" && !strings.HasSuffix(rest, "\n") {
		rest += "\n"
	}
	return fmt.Appendf(nil, "%s\nSTOP WAL LOCATION: %s (file %s)\n%sSTOP TIME: %s\nSTOP TIMELINE: %d\n",
		line, stop, size.FileName(tli, size.SegNo(stop)), rest, at.UTC().Format(historyTime), tli), nil
}
