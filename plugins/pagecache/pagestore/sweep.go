package pagestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/walplex/walplex/sdk/wal"
)

// sweep raises the horizon and leaves of all pages, relations and sizes one
// version at or before it.
//
// Only what has keys in what the horizon passes over is looked at: all else was
// left so by the sweep before, and one that was ended early begins there again.
func (c *collection) sweep(ctx context.Context, horizon wal.LSN) error {
	c.horizon = horizon
	m := &c.s.images
	m.state.horizon = horizon
	if err := c.flush(); err != nil {
		return err
	}
	c.s.visible.collect(horizon)
	if err := c.findPins(ctx); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{c.sweepChanged, c.sweepPages, c.sweepSizes} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	// Who saw a page that is gone must see why, too.
	if err := errors.Join(c.flush(), c.settled(ctx)); err != nil {
		return err
	}
	if err := c.sweepChanges(ctx); err != nil {
		return err
	}
	if err := c.sweepInOrder(); err != nil {
		return err
	}
	m.state.swept = horizon
	if err := c.flush(); err != nil {
		return err
	}
	m.swept.Store(uint64(horizon))
	return c.removeValues(ctx)
}

// inSweep iterates over what has LSNs in what the horizon passes over, and over
// what lies near it.
func (c *collection) inSweep(space byte) (*pebble.Iterator, error) {
	o := spaceBounds(space)
	o.PointKeyFilters = []pebble.BlockPropertyFilter{
		sstable.NewBlockIntervalFilter(lsnProperty, uint64(c.swept)+1, uint64(c.horizon)+1, nil)}
	it, err := c.s.ix.db.NewIter(o)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return it, nil
}

// passed reports that the horizon passes over the key.
func (c *collection) passed(key []byte) bool {
	lsn := keyLSN(key)
	return lsn > c.swept && lsn <= c.horizon
}

// closed is err, or the iterator's own error.
func closed(err error, it *pebble.Iterator) error {
	if e := errors.Join(it.Error(), it.Close()); e != nil {
		err = errors.Join(err, fmt.Errorf("index: %w", e))
	}
	return err
}

// sweepPages sweeps the pages that records have changed.
func (c *collection) sweepPages(ctx context.Context) error {
	it, err := c.inSweep(spacePage)
	if err != nil {
		return err
	}
	n := 0
	for ok := it.First(); ok && err == nil; {
		if n++; n%ctxEvery == 0 {
			if err = ctx.Err(); err != nil {
				break
			}
		}
		if !c.passed(it.Key()) {
			ok = it.Next()
			continue
		}
		id := keyPage(it.Key())
		if err = c.sweepPage(ctx, id); err == nil {
			ok = seekBehind(it, id)
		}
	}
	return closed(err, it)
}

// seekBehind goes to the first key behind the page's.
func seekBehind(it *pebble.Iterator, id PageID) bool {
	key := pageKey(id, ^wal.LSN(0))
	return it.SeekGE(key[:])
}

// sweepRange sweeps all pages that have keys at or before the horizon in
// [lower, upper).
func (c *collection) sweepRange(ctx context.Context, lower, upper []byte) error {
	it, err := c.s.ix.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	for ok := it.First(); ok && err == nil; {
		id := keyPage(it.Key())
		if keyLSN(it.Key()) <= c.horizon {
			err = c.sweepPage(ctx, id)
		}
		ok = seekBehind(it, id)
	}
	return closed(err, it)
}

// version is a key of a page.
type version struct {
	lsn        wal.LSN
	rec, image pointer
}

// collected reports that the version needs no record.
func (v *version) collected() bool { return v.rec.flags&flagNoRecord != 0 }

// versions reads the page's keys up to the horizon.
func (c *collection) versions(id PageID) (list []version, err error) {
	lower, upper := pageBounds(id, 0, c.horizon)
	it, err := c.s.ix.db.NewIter(&pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]})
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		v := version{lsn: keyLSN(it.Key())}
		if v.rec, v.image, err = parsePage(it.Value()); err != nil {
			break
		}
		list = append(list, v)
	}
	return list, closed(err, it)
}

// sweepPage leaves of the page what reads as of the horizon need, and as of what
// its database is pinned to.
func (c *collection) sweepPage(ctx context.Context, id PageID) error {
	if err := c.step(ctx); err != nil || c.inBatch[id] {
		return err
	}
	c.inBatch[id] = true
	list, err := c.versions(id)
	if err != nil {
		return err
	}
	in := id.database()
	keep := make(map[wal.LSN]bool)
	for _, at := range c.pins[makeSpace(in.spc, in.db)].and(c.horizon) {
		if err := c.sweepVersion(ctx, id, list, at, keep); err != nil {
			return err
		}
	}
	c.done.Pages++
	for i := range list {
		v := &list[i]
		if keep[v.lsn] {
			continue
		}
		key := pageKey(id, v.lsn)
		if err := c.remove(key[:]); err != nil {
			return err
		}
		if v.image.length > 0 {
			c.s.images.count(v.image, -1)
		}
	}
	return nil
}

// sweepVersion has a key lead to the page as it is as of an LSN, without a record,
// if the page is anything then, and keeps the key.
func (c *collection) sweepVersion(ctx context.Context, id PageID, list []version, at wal.LSN, keep map[wal.LSN]bool) error {
	a, err := c.s.makePage(ctx, &c.st, id, at, c.page, 0, made{})
	var record *wal.Error
	switch {
	case err == nil && !a.own, errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrDamaged), errors.As(err, &record):
		c.done.Lost++
		return c.sweepUnknown(id, list, at, keep)
	case errors.Is(err, ErrNoBase):
		return c.sweepUnknown(id, list, at, keep)
	case err != nil:
		return err
	}
	if keep[a.since] {
		return nil
	}
	keep[a.since] = true
	none := pointer{flags: flagNoRecord}
	for i := range list {
		if v := &list[i]; v.lsn == a.since && v.image.length > 0 {
			if v.collected() {
				return nil
			}
			return c.setImage(id, a.since, none, v.image)
		}
	}
	return c.setMade(id, a.since, none)
}

// sweepUnknown keeps a key that says that records have changed the page, and that
// what it was is not known.
func (c *collection) sweepUnknown(id PageID, list []version, at wal.LSN, keep map[wal.LSN]bool) error {
	for i := len(list) - 1; i >= 0; i-- {
		v := &list[i]
		if v.lsn > at {
			continue
		}
		if keep[v.lsn] || v.collected() && v.image.length == 0 {
			keep[v.lsn] = true
			return nil
		}
		keep[v.lsn] = true
		if v.image.length > 0 {
			c.s.images.count(v.image, -1)
		}
		key := pageKey(id, v.lsn)
		var value [pointerSize]byte
		(&pointer{flags: flagNoRecord}).put(value[:])
		return c.set(key[:], value[:])
	}
	return nil
}
