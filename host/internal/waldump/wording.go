package waldump

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/walplex/walplex/sdk/wal"
)

// wording is what the messages of pg_waldump's majors differ in.
type wording struct {
	version wal.Version

	// shortLength: "wanted 24, got 0" for "expected at least 24, got 0".
	shortLength bool
	// logSegment: "in log segment NAME, offset N" for "in WAL segment NAME, LSN X, offset N".
	logSegment bool
	// rangedTimeline: -t has a range, may be hexadecimal, and is called by its
	// name when wrong.
	rangedTimeline bool
	// bareFile: files that cannot be read stand without quotation marks.
	bareFile bool
	// skipOnStdout: that bytes are skipped is said on standard output.
	skipOnStdout bool
	// segmentSizeDetail: a wrong segment size is told in a detail.
	segmentSizeDetail bool
	// fatal: errors that end the program are marked "fatal", not "error".
	fatal bool
	// noStatsRange: statistics do not say between which LSNs they are.
	noStatsRange bool
	// noMethod: -b does not name the method of compression.
	noMethod bool
}

// wordings are those of each major, since which they hold.
func wordings() [5]wording {
	return [5]wording{
		{version: wal.PG14, shortLength: true, logSegment: true, bareFile: true, skipOnStdout: true, fatal: true, noStatsRange: true, noMethod: true},
		{version: wal.PG15, shortLength: true, logSegment: true, bareFile: true, skipOnStdout: true},
		{version: wal.PG16, rangedTimeline: true, bareFile: true, skipOnStdout: true},
		{version: wal.PG17, rangedTimeline: true, segmentSizeDetail: true},
		{version: wal.PG18, rangedTimeline: true, segmentSizeDetail: true},
	}
}

// wordingOf is the version's wording; of an unknown version, the newest's with
// version 0.
func wordingOf(v wal.Version) wording {
	all := wordings()
	for _, w := range all {
		if w.version == v {
			return w
		}
	}
	newest := all[len(all)-1]
	newest.version = 0
	return newest
}

// reason is an error of WAL in the version's words. The reader's are those of
// the newest version; the segment is named after the timeline that is read, as
// its file is. What the reader says beyond them, of the magic number of an
// unsupported version, stays where no version is known.
func (w *wording) reason(err error, tli wal.TimelineID, size wal.SegmentSize) string {
	var e *wal.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := e.Reason
	const inSegment = " in WAL segment "
	if at := strings.Index(text, inSegment); at >= 0 {
		hint := ""
		if w.version == 0 {
			_, hint, _ = strings.Cut(text[at:], ", offset ")
			hint = strings.TrimLeft(hint, "0123456789")
		}
		name, offset := size.FileName(tli, size.SegNo(e.LSN)), size.Offset(e.LSN)
		if w.logSegment {
			text = fmt.Sprintf("%s in log segment %s, offset %d%s", text[:at], name, offset, hint)
		} else {
			text = fmt.Sprintf("%s%s%s, LSN %s, offset %d%s", text[:at], inSegment, name, e.LSN, offset, hint)
		}
	}
	if w.shortLength && strings.HasPrefix(text, "invalid record length at ") {
		text = strings.Replace(text, "expected at least", "wanted", 1)
	}
	return text
}

// file is a file's name as messages about reading it have it.
func (w *wording) file(name string) string {
	if w.bareFile {
		return name
	}
	return `"` + name + `"`
}

// strerror is the system's error in C's words.
func strerror(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	text := errno.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
