package basebackup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/durable"
)

// writer is a Receiver that makes a backup durable.
type writer interface {
	Receiver
	// sync makes all durable that was written; it ends the writer.
	sync() error
	// discard ends the writer of a backup that failed.
	discard()
}

// plain writes a data directory.
type plain struct {
	root     string            // DIR.tmp/data
	places   map[string]string // a tablespace's link → its directory here
	dirs     map[string]bool   // to sync
	files    *syncer
	file     *os.File // being written
	progress *Progress
}

// newPlain makes the tablespaces' directories: where mapping says, else where they
// lie on the server.
func newPlain(t *target, tablespaces []replication.BackupTablespace, mapping map[string]string, progress *Progress) (*plain, error) {
	p := &plain{root: t.data(), places: map[string]string{}, dirs: map[string]bool{t.data(): true}, progress: progress}
	used := map[string]bool{}
	for _, ts := range tablespaces {
		if ts.OID == 0 || !filepath.IsAbs(ts.Location) {
			continue // one in place is a directory of the data directory's (PG15)
		}
		dir, ok := mapping[ts.Location]
		if !ok {
			dir = ts.Location
		}
		used[ts.Location] = true
		if err := t.tablespace(dir); err != nil {
			return nil, err
		}
		p.places[tablespaceLink(ts.OID)] = dir
		p.dirs[dir] = true
	}
	for old := range mapping {
		if !used[old] {
			return nil, fmt.Errorf("--tablespace-mapping: the server has no tablespace at %s", old)
		}
	}
	p.files = newSyncer()
	return p, nil
}

// path is where a file of the backup goes.
func (p *plain) path(name string) string {
	for link, dir := range p.places {
		if rest, ok := strings.CutPrefix(name, link+"/"); ok {
			return filepath.Join(dir, filepath.FromSlash(rest))
		}
	}
	return filepath.Join(p.root, filepath.FromSlash(name))
}

// Directory implements Receiver. A directory may come twice, once for its parent.
func (p *plain) Directory(name string, mode fs.FileMode) error {
	dir := p.path(name)
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	p.dirs[dir], p.dirs[filepath.Dir(dir)] = true, true
	return os.Chmod(dir, mode) // whatever the umask
}

// Link implements Receiver.
func (p *plain) Link(name, target string) error {
	if dir, ok := p.places[name]; ok {
		target = dir
	}
	link := p.path(name)
	p.dirs[filepath.Dir(link)] = true
	return os.Symlink(target, link)
}

// File implements Receiver.
func (p *plain) File(name string, _ int64, mode fs.FileMode) error {
	path := p.path(name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	p.file = f
	p.dirs[filepath.Dir(path)] = true
	return f.Chmod(mode)
}

// Data implements Receiver.
func (p *plain) Data(b []byte) error {
	p.progress.add(len(b))
	_, err := p.file.Write(b)
	return err
}

// End implements Receiver.
func (p *plain) End() error {
	f := p.file
	p.file = nil
	return p.files.add(f)
}

// Manifest implements Receiver.
func (p *plain) Manifest(data []byte) error {
	return durable.WriteFileAtomic(durable.OS{}, filepath.Join(p.root, manifestFile), data, fileMode)
}

func (p *plain) sync() error {
	if err := p.files.close(); err != nil {
		return err
	}
	for dir := range p.dirs {
		if err := (durable.OS{}).SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (p *plain) discard() {
	if p.file != nil {
		_ = p.file.Close() // it is removed
	}
	_ = p.files.close() // what failed before says why
}
