package segmentfile_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
)

// The disk is full in the middle of a write: the error is worth another try, and
// says what to do; the next life goes on where the last flush was.
func TestFullDisk(t *testing.T) {
	w := source(2500)
	for _, op := range []crashfs.Op{crashfs.OpWrite, crashfs.OpAllocate} {
		disk := crashfs.New()
		l := mustStart(t, disk, w)
		l.mustDeliver(w, w.Records()[800].End)
		flushed := l.mustFlush()
		disk.Inject(crashfs.Always(op, "*.partial", &crashfs.Fault{Err: syscall.ENOSPC, Written: 5000}))
		err := l.deliver(w, w.End())
		wantError(t, err, false, "no space left on device", "make room", ".partial")
		if _, err := l.Flush(t.Context()); err == nil {
			t.Error("a flush after a failed write succeeded")
		}
		must(t, l.Close(t.Context()))
		disk = disk.Crash(rand.New(rand.NewPCG(1, 1)))
		l = mustStart(t, disk, w)
		if l.position() < flushed {
			t.Errorf("position %s after %s was flushed", l.position(), flushed)
		}
		l.mustDeliver(w, w.End())
		if got := l.mustFlush(); got != w.End() {
			t.Errorf("flushed %s of %s", got, w.End())
		}
	}
}

// A failed sync is never tried again as if nothing had happened, and what it lost
// is not believed because it can still be read.
func TestFailedSync(t *testing.T) {
	w := source(600)
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	l.mustDeliver(w, w.Records()[100].End)
	l.mustFlush()
	l.mustDeliver(w, w.Records()[200].End)
	disk.Inject(crashfs.Nth(crashfs.OpSync, "*.partial", 1, &crashfs.Fault{Err: syscall.EIO}))
	_, err := l.Flush(t.Context())
	wantError(t, err, false, "input/output error", w.Records()[200].End.String(), "received again")
	if _, err := l.Flush(t.Context()); err == nil {
		t.Error("a second flush succeeded")
	}
	if err := l.deliver(w, w.End()); err == nil {
		t.Error("a write after it succeeded")
	}
	disk = disk.Kill()
	l = mustStart(t, disk, w)
	at := l.position()
	disk = disk.CrashKeeping(rand.New(rand.NewPCG(1, 1)), 0)
	if l = mustStart(t, disk, w); l.position() != at {
		t.Errorf("position %s, and after power loss %s", at, l.position())
	}
}

// When the final name cannot be given, the next life gives it.
func TestFinishFails(t *testing.T) {
	w := source(2500)
	for _, op := range []crashfs.Op{crashfs.OpLink, crashfs.OpSyncDir, crashfs.OpRemove} {
		disk := crashfs.New()
		l := mustStart(t, disk, w)
		disk.Inject(crashfs.Always(op, "*", &crashfs.Fault{Err: syscall.EIO}))
		wantError(t, l.deliver(w, w.End()), false, "input/output error", name(w.Options().Start))
		disk.Inject(nil)
		disk = disk.Kill()
		l = mustStart(t, disk, w)
		if l.position() < 2*wal.LSN(segSize)-2000 { // the record at the segment's end is incomplete
			t.Errorf("%s: position %s", op, l.position())
		}
		l.mustDeliver(w, w.End())
		if got, want := names(t, disk), name(1<<20)+" "+name(2<<20)+" "+name(3<<20)+".partial"; got != want {
			t.Errorf("%s: files %s, want %s", op, got, want)
		}
	}
}

