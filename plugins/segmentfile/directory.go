package segmentfile

import (
	"cmp"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// directory is where the segments lie.
type directory struct {
	fs     durable.FS
	path   string
	access access
	info   fs.FileInfo // of the directory that was locked
}

// kind is how far a file with a segment's name is a segment.
type kind uint8

const (
	finished          kind = iota // plain
	compressed                    // finished and compressed
	partial                       // being received
	compressedPartial             // left by pg_receivewal: nothing can be added to it
)

// entry is a file whose name begins as a segment's.
type entry struct {
	kind    kind
	segment string // the segment's name, without suffix
	file    string // the file's name in the directory
}

// tempSuffix ends the name of a file that is not finished, and that nobody reads.
const tempSuffix = ".tmp"

// listing is the directory's segments, the newest first: by timeline, then by
// place, and a finished segment before a partial one.
type listing struct {
	entries  []entry
	finished map[string]bool // by the segment's name
	temps    []string        // left by a compression that was not finished
}

// plain reports whether a finished segment is there as it is.
func (l *listing) plain(segment string) bool {
	return slices.Contains(l.entries, entry{finished, segment, segment})
}

// trimPartial is the file's name without the suffix of a partial segment.
func trimPartial(file string) string { return strings.TrimSuffix(file, wal.PartialSuffix) }

// parseEntry takes a file's name apart. ok is false when it is no segment's.
func parseEntry(file string) (e entry, ok bool) {
	if len(file) < wal.SegmentNameLen || !wal.IsSegmentName(file[:wal.SegmentNameLen]) {
		return e, false
	}
	e = entry{segment: file[:wal.SegmentNameLen], file: file}
	suffix := file[wal.SegmentNameLen:]
	isPartial := strings.HasSuffix(suffix, wal.PartialSuffix)
	if suffix = trimPartial(suffix); suffix != "" {
		if c := codecOf(suffix); c == nil || c.suffix != suffix {
			return e, false
		}
		e.kind = compressed
	}
	if isPartial {
		e.kind += partial
	}
	return e, true
}

func (d *directory) list() (listing, error) {
	l := listing{finished: map[string]bool{}}
	files, err := d.fs.ReadDir(d.path)
	if err != nil {
		return l, explain(err, "list the directory")
	}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		if e, ok := parseEntry(f.Name()); ok {
			l.entries = append(l.entries, e)
			if e.kind < partial {
				l.finished[e.segment] = true
			}
		} else if e, ok := parseEntry(strings.TrimSuffix(f.Name(), tempSuffix)); ok && e.kind == compressed {
			l.temps = append(l.temps, f.Name())
		}
	}
	slices.SortFunc(l.entries, func(a, b entry) int {
		return cmp.Or(strings.Compare(b.segment, a.segment), cmp.Compare(a.kind, b.kind))
	})
	return l, nil
}

func (d *directory) join(file string) string { return filepath.Join(d.path, file) }

// identity is whose WAL the directory holds: what the newest segment with a
// valid header says. none is true when there is no segment.
func (d *directory) identity(l listing) (h header, none bool, err error) {
	for _, e := range l.entries {
		h, ok, err := d.header(e)
		if ok || err != nil {
			return h, false, err
		}
		if e.kind == compressed && h.magic == 0 {
			return h, false, sdk.Permanentf("%s cannot be decompressed: move it out of the directory; the position is taken from the segment before it then", d.join(e.file))
		}
		if e.kind < partial {
			return h, false, sdk.Permanentf("%s is not a WAL segment of PostgreSQL %d to %d: it does not begin with the header of that segment (magic number %04X): "+
				"move it out of the directory; the position is taken from the segment before it then", d.join(e.file), wal.PG14, wal.PG18, h.magic)
		}
	}
	return h, true, nil
}
