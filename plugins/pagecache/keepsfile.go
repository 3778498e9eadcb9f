package pagecache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

// keepsName is a file in the directory of a cache that does not store everything.
// It says what is stored, because settings that ask for more cannot be met later:
//
//	page_cache.keeps 1
//	database 16384
//	relation 1663/5/16385
//	copied 16390 5                 database 16390 is a copy of 5's files
const (
	keepsName   = "page_cache.keeps"
	keepsHeader = "page_cache.keeps 1"
	maxKeeps    = 1 << 20 // bytes of the file
)

// settleKeeps holds the settings against what the cache in dir stores, and makes
// them what it stores from now on.
func settleKeeps(fsys vfs.FS, dir string, k *keeps, isNew bool) error {
	if !isNew {
		former, err := readKeeps(fsys, dir)
		if err != nil {
			return err
		}
		if more := k.without(former); more != "" {
			return sdk.Permanentf("%s stores only %s, and the settings now ask for %s, whose history it does not have: use another directory, or the former settings", dir, former, more)
		}
		if k != nil && former != nil {
			k.copied.Store(former.copied.Load())
		}
	}
	return k.write(fsys, dir)
}

// readKeeps reads the file; nil where there is none.
func readKeeps(fsys vfs.FS, dir string) (*keeps, error) {
	name := fsys.PathJoin(dir, keepsName)
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeeps))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if lines[0] != keepsHeader {
		return nil, sdk.Permanentf("%s begins with %.40q, and this walplex knows %q; use the walplex that wrote it or a newer one", name, lines[0], keepsHeader)
	}
	var databases []wal.OID
	var relations []wal.RelFileLocator
	copied := map[wal.OID]wal.OID{}
	for i, line := range lines[1:] {
		what, value, _ := strings.Cut(line, " ")
		list := strings.Fields(value)
		var oids []wal.OID
		var rels []wal.RelFileLocator
		switch what {
		case "relation":
			rels, err = parseRelations(list)
		default:
			oids, err = parseDatabases(list)
		}
		switch {
		case err != nil:
		case what == "relation" && len(rels) == 1:
			relations = append(relations, rels[0])
		case what == "database" && len(oids) == 1:
			databases = append(databases, oids[0])
		case what == "copied" && len(oids) == 2:
			copied[oids[0]] = oids[1]
		default:
			err = errors.New("not understood")
		}
		if err != nil {
			return nil, sdk.Permanentf("%s:%d: %q: %w; make the cache anew in an empty directory", name, i+2, line, err)
		}
	}
	k := makeKeeps(databases, relations)
	k.copied.Store(&copied)
	return k, nil
}

// write makes the file durable, or removes it where everything is stored.
func (k *keeps) write(fsys vfs.FS, dir string) error {
	name := fsys.PathJoin(dir, keepsName)
	if k == nil {
		if err := fsys.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	var b strings.Builder
	fmt.Fprintln(&b, keepsHeader)
	for _, db := range slices.Sorted(maps.Keys(k.databases)) {
		fmt.Fprintf(&b, "database %d\n", db)
	}
	for _, rel := range k.sortedRelations() {
		fmt.Fprintf(&b, "relation %s\n", rel)
	}
	copied := *k.copied.Load()
	for _, to := range slices.Sorted(maps.Keys(copied)) {
		fmt.Fprintf(&b, "copied %d %d\n", to, copied[to])
	}
	f, err := fsys.Create(name+".tmp", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, b.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".tmp", name); err != nil {
		return err
	}
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
