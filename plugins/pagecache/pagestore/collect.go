package pagestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// Limits of a Collect.
const (
	// MaxReplay is how many records a read does to a page at most, unless
	// [CollectOptions] say otherwise.
	MaxReplay = 500
	// collectKeys and collectBytes are how many keys and bytes of images are in one
	// commit.
	collectKeys  = 16 << 10
	collectBytes = 4 << 20
	// slack is the part of what is to be kept by which more may be there before
	// anything is collected: what one collection does to a page, it does once for
	// all versions that it takes away.
	slack = 4
)

// CollectOptions say what of the pages' history is kept. Where both Retain and
// RetainAge are given, what either keeps is kept; where neither is, all is.
type CollectOptions struct {
	Retain    uint64        // bytes of WAL behind the last-valid LSN
	RetainAge time.Duration // by the server's clock, before Now
	Now       time.Time     // needed with RetainAge
	MaxReplay int           // records that a read does to a page at most; default [MaxReplay], negative: any number
}

// Collected says what a Collect has done.
type Collected struct {
	Horizon    wal.LSN // nothing can be read as of an LSN before it
	Pages      int     // whose versions before the horizon were collected
	Images     int     // of pages, that were made for that or for long histories
	Keys       int     // that were deleted from the index
	Lost       int     // pages that could not be made by redo, and are not known until their next image
	Moved      int     // images that were moved out of files in which little was live
	ValueFiles int     // that were removed
	ImageFiles int     // that were removed
	Freed      int64   // bytes of these files
}

// collector lets others end a Collect, and keep it from beginning.
type collector struct {
	mu      sync.Mutex
	stopped int
	cancel  context.CancelFunc // of the one that runs
}

// begin is the context of a Collect, which ends with end, unless it may not run.
func (c *collector) begin(ctx context.Context) (_ context.Context, end func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped > 0 || c.cancel != nil {
		return nil, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	c.cancel = cancel
	return ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cancel = nil
		cancel()
	}, true
}

// stop ends the one that runs, soon, and lets none begin until resume.
func (c *collector) stop() (resume func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped++
	if c.cancel != nil {
		c.cancel()
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopped--
	}
}

// Collect takes away what of the pages' history is not to be kept, and makes
// images of pages with long histories. It can be called by any goroutine, beside
// all else; a Rewind and Close end it early, which is no error, and one that finds
// another at work does nothing. What it has done when it ends early stays done.
//
// It raises the horizon first; from then on nothing can be read as of an LSN
// before it. Then every page that has versions at or before the horizon gets an
// image of the last of these, and loses the others; when no key needs a record
// before the horizon any more, the files of the log of values go that hold
// nothing else. Files of images of which half is not needed any more are
// rewritten.
func (s *Store) Collect(ctx context.Context, o CollectOptions) (Collected, error) {
	run, end, ok := s.collector.begin(ctx)
	if !ok {
		return Collected{Horizon: s.visible.horizon()}, nil
	}
	defer end()
	s.images.mu.Lock()
	defer s.images.mu.Unlock()
	if err := s.visible.failure(); err != nil {
		return Collected{}, err
	}
	st := s.visible.state()
	if st.SystemID == 0 {
		return Collected{}, nil
	}
	if err := s.reopenImages(); err != nil {
		return Collected{}, err
	}
	c := &collection{s: s, st: st, flushed: s.images.state, inBatch: make(map[PageID]bool), batch: s.ix.db.NewBatch(), page: make([]byte, wal.BlockSize)}
	defer c.batch.Close() // it was committed, or is not wanted
	err := c.run(run, o)
	switch {
	case err == nil:
	case run.Err() != nil && ctx.Err() == nil:
		// Others have ended it: what is done, stays.
		if err = c.flush(); err != nil {
			err = errors.Join(err, s.forgetCollection())
		}
	default:
		err = errors.Join(err, s.forgetCollection())
	}
	c.done.Horizon = s.visible.horizon()
	return c.done, err
}

// forgetCollection reads again what is durable of the images, after an error that
// left another state behind.
func (s *Store) forgetCollection() error {
	m := &s.images
	st, err := s.readImagesState()
	if err == nil {
		err = s.readLive()
	}
	if err != nil {
		m.failed = err
		return err
	}
	m.state = st
	return nil
}

// reopenImages goes on behind what is durable of the images, where writing them has
// failed: a disk that was full can have room again.
func (s *Store) reopenImages() error {
	m := &s.images
	if m.failed == nil {
		return nil
	}
	if err := s.forgetCollection(); err != nil {
		return err
	}
	_ = m.log.close() // what was not durable is written again
	if err := removeLogs(s.fs, m.reader.dir, m.state.log.file); err != nil {
		return err
	}
	l, err := openLog(s.fs, m.reader.dir, m.log.systemID, m.log.maxFile, m.state.log)
	if err != nil {
		return err
	}
	m.log, m.failed = l, nil
	return nil
}

