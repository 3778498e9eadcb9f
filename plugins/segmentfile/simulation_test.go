package segmentfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
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

const (
	archive = "/srv/archive"
	segSize = wal.SegmentSize(wal.MinSegmentSize)
)

func system() sdk.System {
	return sdk.System{ID: waltest.DefaultSystemID, Timeline: 1, SegmentSize: segSize, ServerVersion: 150018}
}

// simulation drives the sink through random writes, flushes, switches of
// timelines, faults, kills and power losses, and holds it to the contract after
// each.
type simulation struct {
	rng      *rand.Rand
	config   *segmentfile.Config
	lines    []*waltest.Writer // the WAL of each timeline, from the archive's cluster's beginning on
	switches []wal.LSN         // where each but the last was left
	server   int               // the timeline that the server is on, of lines
	start    wal.LSN           // where the archive begins
	disk     *crashfs.FS
	wrap     func(durable.FS) durable.FS
	sink     *segmentfile.Sink
	session  *sinktest.Session
	cur      int       // the timeline of the session
	written  []wal.LSN // most that was ever delivered, of each timeline
	flushed  []wal.LSN // most that was ever answered by Flush or Open
	crashes  int
}

func newSimulation(seed uint64, c *segmentfile.Config, timelines int, wrap func(durable.FS) durable.FS) *simulation {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &simulation{rng: rng, config: c, disk: crashfs.New(), wrap: wrap}
	if timelines == 1 {
		s.lines = []*waltest.Writer{waltest.Random(seed, waltest.Options{}, (2+rng.IntN(3))*int(segSize))}
	} else {
		s.branch(timelines)
	}
	s.start = segSize.LSN(1)
	if timelines == 1 {
		s.start += wal.LSN(rng.IntN(2) * int(segSize))
	}
	for i := range s.lines {
		s.written, s.flushed = append(s.written, s.base(i)), append(s.flushed, s.base(i))
	}
	return s
}

// branch makes timelines that leave each other at random records, often before
// what the sink will have received.
func (s *simulation) branch(timelines int) {
	type part struct {
		tli   wal.TimelineID
		sizes []int // of messages; -1 fills the page
	}
	var parts []part
	build := func() *waltest.Writer {
		w := waltest.New(waltest.Options{})
		for _, p := range parts {
			w.SetTimeline(p.tli)
			for _, n := range p.sizes {
				if n < 0 {
					w.FillTo(0)
				} else {
					w.LogicalMessage(fmt.Sprint("timeline ", p.tli), n)
				}
			}
		}
		return w
	}
	for i := range timelines {
		p := part{tli: wal.TimelineID(i + 1)}
		for total := s.rng.IntN(2*int(segSize)) + 10_000; total > 0; {
			n := s.rng.IntN([]int{100, 2000, 20_000, 400_000}[s.rng.IntN(4)]) - 1
			p.sizes = append(p.sizes, n)
			total -= n + 100
		}
		parts = append(parts, p)
		s.lines = append(s.lines, build())
		if i+1 < timelines {
			last := &parts[i]
			last.sizes = last.sizes[:1+s.rng.IntN(len(last.sizes))]
			s.switches = append(s.switches, build().End())
		}
	}
}

// base is where the archive's WAL of a timeline begins.
func (s *simulation) base(line int) wal.LSN {
	if line == 0 {
		return s.start
	}
	return segSize.Start(s.switches[line-1])
}

func (s *simulation) last() int { return len(s.lines) - 1 }

