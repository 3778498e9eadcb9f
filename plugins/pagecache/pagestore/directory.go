package pagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Names in the directory.
const (
	formatName = "page_cache.format"
	lockName   = "page_cache.lock"
	valuesName = "values"
	imagesName = "images"
	indexName  = "index"
)

// Format is the number of the directory's format.
const Format = 2

// lockPoll is how often a held lock is tried again.
const lockPoll = 50 * time.Millisecond

// makeDir makes dir and what is missing above it, durably.
func makeDir(fsys vfs.FS, dir string) error {
	var made []string
	for d := dir; ; d = fsys.PathDir(d) {
		_, err := fsys.Stat(d)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		made = append(made, d)
		if fsys.PathDir(d) == d {
			break
		}
	}
	if len(made) == 0 {
		return nil
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range made {
		if err := syncDir(fsys, fsys.PathDir(d)); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockDir takes the directory's lock, and waits for another holder.
func lockDir(ctx context.Context, fsys vfs.FS, dir string, wait time.Duration) (io.Closer, error) {
	name := fsys.PathJoin(dir, lockName)
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		lock, err := fsys.Lock(name)
		if err == nil {
			return lock, nil
		}
		var pathErr *fs.PathError // the file could not be made: nobody holds it
		if errors.As(err, &pathErr) {
			return nil, err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s: %w", ErrLocked, name, ctx.Err())
		case <-deadline.C:
			return nil, fmt.Errorf("%w: %s could not be locked within %s: %w", ErrLocked, name, wait, err)
		}
	}
}

// checkFormat reads the format of the directory's content, and says so where
// this code cannot work on it. A directory without content becomes a store.
func checkFormat(fsys vfs.FS, dir string, mayHold []string) error {
	f, err := fsys.Open(fsys.PathJoin(dir, formatName))
	if errors.Is(err, fs.ErrNotExist) {
		if err := checkEmpty(fsys, dir, mayHold); err != nil {
			return err
		}
		return writeFormat(fsys, dir)
	}
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s is no format's number", ErrDamaged, fsys.PathJoin(dir, formatName))
	case n != Format:
		return fmt.Errorf("%w: %s has format %d, this walplex knows format %d; use the walplex that wrote it or a newer one, or another directory",
			ErrFormat, dir, n, Format)
	}
	return nil
}

// checkEmpty refuses a directory that is somebody else's.
func checkEmpty(fsys vfs.FS, dir string, mayHold []string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n != lockName && n != formatName+".tmp" && n != "lost+found" && !slices.Contains(mayHold, n) {
			return fmt.Errorf("%w: %s holds %q but no %s; name an empty or a new directory", ErrFormat, dir, n, formatName)
		}
	}
	return nil
}

func writeFormat(fsys vfs.FS, dir string) error {
	name := fsys.PathJoin(dir, formatName)
	f, err := fsys.Create(name+".tmp", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(strconv.Itoa(Format) + "\n"))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".tmp", name); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}
