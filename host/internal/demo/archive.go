package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk/wal"
)

// span is a range of WAL in files.
type span struct {
	timeline wal.TimelineID
	size     wal.SegmentSize
	from, to wal.LSN
}

// archived is what was compared.
type archived struct {
	segments int
	bytes    int64
}

// compareArchive compares an archive of segments with pg_wal: every segment from
// the one of s.from on, whole; the one in which s.to lies up to there, and under
// the name of a partial one. The archive must hold nothing else that is named as
// a segment. The error names the first difference.
func compareArchive(ctx context.Context, walDir, archiveDir string, s span) (archived, error) {
	var a archived
	expected := map[string]bool{}
	for at := s.size.Start(s.from); at < s.to; at = s.size.End(at) {
		name := s.size.FileName(s.timeline, s.size.SegNo(at))
		kept, length := name, int64(s.size)
		if s.size.End(at) > s.to {
			kept, length = name+wal.PartialSuffix, int64(s.to-at)
		}
		expected[kept] = true
		if err := compareFiles(ctx, filepath.Join(archiveDir, kept), filepath.Join(walDir, name), at, length); err != nil {
			return a, err
		}
		a.segments++
		a.bytes += length
	}
	entries, err := os.ReadDir(archiveDir)
	if err != nil {
		return a, err
	}
	for _, e := range entries {
		if n := e.Name(); len(n) >= wal.SegmentNameLen && wal.IsSegmentName(n[:wal.SegmentNameLen]) && !expected[n] {
			return a, fmt.Errorf("%s is not of the WAL from %s to %s", filepath.Join(archiveDir, n), s.from, s.to)
		}
	}
	return a, nil
}

// compareSize is how much of two files is compared at once, in bytes.
const compareSize = 256 << 10

// compareFiles compares the first length bytes of a kept file and the server's,
// which begin at start.
func compareFiles(ctx context.Context, kept, servers string, start wal.LSN, length int64) error {
	k, err := os.Open(kept)
	if err != nil {
		return err
	}
	defer k.Close()
	w, err := os.Open(servers)
	if err != nil {
		return err
	}
	defer w.Close()
	kb, wb := make([]byte, compareSize), make([]byte, compareSize)
	for at := int64(0); at < length; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := int(min(length-at, compareSize))
		if err := readAll(k, kb[:n]); err != nil {
			return fmt.Errorf("%s has less than %d bytes: %w", kept, at+int64(n), err)
		}
		if err := readAll(w, wb[:n]); err != nil {
			return fmt.Errorf("%s has less than %d bytes: %w", servers, at+int64(n), err)
		}
		if i := firstDifference(kb[:n], wb[:n]); i >= 0 {
			off := at + int64(i)
			return fmt.Errorf("%s differs from %s at byte %d, LSN %s: it has %02X, the server has %02X",
				kept, servers, off, start+wal.LSN(off), kb[i], wb[i])
		}
		at += int64(n)
	}
	return nil
}

func readAll(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// firstDifference is the index of the first byte that differs, -1 when none does.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}
