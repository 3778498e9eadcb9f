package pagestore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// changed is a relation that was changed as a whole in what is swept.
type changed struct {
	all  bool              // made or dropped
	from wal.BlockNumber   // of the main fork: all from it on was cut
	maps []wal.BlockNumber // pages of the visibility map that were cut in part
}

// findChanged reads what happened to relations and databases in what is swept.
func (c *collection) findChanged() error {
	c.changed = make(map[wal.RelFileLocator]*changed)
	it, err := c.inSweep(spaceRelation)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		k, v := it.Key(), it.Value()
		if !c.passed(k) {
			continue
		}
		if len(v) != relationValueSize {
			err = fmt.Errorf("%w: a value of %d bytes in the index", ErrDamaged, len(v))
			break
		}
		rel := keyPage(append(slices.Clone(k[:13]), 0, 0, 0, 0, 0)).Rel
		r := c.changed[rel]
		if r == nil {
			r = &changed{from: ^wal.BlockNumber(0)}
			c.changed[rel] = r
		}
		r.add(parseChange(rel, v[pointerSize:]))
	}
	return closed(err, it)
}

func (r *changed) add(c change) {
	if c.kind != relationCut {
		r.all = true
		return
	}
	r.from = min(r.from, c.block)
	if c.forks&(1<<wal.VisibilityMapFork) != 0 && c.block%heapBlocksPerMapPage != 0 {
		r.maps = append(r.maps, c.block/heapBlocksPerMapPage)
	}
}

