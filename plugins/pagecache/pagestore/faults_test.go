package pagestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestFaults lets each operation on the file system in turn fail with a full
// disk: what was committed stays, an error is told, and nothing hangs.
func TestFaults(t *testing.T) {
	w := waltest.Random(5, waltest.Options{}, 60<<10)
	recs := records(t, w)
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
		failures := 0
		for n := int32(0); ; n++ {
			fs := vfs.NewCrashableMem()
			inj := &failing{at: n, err: fault}
			committed, err := script(t, errorfs.Wrap(fs, inj), w, recs)
			if !inj.hit.Load() {
				if err != nil {
					t.Fatalf("operation %d: %v, but no operation failed", n, err)
				}
				break
			}
			if err != nil {
				failures++
				if !errors.Is(err, fault) && !strings.Contains(err.Error(), fault.Error()) {
					t.Fatalf("operation %d: %v does not say %v", n, err, fault)
				}
			}
			after := openTest(t, fs.CrashClone(vfs.CrashCloneCfg{}), "/d")
			if got := after.State().Position; got < committed {
				t.Fatalf("operation %d: position %s after %s was committed", n, got, committed)
			}
			checkEntries(t, after, recs)
			closeTest(t, after)
		}
		if failures < 20 {
			t.Fatalf("only %d operations failed with %v", failures, fault)
		}
		t.Logf("%v: %d operations made it fail", fault, failures)
	}
}

// failing fails one writing operation, and all that follow: a full disk stays
// full.
type failing struct {
	at  int32
	err error
	n   atomic.Int32
	hit atomic.Bool
}

func (f *failing) MaybeError(op errorfs.Op) error {
	switch {
	case op.Kind.ReadOrWrite() != errorfs.OpIsWrite, op.Kind == errorfs.OpRemove,
		strings.HasSuffix(op.Path, "lock"), strings.HasSuffix(op.Path, "LOCK"):
		return nil
	}
	if f.n.Add(1)-1 < f.at {
		return nil
	}
	f.hit.Store(true)
	return &os.PathError{Op: "write", Path: op.Path, Err: f.err}
}

func (f *failing) String() string { return "failing" }

// script stores recs in ten commits, and answers the last position that was
// committed.
func script(t *testing.T, fs vfs.FS, w *waltest.Writer, recs []wal.Record) (committed wal.LSN, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Open(ctx, "/d", Options{FS: fs, MaxLogFile: 16 << 10})
	if err != nil {
		return 0, err
	}
	defer func() {
		closed := s.Close(ctx)
		if err == nil {
			err = closed
		}
	}()
	s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	for part := range slices.Chunk(recs, len(recs)/10) {
		for i := range part {
			if err := s.Append(&part[i]); err != nil {
				return committed, err
			}
		}
		p := Progress{Position: part[len(part)-1].EndLSN, LastValid: part[len(part)-1].EndLSN}
		if err := s.Commit(ctx, p); err != nil {
			if again := s.Commit(ctx, p); again == nil {
				return committed, fmt.Errorf("commit went on after %w", err)
			}
			return committed, err
		}
		committed = p.Position
	}
	return committed, nil
}

// TestBackgroundFault has the index fail to write a table out in the background.
func TestBackgroundFault(t *testing.T) {
	var full atomic.Bool
	tables := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && strings.HasSuffix(op.Path, ".sst") && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	})
	s := openTest(t, errorfs.Wrap(vfs.NewMem(), tables), "/d")
	fill(t, s, onePage())
	full.Store(true)
	if _, err := s.ix.db.AsyncFlush(); err != nil {
		t.Fatal(err)
	}
	<-s.ix.fault.seen
	p := Progress{Position: s.State().Position + 8, LastValid: s.State().Position + 8}
	if err := s.Commit(t.Context(), p); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("commit after a fault in the background: %v", err)
	}
	full.Store(false)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestStuckCommit has a commit hang in the file system: whoever waits for it gets
// away.
func TestStuckCommit(t *testing.T) {
	held := make(chan struct{})
	defer close(held)
	var stuck atomic.Bool
	hang := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if stuck.Load() && strings.HasPrefix(op.Path, "/d/index/") && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			<-held
		}
		return nil
	})
	s := openTest(t, errorfs.Wrap(vfs.NewMem(), hang), "/d")
	w := onePage()
	fill(t, s, w)
	stuck.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	p := Progress{Position: w.End() + 8, LastValid: w.End() + 8}
	if err := s.Commit(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("commit: %v", err)
	}
	if err := s.Commit(t.Context(), p); err == nil {
		t.Fatal("it went on after a commit whose end is not known")
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
