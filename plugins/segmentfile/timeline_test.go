package segmentfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// promoted is WAL of timeline tli that has left another one where w has ended: w
// itself, with n records of the new timeline behind. w is not used any more.
func promoted(w *waltest.Writer, tli wal.TimelineID, n int) *waltest.Writer {
	w.SetTimeline(tli)
	for range n {
		w.LogicalMessage(fmt.Sprintf("timeline %d", tli), 1000)
	}
	return w
}

// historyOf is the history file of the last timeline of the switches: each is
// where timeline 1, 2, … ended.
func historyOf(switches ...wal.LSN) []byte {
	var b []byte
	for i, lsn := range switches {
		b = fmt.Appendf(b, "%d\t%s\tno recovery target specified\n", i+1, lsn)
	}
	return b
}

// epochTo is the last of the switches.
func epochTo(switches ...wal.LSN) *sdk.Epoch {
	tli := wal.TimelineID(len(switches))
	return &sdk.Epoch{OldTimeline: tli, SwitchLSN: switches[tli-1], NewTimeline: tli + 1,
		HistoryFile: wal.HistoryFileName(tli + 1), History: historyOf(switches...)}
}

// startOn opens the archive for a server that has made these switches.
func startOn(t *testing.T, disk durable.FS, switches ...wal.LSN) (*life, error) {
	t.Helper()
	sys := system()
	sys.Timeline = wal.TimelineID(len(switches) + 1)
	sink := segmentfile.New(config(archive), disk)
	session, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), withHistory{sink, historyOf(switches...)}, sys,
		sinktest.Options{Start: wal.LSN(segSize), LockWait: 1})
	return &life{session, sink, t}, err
}

// withHistory opens a sink as the host does on a later timeline.
type withHistory struct {
	*segmentfile.Sink
	history []byte
}

func (h withHistory) Open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	of := *req
	of.History = h.history
	return h.Sink.Open(ctx, &of)
}

// rewound is a sink that was opened before and has answered Rewind.
type rewound struct {
	*segmentfile.Sink
	at wal.Position
}

func (r rewound) Open(context.Context, *sdk.OpenRequest) (sdk.OpenResult, error) {
	return sdk.OpenResult{SystemID: system().ID, Position: r.at}, nil
}

// rewind has the sink follow a switch and goes on from its answer.
func (l *life) rewind(e *sdk.Epoch) error {
	lsn, err := l.sink.Rewind(l.t.Context(), e)
	if err != nil {
		return err
	}
	sys := system()
	sys.Timeline = e.NewTimeline
	l.Session, err = sinktest.OpenSink(l.t.Context(), segmentfile.Definition(), rewound{l.sink, wal.Position{Timeline: e.NewTimeline, LSN: lsn}}, sys, sinktest.Options{})
	return err
}

// named is a segment's name on a timeline.
func named(tli wal.TimelineID, lsn wal.LSN) string { return segSize.FileName(tli, segSize.SegNo(lsn)) }

// A switch in a segment: the old timeline's last segment stays as it is, the new
// one's begins with a copy of it, and both are read back, also after a restart.
func TestSwitch(t *testing.T) {
	for what, c := range map[string]struct {
		records int // up to the switch
		beyond  int // received behind it on the old timeline
	}{
		"at the end of what came":             {1500, 0},
		"before the end":                      {1500, 200},
		"before finished segments":            {1500, 3000},
		"at the archive's very beginning":     {3, 100},
		"in the first page of a segment":      {1003, 1},
		"where the last record crosses over":  {1004, 0},
		"where a segment ends, and goes on":   {-1, 50},
		"where a segment ends, and that's it": {-1, 0},
	} {
		t.Run(what, func(t *testing.T) { testSwitch(t, c.records, c.beyond) })
	}
}

