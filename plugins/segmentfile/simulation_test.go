package segmentfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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

// simulation drives the sink through random writes, flushes, faults, kills and
// power losses, and holds it to the contract after each.
type simulation struct {
	rng     *rand.Rand
	src     *waltest.Writer
	start   wal.LSN // where the archive begins
	disk    *crashfs.FS
	wrap    func(durable.FS) durable.FS
	sink    *segmentfile.Sink
	session *sinktest.Session
	written wal.LSN // most that was ever delivered
	flushed wal.LSN // most that was ever answered by Flush or Open
	crashes int
}

func newSimulation(seed uint64, wrap func(durable.FS) durable.FS) *simulation {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &simulation{rng: rng, disk: crashfs.New(), wrap: wrap}
	s.src = waltest.Random(seed, waltest.Options{}, (2+rng.IntN(3))*int(segSize))
	s.start = s.src.Options().Start + wal.LSN(rng.IntN(2)*int(segSize))
	s.written, s.flushed = s.start, s.start
	return s
}

// run goes on until all of the source's WAL has arrived. An error is a breach of
// the contract.
func (s *simulation) run(ctx context.Context) error {
	for s.flushed < s.src.End() {
		if err := s.open(ctx); err != nil {
			return err
		}
		s.plan()
		err := s.live(ctx)
		s.disk.Inject(nil)
		if sdk.IsPermanent(err) && !errors.Is(err, syscall.EROFS) {
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
	s.sink = segmentfile.New(config(archive), s.wrap(s.disk))
	var err error
	s.session, err = sinktest.OpenSink(ctx, segmentfile.Definition(), s.sink, system(), sinktest.Options{Start: s.start})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	res := s.session.Result()
	if res.New {
		if s.flushed > s.start {
			return fmt.Errorf("the sink holds nothing after %s was flushed", s.flushed)
		}
		return nil
	}
	at := res.Position.LSN
	if res.SystemID != system().ID || res.Position.Timeline != 1 {
		return fmt.Errorf("answer %+v", res)
	}
	// A record may end in zeros that were not yet received, and be there all the
	// same: its checksum holds.
	if at > s.written && bytes.Count(s.wal(s.written, at), []byte{0}) != int(at-s.written) {
		return fmt.Errorf("position %s, only %s was written", at, s.written)
	}
	s.written = max(s.written, at)
	if least := s.least(); at < least {
		return fmt.Errorf("position %s after %s was flushed: at least %s must be there", at, s.flushed, least)
	}
	return s.compare(ctx, at)
}

// least is the position that must be found when s.flushed was flushed: behind the
// last record before it that begins in the archive, or the start of its segment.
func (s *simulation) least() wal.LSN {
	least := max(s.start, segSize.Start(s.flushed))
	for _, rec := range s.src.Records() {
		if rec.End <= s.flushed && rec.Start >= s.start {
			least = max(least, rec.End)
		}
	}
	return least
}

// compare reads everything before at back.
func (s *simulation) compare(ctx context.Context, at wal.LSN) error {
	next := s.start
	err := s.sink.ReadWAL(ctx, 1, s.start, at, func(lsn wal.LSN, p []byte) error {
		if lsn != next || !bytes.Equal(p, s.wal(lsn, lsn+wal.LSN(len(p)))) {
			return fmt.Errorf("what is read at %s is not what was written", lsn)
		}
		next += wal.LSN(len(p))
		return nil
	})
	if err == nil && next != at {
		err = fmt.Errorf("reading ended at %s instead of %s", next, at)
	}
	return err
}

func (s *simulation) wal(from, to wal.LSN) []byte {
	start := s.src.Options().Start
	return s.src.Bytes()[from-start : to-start]
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
			lsn, err := s.session.Flush(ctx)
			if err != nil {
				return err
			}
			if lsn > s.written {
				return sdk.Permanentf("flushed %s of %s", lsn, s.written)
			}
			s.flushed = max(s.flushed, lsn)
		case 1:
			s.disk.Writeback(s.rng, s.rng.Float64())
		default:
			n := 1 + s.rng.IntN([]int{60, 9000, 40_000, 300_000}[s.rng.IntN(4)])
			from := s.session.Next()
			to := min(from+wal.LSN(n), s.src.End())
			s.written = max(s.written, to)
			if err := s.session.Deliver(ctx, s.wal(from, to)); err != nil {
				return err
			}
			if to == s.src.End() {
				lsn, err := s.session.Flush(ctx)
				s.flushed = max(s.flushed, lsn)
				return err
			}
		}
	}
	return nil
}

// compareFiles looks at the directory as PostgreSQL would.
func (s *simulation) compareFiles() error {
	for from := s.start; from < s.src.End(); from = segSize.End(from) {
		name, to := segSize.FileName(1, segSize.SegNo(from)), segSize.End(from)
		if to > s.src.End() {
			name, to = name+wal.PartialSuffix, s.session.Result().Position.LSN
		}
		b, err := readFile(s.disk, filepath.Join(archive, name))
		if err != nil {
			return err
		}
		if len(b) != int(segSize) || !bytes.Equal(b[:to-from], s.wal(from, to)) {
			return fmt.Errorf("%s differs from what was sent", name)
		}
	}
	return nil
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

func TestSimulation(t *testing.T) {
	crashes := 0
	for seed := range uint64(seeds) {
		s := newSimulation(seed, asIs)
		if err := s.run(t.Context()); err != nil {
			t.Errorf("seed %d, after %d crashes: %v", seed, s.crashes, err)
		}
		crashes += s.crashes
	}
	t.Logf("%d crashes", crashes)
	if crashes < 5*seeds {
		t.Errorf("only %d crashes in %d runs", crashes, seeds)
	}
}

// A sink that leaves out any of its syncs does not pass the simulation.
func TestSimulationFindsMissingSyncs(t *testing.T) {
	for name, wrap := range map[string]func(durable.FS) durable.FS{
		"no sync of files":       func(f durable.FS) durable.FS { return lazy{FS: f, files: true} },
		"no sync of directories": func(f durable.FS) durable.FS { return lazy{FS: f, dirs: true} },
		"a link before its sync": func(f durable.FS) durable.FS { return early{f} },
	} {
		found := false
		for seed := uint64(0); seed < seeds && !found; seed++ {
			found = newSimulation(seed, wrap).run(t.Context()) != nil
		}
		if !found {
			t.Errorf("%s: not found in %d runs", name, seeds)
		}
	}
}

// lazy says that it has synced and has not.
type lazy struct {
	durable.FS
	files, dirs bool
}

func (l lazy) SyncDir(name string) error {
	if l.dirs {
		return nil
	}
	return l.FS.SyncDir(name)
}

func (l lazy) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	f, err := l.FS.OpenFile(name, flag, perm)
	if err != nil || !l.files {
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
