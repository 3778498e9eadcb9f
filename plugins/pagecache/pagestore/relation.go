package pagestore

import (
	"context"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// relationChanges finds what changes of a relation, or of its database, in
// (low, high] mean to the page: the last one before which it was another, and the
// truncations after it that changed its content.
func (r *reading) relationChanges(ctx context.Context, low, high wal.LSN) error {
	if r.s.pages.relationSame(r.id.Rel, low) {
		return nil
	}
	// The database first, so that what happened to the relation before counts no
	// more.
	in := r.id.database()
	for _, rel := range []wal.RelFileLocator{{Spc: in.spc, DB: in.db}, r.id.Rel} {
		err := r.s.eachChange(ctx, rel, low, high, func(c change, end wal.LSN, p pointer) bool {
			switch c.means(r.id) {
			case endsPage:
				if !r.ended || r.end.lsn < end {
					r.ended, r.end = true, ending{kind: c.kind, lsn: end, from: c.from}
				}
				return false
			case changesPage:
				if end <= wal.LSN(r.s.images.swept.Load()) {
					return true // an image has it, or there was nothing to cut
				}
				r.cuts = append(r.cuts, step{end: end, ptr: p})
			}
			return true
		})
		if err != nil {
			return err
		}
		if r.ended {
			low = r.end.lsn
		}
	}
	slices.Reverse(r.cuts)
	return nil
}

// eachChange calls f with the changes of a relation in (low, high], the last one
// first, until f has enough.
func (s *Store) eachChange(ctx context.Context, rel wal.RelFileLocator, low, high wal.LSN, f func(change, wal.LSN, pointer) bool) error {
	lower, upper := relationKey(rel, after(low)), relationKey(rel, after(high))
	it, err := s.ix.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]})
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	defer it.Close() // its errors are those of Error
	for ok := it.Last(); ok; ok = it.Prev() {
		v := it.Value()
		p, err := parsePointer(v)
		if err != nil || len(v) != relationValueSize {
			return fmt.Errorf("%w: a value of %d bytes in the index", ErrDamaged, len(v))
		}
		c := parseChange(rel, v[pointerSize:])
		if !f(c, keyLSN(it.Key()), p) {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// meaning is what a change of a relation is to one of its pages.
type meaning uint8

const (
	nothing     meaning = iota
	endsPage            // what the page was before is gone
	changesPage         // its content changes
)

// heapBlocksPerMapPage is HEAPBLOCKS_PER_PAGE (access/heap/visibilitymap.c): two
// bits a heap block in the 8168 bytes after a page header.
const heapBlocksPerMapPage = (wal.BlockSize - 24) * 4

func (c *change) means(id PageID) meaning {
	if c.kind == slruCut || c.kind == slruEmptied {
		return c.cutsSLRU(id.Block)
	}
	forks := c.forks
	if c.kind == relationCreated && forks&(1<<wal.MainFork) != 0 {
		// The maps are made without a record, and never before the main fork.
		forks |= 1<<wal.VisibilityMapFork | 1<<wal.FSMFork
	}
	switch {
	case forks&(1<<(id.Fork&7)) == 0:
		return nothing
	case c.kind != relationCut:
		return endsPage
	case id.Fork == wal.FSMFork:
		// What stays of the free space map changes as no record says
		// (FreeSpaceMapPrepareTruncateRel): only its next image is known.
		return endsPage
	case id.Fork == wal.VisibilityMapFork:
		return c.cutsMap(id.Block)
	case id.Block >= c.block:
		return endsPage
	}
	return nothing
}

// cutsMap is what a truncation means to a page of the visibility map: the last
// one that stays loses its tail (visibilitymap_prepare_truncate).
func (c *change) cutsMap(block wal.BlockNumber) meaning {
	last, rest := c.block/heapBlocksPerMapPage, c.block%heapBlocksPerMapPage
	switch {
	case block > last || block == last && rest == 0:
		return endsPage
	case block == last:
		return changesPage
	}
	return nothing
}
