package segmentfile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/walplex/walplex/sdk/wal"
)

// A file can be written and synced long after its name has gone, and a directory
// can be made where another one was mounted. What nobody can find is not held.

// sameDirectory checks that the directory's name still leads to the one that was
// locked.
func (s *Sink) sameDirectory() error {
	return same(&s.dir, s.dir.path, s.dir.info)
}

// sameFile checks that the name of the segment being received still leads to the
// file that was written to.
func (s *Sink) sameFile() error {
	return same(&s.dir, s.dir.join(s.cur.name+wal.PartialSuffix), s.cur.info)
}

func same(d *directory, name string, opened fs.FileInfo) error {
	now, err := d.fs.Stat(name)
	if err == nil && now.Sys() != nil && !os.SameFile(now, opened) {
		err = &fs.PathError{Op: "stat", Path: name, Err: fmt.Errorf("it is not the one that was opened, but another of its name: %w", syscall.ESTALE)}
	}
	return explain(err, "use the archive")
}
