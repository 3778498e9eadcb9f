package replay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/walplex/walplex/sdk/wal"
)

// source has a timeline's segments in memory, as the kernel holds their files:
// those of the window.
type source struct {
	dir      string
	timeline wal.TimelineID
	size     wal.SegmentSize

	first wal.SegNo // of segments
	segs  [][]byte  // mapped, of size bytes each

	whole []byte // a record that runs on over WAL pages
}

// segment is a segment's bytes, nil where there is no such file.
func (s *source) segment(n wal.SegNo) ([]byte, error) {
	if len(s.segs) == 0 {
		s.first = n
	}
	if n < s.first+wal.SegNo(len(s.segs)) {
		return s.segs[n-s.first], nil
	}
	f, err := os.Open(filepath.Join(s.dir, s.size.FileName(s.timeline, n)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() != int64(s.size) {
		return nil, fmt.Errorf("%s has %d bytes, want %d", f.Name(), st.Size(), s.size)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(s.size), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	s.segs = append(s.segs, b)
	return b, nil
}

// forget gives up the segments before n.
func (s *source) forget(n wal.SegNo) error {
	for len(s.segs) > 0 && s.first < n {
		if err := unix.Munmap(s.segs[0]); err != nil {
			return err
		}
		s.segs, s.first = s.segs[1:], s.first+1
	}
	return nil
}

func (s *source) close() error { return s.forget(s.first + wal.SegNo(len(s.segs))) }

// at are the bytes from an LSN to its WAL page's end.
func (s *source) at(lsn wal.LSN) []byte {
	b := s.segs[s.size.SegNo(lsn)-s.first]
	at := s.size.Offset(lsn)
	return b[at : at&^(wal.PageSize-1)+wal.PageSize]
}

// record is the record that begins at lsn, which was read before, and its
// EndLSN. Its bytes are borrowed until the next call.
func (s *source) record(lsn wal.LSN) ([]byte, wal.LSN) {
	b := s.at(lsn)
	total := int(le.Uint32(b))
	if total <= len(b) {
		return b[:total:total], (lsn + wal.LSN(total)).AlignUp()
	}
	s.whole = s.whole[:0]
	for {
		n := min(total-len(s.whole), len(b))
		s.whole = append(s.whole, b[:n]...)
		lsn += wal.LSN(n)
		if len(s.whole) == total {
			return s.whole, lsn.AlignUp()
		}
		header := wal.LSN(24) // SizeOfXLogShortPHD
		if s.size.Offset(lsn) == 0 {
			header = 40 // SizeOfXLogLongPHD
		}
		lsn += header
		b = s.at(lsn)
	}
}
