package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// VerifyOptions say what a trail is expected to hold.
type VerifyOptions struct {
	// Filtered says that records may be missing between lines even where no header
	// says so: somebody has taken lines out.
	Filtered bool
}

// Report is what Verify found.
type Report struct {
	SystemID uint64
	Position wal.Position // durable; LSN 0: nothing is held yet
	Files    int
	Records  int64
	First    wal.LSN  // start of the first record, 0 without records
	Last     wal.LSN  // end of the last record that still counts, 0 without records
	Switches []Switch // of timelines, as rewound lines tell them
	Partial  int      // files whose filter or level leaves records out: of these nobody can tell whether one is missing
	Behind   int64    // bytes behind the position: being written, or cut at the next Open
	Problems int64
	Problem  *Problem // the first, nil when all is well
}

// Problem is something wrong with a trail.
type Problem struct {
	File   string // its path
	Line   int64  // from 1; 0: the file as a whole
	Reason string
}

func (p *Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Reason
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Reason)
}

// maxLine bounds a line, in bytes: a record has 33 block references at most, of
// less than 200 bytes each.
const maxLine = 16 << 10

// Verify reads a trail and checks it against the format in the package
// documentation and against its position: each line parses, LSNs increase, and
// no record is missing, which prev_lsn shows: it is the start_lsn of the line
// before. The first line has none before it. An abandoned record that was
// overwritten (OVERWRITE_CONTRECORD) is no exception, because xl_prev passes
// over it too. Of files with level "transaction", or that were written under a
// filter, which their header says, missing records cannot be told: what holds of
// them is that no record is doubled or out of order.
//
// It takes no lock and may run beside the sink: it reads up to the position that
// it finds at first. What is wrong with the trail is in the report; an error
// means that it could not be read, or is of a newer version.
func Verify(ctx context.Context, fsys durable.FS, dir string, o VerifyOptions) (*Report, error) {
	p, found, err := readPosition(fsys, dir)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%s has no valid %s: it is no directory of an audit sink", dir, positionName)
	}
	files, foreign, err := listFiles(fsys, dir)
	if err != nil {
		return nil, err
	}
	v := &verifier{fsys: fsys, dir: dir, o: o, p: p, buf: bufio.NewReaderSize(nil, maxLine)}
	v.SystemID, v.Position = p.SystemID, wal.Position{Timeline: p.Timeline, LSN: p.LSN}
	for _, name := range foreign {
		v.file, v.line = name, 0
		v.problem("it is no file of this trail")
	}
	reached := p.File == ""
	v.names = files
	for i, name := range files {
		reached = reached || name == p.File
		v.index = i
		if err := v.verifyFile(ctx, name); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	v.file, v.line = positionName, 0
	if !reached {
		v.problem("it names %s, which is not there", p.File)
	}
	if v.Last > p.LSN {
		v.problem("it says that records up to %s are held, but the files have them up to %s", p.LSN, v.Last)
	}
	if reached && v.timeline != 0 && v.timeline != p.Timeline {
		v.problem("it is on timeline %d, but the files end on timeline %d", p.Timeline, v.timeline)
	}
	return &v.Report, nil
}

type verifier struct {
	Report
	fsys durable.FS
	dir  string
	o    VerifyOptions
	p    position
	buf  *bufio.Reader

	names    []string       // of all files
	index    int            // of the file in names
	timeline wal.TimelineID // that the next record is of, 0 before the first file

	off  int64 // of the line, bytes
	file string
	at   wal.Position // where the file begins, by its name
	some bool         // the file does not have every record
	line int64
	prev wal.LSN // start of the record before, 0 where records may be missing after it
}

func (v *verifier) problem(format string, args ...any) {
	v.Problems++
	if v.Problem == nil {
		v.Problem = &Problem{File: filepath.Join(v.dir, v.file), Line: v.line, Reason: fmt.Sprintf(format, args...)}
	}
}

