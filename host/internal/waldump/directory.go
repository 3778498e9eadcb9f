package waldump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk/wal"
)

// walSubdirectory is XLOGDIR.
const walSubdirectory = "pg_wal"

// fatal is an error that ends the program, with a detail that may be empty.
type fatal struct {
	message, detail string
	marked          bool // "fatal", see wording
}

func (f *fatal) Error() string { return f.message }

func fatalf(format string, args ...any) *fatal { return &fatal{message: fmt.Sprintf(format, args...)} }

// place is the directory of the segments, and what a segment in it says.
type place struct {
	dir     string
	size    wal.SegmentSize
	version wal.Version // 0 for an unknown magic number
}

// findPlace looks for the segment name, or where it is empty for any, in
// directory and directory/pg_wal, or where directory is empty in ., pg_wal and
// $PGDATA/pg_wal (identify_target_directory).
func findPlace(directory, name, pgdata string) (place, error) {
	candidates := []string{".", walSubdirectory}
	switch {
	case directory != "":
		candidates = []string{directory, directory + "/" + walSubdirectory}
	case pgdata != "":
		candidates = append(candidates, pgdata+"/"+walSubdirectory)
	}
	for _, dir := range candidates {
		p, found, err := searchDirectory(dir, name)
		if found || err != nil {
			return p, err
		}
	}
	if name != "" {
		return place{}, fatalf("could not locate WAL file \"%s\"", name)
	}
	return place{}, fatalf("could not find any WAL file")
}

// searchDirectory looks at the first page of the segment name, or of the first
// there is (search_directory).
func searchDirectory(dir, name string) (place, bool, error) {
	if name == "" {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return place{}, false, nil
		}
		for _, e := range entries {
			if wal.IsSegmentName(e.Name()) {
				name = e.Name()
				break
			}
		}
		if name == "" {
			return place{}, false, nil
		}
	}
	f, err := openSegment(dir, name)
	if f == nil {
		return place{}, false, err
	}
	defer f.Close()
	page := make([]byte, wal.PageSize)
	n, err := io.ReadFull(f, page)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return place{}, false, fatalf("could not read file \"%s\": read %d of %d", name, n, wal.PageSize)
	case err != nil:
		return place{}, false, fatalf("could not read file \"%s\": %s", name, strerror(err))
	}
	p := place{dir: dir, size: segmentSizeOf(page)}
	p.version, _ = wal.VersionOfMagic(binary.LittleEndian.Uint16(page))
	if !p.size.Valid() {
		words := wordingOf(p.version)
		return place{}, false, words.wrongSize(name, int32(p.size))
	}
	return p, true, nil
}

// segmentSizeOf is xlp_seg_size of a segment's first page.
func segmentSizeOf(page []byte) wal.SegmentSize {
	const offset = 32 // of XLogLongPageHeaderData
	return wal.SegmentSize(binary.LittleEndian.Uint32(page[offset:]))
}

// wrongSize is the error of a segment size that cannot be.
func (w *wording) wrongSize(name string, size int32) *fatal {
	bytes := "bytes"
	if size == 1 {
		bytes = "byte"
	}
	if w.segmentSizeDetail {
		return &fatal{message: fmt.Sprintf("invalid WAL segment size in WAL file \"%s\" (%d %s)", name, size, bytes),
			detail: "The WAL segment size must be a power of two between 1 MB and 1 GB."}
	}
	return fatalf("WAL segment size must be a power of two between 1 MB and 1 GB, but the WAL file \"%s\" header specifies %d %s", name, size, bytes)
}

// openSegment opens the file in the directory; nil without an error means that
// there is none (open_file_in_directory).
func openSegment(dir, name string) (*os.File, error) {
	f, err := os.Open(dir + "/" + name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fatalf("could not open file \"%s\": %s", name, strerror(err))
	}
	return f, nil
}

// requireSegment checks that the file is there.
func requireSegment(dir, name string) error {
	f, err := openSegment(dir, name)
	if err != nil {
		return err
	}
	if f == nil {
		return fatalf("could not open file \"%s\"", name)
	}
	return f.Close()
}

// splitPath splits a path behind its last slash; without one the directory is
// empty.
func splitPath(path string) (dir, name string) {
	dir, name = filepath.Split(path)
	if len(dir) > 1 {
		dir = dir[:len(dir)-1]
	}
	return dir, name
}

// locate finds the segments, and from their names the range to read.
func (o *options) locate(pgdata string) (place, error) {
	if o.path != "" {
		if err := openDirectory(o.path); err != nil {
			return place{}, bad("could not open directory \"%s\": %s", o.path, strerror(err))
		}
	}
	if len(o.operands) == 0 {
		return findPlace(o.path, "", pgdata)
	}
	dir, name := splitPath(o.operands[0])
	if o.path == "" && dir != "" {
		if err := openDirectory(dir); err != nil {
			return place{}, fatalf("could not open directory \"%s\": %s", dir, strerror(err))
		}
		o.path = dir
	}
	p, err := findPlace(o.path, name, pgdata)
	if err != nil {
		return p, err
	}
	return p, o.setRange(p, name)
}

func openDirectory(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// setRange takes timeline, start and end from STARTSEG, whose name is given, and
// ENDSEG.
func (o *options) setRange(p place, name string) error {
	tli, segno, err := scanSegmentName(name, p.size)
	if err != nil {
		return fatalf("%s", err)
	}
	o.timeline = tli
	switch {
	case o.start == 0:
		o.start = p.size.LSN(segno)
	case p.size.SegNo(o.start) != segno:
		return bad("start WAL location %s is not inside file \"%s\"", o.start, name)
	}
	if len(o.operands) > 1 {
		_, last := splitPath(o.operands[1])
		if err := requireSegment(p.dir, last); err != nil {
			return err
		}
		first := segno
		if o.timeline, segno, err = scanSegmentName(last, p.size); err != nil {
			return fatalf("%s", err)
		}
		if o.timeline != tli {
			// pg_waldump reads ENDSEG's from STARTSEG on, and says no more than that a file is missing.
			o.mixed = fmt.Sprintf("STARTSEG is of timeline %d and ENDSEG of timeline %d, which is the one that is read.", tli, o.timeline)
		}
		if segno < first {
			return fatalf("ENDSEG %s is before STARTSEG %s", o.operands[1], o.operands[0])
		}
	}
	if o.end == 0 {
		o.end = p.size.LSN(segno + 1)
	}
	if p.size.SegNo(o.end) != segno && o.end != p.size.LSN(segno+1) {
		return bad("end WAL location %s is not inside file \"%s\"", o.end, o.operands[len(o.operands)-1])
	}
	return nil
}

func (b *badArgument) Error() string { return b.message }
