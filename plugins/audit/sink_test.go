package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

const testDir = "/trail"

func testConfig() Config {
	return Config{Directory: testDir, Rotate: 256 << 20, Level: LevelRecord}
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// transactions are n of an insert and a commit each: about 400 bytes of lines.
func transactions(n int) *waltest.Writer {
	w := waltest.New(waltest.Options{})
	for i := range n {
		xid := wal.XID(1000 + i)
		w.Append(waltest.HeapInsert(xid, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}, wal.BlockNumber(i/100), uint16(i%100+1), make([]byte, 20)))
		w.Append(waltest.Commit(xid, time.Unix(1.7e9, int64(i)*1000)))
	}
	return w
}

func system(w *waltest.Writer) sdk.System {
	o := w.Options()
	return sdk.System{ID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize, ServerVersion: int(o.Version) * 10000}
}

// open opens a sink on the WAL that w writes.
func open(t testing.TB, fsys durable.FS, c Config, w *waltest.Writer) *sinktest.Session {
	t.Helper()
	s, err := tryOpen(t, fsys, c, system(w), w)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryOpen(t testing.TB, fsys durable.FS, c Config, sys sdk.System, w *waltest.Writer) (*sinktest.Session, error) {
	t.Helper()
	return sinktest.OpenSink(t.Context(), Definition(fsys), newSink(fsys, &c), sys,
		sinktest.Options{Start: w.Options().Start, LockWait: time.Millisecond})
}

// deliver hands over the WAL up to to.
func deliver(t testing.TB, s *sinktest.Session, w *waltest.Writer, to wal.LSN) {
	t.Helper()
	if err := s.Deliver(t.Context(), stretch(w, s.Next(), to)); err != nil {
		t.Fatal(err)
	}
}

func stretch(w *waltest.Writer, from, to wal.LSN) []byte {
	return w.Bytes()[from-w.Options().Start : to-w.Options().Start]
}

func flush(t testing.TB, s *sinktest.Session) wal.LSN {
	t.Helper()
	lsn, err := s.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

func closeSession(t testing.TB, s *sinktest.Session) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// wantLines are the lines of the records that end at or before to.
func wantLines(t testing.TB, w *waltest.Writer, to wal.LSN) string {
	t.Helper()
	var b []byte
	enc := newEncoder()
	for _, a := range w.Records() {
		if a.End <= to {
			b = enc.appendLine(b, w.Options().Timeline, decodeAppended(t, w.Options().Version, a))
		}
	}
	return string(b)
}

func readFile(t testing.TB, fsys durable.FS, name string) []byte {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, fsys durable.FS, name string, b []byte) {
	t.Helper()
	if err := durable.WriteFileAtomic(fsys, name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// trailLines are the records' lines of all files in order, and the names.
func trailLines(t testing.TB, fsys durable.FS) (lines string, names []string) {
	t.Helper()
	names, foreign, err := listFiles(fsys, testDir)
	if err != nil || len(foreign) > 0 {
		t.Fatal(err, foreign)
	}
	var all []byte
	for _, name := range names {
		_, rest, _ := bytes.Cut(readFile(t, fsys, filepath.Join(testDir, name)), []byte{'\n'})
		all = append(all, rest...)
	}
	return string(all), names
}

// diff says where two texts of lines differ, "" when they do not.
func diff(got, want string) string {
	if got == want {
		return ""
	}
	g, w := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "line " + string(appendNumber(nil, uint32(i+1))) + " is\n" + g[i] + "want\n" + w[i]
		}
	}
	return string(appendNumber(nil, uint32(len(g)-1))) + " lines, want " + string(appendNumber(nil, uint32(len(w)-1)))
}

func checkTrail(t testing.TB, fsys durable.FS, w *waltest.Writer, to wal.LSN) (names []string) {
	t.Helper()
	lines, names := trailLines(t, fsys)
	if d := diff(lines, wantLines(t, w, to)); d != "" {
		t.Fatalf("trail up to %s: %s", to, d)
	}
	return names
}

func verify(t testing.TB, fsys durable.FS) *Report {
	t.Helper()
	r, err := Verify(t.Context(), fsys, testDir, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOneLineForEachRecord(t *testing.T) {
	for _, segment := range []wal.SegmentSize{wal.MinSegmentSize, wal.DefaultSegmentSize} {
		w := waltest.Random(3, waltest.Options{SegmentSize: segment}, 5<<20) // records larger than a segment too
		fsys := crashfs.New()
		s := open(t, fsys, testConfig(), w)
		if !s.Result().New {
			t.Fatalf("an empty directory answers %+v", s.Result())
		}
		deliver(t, s, w, w.End())
		if got := flush(t, s); got != w.End() {
			t.Errorf("flushed %s of %s", got, w.End())
		}
		closeSession(t, s)
		checkTrail(t, fsys, w, w.End())
		r := verify(t, fsys)
		recs := w.Records()
		if r.Problem != nil || r.Records != int64(len(recs)) || r.First != recs[0].Start || r.Last != w.End() || r.Position.LSN != w.End() || r.Behind != 0 {
			t.Errorf("verified %+v, problem %v", r, r.Problem)
		}
	}
}

func TestModes(t *testing.T) {
	w := waltest.Random(3, waltest.Options{}, 10<<10)
	dir := filepath.Join(t.TempDir(), "a", "b")
	c := testConfig()
	c.Directory = dir
	s := open(t, durable.OS{}, c, w)
	deliver(t, s, w, w.End())
	flush(t, s)
	closeSession(t, s)
	want := map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, positionName): 0o600, filepath.Join(dir, lockName): 0o600,
		filepath.Join(dir, fileName(wal.Position{Timeline: 1, LSN: w.Records()[0].Start})): 0o600}
	for name, mode := range want {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
	}
}

// TestRecordInFragments has a record above MaxRecord, of which nobody ever holds
// more than a fragment; the sink dies in the middle of it.
func TestRecordInFragments(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, first := w.Append(waltest.Commit(5, time.Unix(1e9, 0)))
	rec := waltest.FullPageImage(wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 7}, 3, waltest.HeapPage(100, 1))
	rec.Main, rec.Rmgr, rec.Info = make([]byte, 20<<20), wal.RmgrGeneric, 0
	w.Append(rec)
	w.Append(waltest.Commit(6, time.Unix(1e9, 0)))
	fsys := crashfs.New()
	s := open(t, fsys, testConfig(), w)
	deliver(t, s, w, first+(10<<20))
	if got := flush(t, s); got != first {
		t.Errorf("flushed %s in the middle of a record, want %s", got, first)
	}
	checkTrail(t, fsys, w, first)
	fsys = fsys.Kill()
	s = open(t, fsys, testConfig(), w)
	deliver(t, s, w, w.End())
	flush(t, s)
	checkTrail(t, fsys, w, w.End())
	lines, _ := trailLines(t, fsys)
	if !strings.Contains(lines, `"length":20979666,"main_data_length":20971520,"blocks":[{"id":0,"rel":"1663/5/7"`) {
		t.Errorf("the large record's line is not there: %.2000s", lines)
	}
	if r := verify(t, fsys); r.Problem != nil {
		t.Error(r.Problem)
	}
}

// TestOverwrittenRecord has a record that a crashed primary never finished.
func TestOverwrittenRecord(t *testing.T) {
	for _, size := range []int{9000, 3 << 20} {
		w := waltest.New(waltest.Options{})
		w.Append(waltest.Commit(5, time.Unix(1e9, 0)))
		w.FillTo(200)
		w.Abandon(waltest.LogicalMessage("never", size), size/3*2)
		w.Append(waltest.Commit(6, time.Unix(1e9, 0)))
		fsys := crashfs.New()
		s := open(t, fsys, testConfig(), w)
		deliver(t, s, w, w.End())
		flush(t, s)
		checkTrail(t, fsys, w, w.End())
		if r := verify(t, fsys); r.Problem != nil || r.Records != int64(len(w.Records())) {
			t.Errorf("%d records, %v", r.Records, r.Problem)
		}
	}
}

func TestRotation(t *testing.T) {
	w := transactions(1000)
	fsys, c := crashfs.New(), testConfig()
	c.Rotate = minRotate
	s := open(t, fsys, c, w)
	deliver(t, s, w, w.End())
	flush(t, s)
	names := checkTrail(t, fsys, w, w.End())
	if len(names) < 5 {
		t.Fatalf("%d files", len(names))
	}
	for i, name := range names {
		b := readFile(t, fsys, filepath.Join(testDir, name))
		// No file is larger, and none could have taken the next one's first line.
		next := math.MaxInt
		if i+1 < len(names) {
			_, line, _ := bytes.Cut(readFile(t, fsys, filepath.Join(testDir, names[i+1])), []byte{'\n'})
			next = bytes.IndexByte(line, '\n') + 1
		}
		if len(b) > minRotate || len(b) <= minRotate-next {
			t.Errorf("%s has %d bytes, the next line %d", name, len(b), next)
		}
	}
	if r := verify(t, fsys); r.Problem != nil || r.Files != len(names) {
		t.Errorf("%d files, %v", r.Files, r.Problem)
	}
}

// TestFlushWithoutRecords moves the position without a line: what Flush answers
// is what PostgreSQL acts on.
func TestFlushWithoutRecords(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, first := w.Append(waltest.Commit(5, time.Unix(1e9, 0)))
	w.Switch()
	fsys := crashfs.New()
	s := open(t, fsys, testConfig(), w)
	if got := flush(t, s); got != 0 {
		t.Errorf("a new sink has flushed %s", got)
	}
	deliver(t, s, w, first)
	deliver(t, s, w, w.End())
	end := flush(t, s)
	if end != w.End() {
		t.Errorf("flushed %s, the segment ends at %s", end, w.End())
	}
	fsys.ClearLog()
	if got := flush(t, s); got != end || len(fsys.Log()) != 0 {
		t.Errorf("a flush of nothing answers %s and does %v", got, fsys.Log())
	}
	fsys = fsys.CrashKeeping(seeded(0), 0)
	s = open(t, fsys, testConfig(), w)
	if got := s.Result(); got.New || got.Position != (wal.Position{Timeline: 1, LSN: end}) || got.SystemID != waltest.DefaultSystemID {
		t.Errorf("after power loss %+v", got)
	}
}

// TestFlushSyncs fixes what a flush costs, and its order.
func TestFlushSyncs(t *testing.T) {
	w := waltest.Random(5, waltest.Options{}, 40<<10)
	fsys := crashfs.New()
	s := open(t, fsys, testConfig(), w)
	deliver(t, s, w, w.Records()[10].End)
	log := func() string {
		var b strings.Builder
		fsys.ClearLog()
		flush(t, s)
		for _, c := range fsys.Log() {
			b.WriteString(string(c.Op) + " " + filepath.Ext(c.Name) + "\n")
		}
		return b.String()
	}
	if got, want := log(), "write .jsonl\nsync .jsonl\nsyncdir \nwrite .json\nsync .json\n"; got != want {
		t.Errorf("the first flush does\n%swant\n%s", got, want)
	}
	deliver(t, s, w, w.End())
	if got, want := log(), "write .jsonl\nsync .jsonl\nwrite .json\nsync .json\n"; got != want {
		t.Errorf("the second flush does\n%swant\n%s", got, want)
	}
}

func TestLevelTransaction(t *testing.T) {
	w := waltest.Random(6, waltest.Options{}, 100<<10)
	fsys, c := crashfs.New(), testConfig()
	half := w.Records()[len(w.Records())/2].End
	s := open(t, fsys, c, w)
	deliver(t, s, w, half)
	flush(t, s)
	closeSession(t, s)
	c.Level = LevelTransaction
	s = open(t, fsys, c, w)
	deliver(t, s, w, w.End())
	if got := flush(t, s); got != w.End() {
		t.Errorf("flushed %s", got)
	}
	closeSession(t, s)
	lines, names := trailLines(t, fsys)
	want := wantLines(t, w, half)
	for line := range strings.Lines(wantLines(t, w, w.End())[len(want):]) {
		if strings.Contains(line, `"xact_time"`) {
			want += line
		}
	}
	if d := diff(lines, want); d != "" || len(names) != 2 {
		t.Errorf("%d files: %s", len(names), d)
	}
	if r := verify(t, fsys); r.Problem != nil {
		t.Error(r.Problem)
	}
	// Back again, in the same session order: a third file.
	c.Level = LevelRecord
	w.Append(waltest.RunningXacts(3))
	s = open(t, fsys, c, w)
	deliver(t, s, w, w.End())
	flush(t, s)
	if _, names := trailLines(t, fsys); len(names) != 3 {
		t.Errorf("%d files", len(names))
	}
	if r := verify(t, fsys); r.Problem != nil {
		t.Error(r.Problem)
	}
}

func TestNewTimelineBeginsAFile(t *testing.T) {
	w := waltest.New(waltest.Options{})
	for range 20 {
		w.Append(waltest.Commit(5, time.Unix(1e9, 0)))
	}
	fsys := crashfs.New()
	s := open(t, fsys, testConfig(), w)
	deliver(t, s, w, w.End())
	flush(t, s)
	closeSession(t, s)
	before, at := len(w.Records()), w.End()
	w.SetTimeline(2)
	w.FillTo(0)
	w.Append(waltest.Commit(6, time.Unix(1e9, 0)))
	s = open(t, fsys, testConfig(), w)
	if err := s.Deliver(t.Context(), stretch(w, s.Next(), w.End())); !sdk.IsPermanent(err) {
		t.Errorf("a timeline that nobody told of: %v", err)
	}
	closeSession(t, s)
	s = open(t, fsys, testConfig(), w)
	if got := s.Result().Position; got != (wal.Position{Timeline: 1, LSN: at}) {
		t.Errorf("opened at %s", got)
	}
	if got, err := s.Epoch(t.Context(), &sdk.Epoch{OldTimeline: 1, SwitchLSN: at, NewTimeline: 2}); err != nil || got != at {
		t.Errorf("rewound to %s, %v", got, err)
	}
	deliver(t, s, w, w.End())
	flush(t, s)
	_, names := trailLines(t, fsys)
	if want := fileName(wal.Position{Timeline: 2, LSN: w.Records()[before].Start}); len(names) != 2 || names[1] != want {
		t.Errorf("files %v, want the second to be %s", names, want)
	}
	if r := verify(t, fsys); r.Problem != nil || r.Records != int64(len(w.Records())) || r.Position.Timeline != 2 {
		t.Errorf("%+v: %v", r, r.Problem)
	}
	closeSession(t, s)
	// The old timeline's WAL cannot follow the new one's.
	old := waltest.New(waltest.Options{Start: 2 << 20, Prev: 1})
	old.Append(waltest.Commit(7, time.Unix(1e9, 0)))
	s = open(t, fsys, testConfig(), old)
	if err := s.Deliver(t.Context(), append(make([]byte, 0), stretchFrom(old, w, s.Next())...)); err == nil || !sdk.IsPermanent(err) {
		t.Errorf("an older timeline: %v", err)
	}
}

// stretchFrom is the WAL of before up to the start of w's, and then w's.
func stretchFrom(w, before *waltest.Writer, from wal.LSN) []byte {
	p := append([]byte(nil), before.Bytes()[from-before.Options().Start:]...)
	p = append(p, make([]byte, int(w.Options().Start-before.End()))...)
	return append(p, w.Bytes()...)
}

// TestOtherCluster answers what is held, changes nothing, and takes nothing.
func TestOtherCluster(t *testing.T) {
	w := waltest.Random(9, waltest.Options{}, 100<<10)
	half := w.Records()[len(w.Records())/2].End
	fsys := crashfs.New()
	s := open(t, fsys, testConfig(), w)
	deliver(t, s, w, half)
	at := flush(t, s)
	deliver(t, s, w, w.End())
	closeSession(t, s)
	fsys.ClearLog()
	other := waltest.Random(9, waltest.Options{SystemID: 42}, 100<<10)
	s = open(t, fsys, testConfig(), other)
	if got := s.Result(); got.New || got.SystemID != waltest.DefaultSystemID || got.Position.LSN != at {
		t.Errorf("answered %+v", got)
	}
	if err := s.Deliver(t.Context(), stretch(other, s.Next(), other.End())); !sdk.IsPermanent(err) {
		t.Errorf("another cluster's WAL: %v", err)
	}
	_ = s.Close(t.Context())
	for _, call := range fsys.Log() {
		if call.Op != crashfs.OpSyncDir {
			t.Errorf("it did %s", call)
		}
	}
	s = open(t, fsys, testConfig(), w)
	deliver(t, s, w, w.End())
	flush(t, s)
	checkTrail(t, fsys, w, w.End())
}

// TestClaimedForAnotherCluster has a directory in which nothing was ever held.
func TestClaimedForAnotherCluster(t *testing.T) {
	fsys := crashfs.New()
	first := waltest.Random(9, waltest.Options{SystemID: 42}, 100<<10)
	s := open(t, fsys, testConfig(), first)
	deliver(t, s, first, first.End())
	closeSession(t, s)
	w := waltest.Random(10, waltest.Options{}, 100<<10)
	s = open(t, fsys, testConfig(), w)
	if !s.Result().New {
		t.Errorf("answered %+v", s.Result())
	}
	deliver(t, s, w, w.End())
	flush(t, s)
	checkTrail(t, fsys, w, w.End())
	if r := verify(t, fsys); r.Problem != nil || r.SystemID != waltest.DefaultSystemID {
		t.Error(r.SystemID, r.Problem)
	}
}

// TestRepeatedRecordsAreRefused has a host that breaks its promise.
func TestRepeatedRecordsAreRefused(t *testing.T) {
	w := waltest.Random(9, waltest.Options{}, 100<<10)
	fsys := crashfs.New()
	s := newSink(fsys, &[]Config{testConfig()}[0])
	first, err := sinktest.OpenSink(t.Context(), Definition(fsys), s, system(w), sinktest.Options{Start: w.Options().Start})
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, first, w, w.End())
	again, err := sinktest.OpenSink(t.Context(), Definition(fsys), alreadyOpen{s}, system(w), sinktest.Options{Start: w.Options().Start})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Deliver(t.Context(), w.Bytes()); !sdk.IsPermanent(err) {
		t.Errorf("the same records again: %v", err)
	}
}