func testSwitch(t *testing.T, records, beyond int) {
	make1 := func() *waltest.Writer {
		if records >= 0 {
			return source(records)
		}
		w := source(500)
		w.FillToSegmentEnd(0)
		return w
	}
	old := make1()
	at := old.End()
	messages(old, beyond)
	next := promoted(make1(), 2, 1500)
	disk := crashfs.New()
	l := mustStart(t, disk, old)
	l.mustDeliver(old, old.End())
	l.mustFlush()
	before := archiveFiles(t, disk)
	must(t, l.rewind(epochTo(at)))
	if got, want := l.position(), segSize.Start(at); got != want {
		t.Fatalf("the new timeline begins at %s, want %s", got, want)
	}
	if got := l.mustFlush(); got != segSize.Start(at) {
		t.Errorf("flushed %s before anything came", got)
	}
	l.mustDeliver(next, next.End())
	if got := l.mustFlush(); got != next.End() {
		t.Errorf("flushed %s of %s", got, next.End())
	}
	check := func(l *life) {
		t.Helper()
		after := archiveFiles(t, disk)
		for name, data := range before {
			if !bytes.Equal(after[name], data) {
				t.Errorf("%s of the old timeline was changed", name)
			}
		}
		if !bytes.Equal(after["00000002.history"], historyOf(at)) {
			t.Errorf("history file %q", after["00000002.history"])
		}
		wantWAL(t, l, 1, old, old.Options().Start, at)
		wantWAL(t, l, 1, old, old.Options().Start, 0)
		wantWAL(t, l, 2, next, segSize.Start(at), next.End())
		if _, err := readAll(t.Context(), l.sink, 1, old.Options().Start, old.End()+8); !errors.Is(err, sdk.ErrNotHeld) {
			t.Errorf("WAL behind the old timeline's end: %v", err)
		}
	}
	check(l)
	disk = disk.CrashKeeping(rand.New(rand.NewPCG(1, 1)), 0)
	l, err := startOn(t, disk, at)
	must(t, err)
	if l.Result().Position != (wal.Position{Timeline: 2, LSN: next.End()}) {
		t.Errorf("position %+v, want %s", l.Result().Position, next.End())
	}
	check(l)
}

// wantWAL reads back what the source holds; up to its end where to is 0.
func wantWAL(t *testing.T, l *life, tli wal.TimelineID, w *waltest.Writer, from, to wal.LSN) {
	t.Helper()
	got, err := readAll(t.Context(), l.sink, tli, from, to)
	if to == 0 {
		to = w.End()
	}
	if err != nil || !bytes.Equal(got, w.Bytes()[from-w.Options().Start:to-w.Options().Start]) {
		t.Errorf("timeline %d: %d bytes of %d, or others: %v", tli, len(got), to-from, err)
	}
}

// archiveFiles are the archive's segments and history files.
func archiveFiles(t *testing.T, disk durable.FS) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, n := range strings.Fields(names(t, disk)) {
		files[n] = get(t, disk, n)
	}
	return files
}

// Three timelines, two switches in one segment; of the second nothing came, or a
// part.
func TestSeveralSwitches(t *testing.T) {
	for _, came := range []int{0, 1, 1000, 300_000} {
		w1, w2 := source(1100), promoted(source(1100), 2, 300)
		w3 := promoted(promoted(source(1100), 2, 300), 3, 1500)
		a, b := w1.End(), w2.End()
		disk := crashfs.New()
		l := mustStart(t, disk, w1)
		l.mustDeliver(w1, a)
		must(t, l.rewind(epochTo(a)))
		l.mustDeliver(w2, min(l.Next()+wal.LSN(came), b))
		err := l.rewind(epochTo(a, b))
		must(t, err)
		l.mustDeliver(w3, w3.End())
		l.mustFlush()
		l, err = startOn(t, disk.CrashKeeping(rand.New(rand.NewPCG(1, 1)), 0), a, b)
		must(t, err)
		if l.Result().Position != (wal.Position{Timeline: 3, LSN: w3.End()}) {
			t.Errorf("position %+v", l.Result().Position)
		}
		wantWAL(t, l, 1, w1, w1.Options().Start, a)
		wantWAL(t, l, 3, w3, segSize.Start(b), 0)
	}
}

