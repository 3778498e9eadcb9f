package pagestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Limits of the index, in bytes where nothing else is said.
const (
	// indexMemTable is the size of a table in memory before it is written out;
	// indexMemTables is how many there are at most before a commit waits.
	indexMemTable  = 64 << 20
	indexMemTables = 3
	// indexCache is for blocks that were read.
	indexCache = 64 << 20
	// indexOpenFiles is a number of files.
	indexOpenFiles = 256
	// indexL0 is how many tables that overlap wait until they are merged with the
	// levels below, and indexL0Stop how many there are before a commit waits. Every
	// table spans most pages; merging them twice as many at a time as pebble does by
	// itself has half as much written again.
	indexL0     = 8
	indexL0Stop = 24
	// indexCompactions is how many run at once.
	indexCompactions = 2
	// keptBatch is the memory that a batch keeps from one commit to the next.
	keptBatch = 8 << 20
)

// indexFormat is pebble's own version of its files. It only moves together with
// [Format].
const indexFormat = pebble.FormatValueSeparation

// index is the pebble store with what it cannot report itself: faults of its
// background work, and faults after which it would end the process.
type index struct {
	db    *pebble.DB
	batch *pebble.Batch
	cache *pebble.Cache
	fault *fault
	stuck atomic.Bool // a commit was abandoned: db must not be touched any more
}

// fault keeps the first error of the index's background work.
type fault struct {
	once sync.Once
	err  error
	seen chan struct{} // closed once err is set
}

func (f *fault) set(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.seen)
	})
}

// get is the fault, nil while there is none.
func (f *fault) get() error {
	select {
	case <-f.seen:
		return f.err
	default:
		return nil
	}
}

// indexLog is where pebble writes what it does. It must not end the process.
type indexLog struct {
	log   *slog.Logger
	fault *fault
}

func (l indexLog) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l indexLog) Errorf(format string, args ...any) { l.log.Warn(fmt.Sprintf(format, args...)) }

// Fatalf must not return: pebble calls it where it cannot go on, as when its log
// cannot be written. The fault reaches the store's next caller; the goroutine
// stays, and with it whatever locks of pebble's it holds, until the process ends.
func (l indexLog) Fatalf(format string, args ...any) {
	l.fault.set(fmt.Errorf("index: "+format, args...))
	select {}
}

func openIndex(ctx context.Context, fs vfs.FS, dir string, log *slog.Logger) (*index, error) {
	ix := &index{fault: &fault{seen: make(chan struct{})}, cache: pebble.NewCache(indexCache)}
	o := &pebble.Options{
		FS:                          orderedMarkers{fs},
		Cache:                       ix.cache,
		MaxOpenFiles:                indexOpenFiles,
		MemTableSize:                indexMemTable,
		MemTableStopWritesThreshold: indexMemTables,
		L0CompactionThreshold:       indexL0,
		L0StopWritesThreshold:       indexL0Stop,
		CompactionConcurrencyRange:  func() (int, int) { return 1, indexCompactions },
		FormatMajorVersion:          indexFormat,
		BlockPropertyCollectors:     []func() pebble.BlockPropertyCollector{collectLSNs},
		Logger:                      indexLog{log: log, fault: ix.fault},
		EventListener:               &pebble.EventListener{BackgroundError: ix.backgroundError},
	}
	if err := ix.open(ctx, dir, o); err != nil {
		// The cache is left to a pebble that may still be there.
		return nil, fmt.Errorf("open the index %s: %w", dir, err)
	}
	ix.batch = ix.db.NewBatch(pebble.WithMaxRetainedSizeBytes(keptBatch))
	return ix, nil
}

// open opens pebble, and returns though pebble itself does not where it would
// end the process. A panic is how it ends when a directory cannot be synced.
func (ix *index) open(ctx context.Context, dir string, o *pebble.Options) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("%v", p)
			}
		}()
		db, err := pebble.Open(dir, o)
		ix.db = db
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ix.fault.seen:
		return ix.fault.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (ix *index) backgroundError(err error) { ix.fault.set(fmt.Errorf("index: %w", err)) }

// commit applies the batch durably and empties it. Where pebble would wait for
// background work that fails again and again, or would end the process, commit
// returns the error, and the index is of no more use.
func (ix *index) commit(ctx context.Context) error {
	err := ix.commitUntil(ix.batch, ctx.Done())
	if errors.Is(err, errAbandoned) {
		return ctx.Err()
	}
	return err
}

// errAbandoned is the end of a commit for which nobody waited any more.
var errAbandoned = errors.New("index: a commit was abandoned")

// commitUntil is commit of any batch until abandoned is closed; nil never is.
func (ix *index) commitUntil(b *pebble.Batch, abandoned <-chan struct{}) error {
	done := make(chan error, 1)
	go func() { done <- b.Commit(pebble.Sync) }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
	case <-ix.fault.seen:
		ix.stuck.Store(true)
		return ix.fault.err
	case <-abandoned:
		ix.stuck.Store(true)
		return errAbandoned
	}
	b.Reset()
	return nil
}

// close releases the index, unless a commit hangs in it.
func (ix *index) close(ctx context.Context) error {
	if ix.stuck.Load() {
		return nil // the process is about to end, and with it all that is held
	}
	done := make(chan error, 1)
	go func() {
		_ = ix.batch.Close() // it never fails: nothing is done with what it holds
		err := ix.db.Close()
		ix.cache.Unref()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ix.fault.seen:
		return nil // reported by whoever met it; Close may hang behind it
	case <-ctx.Done():
		return ctx.Err()
	}
}
