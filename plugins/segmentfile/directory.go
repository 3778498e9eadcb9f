package segmentfile

import (
	"cmp"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// directory is where the segments lie.
type directory struct {
	fs   durable.FS
	path string
}

// kind is how far a file with a segment's name is a segment.
type kind uint8

const (
	finished kind = iota
	partial
	compressed
)

// entry is a file whose name begins as a segment's.
type entry struct {
	kind    kind
	segment string // the segment's name, without suffix
	file    string // the file's name in the directory
}

// compressedSuffixes are those of pg_receivewal --compress, and of the tools that
// people use on archives.
var compressedSuffixes = [...]string{".gz", ".lz4", ".zst"}

// listing is the directory's segments, the newest first: by timeline, then by
// place, and a finished segment before a partial one.
type listing struct {
	entries  []entry
	finished map[string]bool // by the segment's name
}

func (d *directory) list() (listing, error) {
	l := listing{finished: map[string]bool{}}
	files, err := d.fs.ReadDir(d.path)
	if err != nil {
		return l, explain(err, "list the directory")
	}
	for _, f := range files {
		name := f.Name()
		if f.IsDir() || len(name) < wal.SegmentNameLen || !wal.IsSegmentName(name[:wal.SegmentNameLen]) {
			continue
		}
		e := entry{segment: name[:wal.SegmentNameLen], file: name}
		switch suffix := name[wal.SegmentNameLen:]; {
		case suffix == "":
			l.finished[name] = true
		case suffix == wal.PartialSuffix:
			e.kind = partial
		case slices.Contains(compressedSuffixes[:], strings.TrimSuffix(suffix, wal.PartialSuffix)):
			e.kind = compressed
		default:
			continue
		}
		l.entries = append(l.entries, e)
	}
	slices.SortFunc(l.entries, func(a, b entry) int {
		return cmp.Or(strings.Compare(b.segment, a.segment), cmp.Compare(a.kind, b.kind))
	})
	return l, nil
}

func (d *directory) join(file string) string { return filepath.Join(d.path, file) }

// header reads the header of a segment's file. ok is false when the file does
// not begin with the header of that segment.
func (d *directory) header(e entry) (h header, ok bool, err error) {
	f, err := d.fs.OpenFile(d.join(e.file), os.O_RDONLY, 0)
	if err != nil {
		return h, false, explain(err, "read the archive")
	}
	defer f.Close()
	var b [longHeaderSize]byte
	if n, err := f.ReadAt(b[:], 0); n < len(b) {
		if err != io.EOF {
			return h, false, explain(err, "read the archive")
		}
		return h, false, nil
	}
	h = parseHeader(b[:])
	return h, h.begins(e.segment), nil
}

// identity is whose WAL the directory holds: what the newest segment with a
// valid header says. none is true when there is no segment.
func (d *directory) identity(l listing) (h header, none bool, err error) {
	for _, e := range l.entries {
		if e.kind == compressed {
			return h, false, sdk.Permanentf("the newest segment in the archive, %s, is compressed: this release cannot continue an archive of compressed segments: decompress it, or use another directory", d.join(e.file))
		}
		h, ok, err := d.header(e)
		if ok || err != nil {
			return h, false, err
		}
		if e.kind == finished {
			return h, false, sdk.Permanentf("%s is not a WAL segment of PostgreSQL %d to %d: it does not begin with the header of that segment (magic number %04X): "+
				"move it out of the directory; the position is taken from the segment before it then", d.join(e.file), wal.PG14, wal.PG18, h.magic)
		}
	}
	return h, true, nil
}