// alreadyOpen hides that a sink was opened, and what it holds.
type alreadyOpen struct{ sdk.Sink }

func (alreadyOpen) Open(context.Context, *sdk.OpenRequest) (sdk.OpenResult, error) {
	return sdk.OpenResult{New: true}, nil
}

func TestCancelled(t *testing.T) {
	w := waltest.Random(9, waltest.Options{}, 100<<10)
	s := open(t, crashfs.New(), testConfig(), w)
	deliver(t, s, w, w.Records()[3].End)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Flush(ctx); !errors.Is(err, context.Canceled) || sdk.IsPermanent(err) {
		t.Errorf("flush: %v", err)
	}
}

func TestConfig(t *testing.T) {
	d := Definition(crashfs.New())
	for _, c := range []struct{ config, text string }{
		{`{"directory":"/d"}`, ""},
		{`{"directory":"/d","rotate_bytes":65536,"level":"transaction"}`, ""},
		{`{"directory":""}`, "directory is empty"},
		{`{"directory":"/d","rotate_bytes":65535}`, "at least 64KiB"},
		{`{"directory":"/d","level":"block"}`, `"record" or "transaction"`},
	} {
		s, err := d.NewSink([]byte(c.config))
		if c.text == "" && err != nil || c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s: %v", c.config, err)
		}
		if c.config == `{"directory":"/d"}` && err == nil {
			if got := s.(*sink).config; got.Rotate != 256<<20 || got.Level != LevelRecord {
				t.Errorf("defaults are %+v", got)
			}
		}
	}
}