// run goes on until all of the last timeline's WAL has arrived. An error is a
// breach of the contract.
func (s *simulation) run(ctx context.Context) error {
	for s.flushed[s.last()] < s.lines[s.last()].End() {
		if err := s.open(ctx); err != nil {
			return err
		}
		s.plan()
		err := s.live(ctx)
		s.disk.Inject(nil)
		if sdk.IsPermanent(err) {
			return fmt.Errorf("in the middle: %w", err)
		}
		s.crashes++
		if s.rng.IntN(3) == 0 {
			s.disk = s.disk.Kill()
		} else {
			s.disk = s.disk.Crash(s.rng)
		}
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.compareFiles()
}

// open starts the sink on what the crash has left, and compares its answer with
// what was promised before.
func (s *simulation) open(ctx context.Context) error {
	s.sink = segmentfile.Inline(segmentfile.New(s.config, s.wrap(s.disk)))
	sys := system()
	sys.Timeline = wal.TimelineID(s.server + 1)
	var err error
	s.session, err = sinktest.OpenSink(ctx, segmentfile.Definition(), withHistory{s.sink, historyOf(s.switches[:s.server]...)}, sys, sinktest.Options{Start: s.start})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	res := s.session.Result()
	if res.New {
		if s.flushed[0] > s.start || s.highest() > 0 {
			return fmt.Errorf("the sink holds nothing after %v was flushed", s.flushed)
		}
		s.cur = 0
		return s.reconnect(ctx, s.start)
	}
	at := res.Position.LSN
	if s.cur = int(res.Position.Timeline) - 1; res.SystemID != system().ID || s.cur < s.highest() || s.cur > s.server {
		return fmt.Errorf("answer %+v after %v was flushed", res, s.flushed)
	}
	// A record may end in zeros that were not yet received, and be there all the
	// same: its checksum holds.
	if w := s.written[s.cur]; at > w && bytes.Count(s.wal(s.cur, w, at), []byte{0}) != int(at-w) {
		return fmt.Errorf("position %s, only %s was written", at, w)
	}
	s.written[s.cur] = max(s.written[s.cur], at)
	if least := s.least(s.cur, s.flushed[s.cur]); at < least {
		return fmt.Errorf("position %s after %s was flushed: at least %s must be there", at, s.flushed[s.cur], least)
	}
	if err := s.compare(ctx, s.cur, at); err != nil {
		return err
	}
	for line := range s.cur {
		if err := s.compareEnded(ctx, line); err != nil {
			return err
		}
	}
	return s.reconnect(ctx, at)
}

// reconnect begins the session on the timeline that the sink is on.
func (s *simulation) reconnect(ctx context.Context, at wal.LSN) error {
	if s.cur == s.server {
		return nil
	}
	sys := system()
	sys.Timeline = wal.TimelineID(s.cur + 1)
	var err error
	s.session, err = sinktest.OpenSink(ctx, segmentfile.Definition(), rewound{s.sink, wal.Position{Timeline: sys.Timeline, LSN: at}}, sys, sinktest.Options{})
	return err
}

// highest is the highest timeline of which anything was flushed.
func (s *simulation) highest() int {
	for line := s.last(); line > 0; line-- {
		if s.flushed[line] > s.base(line) {
			return line
		}
	}
	return 0
}

// least is the position that must be found when flushed was: behind the last
// record before it that begins in the archive, or the start of its segment.
func (s *simulation) least(line int, flushed wal.LSN) wal.LSN {
	least := max(s.base(line), segSize.Start(flushed))
	for _, rec := range s.lines[line].Records() {
		if rec.End <= flushed && rec.Start >= s.base(line) {
			least = max(least, rec.End)
		}
	}
	return least
}

// compareEnded reads a timeline back that was left: up to the switch point, as far
// as a record begins before it that the archive holds from its start.
func (s *simulation) compareEnded(ctx context.Context, line int) error {
	at := s.switches[line]
	if s.least(line, at) < at {
		at = segSize.Start(at)
	}
	return s.compare(ctx, line, at)
}

// compare reads everything of a timeline before at back.
func (s *simulation) compare(ctx context.Context, line int, at wal.LSN) error {
	next := s.base(line)
	err := s.sink.ReadWAL(ctx, wal.TimelineID(line+1), next, at, func(lsn wal.LSN, p []byte) error {
		if lsn != next || !bytes.Equal(p, s.wal(line, lsn, lsn+wal.LSN(len(p)))) {
			return fmt.Errorf("what is read at %s is not what was written", lsn)
		}
		next += wal.LSN(len(p))
		return nil
	})
	if err == nil && next != max(at, s.base(line)) {
		err = fmt.Errorf("reading ended at %s instead of %s", next, at)
	}
	if err != nil {
		err = fmt.Errorf("timeline %d: %w", line+1, err)
	}
	return err
}

func (s *simulation) wal(line int, from, to wal.LSN) []byte {
	w := s.lines[line]
	return w.Bytes()[from-w.Options().Start : to-w.Options().Start]
}

// plan decides how this life ends: after a number of operations all further ones
// fail, or one of them does.
func (s *simulation) plan() {
	left, forever := 1+s.rng.IntN(80), s.rng.IntN(2) == 0
	errno := []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS}[s.rng.IntN(3)]
	s.disk.Inject(func(c crashfs.Call) *crashfs.Fault {
		if left--; left > 0 || left < 0 && !forever || c.Op == crashfs.OpRead {
			return nil
		}
		return &crashfs.Fault{Err: errno, Written: c.Len / 3}
	})
}