// collection is a Collect at work. What it changes in the index is collected in
// batches, each of which can be the last.
type collection struct {
	s       *Store
	st      State // when it began
	batch   *pebble.Batch
	flushed imagesState // what is durable
	bytes   int         // of images that were made for the batch
	page    []byte      // scratch
	done    Collected

	horizon wal.LSN // to which it sweeps
	swept   wal.LSN // to which was swept before
	// By tablespace and database:
	pins      map[uint64]pinned
	databases map[uint64][]databaseKey // changes up to the horizon, in order
	// Relations, with relation 0 databases, that were changed in (swept, horizon].
	changed map[wal.RelFileLocator]*changed
	// Pages of which the batch has what sweepPage does.
	inBatch map[PageID]bool
}

func (c *collection) run(ctx context.Context, o CollectOptions) error {
	c.swept = c.s.images.state.swept
	horizon, err := c.target(o)
	if err != nil {
		return err
	}
	if horizon > c.st.Horizon || c.s.visible.collected() > c.swept {
		if err := c.sweep(ctx, max(horizon, c.st.Horizon)); err != nil {
			return err
		}
	}
	if o.MaxReplay == 0 {
		o.MaxReplay = MaxReplay
	}
	if o.MaxReplay > 0 {
		if err := c.shorten(ctx, o.MaxReplay); err != nil {
			return err
		}
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.rewriteImages(ctx)
}

// target is the horizon that the options want, the present one while not enough
// would be collected.
func (c *collection) target(o CollectOptions) (wal.LSN, error) {
	least, err := c.behind(o, slack+1)
	if err != nil || least <= c.st.Horizon {
		return c.st.Horizon, err
	}
	horizon, err := c.behind(o, slack)
	return max(horizon, c.st.Horizon), err
}

// behind is the LSN that lies behind what is to be kept, so many times over
// slack.
func (c *collection) behind(o CollectOptions, times int) (wal.LSN, error) {
	if o.Retain == 0 && o.RetainAge == 0 {
		return 0, nil
	}
	lsn := c.st.Position
	if o.Retain > 0 {
		back := wal.LSN(o.Retain / slack * uint64(times))
		if o.Retain < slack {
			back = wal.LSN(o.Retain)
		}
		lsn = min(lsn, c.st.LastValid-min(back, c.st.LastValid))
	}
	if o.RetainAge > 0 {
		at, err := c.s.markBefore(o.Now.Add(-o.RetainAge / slack * time.Duration(times)))
		if err != nil {
			return 0, err
		}
		lsn = min(lsn, at)
	}
	return lsn, nil
}

// set puts a key and its value into the batch, remove a key's deletion.
func (c *collection) set(key, value []byte) error {
	if err := c.batch.Set(key, value, nil); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

func (c *collection) remove(key []byte) error {
	c.done.Keys++
	if err := c.batch.Delete(key, nil); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// setMade has the page's key as of lsn lead to an image of c.page, and to rec.
func (c *collection) setMade(id PageID, lsn wal.LSN, rec pointer) error {
	image, err := c.s.images.add(id, lsn, c.page)
	if err != nil {
		return err
	}
	c.bytes += int(entrySize(image))
	c.done.Images++
	return c.setImage(id, lsn, rec, image)
}

func (c *collection) setImage(id PageID, lsn wal.LSN, rec, image pointer) error {
	key := pageKey(id, lsn)
	var value [madeValueSize]byte
	putMade(value[:], rec, image)
	return c.set(key[:], value[:])
}

// full reports that the batch should be flushed.
func (c *collection) full() bool {
	return c.batch.Count() >= collectKeys || c.bytes >= collectBytes
}

// flush makes the batch durable.
func (c *collection) flush() error {
	m := &c.s.images
	if c.batch.Empty() && len(m.dirty) == 0 && m.state == c.flushed {
		return nil
	}
	if err := m.sync(c.batch); err != nil {
		return err
	}
	c.bytes = 0
	clear(c.inBatch)
	// It must come to its end: whoever cannot wait, ends the process.
	if err := c.s.ix.commitUntil(c.batch, nil); err != nil {
		return err
	}
	c.flushed = m.state
	return nil
}

// step is done between two pages.
func (c *collection) step(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if c.full() {
		return c.flush()
	}
	return nil
}

// settled waits until all readers have left that can have seen what was before the
// last flush.
func (c *collection) settled(ctx context.Context) error {
	select {
	case <-c.s.visible.retire():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