// sweepChanged sweeps the pages that lost their content without a record of
// theirs.
func (c *collection) sweepChanged(ctx context.Context) error {
	if err := c.findChanged(); err != nil {
		return err
	}
	for space := range c.released() {
		if err := c.sweepDatabase(ctx, forkKey{space: space}.locator()); err != nil {
			return err
		}
	}
	for rel, r := range c.changed {
		var err error
		switch {
		case rel.Rel == 0:
			err = c.sweepDatabase(ctx, rel)
		case r.all, c.entangled(makeSpace(rel.Spc, rel.DB)):
			lower, upper := pageKey(PageID{Rel: rel}, 0), pageKey(PageID{Rel: rel, Fork: 255, Block: ^wal.BlockNumber(0)}, ^wal.LSN(0))
			err = c.sweepRange(ctx, lower[:], upper[:])
		default:
			err = c.sweepCut(ctx, rel, r)
		}
		if err != nil {
			return err
		}
		for _, block := range r.maps {
			if err := c.sweepPage(ctx, PageID{Rel: rel, Fork: wal.VisibilityMapFork, Block: block}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *collection) sweepDatabase(ctx context.Context, rel wal.RelFileLocator) error {
	next := rel
	next.Rel = ^wal.OID(0)
	lower, upper := pageKey(PageID{Rel: rel}, 0), pageKey(PageID{Rel: next, Fork: 255, Block: ^wal.BlockNumber(0)}, ^wal.LSN(0))
	return errors.Join(c.sweepPage(ctx, RelMapPage(rel.Spc, rel.DB)), c.sweepRange(ctx, lower[:], upper[:]))
}

func (c *collection) sweepCut(ctx context.Context, rel wal.RelFileLocator, r *changed) error {
	for _, fork := range []wal.ForkNumber{wal.MainFork, wal.FSMFork, wal.VisibilityMapFork} {
		from := wal.BlockNumber(0)
		if fork == wal.MainFork {
			from = r.from
		}
		lower, upper := pageKey(PageID{Rel: rel, Fork: fork, Block: from}, 0), pageKey(PageID{Rel: rel, Fork: fork + 1}, 0)
		if err := c.sweepRange(ctx, lower[:], upper[:]); err != nil {
			return err
		}
	}
	return nil
}

// sweepSizes leaves one size of each fork.
func (c *collection) sweepSizes(ctx context.Context) error {
	it, err := c.inSweep(spaceSize)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; {
		if !c.passed(it.Key()) {
			ok = it.Next()
			continue
		}
		k := parseForkKey(it.Key())
		if err = c.sweepSize(ctx, k); err == nil {
			ok = seekFork(it, k)
		}
	}
	if err = closed(err, it); err != nil {
		return err
	}
	for rel := range c.changed {
		if rel.Rel == 0 {
			if err := c.sweepSizesOf(ctx, makeSpace(rel.Spc, rel.DB)); err != nil {
				return err
			}
		}
	}
	for space := range c.released() {
		if err := c.sweepSizesOf(ctx, space); err != nil {
			return err
		}
	}
	return nil
}

// seekFork goes to the first key behind the fork's.
func seekFork(it *pebble.Iterator, k forkKey) bool {
	var key [sizeKeySize]byte
	k.put(key[:], ^wal.LSN(0))
	return it.SeekGE(key[:])
}

// sweepSizesOf is sweepSizes of all forks of a database.
func (c *collection) sweepSizesOf(ctx context.Context, space uint64) error {
	var lower [sizeKeySize]byte
	forkKey{space: space}.put(lower[:], 0)
	it, err := c.s.ix.db.NewIter(&pebble.IterOptions{LowerBound: lower[:], UpperBound: []byte{spaceSize + 1}})
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	for ok := it.First(); ok && err == nil; {
		k := parseForkKey(it.Key())
		if k.space != space {
			break
		}
		err = c.sweepSize(ctx, k)
		ok = seekFork(it, k)
	}
	return closed(err, it)
}

// sweepSize leaves the fork's sizes as of the horizon and as of what its database
// is pinned to.
func (c *collection) sweepSize(ctx context.Context, k forkKey) error {
	if err := c.step(ctx); err != nil {
		return err
	}
	list, err := c.sizesOf(k)
	if err != nil {
		return err
	}
	keep := make(map[wal.LSN]bool)
	for _, at := range c.pins[k.space].and(c.horizon) {
		for i := len(list) - 1; i >= 0; i-- {
			if e := &list[i]; e.lsn <= at {
				// No key means that it is gone too, unless the database is a copy.
				keep[e.lsn] = keep[e.lsn] || e.lsn > c.databaseSince(k.space, at) && (e.blocks != noFork || c.entangled(k.space))
				break
			}
		}
	}
	for i := range list {
		if e := &list[i]; !keep[e.lsn] {
			var key [sizeKeySize]byte
			k.put(key[:], e.lsn)
			if err := c.remove(key[:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// databaseSince is the last change of the whole database at or before an LSN.
func (c *collection) databaseSince(space uint64, at wal.LSN) (lsn wal.LSN) {
	for _, d := range c.databases[space] {
		if d.lsn <= at {
			lsn = d.lsn
		}
	}
	return lsn
}

// sizesOf reads the fork's sizes up to the horizon.
func (c *collection) sizesOf(k forkKey) (list []sizeEntry, err error) {
	var lower, upper [sizeKeySize]byte
	k.put(lower[:], 0)
	k.put(upper[:], after(c.horizon))
	it, err := c.s.ix.db.NewIter(&pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]})
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		e := sizeEntry{fork: k, lsn: keyLSN(it.Key())}
		e.blocks, err = parseSize(it.Value())
		list = append(list, e)
	}
	return list, closed(err, it)
}

// sweepChanges deletes what happened to relations and databases and cannot matter
// to a read any more.
func (c *collection) sweepChanges(ctx context.Context) error {
	for rel := range c.changed {
		if err := c.step(ctx); err != nil {
			return err
		}
		var err error
		if rel.Rel == 0 {
			err = c.sweepDatabaseChanges(rel)
		} else {
			err = c.sweepRelationChanges(ctx, rel)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepRelationChanges deletes changes of a relation. Where a page without a base
// can begin otherwise than as zero bytes, the last one that ended all of its pages
// stays, with those after it.
func (c *collection) sweepRelationChanges(ctx context.Context, rel wal.RelFileLocator) error {
	space := makeSpace(rel.Spc, rel.DB)
	copied, least := c.copied(space), c.leastPoint(space)
	before := c.st.Complete() && !copied
	var ends []wal.LSN
	err := c.s.eachChange(ctx, rel, 0, least, func(ch change, end wal.LSN, _ pointer) bool {
		// Of a relation that was dropped there is nothing, with this key or without.
		if before || ch.kind == relationDropped && !copied {
			ends = append(ends, end)
		}
		before = before || ch.endsAll()
		return true
	})
	if err != nil {
		return err
	}
	return c.removeChanges(rel, ends)
}

// endsAll reports that no page of the relation is what it was before.
func (c *change) endsAll() bool {
	return c.kind == relationDropped || c.kind == relationCreated && c.forks&(1<<wal.MainFork) != 0
}

func (c *collection) sweepDatabaseChanges(rel wal.RelFileLocator) error {
	space := makeSpace(rel.Spc, rel.DB)
	least := c.leastPoint(space)
	var ends []wal.LSN
	for _, d := range c.databases[space] {
		if d.lsn <= least {
			ends = append(ends, d.lsn)
		}
	}
	if n := len(ends) - 1; n >= 0 {
		last := c.databases[space][n]
		if last.alive || last.kind == databaseCreated && !c.st.Complete() {
			ends = ends[:n]
		}
	}
	return c.removeChanges(rel, ends)
}

func (c *collection) removeChanges(rel wal.RelFileLocator, ends []wal.LSN) error {
	for _, end := range ends {
		key := relationKey(rel, end)
		if err := c.remove(key[:]); err != nil {
			return err
		}
	}
	return nil
}

// sweepInOrder deletes what is in the order of the WAL.
func (c *collection) sweepInOrder() error {
	for _, space := range []byte{spaceLSN, spaceMark} {
		upper := lsnKey(after(c.horizon))
		upper[0] = space
		if err := c.batch.DeleteRange([]byte{space}, upper[:], nil); err != nil {
			return fmt.Errorf("index: %w", err)
		}
	}
	endings := endingsKey(stretchOf(c.horizon))
	if err := c.batch.DeleteRange([]byte{spaceEndings}, endings[:], nil); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}
