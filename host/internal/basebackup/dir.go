package basebackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/walplex/walplex/sdk/durable"
)

// Names within and beside the directory.
const (
	tmpSuffix      = ".tmp"
	summarySuffix  = ".backup.json"
	lockFile       = "unfinished"
	listFile       = "tablespaces"
	dataDir        = "data"
	tmpSummary     = "backup.json"
	manifestFile   = "backup_manifest"
	dirMode        = 0o700
	fileMode       = 0o600
	tablespaceMode = 0o700
)

// target is the directory of a backup while it is made.
type target struct {
	dir         string // DIR
	tmp         string // DIR.tmp
	lock        io.Closer
	tablespaces []string // directories that are filled
}

// openTarget makes DIR.tmp, where DIR is missing or empty, and removes what a run
// that was killed has left there.
func openTarget(ctx context.Context, dir string) (*target, error) {
	dir = filepath.Clean(dir)
	t := &target{dir: dir, tmp: dir + tmpSuffix}
	if err := t.leftover(ctx); err != nil {
		return nil, err
	}
	if err := wantEmpty(dir); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(dir + summarySuffix); err == nil {
		return nil, fmt.Errorf("%s is there, of another backup: remove it or choose another --to", dir+summarySuffix)
	}
	fsys := durable.OS{}
	if err := durable.MkdirAll(fsys, t.tmp, dirMode); err != nil {
		return nil, err
	}
	if err := t.take(ctx); err != nil {
		return nil, err
	}
	if err := os.Mkdir(t.data(), dirMode); err != nil {
		return nil, errors.Join(err, t.abandon())
	}
	return t, fsys.SyncDir(t.tmp)
}

func (t *target) data() string   { return filepath.Join(t.tmp, dataDir) }
func (t *target) marker() string { return filepath.Join(t.tmp, lockFile) }
func (t *target) list() string   { return filepath.Join(t.tmp, listFile) }

// take locks DIR.tmp. Nobody waits for another backup.
func (t *target) take(ctx context.Context) (err error) {
	t.lock, err = durable.OS{}.Lock(ctx, t.marker(), 0)
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("another base backup to %s is running: %w", t.dir, err)
	}
	return err
}

// wantEmpty refuses a directory that holds something.
func wantEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is there and not empty: a backup needs a directory of its own", dir)
	}
	return nil
}

// leftover finishes or removes what a run that was killed has left.
func (t *target) leftover(ctx context.Context) error {
	entries, err := os.ReadDir(t.tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	if _, err := os.Lstat(t.marker()); err != nil {
		return fmt.Errorf("%s is there, and not of a base backup that was broken off: remove it or choose another --to", t.tmp)
	}
	if err := t.take(ctx); err != nil {
		return err
	}
	if _, err := os.Lstat(t.data()); errors.Is(err, fs.ErrNotExist) {
		return t.settle() // the backup is whole, and has its name
	}
	list, err := os.ReadFile(t.list())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, t.lock.Close())
	}
	for line := range bytes.Lines(list) {
		// A line that a crash cut has no directory yet.
		if dir, whole := strings.CutSuffix(string(line), "\n"); whole {
			t.tablespaces = append(t.tablespaces, dir)
		}
	}
	err = t.abandon()
	t.tablespaces = nil
	return err
}

// tablespace makes a directory for a tablespace, which is then of this backup.
func (t *target) tablespace(dir string) error {
	if err := wantEmpty(dir); err != nil {
		return fmt.Errorf("a tablespace: %w; give --tablespace-mapping OLD=NEW", err)
	}
	if strings.ContainsAny(dir, "\r\n") {
		return fmt.Errorf("the tablespace's directory %q has a line break in its name", dir)
	}
	f, err := os.OpenFile(t.list(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(dir + "\n")
	if err = errors.Join(err, f.Sync(), f.Close(), durable.OS{}.SyncDir(t.tmp)); err != nil {
		return err
	}
	t.tablespaces = append(t.tablespaces, dir)
	return durable.MkdirAll(durable.OS{}, dir, tablespaceMode)
}

// finish gives the backup its name: until then nothing looks like one.
func (t *target) finish(summary []byte) error {
	fsys := durable.OS{}
	if err := durable.WriteFileAtomic(fsys, filepath.Join(t.tmp, tmpSummary), summary, fileMode); err != nil {
		return err
	}
	// Not os.Rename, which does not replace an empty directory.
	if err := syscall.Rename(t.data(), t.dir); err != nil {
		return &os.LinkError{Op: "rename", Old: t.data(), New: t.dir, Err: err}
	}
	return t.settle()
}

// settle does what follows the backup's own name.
func (t *target) settle() error {
	fsys := durable.OS{}
	parent := filepath.Dir(t.dir)
	if err := fsys.SyncDir(parent); err != nil {
		return err
	}
	err := os.Rename(filepath.Join(t.tmp, tmpSummary), t.dir+summarySuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.SyncDir(parent); err != nil {
		return err
	}
	return t.clear()
}

// abandon removes all that was made. A tablespace's directory stays, empty.
func (t *target) abandon() error {
	var errs []error
	for _, dir := range t.tablespaces {
		errs = append(errs, emptyDir(dir))
	}
	errs = append(errs, os.RemoveAll(t.data()))
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, t.lock.Close())
	}
	return t.clear()
}

// clear removes DIR.tmp, the marker after all else: without it nobody knows whose
// the directory is.
func (t *target) clear() error {
	for _, name := range []string{t.list(), filepath.Join(t.tmp, tmpSummary)} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, t.lock.Close())
		}
	}
	return errors.Join(os.RemoveAll(t.tmp), t.lock.Close())
}

// emptyDir removes what is in a directory.
func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
