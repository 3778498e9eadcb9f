package segmentfile

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"

	"github.com/walplex/walplex/sdk"
)

// Config is the sink's configuration. Its zero value, but for Directory and
// Preallocate, is the default.
type Config struct {
	Directory        string `walplex:"directory,required" format:"path" doc:"where the segments lie, named as in pg_wal; made when missing; a directory of pg_receivewal's is continued"`
	Compression      string `walplex:"compression" default:"none" doc:"none, zstd, lz4 or gzip: how finished segments are compressed, in the background, as NAME.zst, NAME.lz4 or NAME.gz"`
	CompressionLevel int    `walplex:"compression_level" default:"0" doc:"1 to 22 for zstd, 1 to 9 for lz4 and gzip; 0 is the compression's own default"`
	FileMode         string `walplex:"file_mode" default:"0600" doc:"permissions of the files, in octal, such as 0640"`
	DirectoryMode    string `walplex:"directory_mode" default:"0700" doc:"permissions of the directory where the sink makes it, in octal"`
	Owner            string `walplex:"owner" doc:"user, by name or number, to whom the files are given; needs the right to do that"`
	Group            string `walplex:"group" doc:"group, by name or number, to which the files are given; walplex must be in it, or have the right to do that"`
	Sync             string `walplex:"sync" default:"fdatasync" doc:"fdatasync: WAL is made durable when somebody waits for it; o_dsync: with every write"`
	Preallocate      bool   `walplex:"preallocate" default:"true" doc:"reserve room for a whole segment at its start, so that a full disk is found before it hurts"`
	Direct           string `walplex:"direct" default:"auto" doc:"auto: WAL that comes in large blocks, as in catching up, is written past the page cache, where the file system can, with preallocate, and without compression and o_dsync; off: never"`

	Retention *Retention `walplex:"retention" doc:"which segments are removed; without it all stay"`
}

// Values of the setting sync.
const (
	syncFdatasync = "fdatasync"
	syncODSync    = "o_dsync"
)

// Permissions of what the sink makes unless it is told otherwise: WAL holds all
// of a cluster's data.
const (
	defaultDirMode  = 0o700
	defaultFileMode = 0o600
)

// Validate implements [sdk.Validator].
func (c *Config) Validate() []sdk.ConfigError {
	var out []sdk.ConfigError
	wrong := func(name, summary, format string, args ...any) {
		out = append(out, sdk.ConfigError{Path: []any{name}, Summary: summary, Detail: fmt.Sprintf(format, args...)})
	}
	if c.Directory == "" {
		wrong("directory", "No directory", "name the directory in which the segments are to lie")
	}
	z, ok := codecNamed(c.Compression)
	switch {
	case !ok:
		wrong("compression", "Unknown compression", "%q is none of %s", c.Compression, codecNames())
	case z == nil && c.CompressionLevel != 0:
		wrong("compression_level", "Level without compression", "name a compression, or leave the level out")
	case z != nil && (c.CompressionLevel < 0 || c.CompressionLevel > z.maxLevel):
		wrong("compression_level", "No such level", "%s has the levels 1 to %d, and 0 for its default", z.name, z.maxLevel)
	}
	if _, err := parseMode(c.FileMode, defaultFileMode); err != nil {
		wrong("file_mode", "Not a file mode", "%v", err)
	}
	if _, err := parseMode(c.DirectoryMode, defaultDirMode); err != nil {
		wrong("directory_mode", "Not a directory mode", "%v", err)
	}
	if c.Sync != "" && c.Sync != syncFdatasync && c.Sync != syncODSync {
		wrong("sync", "Unknown way to sync", "%q is neither %s nor %s", c.Sync, syncFdatasync, syncODSync)
	}
	if c.Direct != "" && c.Direct != directAuto && c.Direct != directOff {
		wrong("direct", "Unknown way to write", "%q is neither %s nor %s", c.Direct, directAuto, directOff)
	}
	return append(out, c.Retention.validate()...)
}

// parseMode reads permissions in octal. least are those that the sink itself
// needs.
func parseMode(text string, least fs.FileMode) (fs.FileMode, error) {
	if text == "" {
		return least, nil
	}
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%q are no permissions: write them in octal, such as %04o", text, least)
	}
	if mode := fs.FileMode(n); mode&least == least {
		return mode, nil
	}
	return 0, fmt.Errorf("%q does not let the sink itself read and write: it needs at least %04o", text, least)
}

// access is what the sink's files and directory are to be.
type access struct {
	file, dir fs.FileMode
	uid, gid  int // -1: as it is
}

// access finds the users and groups that are named.
func (c *Config) access() (access, error) {
	a := access{uid: -1, gid: -1}
	var err error
	if a.file, err = parseMode(c.FileMode, defaultFileMode); err != nil {
		return a, sdk.Permanentf("file_mode: %w", err)
	}
	if a.dir, err = parseMode(c.DirectoryMode, defaultDirMode); err != nil {
		return a, sdk.Permanentf("directory_mode: %w", err)
	}
	if c.Owner != "" {
		id := c.Owner
		if u, err := user.Lookup(c.Owner); err == nil {
			id = u.Uid
		}
		if a.uid, err = parseID(id); err != nil {
			return a, sdk.Permanentf("owner: there is no user %q on this machine: name one, or give its number", c.Owner)
		}
	}
	if c.Group != "" {
		id := c.Group
		if g, err := user.LookupGroup(c.Group); err == nil {
			id = g.Gid
		}
		if a.gid, err = parseID(id); err != nil {
			return a, sdk.Permanentf("group: there is no group %q on this machine: name one, or give its number", c.Group)
		}
	}
	return a, nil
}

// parseID reads a user's or group's number.
func parseID(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err
}