// A crash at any step of the switch: the next life is at one of the two
// positions, and the switch can be told again.
func TestSwitchIsRepeated(t *testing.T) {
	for step := 1; step < 30; step++ {
		w1, w2 := source(1500), promoted(source(1400), 2, 700)
		at := source(1400).End()
		disk := crashfs.New()
		l := mustStart(t, disk, w1)
		l.mustDeliver(w1, w1.End())
		disk.Inject(failAfter(step, syscall.EIO))
		err := l.rewind(epochTo(at))
		if err == nil {
			err = l.deliver(w2, l.Next()+50_000)
		}
		if sdk.IsPermanent(err) {
			t.Fatalf("step %d: %v", step, err)
		}
		if step%2 == 0 {
			disk = disk.Kill()
		} else {
			disk = disk.Crash(rand.New(rand.NewPCG(uint64(step), 1)))
		}
		if l, err = startOn(t, disk, at); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if l.Result().New {
			continue // nothing was flushed before the power was lost
		}
		if l.Result().Position.Timeline == 1 {
			if l.position() < segSize.Start(at) {
				continue // the host would deliver the rest of the old timeline first
			}
			must(t, l.rewind(epochTo(at)))
			must(t, l.rewind(epochTo(at))) // told twice
		}
		l.mustDeliver(w2, w2.End())
		if got := l.mustFlush(); got != w2.End() {
			t.Errorf("step %d: flushed %s", step, got)
		}
		wantWAL(t, l, 2, w2, segSize.Start(at), 0)
	}
}

// failAfter lets all operations fail from the nth on.
func failAfter(n int, errno error) func(crashfs.Call) *crashfs.Fault {
	return func(c crashfs.Call) *crashfs.Fault {
		if n--; n > 0 || c.Op == crashfs.OpRead || c.Op == crashfs.OpStat {
			return nil
		}
		return &crashfs.Fault{Err: errno}
	}
}

// On a later timeline an archive of its ancestor is open for what follows, and
// what was received behind the switch point is not cut.
func TestOpenOnAncestor(t *testing.T) {
	w := source(1500)
	at := source(1450).End()
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	l.mustDeliver(w, w.End()-100)
	l.mustFlush()
	must(t, l.Close(t.Context()))
	before := get(t, disk, name(w.End())+".partial")
	l, err := startOn(t, disk, at)
	must(t, err)
	if p := l.Result().Position; p.Timeline != 1 || p.LSN < at {
		t.Errorf("position %+v", p)
	}
	if !bytes.Equal(get(t, disk, name(w.End())+".partial"), before) {
		t.Error("the old timeline's last segment was changed")
	}
	if got := get(t, disk, "00000002.history"); !bytes.Equal(got, historyOf(at)) {
		t.Errorf("history file %q", got)
	}
	must(t, l.Close(t.Context()))

	// The other way round the archive is ahead of the server: nothing is touched.
	put(t, disk, named(2, at)+".partial", padded(promoted(source(1450), 2, 1).Bytes()[segSize.Start(at)-w.Options().Start:]))
	disk.ClearLog()
	_, res, _, err := openLogged(t, disk, system())
	must(t, err)
	if res.Position.Timeline != 2 || changes(disk) != "" {
		t.Errorf("answer %+v, changes %s", res, changes(disk))
	}
}

// The server has lost the history file of a timeline that has ended since.
func TestSwitchWithoutHistory(t *testing.T) {
	w := source(100)
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	l.mustDeliver(w, w.End())
	e := epochTo(w.End())
	e.HistoryFile, e.History = "", nil
	must(t, l.rewind(e))
	w = promoted(w, 2, 10)
	l.mustDeliver(w, w.End())
	if got := l.mustFlush(); got != w.End() || strings.Contains(names(t, disk), ".history") {
		t.Errorf("flushed %s, files %s", got, names(t, disk))
	}
}

