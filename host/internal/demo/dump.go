package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/walplex/walplex/sdk/wal"
)

// dump is what pg_waldump says of a range of WAL.
type dump struct {
	records     int64
	first, last wal.LSN // where the first and the last record start
	length      uint32  // xl_tot_len of the last one
	describes   string  // the last one
	within      int64   // records that start in the part that was asked for
}

// end is where the WAL ends: behind the last record.
func (d dump) end(size wal.SegmentSize) wal.LSN { return recordEnd(d.last, d.length, size) }

// dumpArgs has pg_waldump read pg_wal from an LSN to its end. It is told the
// segments, because it would take the segment size from any file that it finds,
// and one that was made in advance does not tell it. The last record may reach
// into the segment behind that of its start.
func dumpArgs(walDir string, c control, from wal.LSN) []string {
	first, last := c.size.SegNo(from), c.size.SegNo(c.checkpoint)
	if next := c.size.FileName(c.timeline, last+1); exists(filepath.Join(walDir, next)) {
		last++
	}
	return []string{"--path", walDir, "--start", from.String(), c.size.FileName(c.timeline, first), c.size.FileName(c.timeline, last)}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// maxDumpError bounds what is kept of pg_waldump's standard error, in bytes.
const maxDumpError = 4 << 10

// runDump counts the records that pg_waldump prints, and those that start from
// from and before to. It ends with status 1 where the WAL ends, and says so;
// whether it is the end is for the caller to judge by the last record.
func runDump(ctx context.Context, cmd *exec.Cmd, from, to wal.LSN) (dump, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return dump{}, err
	}
	stderr := &limitedBuffer{limit: maxDumpError}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		return dump{}, err
	}
	d, err := readDump(out, from, to)
	if err != nil {
		_ = cmd.Process.Kill() // it may wait for its output to be read
	}
	_ = cmd.Wait() // its status says only that the WAL has an end
	switch {
	case ctx.Err() != nil:
		return dump{}, ctx.Err()
	case err != nil:
		return dump{}, fmt.Errorf("pg_waldump: %w", err)
	case d.records == 0:
		return dump{}, fmt.Errorf("pg_waldump prints no record: %s", bytes.TrimSpace(stderr.b))
	}
	return d, nil
}

// readDump reads pg_waldump's output. Of a line between the first and the last
// only the LSN is read.
func readDump(r io.Reader, from, to wal.LSN) (d dump, err error) {
	var last []byte
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := br.ReadSlice('\n')
		if bytes.HasPrefix(line, []byte("rmgr: ")) {
			lsn, err := lineLSN(line)
			if err != nil {
				return d, err
			}
			if d.records == 0 {
				d.first = lsn
			}
			if lsn >= from && lsn < to {
				d.within++
			}
			d.records++
			last = append(last[:0], line...)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			_, err = br.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return d, err
		}
	}
	if d.records > 0 {
		err = d.parseLast(string(bytes.TrimRight(last, "\n")))
	}
	return d, err
}

// lineLSN finds the LSN in a record's line. What stands before it has a bounded
// length and no text of users.
func lineLSN(line []byte) (wal.LSN, error) {
	_, rest, _ := bytes.Cut(line, []byte(", lsn: "))
	lsn, _, ok := bytes.Cut(rest, []byte(", "))
	if !ok {
		return 0, fmt.Errorf("the line has no LSN: %q", line)
	}
	return wal.ParseLSN(string(lsn))
}

// linePattern is a record's line as pg_waldump prints it.
var linePattern = regexp.MustCompile(`^rmgr: .* len \(rec/tot\): +\d+/ *(\d+), .* lsn: ([0-9A-F]+/[0-9A-F]+), .* desc: (.*)$`)

func (d *dump) parseLast(line string) error {
	m := linePattern.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("the line is not as expected: %q", line)
	}
	n, err := strconv.ParseUint(m[1], 10, 32)
	if err != nil {
		return err
	}
	d.length, d.describes = uint32(n), m[3]
	d.last, err = wal.ParseLSN(m[2])
	return err
}

// Sizes of page headers, in bytes (SizeOfXLogShortPHD and SizeOfXLogLongPHD of
// access/xlog_internal.h).
const (
	shortPageHeader = 24
	longPageHeader  = 40
)

// recordEnd is where a record of xl_tot_len bytes ends that starts at start:
// page headers lie in between.
func recordEnd(start wal.LSN, length uint32, size wal.SegmentSize) wal.LSN {
	at, rest := start, wal.LSN(length)
	for {
		room := wal.PageSize - at%wal.PageSize
		if rest <= room {
			return (at + rest).AlignUp()
		}
		at, rest = at+room, rest-room
		if size.Offset(at) == 0 {
			at += longPageHeader
		} else {
			at += shortPageHeader
		}
	}
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct {
	b     []byte
	limit int
}

func (l *limitedBuffer) Write(p []byte) (int, error) {
	l.b = append(l.b, p[:min(len(p), l.limit-len(l.b))]...)
	return len(p), nil
}