// verifyFile reads one file, the last one up to the position.
func (v *verifier) verifyFile(ctx context.Context, name string) error {
	f, err := v.fsys.OpenFile(filepath.Join(v.dir, name), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if name > v.p.File {
		v.Behind += info.Size()
		return nil
	}
	v.Files++
	v.file, v.line, v.some = name, 0, false
	if v.at, err = parseFileName(name); err != nil {
		return err
	}
	if v.timeline != 0 && v.at.Timeline != v.timeline {
		v.problem("it is of timeline %d, but lines of timeline %d come next: the rewound line is missing", v.at.Timeline, v.timeline)
	}
	v.timeline = v.at.Timeline
	size := info.Size()
	if name == v.p.File {
		if size < v.p.Offset {
			v.problem("it has %d bytes, but %s says that %d are durable", size, positionName, v.p.Offset)
		}
		v.Behind += max(0, size-v.p.Offset)
		size = min(size, v.p.Offset)
	}
	v.buf.Reset(io.NewSectionReader(f, 0, size))
	return v.verifyLines(ctx)
}

func (v *verifier) verifyLines(ctx context.Context) error {
	v.off = 0
	for length := 0; ; v.off += int64(length) {
		line, err := v.buf.ReadSlice('\n')
		length = len(line)
		if err == io.EOF && len(line) == 0 {
			break
		}
		if v.line%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		v.line++
		switch {
		case err == io.EOF:
			v.problem("the line has no end")
		case errors.Is(err, bufio.ErrBufferFull):
			v.problem("the line is longer than %d bytes", maxLine)
			for errors.Is(err, bufio.ErrBufferFull) {
				line, err = v.buf.ReadSlice('\n')
				length += len(line)
			}
		case err != nil:
			return err
		case v.line == 1:
			if err := v.header(line); err != nil {
				return err
			}
		default:
			if err := v.other(ctx, line); err != nil {
				return err
			}
		}
	}
	if v.line < 2 {
		v.problem("it has no record")
	}
	return nil
}

// header checks a file's first line. The error is a newer version.
func (v *verifier) header(line []byte) error {
	h, err := parseHeader(line)
	if sdk.IsPermanent(err) {
		return err
	}
	v.some = err != nil || h.partial()
	if err != nil {
		v.problem("%v", err)
		return nil
	}
	if v.some {
		v.Partial++
		v.prev = 0
	}
	switch {
	case h.SystemID != v.SystemID:
		v.problem("it is of system %d, %s is of system %d", h.SystemID, positionName, v.SystemID)
	case h.Timeline != v.at.Timeline || h.From != v.at.LSN:
		v.problem("its header says timeline %d from %s, its name says otherwise", h.Timeline, h.From)
	case h.Level != LevelRecord && h.Level != LevelTransaction:
		v.problem("its level %q is unknown", h.Level)
	}
	return nil
}

// recordLine is what Verify reads of a line.
type recordLine struct {
	Start     *wal.LSN        `json:"start_lsn"`
	End       *wal.LSN        `json:"end_lsn"`
	Prev      *wal.LSN        `json:"prev_lsn"`
	Timeline  *wal.TimelineID `json:"timeline"`
	XID       *wal.XID        `json:"xid"`
	Rmgr      string          `json:"rmgr"`
	Operation string          `json:"operation"`
	Length    uint32          `json:"length"`
}

func (l *recordLine) complete() bool {
	return l.Start != nil && l.End != nil && l.Prev != nil && l.Timeline != nil && l.XID != nil &&
		l.Rmgr != "" && l.Operation != "" && l.Length >= wal.RecordHeaderSize
}

// parse reads a record's line. record is false for a line of another kind, and
// for one that is wrong, which is then noted.
func (v *verifier) parse(line []byte) (l scanned, record bool) {
	if l, ok := scanLine(line); ok {
		return l, true
	}
	var r recordLine
	err := json.Unmarshal(line, &r)
	switch {
	case err != nil:
		v.problem("it does not parse: %v", err)
	case r.Start == nil && line[0] == '{':
		return scanned{}, false
	case !r.complete():
		v.problem("fields of a record are missing")
	default:
		return scanned{*r.Start, *r.End, *r.Prev, *r.Timeline}, true
	}
	v.prev = 0
	return scanned{}, false
}

// other checks a line that is no header.
func (v *verifier) other(ctx context.Context, line []byte) error {
	s, ok, err := parseRewound(line)
	switch {
	case !ok:
		v.record(line)
		return nil
	case err != nil:
		v.problem("%v", err)
		return nil
	}
	return v.rewound(ctx, s)
}

// rewound goes back to where the line says.
func (v *verifier) rewound(ctx context.Context, s Switch) error {
	v.Switches = append(v.Switches, s)
	if s.OldTimeline != v.timeline {
		v.problem("it ends timeline %d, but the lines before it are of timeline %d", s.OldTimeline, v.timeline)
	}
	if s.From < v.Last {
		v.problem("it goes back from %s, but the lines before it have records up to %s", s.From, v.Last)
	}
	v.timeline = s.NewTimeline
	if s.To >= v.Last {
		return nil
	}
	last, found, err := lastBefore(ctx, v.fsys, v.dir, v.names[:v.index+1], v.off, s.To)
	if err != nil {
		return err
	}
	v.prev, v.Last = 0, s.To
	if found {
		v.prev, v.Last = last.start, last.end
	}
	return nil
}

func (v *verifier) record(line []byte) {
	l, ok := v.parse(line)
	if !ok {
		return
	}
	start, end := l.start, l.end
	switch {
	case end <= start:
		v.problem("the record at %s ends at %s", start, end)
	case start < v.Last:
		v.problem("the record at %s begins before the one before it ends, at %s", start, v.Last)
	case v.prev != 0 && l.prev != v.prev && !v.o.Filtered:
		v.problem("a record is missing: the record at %s follows the one at %s, but the line before has the one at %s", start, l.prev, v.prev)
	case v.timeline != v.at.Timeline:
		v.problem("the record at %s is of timeline %d, but a rewound line before it says that timeline %d comes", start, l.timeline, v.timeline)
	case l.timeline != v.at.Timeline:
		v.problem("the record at %s is of timeline %d, the file of timeline %d", start, l.timeline, v.at.Timeline)
	case v.line == 2 && start != v.at.LSN:
		v.problem("the first record is at %s, but the file's name says %s", start, v.at.LSN)
	}
	if v.Records == 0 {
		v.First = start
	}
	v.Records++
	v.Last = max(v.Last, end)
	v.prev = start
	if v.some {
		v.prev = 0
	}
}