// A file system without links gets a rename, and keeps a finished segment too.
func TestNoLinks(t *testing.T) {
	for _, errno := range []error{syscall.EPERM, syscall.EOPNOTSUPP} {
		w := source(1500)
		disk := crashfs.New()
		l := mustStart(t, disk, w)
		disk.Inject(crashfs.Always(crashfs.OpLink, "*", &crashfs.Fault{Err: errno}))
		l.mustDeliver(w, w.End())
		if got, want := names(t, disk), name(1<<20)+" "+name(2<<20)+".partial"; got != want {
			t.Errorf("files %s, want %s", got, want)
		}
		next := name(w.End())
		put(t, disk, next, make([]byte, segSize))
		messages(w, 1000)
		wantError(t, l.deliver(w, w.End()), true, "never replaced")
		if got := get(t, disk, next); !bytes.Equal(got, make([]byte, segSize)) {
			t.Error("the finished segment was replaced")
		}
	}
}

func TestLocked(t *testing.T) {
	w := source(100)
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	_, err := start(t, disk, w)
	wantError(t, err, false, archive, "in use", "another directory")
	must(t, l.Close(t.Context()))
	must(t, mustStart(t, disk, w).Close(t.Context()))
}

func TestNotWritable(t *testing.T) {
	w := source(100)
	for _, c := range []struct {
		op    crashfs.Op
		errno error
		word  string
	}{
		{crashfs.OpMkdir, syscall.EACCES, "permission"},
		{crashfs.OpLock, syscall.EACCES, "permission"},
		{crashfs.OpOpen, syscall.EACCES, "permission"},
		{crashfs.OpReadDir, syscall.EACCES, "permission"},
		{crashfs.OpRename, syscall.EROFS, "mount"},
		{crashfs.OpRename, syscall.EIO, "kernel's log"},
		{crashfs.OpRename, syscall.ENOENT, "vanished"},
		{crashfs.OpRename, syscall.ESTALE, "vanished"},
	} {
		disk := crashfs.New()
		disk.Inject(crashfs.Always(c.op, "*", &crashfs.Fault{Err: c.errno}))
		_, err := start(t, disk, w)
		wantError(t, err, c.errno == syscall.EACCES, archive, c.word)
	}
}

// The lock is let go when Open fails, so that the next try does not find it held.
func TestFailedOpenUnlocks(t *testing.T) {
	w := source(100)
	disk := crashfs.New()
	disk.Inject(crashfs.Always(crashfs.OpRename, "*", &crashfs.Fault{Err: syscall.ENOSPC}))
	_, err := start(t, disk, w)
	wantError(t, err, false, "make room")
	disk.Inject(nil)
	mustStart(t, disk, w)
}

// The archive of another cluster, or of another timeline, is left as it is; its
// identity and position are answered.
func TestOthersArchive(t *testing.T) {
	w := source(1500)
	for what, sys := range map[string]sdk.System{
		"cluster":  {ID: 42, Timeline: 1, SegmentSize: segSize},
		"size too": {ID: 42, Timeline: 1, SegmentSize: 2 * segSize},
		"timeline": {ID: system().ID, Timeline: 2, SegmentSize: segSize},
	} {
		disk := crashfs.New()
		putSegments(t, disk, w)
		disk.ClearLog()
		sink, res, _, err := openLogged(t, disk, sys)
		must(t, err)
		if res.New || res.SystemID != system().ID || res.Position != (wal.Position{Timeline: 1, LSN: w.End()}) {
			t.Errorf("%s: answer %+v", what, res)
		}
		if got := changes(disk); got != "" || strings.Contains(names(t, disk), ".walplex") {
			t.Errorf("%s: the archive was changed:\n%s", what, got)
		}
		s, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), opened{sink}, sdk.System{ID: system().ID, Timeline: 1, SegmentSize: segSize}, sinktest.Options{})
		must(t, err)
		messages(w, 1)
		wantError(t, s.Deliver(t.Context(), w.Bytes()[s.Next()-w.Options().Start:]), true, archive, "does not belong")
		if got := changes(disk); got != "" {
			t.Errorf("%s: the archive was changed:\n%s", what, got)
		}
	}
}