// Where a switch cannot be right it is refused, and nothing is written.
func TestSwitchIsRefused(t *testing.T) {
	w := source(1500)
	at := w.Records()[1400].End
	for what, c := range map[string]struct {
		epoch     sdk.Epoch
		files     map[string][]byte
		permanent bool
		words     []string
	}{
		"other history file": {*epochTo(at), map[string][]byte{"00000002.history": []byte("other")}, true,
			[]string{"00000002.history", sum([]byte("other")), sum(historyOf(at)), "never replaced"}},
		"not in the history": {sdk.Epoch{OldTimeline: 1, SwitchLSN: at, NewTimeline: 2, HistoryFile: "00000002.history", History: historyOf(at + 8)}, nil, true,
			[]string{"does not say so"}},
		"no history":      {sdk.Epoch{OldTimeline: 1, SwitchLSN: at, NewTimeline: 2, HistoryFile: "00000002.history", History: []byte("what")}, nil, true, []string{"00000002.history"}},
		"from elsewhere":  {*epochTo(at-80_000, at), nil, true, []string{"timeline 2", archive}},
		"backwards":       {sdk.Epoch{OldTimeline: 1, SwitchLSN: at, NewTimeline: 1}, nil, true, []string{"timeline 1"}},
		"wrong file name": {sdk.Epoch{OldTimeline: 1, SwitchLSN: at, NewTimeline: 2, HistoryFile: "../x", History: historyOf(at)}, nil, true, []string{"../x"}},
		"gap":             {*epochTo(w.End() + wal.LSN(segSize)), nil, false, []string{"gap", w.End().String()}},
	} {
		disk := crashfs.New()
		l := mustStart(t, disk, w)
		l.mustDeliver(w, w.End())
		l.mustFlush()
		for name, data := range c.files {
			put(t, disk, name, data)
		}
		before := archiveFiles(t, disk)
		err := l.rewind(&c.epoch)
		if err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		wantError(t, err, c.permanent, c.words...)
		for name, data := range archiveFiles(t, disk) {
			if !bytes.Equal(before[name], data) {
				t.Errorf("%s: %s was changed", what, name)
			}
		}
		if _, err := l.Flush(t.Context()); err == nil {
			t.Errorf("%s: a flush succeeded", what)
		}
	}
}

// The server's new timeline has not come from the WAL that is archived.
func TestForkDiffers(t *testing.T) {
	w := source(1500)
	at := w.Records()[1400].End
	other := source(1300)
	for other.End() < at {
		other.LogicalMessage("other", 980)
	}
	other = promoted(other, 2, 100)
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	l.mustDeliver(w, w.End())
	must(t, l.rewind(epochTo(at)))
	err := l.deliver(other, other.End())
	wantError(t, err, true, "other WAL before its switch point", "SHA-256", archive, "new directory")
	if _, err := disk.Stat(filepath.Join(archive, named(2, at)+".partial")); err == nil {
		if bytes.Contains(get(t, disk, named(2, at)+".partial"), []byte("other")) {
			t.Error("the other WAL was written")
		}
	}
}

// A new sink of a later timeline keeps the history file, and follows a switch
// that comes before any WAL.
func TestNewOnLaterTimeline(t *testing.T) {
	disk := crashfs.New()
	l, err := startOn(t, disk, 0x1400000)
	must(t, err)
	if !l.Result().New || !bytes.Equal(get(t, disk, "00000002.history"), historyOf(0x1400000)) {
		t.Errorf("answer %+v, files %s", l.Result(), names(t, disk))
	}
	must(t, l.rewind(epochTo(0x1400000, 0x1500008)))
	if l.position() != 0x1500000 || !strings.Contains(names(t, disk), "00000003.history") {
		t.Errorf("position %s, files %s", l.position(), names(t, disk))
	}
}
