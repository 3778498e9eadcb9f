package plugins

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/walplex/walplex/sdk/durable"
)

// LockName is the name of the lock file, which lies beside the configuration.
const LockName = "walplex.lock.json"

// lockFormat is the newest version of the file that is known here.
const lockFormat = 1

// Lock records the checksums of sinks' programs, for each platform on which
// somebody has made it. Its file is the same whoever writes it, in whatever order:
//
//	{
//	  "format": 1,
//	  "plugins": {
//	    "TYPE": {
//	      "linux/amd64": "sha256:…"
//	    }
//	  }
//	}
type Lock struct {
	Path    string                       `json:"-"` // of the file
	Format  int                          `json:"format"`
	Plugins map[string]map[string]string `json:"plugins"` // by type and platform
}

// sumPrefix names the kind of a checksum.
const sumPrefix = "sha256:"

// Platform is this program's: GOOS/GOARCH.
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// LockPath is where the lock of a configuration lies: in the directory of its
// first PATH, or in that path where it is a directory itself.
func LockPath(path string) string {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		path = filepath.Dir(path)
	}
	return filepath.Join(path, LockName)
}

// ReadLock reads a lock file; nil without an error is that there is none.
func ReadLock(path string) (*Lock, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l := &Lock{Path: path}
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("%s cannot be read as a lock file: %w; write it anew with walplex plugin lock", path, err)
	}
	if l.Format != lockFormat {
		return nil, fmt.Errorf("%s has the format %d, this walplex knows %d; write it anew with walplex plugin lock", path, l.Format, lockFormat)
	}
	return l, nil
}

// NewLock is an empty lock to be written to path.
func NewLock(path string) *Lock {
	return &Lock{Path: path, Format: lockFormat, Plugins: map[string]map[string]string{}}
}

// Set records the checksum of a type's program on this platform, and reports
// whether that is something new.
func (l *Lock) Set(typeName, sum string) bool {
	if l.Plugins[typeName] == nil {
		l.Plugins[typeName] = map[string]string{}
	}
	changed := l.Plugins[typeName][Platform()] != sumPrefix+sum
	l.Plugins[typeName][Platform()] = sumPrefix + sum
	return changed
}

// Keep forgets all types but these.
func (l *Lock) Keep(types map[string]bool) {
	for name := range l.Plugins {
		if !types[name] {
			delete(l.Plugins, name)
		}
	}
}

// Check compares a type's program with what was recorded. It answers the
// recorded checksum, for whoever starts the program later.
func (l *Lock) Check(typeName, path string) (sum string, err error) {
	const relock = "if this is the program that you want, record it with walplex plugin lock"
	recorded, ok := l.Plugins[typeName][Platform()]
	if !ok {
		return "", fmt.Errorf("%s has no checksum of the sink type %q for %s; %s", l.Path, typeName, Platform(), relock)
	}
	got, err := Sum(path)
	if err != nil {
		return "", err
	}
	if sumPrefix+got != recorded {
		return "", fmt.Errorf("%s was changed: its checksum is %s%s, %s wants %s; %s", path, sumPrefix, got, l.Path, recorded, relock)
	}
	return got, nil
}

// Write replaces the file.
func (l *Lock) Write() error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(l); err != nil {
		return err
	}
	return durable.WriteFileAtomic(durable.OS{}, l.Path, b.Bytes(), 0o644)
}

// Sum is the SHA-256 checksum of a file, as sha256sum prints it.
func Sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
