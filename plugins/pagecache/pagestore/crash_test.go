package pagestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// crashSeeds is how many histories of crashes are tried.
const crashSeeds = 24

// TestCrash lets the power fail again and again while a base backup is imported,
// records are stored and the history is collected: what was committed is there
// afterwards, as a store has it that keeps everything.
func TestCrash(t *testing.T) {
	for seed := range uint64(crashSeeds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			if err := crashes(t, seed, func(fs vfs.FS) vfs.FS { return fs }); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		})
	}
}

// TestCrashNoticesMissingSync shows that TestCrash can fail: without the fsync of
// the log of images it does.
func TestCrashNoticesMissingSync(t *testing.T) {
	for seed := range uint64(crashSeeds) {
		if err := crashes(t, seed, func(fs vfs.FS) vfs.FS { return unsyncedImages{fs} }); err != nil {
			t.Logf("seed %d: noticed: %v", seed, err)
			return
		}
	}
	t.Fatal("a store that does not sync its log of images survived every crash")
}

// crashing is a history of lives of one store, each of which a crash ends.
type crashing struct {
	t         *testing.T
	rng       *rand.Rand
	g         *generator
	all       *Store // keeps everything
	recs      []wal.Record
	backup    [][]byte
	horizon   wal.LSN // the greatest that was told
	committed wal.LSN
	imported  bool
}

// crashes runs one history.
func crashes(t *testing.T, seed uint64, wrap func(vfs.FS) vfs.FS) error {
	c := &crashing{t: t, rng: rand.New(rand.NewPCG(seed, 0x637273)), g: newGenerator(seed)}
	for range 600 {
		c.g.step()
	}
	c.recs = records(t, c.g.w)
	if seed%3 > 0 {
		for block := range 40 {
			c.backup = append(c.backup, stamped(c.g.w.Options().Start-8, byte(block)))
		}
		c.g.touch(testPage.Rel, wal.MainFork, 7)
		c.g.touch(testPage.Rel, wal.MainFork, 39)
	}
	c.all = openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, c.all)
	if err := c.begin(c.all); err != nil {
		return err
	}
	fillFrom(t, c.all, c.g.w, nil)
	fs := vfs.NewCrashableMem()
	for fs != nil {
		power := &power{fs: fs, rng: rand.New(rand.NewPCG(c.rng.Uint64(), 0)), left: 1 + c.rng.IntN(150)}
		s, err := Open(t.Context(), "/d", Options{FS: wrap(errorfs.Wrap(fs, power)), MaxLogFile: 32 << 10})
		if err != nil {
			return err
		}
		fs, err = c.live(s, power)
		// It goes on in a file system that nobody will look at again.
		_ = s.Close(context.WithoutCancel(t.Context()))
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *crashing) begin(s *Store) error {
	start := c.g.w.Options().Start
	if c.backup == nil {
		s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start)
		return nil
	}
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start); err != nil {
		return err
	}
	for block, page := range c.backup {
		if err := s.ImportPages(testPage.Rel, wal.MainFork, wal.BlockNumber(block), page); err != nil {
			return err
		}
		if block == 20 {
			if err := s.flushImport(nil); err != nil {
				return err
			}
		}
	}
	if err := s.ImportFork(testPage.Rel, wal.MainFork, wal.BlockNumber(len(c.backup))); err != nil {
		return err
	}
	return s.EndImport(c.t.Context(), start)
}

// live goes on until the power fails, and answers the file system after that, nil
// when all was stored first.
func (c *crashing) live(s *Store, power *power) (*vfs.MemFS, error) {
	st := s.State()
	if st.Position < c.committed || c.imported && s.New() || st.Horizon < c.horizon {
		return nil, fmt.Errorf("position %s and horizon %s after a crash, there were %s and %s", st.Position, st.Horizon, c.committed, c.horizon)
	}
	if s.New() {
		if err := c.begin(s); err != nil {
			return nil, err
		}
		if fs := power.failed(); fs != nil {
			return fs, nil
		}
		c.imported = c.backup != nil
	} else if err := c.check(s); err != nil {
		return nil, err
	}
	at := s.State().Position
	for i := range c.recs {
		if c.recs[i].EndLSN <= at {
			continue
		}
		if err := s.Append(&c.recs[i]); err != nil {
			return nil, err
		}
		end := c.recs[i].EndLSN
		switch n := c.rng.IntN(60); {
		case n == 0 || i == len(c.recs)-1:
			if err := s.Commit(c.t.Context(), Progress{Position: end, LastValid: end}); err != nil {
				return nil, err
			}
			if fs := power.failed(); fs != nil {
				return fs, nil
			}
			c.committed = end
		case n == 1:
			done, err := s.Collect(c.t.Context(), CollectOptions{Retain: uint64(1 + c.rng.IntN(6000)), MaxReplay: 1 + c.rng.IntN(10)})
			if err != nil {
				return nil, err
			}
			if fs := power.failed(); fs != nil {
				return fs, nil
			}
			c.horizon = done.Horizon
		}
	}
	return nil, c.check(s)
}

