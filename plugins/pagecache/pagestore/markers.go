package pagestore

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// orderedMarkers is a file system that makes a directory's names durable before
// it makes a pebble marker in it. A marker names the manifest that counts; pebble
// makes both and then syncs the directory once, so that power loss in between
// can leave, on a file system that keeps names in any order, a marker that names
// nothing, and an index that cannot be opened.
type orderedMarkers struct{ vfs.FS }

const markerPrefix = "marker."

func (o orderedMarkers) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(o.PathBase(name), markerPrefix) {
		if err := syncDir(o.FS, o.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return o.FS.Create(name, c)
}

// Unwrap is the file system below.
func (o orderedMarkers) Unwrap() vfs.FS { return o.FS }
