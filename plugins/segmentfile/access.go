package segmentfile

import (
	"errors"
	"io/fs"
	"os"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
)

// owned is a file of a file system that knows permissions.
type owned interface {
	Chmod(mode fs.FileMode) error
	Chown(uid, gid int) error
}

// give sets the permissions of a file that the sink has made, whatever the umask
// is, and gives it to whom it is to belong.
func (a *access) give(f durable.File) error { return a.set(f, a.file, defaultFileMode) }

// set leaves the default alone: no usual umask takes anything from it.
func (a *access) set(f durable.File, mode, byDefault fs.FileMode) error {
	o, ok := f.(owned)
	if !ok {
		return nil
	}
	if mode != byDefault {
		if err := o.Chmod(mode); err != nil {
			return err
		}
	}
	if a.uid < 0 && a.gid < 0 {
		return nil
	}
	err := o.Chown(a.uid, a.gid)
	if errors.Is(err, fs.ErrPermission) {
		return sdk.Permanentf("cannot give what is in the archive to its owner and group: %w: only root, or who has CAP_CHOWN, may give files to another user, "+
			"and to a group that walplex is not in: leave owner and group out, or run walplex as that user", err)
	}
	return err
}

// makeDirectory makes the directory unless it is there.
func (s *Sink) makeDirectory() error {
	_, err := s.dir.fs.Stat(s.dir.path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err := durable.MkdirAll(s.dir.fs, s.dir.path, s.dir.access.dir); err != nil {
		return explain(err, "make the directory")
	}
	a := &s.dir.access
	if !missing || a.dir == defaultDirMode && a.uid < 0 && a.gid < 0 {
		return nil
	}
	f, err := s.dir.fs.OpenFile(s.dir.path, os.O_RDONLY, 0)
	if err != nil {
		return explain(err, "make the directory")
	}
	return explain(errors.Join(a.set(f, a.dir, defaultDirMode), f.Close()), "make the directory")
}

// writeFile makes or replaces a file of the archive's, durably.
func (d *directory) writeFile(name string, data []byte) error {
	return durable.WriteFileAtomicAs(d.fs, d.join(name), data, d.access.file, d.access.give)
}