// live delivers until something fails, the source ends, or luck does.
func (s *simulation) live(ctx context.Context) error {
	for s.rng.IntN(60) > 0 {
		switch s.rng.IntN(6) {
		case 0:
			if err := s.flush(ctx); err != nil {
				return err
			}
		case 1:
			s.disk.Writeback(s.rng, s.rng.Float64())
		default:
			if s.server < s.last() && s.rng.IntN(6) == 0 {
				s.server++
			}
			if done, err := s.deliver(ctx); done || err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *simulation) flush(ctx context.Context) error {
	lsn, err := s.session.Flush(ctx)
	if err != nil {
		return err
	}
	if lsn > s.written[s.cur] {
		return sdk.Permanentf("flushed %s of %s", lsn, s.written[s.cur])
	}
	s.flushed[s.cur] = max(s.flushed[s.cur], lsn)
	return nil
}

// deliver hands over some WAL, or a switch where the timeline has ended.
func (s *simulation) deliver(ctx context.Context) (done bool, err error) {
	n := 1 + s.rng.IntN([]int{60, 9000, 40_000, 300_000}[s.rng.IntN(4)])
	end := s.lines[s.cur].End()
	if s.cur < s.server {
		if end = s.switches[s.cur]; max(s.session.Result().Position.LSN, s.session.Next()) >= end {
			return false, s.rewind(ctx)
		}
	}
	from := s.session.Next()
	to := min(from+wal.LSN(n), end)
	s.written[s.cur] = max(s.written[s.cur], to)
	if err := s.session.Deliver(ctx, s.wal(s.cur, from, to)); err != nil || to < end || s.cur < s.last() {
		return false, err
	}
	return true, s.flush(ctx)
}

func (s *simulation) rewind(ctx context.Context) error {
	at, err := s.sink.Rewind(ctx, epochTo(s.switches[:s.cur+1]...))
	if err != nil {
		return err
	}
	s.cur++
	if at != s.base(s.cur) {
		return sdk.Permanentf("timeline %d begins at %s instead of %s", s.cur+1, at, s.base(s.cur))
	}
	sys := system()
	sys.Timeline = wal.TimelineID(s.cur + 1)
	s.session, err = sinktest.OpenSink(ctx, segmentfile.Definition(), rewound{s.sink, wal.Position{Timeline: sys.Timeline, LSN: at}}, sys, sinktest.Options{})
	return err
}

// compareFiles looks at the directory as PostgreSQL would.
func (s *simulation) compareFiles() error {
	files, err := s.disk.ReadDir(archive)
	if err != nil {
		return err
	}
	for _, f := range files {
		finished := wal.IsSegmentName(f.Name())
		if strings.HasSuffix(f.Name(), ".tmp") || finished == (suffixOf(s.config) != "") && !strings.Contains(f.Name(), ".") {
			return fmt.Errorf("%s was left", f.Name())
		}
	}
	line := s.last()
	for from := s.base(line); from < s.lines[line].End(); from = segSize.End(from) {
		name, to := segSize.FileName(wal.TimelineID(line+1), segSize.SegNo(from)), segSize.End(from)
		suffix, size := suffixOf(s.config), int(segSize)
		if to > s.lines[line].End() {
			suffix, to = wal.PartialSuffix, s.session.Result().Position.LSN
			if !s.config.Preallocate {
				size = int(to - from)
			}
		}
		b, err := readFile(s.disk, filepath.Join(archive, name+suffix))
		if err == nil {
			b, err = decode(suffix, b)
		}
		if err != nil {
			return err
		}
		if len(b) != size || !bytes.Equal(b[:to-from], s.wal(line, from, to)) {
			return fmt.Errorf("%s differs from what was sent", name)
		}
	}
	return nil
}

// suffixOf is that of finished segments.
func suffixOf(c *segmentfile.Config) string {
	return map[string]string{"zstd": ".zst", "lz4": ".lz4", "gzip": ".gz"}[c.Compression]
}

func readFile(f durable.FS, name string) ([]byte, error) {
	st, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := make([]byte, st.Size())
	_, err = file.ReadAt(b, 0)
	return b, err
}

func asIs(f durable.FS) durable.FS { return f }

// seeds of the simulation.
const seeds = 60

// policies are the ways in which the sink writes.
func policies() map[string]*segmentfile.Config {
	return map[string]*segmentfile.Config{
		"default":          config(archive),
		"o_dsync":          {Directory: archive, Sync: "o_dsync", Preallocate: true},
		"not direct":       {Directory: archive, Preallocate: true, Direct: "off"},
		"not preallocated": {Directory: archive},
		"zstd":             {Directory: archive, Compression: "zstd", Preallocate: true},
		"lz4, o_dsync":     {Directory: archive, Compression: "lz4", Sync: "o_dsync"},
		"gzip":             {Directory: archive, Compression: "gzip", CompressionLevel: 1},
	}
}

func TestSimulation(t *testing.T) {
	for what, config := range policies() {
		for timelines := 1; timelines <= 3; timelines++ {
			n := uint64(seeds / 6)
			if what == "default" {
				n = uint64(seeds / timelines)
			}
			t.Run(fmt.Sprintf("%s, %d timelines", what, timelines), func(t *testing.T) {
				t.Parallel()
				crashes := 0
				for seed := range n {
					s := newSimulation(seed, config, timelines, asIs)
					if err := s.run(t.Context()); err != nil {
						t.Errorf("seed %d, after %d crashes: %v", seed, s.crashes, err)
					}
					crashes += s.crashes
				}
				if crashes < 2*int(n) {
					t.Errorf("only %d crashes in %d runs", crashes, n)
				}
			})
		}
	}
}

// A sink that leaves out any of its syncs does not pass the simulation.
func TestSimulationFindsMissingSyncs(t *testing.T) {
	zstd := policies()["zstd"]
	for name, c := range map[string]struct {
		config    *segmentfile.Config
		timelines int
		wrap      func(durable.FS) durable.FS
	}{
		"no sync of files":              {config(archive), 1, func(f durable.FS) durable.FS { return lazy{FS: f, files: "*"} }},
		"no sync of directories":        {config(archive), 1, func(f durable.FS) durable.FS { return lazy{FS: f, dirs: true} }},
		"a link before its sync":        {config(archive), 1, func(f durable.FS) durable.FS { return early{f} }},
		"no sync of what is ended":      {config(archive), 3, func(f durable.FS) durable.FS { return lazy{FS: f, files: "*.partial"} }},
		"no sync of what is compressed": {zstd, 1, func(f durable.FS) durable.FS { return lazy{FS: f, files: "*.tmp"} }},
		"no sync of its name":           {zstd, 1, func(f durable.FS) durable.FS { return earlier{f} }},
	} {
		found := false
		for seed := uint64(0); seed < seeds && !found; seed++ {
			found = newSimulation(seed, c.config, c.timelines, c.wrap).run(t.Context()) != nil
		}
		if !found {
			t.Errorf("%s: not found in %d runs", name, seeds)
		}
	}
}

// lazy says that it has synced and has not.
type lazy struct {
	durable.FS
	files string // that match
	dirs  bool
}

func (l lazy) SyncDir(name string) error {
	if l.dirs {
		return nil
	}
	return l.FS.SyncDir(name)
}

func (l lazy) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	f, err := l.FS.OpenFile(name, flag, perm)
	if match, _ := filepath.Match(l.files, filepath.Base(name)); err != nil || !match {
		return f, err
	}
	return lazyFile{f}, nil
}

type lazyFile struct{ durable.File }

func (lazyFile) Sync() error     { return nil }
func (lazyFile) SyncData() error { return nil }

// early removes the old name together with the new link, before the new one is
// durable.
type early struct{ durable.FS }

func (e early) Link(from, to string) error {
	return errors.Join(e.FS.Link(from, to), e.FS.Remove(from))
}

// earlier removes the plain file before the compressed one's name is durable.
type earlier struct{ durable.FS }

func (e earlier) Rename(from, to string) error {
	plain, ok := strings.CutSuffix(to, ".zst")
	if !ok {
		return e.FS.Rename(from, to)
	}
	return errors.Join(e.FS.Rename(from, to), e.FS.Remove(plain))
}
