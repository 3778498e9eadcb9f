package pagestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/walplex/walplex/sdk/wal"
)

// shorten makes images of the pages that were changed since it came last, so that
// no read of them does more than a number of records.
func (c *collection) shorten(ctx context.Context, most int) error {
	m := &c.s.images
	from, to := max(m.state.made, c.horizon), c.st.Position
	if from >= to {
		return nil
	}
	o := spaceBounds(spacePage)
	o.PointKeyFilters = []pebble.BlockPropertyFilter{sstable.NewBlockIntervalFilter(lsnProperty, uint64(from)+1, uint64(to)+1, nil)}
	it, err := c.s.ix.db.NewIterWithContext(ctx, o)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	n := 0
	for ok := it.First(); ok && err == nil; {
		if n++; n%ctxEvery == 0 {
			if err = ctx.Err(); err != nil {
				break
			}
		}
		if lsn := keyLSN(it.Key()); lsn <= from || lsn > to {
			ok = it.Next()
			continue
		}
		id := keyPage(it.Key())
		if err = c.shortenPage(ctx, id, to, most); err == nil {
			ok = seekBehind(it, id)
		}
	}
	if err = closed(err, it); err == nil {
		m.state.made = to
	}
	return err
}

// shortenPage makes an image of the page after each so many of its records.
func (c *collection) shortenPage(ctx context.Context, id PageID, to wal.LSN, most int) error {
	if err := c.step(ctx); err != nil {
		return err
	}
	r := c.s.newReading(id, &c.st)
	defer c.s.putReading(r)
	if err := r.find(ctx, 0, to); err != nil || r.versions <= most || r.ended {
		return err
	}
	a := Answer{Page: c.page, At: to}
	err := r.begin(ctx, &a, 0)
	if err == nil {
		n := 0
		p := &r.replay
		p.id, p.page, p.imported = id, c.page, r.imported
		err = r.each(ctx, func(rec *wal.Record) error {
			if err := p.apply(rec); err != nil {
				return err
			}
			if n++; n < most || r.cut || rec.EndLSN < c.st.Horizon {
				return nil
			}
			n = 0
			return c.setMade(id, rec.EndLSN, r.at.ptr)
		})
	}
	var record *wal.Error
	if errors.As(err, &record) || errors.Is(err, ErrNoBase) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
		return nil // who reads the page is told
	}
	return err
}
