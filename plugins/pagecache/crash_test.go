package pagecache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// crashSeeds is how many histories of crashes are tried.
const crashSeeds = 40

// TestCrash lets the power fail again and again: what was reported flushed is
// there afterwards, and with what is delivered again each record is there once.
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
// the log of values it does.
func TestCrashNoticesMissingSync(t *testing.T) {
	for seed := range uint64(crashSeeds) {
		if err := crashes(t, seed, func(fs vfs.FS) vfs.FS { return unsyncedValues{fs} }); err != nil {
			t.Logf("seed %d: noticed: %v", seed, err)
			return
		}
	}
	t.Fatal("a page cache that does not sync its log of values survived every crash")
}

// crashes runs one history: lives that end in power loss, over the same WAL.
func crashes(t *testing.T, seed uint64, wrap func(vfs.FS) vfs.FS) error {
	ctx := t.Context()
	rnd := rand.New(rand.NewPCG(seed, 0x63726173))
	w := waltest.Random(seed, waltest.Options{}, 400<<10)
	m := modelOf(t, w)
	fs := vfs.NewCrashableMem()
	var flushed wal.LSN // the greatest position that was reported
	for fs != nil {
		power := &power{fs: fs, rnd: rand.New(rand.NewPCG(rnd.Uint64(), 0)), left: 1 + rnd.IntN(80)}
		s := newSink(&Config{Directory: "/d/pages", Listen: shortDir(t) + "/s"}, wrap(errorfs.Wrap(fs, power)))
		l, err := beginSink(t, s, w)
		if err != nil {
			return err
		}
		position := l.Result().Position.LSN
		if position < flushed || l.Result().New && flushed > 0 {
			return fmt.Errorf("position %s (new: %t) after a crash, but %s was reported flushed", position, l.Result().New, flushed)
		}
		if !l.Result().New {
			if err := m.checkAll(ctx, s.store, position); err != nil {
				return fmt.Errorf("after a crash: %w", err)
			}
		}
		if flushed, fs, err = live(ctx, l, rnd, power, flushed); err != nil {
			return err
		}
		if fs == nil {
			if flushed != w.End() {
				return fmt.Errorf("flushed %s in the end, want %s", flushed, w.End())
			}
			if err := m.checkAll(ctx, s.store, w.End()); err != nil {
				return err
			}
		}
		// It goes on in a file system that nobody will look at again.
		_ = l.Close(context.WithoutCancel(ctx))
	}
	return nil
}

// live delivers WAL in pieces, with flushes in between, until the power fails,
// and answers the file system after that; nil when all WAL was flushed first.
func live(ctx context.Context, l *life, rnd *rand.Rand, power *power, flushed wal.LSN) (wal.LSN, *vfs.MemFS, error) {
	start := l.w.Options().Start
	for l.Next() < l.w.End() {
		var lsn wal.LSN
		var err error
		if to := l.Result().Position.LSN; l.Next() < to {
			err = l.Deliver(ctx, l.w.Bytes()[l.Next()-start:to-start])
		} else if rnd.IntN(3) == 0 {
			lsn, err = l.Flush(ctx)
		} else {
			to := min(l.Next()+wal.LSN(1+rnd.IntN(20<<10)), l.w.End())
			err = l.Deliver(ctx, l.w.Bytes()[l.Next()-start:to-start])
		}
		if fs := power.failed(); fs != nil || err != nil {
			return flushed, fs, err
		}
		flushed = max(flushed, lsn)
	}
	lsn, err := l.Flush(ctx)
	if fs := power.failed(); fs != nil || err != nil {
		return flushed, fs, err
	}
	return max(flushed, lsn), nil, nil
}

// power lets the power fail in the middle of anything that the sink does: before
// one of its operations on the file system. What the sink does after that
// happens in a world of its own.
type power struct {
	fs  *vfs.MemFS
	rnd *rand.Rand

	mu    sync.Mutex
	left  int // operations until it fails, 0: it does not
	after *vfs.MemFS
}

// failed is the file system as it was when the power failed: with nothing that
// was not synced, or with some of it.
func (p *power) failed() *vfs.MemFS {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.after
}

// MaybeError is called before each operation.
func (p *power) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		return nil
	}
	if p.left--; p.left == 0 {
		percent := 0
		if p.rnd.IntN(2) == 0 {
			percent = p.rnd.IntN(100)
		}
		p.after = p.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: p.rnd})
	}
	return nil
}

func (p *power) String() string { return "power" }

// unsyncedValues is a file system on which syncing the log of values does
// nothing.
type unsyncedValues struct{ vfs.FS }

func (u unsyncedValues) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := u.FS.OpenReadWrite(name, c, o...)
	if err == nil && strings.Contains(name, "/values/") {
		f = unsyncedFile{f}
	}
	return f, err
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error     { return nil }
func (unsyncedFile) SyncData() error { return nil }