// check compares reads at some LSNs, and what is counted.
func (c *crashing) check(s *Store) error {
	st := s.Visible()
	for _, lsn := range []wal.LSN{st.Horizon, st.Horizon + wal.LSN(c.rng.Uint64N(uint64(st.LastValid-st.Horizon)+1)), st.LastValid} {
		if err := sameReads(c.t.Context(), s, c.all, c.g.pages, lsn); err != nil {
			return err
		}
	}
	return checkImages(s)
}

// power lets the power fail before one of the store's operations on the file
// system. What the store does after that happens in a world of its own.
type power struct {
	fs  *vfs.MemFS
	rng *rand.Rand

	mu    sync.Mutex
	left  int // operations until it fails
	after *vfs.MemFS
}

// failed is the file system as it was when the power failed: with nothing that
// was not synced, or with some of it.
func (p *power) failed() *vfs.MemFS {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.after
}

func (p *power) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left == 0 {
		percent := 0
		if p.rng.IntN(2) == 0 {
			percent = p.rng.IntN(100)
		}
		p.after = p.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: p.rng})
	}
	return nil
}

func (p *power) String() string { return "power" }

// unsyncedImages is a file system on which syncing the log of images does
// nothing.
type unsyncedImages struct{ vfs.FS }

func (u unsyncedImages) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := u.FS.OpenReadWrite(name, c, o...)
	if err == nil && strings.Contains(name, "/images/") {
		f = unsyncedFile{f}
	}
	return f, err
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error     { return nil }
func (unsyncedFile) SyncData() error { return nil }

// TestCollectFaults lets each operation on the logs' files in turn fail while the
// history is collected: an error is told, and nothing that was not to be collected
// is lost.
func TestCollectFaults(t *testing.T) {
	g := newGenerator(3)
	for range 500 {
		g.step()
	}
	all := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, all)
	beginAs(t, all, g.w, true)
	appendAll(t, all, g.w)
	failures := 0
	for n := int32(0); ; n++ {
		fs := vfs.NewCrashableMem()
		inj := &failingLogs{}
		s, err := Open(t.Context(), "/d", Options{FS: errorfs.Wrap(fs, inj), MaxLogFile: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		beginAs(t, s, g.w, true)
		appendAll(t, s, g.w)
		inj.left.Store(n + 1)
		_, err = s.Collect(t.Context(), CollectOptions{Retain: 5000, MaxReplay: 5})
		hit := inj.hit.Load()
		if err != nil {
			failures++
			if !errors.Is(err, syscall.ENOSPC) && !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
				t.Fatalf("operation %d: %v", n, err)
			}
		}
		_ = s.Close(t.Context()) // on a disk that is full
		after := openTest(t, fs.CrashClone(vfs.CrashCloneCfg{}), "/d")
		st := after.Visible()
		for _, lsn := range []wal.LSN{st.Horizon, st.LastValid} {
			if err := sameReads(t.Context(), after, all, g.pages, lsn); err != nil {
				t.Fatalf("operation %d: %v", n, err)
			}
		}
		if err := checkImages(after); err != nil {
			t.Fatal(err)
		}
		closeTest(t, after)
		if !hit {
			break
		}
	}
	if failures < 20 {
		t.Errorf("only %d operations failed", failures)
	}
	t.Logf("%d operations made it fail", failures)
}

// failingLogs fails one operation on the logs' files, once there are but few left
// before it, and all that follow.
type failingLogs struct {
	left atomic.Int32 // 0: not yet
	hit  atomic.Bool
}

func (f *failingLogs) MaybeError(op errorfs.Op) error {
	if strings.Contains(op.Path, "/index") || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || f.left.Load() == 0 {
		return nil
	}
	if f.left.Load() > 1 {
		f.left.Add(-1)
		return nil
	}
	f.hit.Store(true)
	return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
}

func (f *failingLogs) String() string { return "failing logs" }