func TestFormatVersion(t *testing.T) {
	w := source(100)
	disk := crashfs.New()
	mustStart(t, disk, w)
	if got := get(t, disk, ".walplex-segment_file"); string(got) != "{\"version\":2}\n" {
		t.Errorf("format file %q", got)
	}
	for content, words := range map[string][]string{
		`{"version":3}`: {"version 3", "later release"},
		`{"version":0}`: {"does not say"},
		`what`:          {"does not say"},
	} {
		disk := crashfs.New()
		put(t, disk, ".walplex-segment_file", []byte(content))
		_, err := start(t, disk, w)
		wantError(t, err, true, append(words, archive+"/.walplex-segment_file")...)
	}
}

// Another program has made the segment that is being received, with other bytes:
// they stay. With the same bytes nothing is wrong.
func TestFinishedSegmentIsNotReplaced(t *testing.T) {
	w := source(2500)
	first := name(w.Options().Start)
	same := until(w, segSize.End(w.Options().Start))
	other := bytes.Clone(same)
	other[5000] ^= 0xFF
	for _, c := range []struct {
		file    []byte
		differs bool
	}{{same, false}, {other, true}, {same[:segSize-1], true}} {
		disk := crashfs.New()
		l := mustStart(t, disk, w)
		l.mustDeliver(w, w.Options().Start+100_000)
		l.mustFlush()
		put(t, disk, first, c.file)
		err := l.deliver(w, w.End())
		if !bytes.Equal(get(t, disk, first), c.file) {
			t.Error("the finished segment was changed")
		}
		if !c.differs {
			must(t, err)
			continue
		}
		words := []string{archive + "/" + first, "never replaced", "SHA-256 " + sum(c.file), "SHA-256 " + sum(same)}
		if len(c.file) == len(other) {
			words = append(words, (w.Options().Start + 5000).String())
		}
		wantError(t, err, true, words...)
		must(t, l.Close(t.Context()))
		// The next life refuses as well, and touches neither.
		if _, err = start(t, disk, w); len(c.file) != len(other) {
			words = []string{archive + "/" + first, "not whole"}
		}
		wantError(t, err, true, words...)
		if got := names(t, disk); got != first+" "+first+".partial" {
			t.Errorf("files %s", got)
		}
	}
}

// What was received of a finished segment is compared to its end, where both may
// have zeros.
func TestFinishedSegmentDiffersInPadding(t *testing.T) {
	w := source(100)
	_, end := w.Switch()
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	l.mustDeliver(w, w.Options().Start+50_000)
	other := bytes.Clone(w.Bytes())
	other[len(other)-1] = 1
	put(t, disk, name(w.Options().Start), other)
	wantError(t, l.deliver(w, end), true, "never replaced", (end - 1).String())
}

// The server has taken another history: the first record that does not follow
// those that are held is refused, wherever the position lies.
func TestSplitBrain(t *testing.T) {
	for records := 1000; records < 1100; records += 3 { // over the end of the first segment
		w, other := source(records), source(records)
		disk := crashfs.New()
		l := mustStart(t, disk, w)
		l.mustDeliver(w, w.End())
		l.mustFlush()
		must(t, l.Close(t.Context()))
		other = source(records - 10)
		for other.End() < w.End() {
			other.LogicalMessage("other", 980)
		}
		messages(other, 10)
		l = mustStart(t, disk, w)
		before := get(t, disk, name(l.position())+".partial")
		wantError(t, l.deliver(other, other.End()), true, l.position().String(), archive, "another history", "new directory")
		if !bytes.Equal(before, get(t, disk, name(l.position())+".partial")) && segSize.Offset(l.position()) != 0 {
			t.Errorf("%d records: the archive was changed", records)
		}
	}
}

// opened is a sink that was opened already.
type opened struct{ *segmentfile.Sink }

func (o opened) Open(_ context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	return sdk.OpenResult{SystemID: req.System.ID, Position: wal.Position{Timeline: 1, LSN: source(1500).End()}}, nil
}
