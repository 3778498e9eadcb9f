package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// tempSuffix ends the name of a file that [WriteFileAtomic] has not finished.
const tempSuffix = ".tmp"

// WriteFileAtomic replaces the file by one that holds data: whoever opens it
// afterwards, after power loss too, finds either the old bytes or all of the new
// ones. It is durable when the function returns without error. One writer a name.
func WriteFileAtomic(fsys FS, name string, data []byte, perm fs.FileMode) error {
	return WriteFileAtomicAs(fsys, name, data, perm, func(File) error { return nil })
}

// WriteFileAtomicAs is [WriteFileAtomic] of a file that prepare has changed, such
// as its owner, before its name is there.
func WriteFileAtomicAs(fsys FS, name string, data []byte, perm fs.FileMode, prepare func(File) error) error {
	temp := name + tempSuffix
	if err := writeSynced(fsys, temp, data, perm, prepare); err != nil {
		_ = fsys.Remove(temp)
		return err
	}
	if err := fsys.Rename(temp, name); err != nil {
		_ = fsys.Remove(temp)
		return err
	}
	return fsys.SyncDir(parent(name))
}

// writeSynced makes a file with these bytes and makes the bytes durable.
func writeSynced(fsys FS, name string, data []byte, perm fs.FileMode, prepare func(File) error) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	if err = prepare(f); err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// MkdirAll makes a directory and its parents and makes their names durable. It
// syncs the entry of a directory that is there too: whoever made it may have been
// killed before that.
func MkdirAll(fsys FS, name string, perm fs.FileMode) error {
	name = filepath.Clean(name)
	made := []string{}
	for dir := name; ; dir = parent(dir) {
		if _, err := fsys.Stat(dir); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		made = append(made, dir)
	}
	if len(made) == 0 {
		// Who may not read the parent has not made the directory either.
		if err := fsys.SyncDir(parent(name)); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	}
	if err := fsys.MkdirAll(name, perm); err != nil {
		return err
	}
	for _, dir := range made {
		if err := fsys.SyncDir(parent(dir)); err != nil {
			return err
		}
	}
	return nil
}
