package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// archivePoll is how often is looked for WAL that is still to come.
const archivePoll = time.Second

// historyMode lets the sink that owns the archive read what another user writes:
// a backup history file holds no data.
const historyMode = 0o644

// writeHistory puts the backup history file into an archive, unless PostgreSQL's
// own is there.
func writeHistory(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	for _, n := range archive.Names(path) {
		if _, err := os.Stat(n); err == nil {
			return nil
		}
	}
	return durable.WriteFileAtomic(durable.OS{}, path, content, historyMode)
}

// awaitWAL waits until an archive holds all WAL of the ranges. Whole segments
// are not read; a last one that is not finished is, up to the backup's end.
func awaitWAL(ctx context.Context, dir string, size wal.SegmentSize, ranges []WALRange, wait time.Duration) error {
	if wait > 0 {
		limited, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		ctx = limited
	}
	tick := time.NewTicker(archivePoll)
	defer tick.Stop()
	for {
		missing, err := missingWAL(ctx, dir, size, ranges)
		if err == nil && missing == "" {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("the archive %s has not got %s within %s", dir, missing, wait)
			}
			return fmt.Errorf("waiting for %s in the archive %s: %w", missing, dir, context.Cause(ctx))
		}
	}
}

// missingWAL names the first segment that the archive lacks.
func missingWAL(ctx context.Context, dir string, size wal.SegmentSize, ranges []WALRange) (string, error) {
	for _, r := range ranges {
		for at := size.Start(r.Start); at < r.End; at = size.End(at) {
			name := size.FileName(r.Timeline, size.SegNo(at))
			if anyOf(dir, archive.Names(name)) {
				continue
			}
			if size.End(at) < r.End || !anyOf(dir, archive.PartialNames(name)) {
				return "the segment " + name, nil
			}
			end, err := archiveEnd(ctx, dir, r, at)
			if err != nil {
				return "the segment " + name, err
			}
			if end < r.End {
				return fmt.Sprintf("the WAL from %s to %s on timeline %d", end, r.End, r.Timeline), nil
			}
		}
	}
	return "", nil
}

func anyOf(dir string, names []string) bool {
	for _, n := range names {
		if _, err := os.Stat(filepath.Join(dir, n)); err == nil {
			return true
		}
	}
	return false
}

// archiveEnd is how far valid WAL goes in the segment that begins at start. What
// is being written may look damaged: it is looked at again.
func archiveEnd(ctx context.Context, dir string, r WALRange, start wal.LSN) (wal.LSN, error) {
	src, err := archive.Open(archive.Options{Directory: dir, Timeline: r.Timeline, Start: start, End: r.End})
	if errors.Is(err, fs.ErrPermission) {
		return start, err
	}
	if err != nil {
		return start, nil
	}
	defer src.Close(ctx)
	if _, err := src.StartPhysical(ctx, replication.StartOptions{LSN: start, Timeline: r.Timeline}); err != nil {
		return start, nil
	}
	for end := start; ; {
		m, err := src.Receive(ctx)
		if err != nil || m.Kind == replication.End || end >= r.End {
			return end, nil
		}
		if m.Kind == replication.XLogData {
			end = m.WALStart + wal.LSN(len(m.Data))
		}
	}
}

// checkArchive refuses, before the backup, a directory in which nothing can be
// written.
func checkArchive(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("--archive: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("--archive: %s is no directory", dir)
	}
	return nil
}
