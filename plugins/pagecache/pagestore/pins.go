package pagestore

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/walplex/walplex/sdk/wal"
)

// pinned is the LSNs before the horizon as of which a database can still be read,
// because a copy of it begins as what it was then; sorted.
type pinned []wal.LSN

// and is the LSNs with the horizon.
func (p pinned) and(horizon wal.LSN) []wal.LSN {
	return append(slices.Clone(p), horizon)
}

// databaseKey is a key of the relation space that is of a whole database.
type databaseKey struct {
	databaseChange
	alive bool // a copy that a read can lead to
}

// findPins finds the copies of databases at or before the horizon to which reads
// can still lead, and what their sources are pinned to.
func (c *collection) findPins(ctx context.Context) error {
	list, err := c.databaseKeys(ctx)
	if err != nil {
		return err
	}
	// What a copy is read for is later than the copy: the last ones first.
	slices.SortFunc(list, func(a, b databaseKey) int { return cmp.Compare(b.lsn, a.lsn) })
	c.pins = make(map[uint64]pinned)
	for i := range list {
		k := &list[i]
		if k.kind != databaseCopied || !c.leadsTo(list, k) {
			continue
		}
		k.alive = true
		p := append(c.pins[k.source], k.lsn-1)
		slices.Sort(p)
		c.pins[k.source] = slices.Compact(p)
	}
	c.databases = make(map[uint64][]databaseKey)
	for i := len(list) - 1; i >= 0; i-- {
		c.databases[list[i].space] = append(c.databases[list[i].space], list[i])
	}
	return nil
}

// leadsTo reports that k is the last change of its database as of something that
// is read.
func (c *collection) leadsTo(list []databaseKey, k *databaseKey) bool {
	for _, at := range c.pins[k.space].and(c.horizon) {
		if at < k.lsn {
			continue
		}
		last := slices.IndexFunc(list, func(o databaseKey) bool { return o.space == k.space && o.lsn <= at })
		if list[last].lsn == k.lsn {
			return true
		}
	}
	return false
}

// databaseKeys reads the changes of whole databases up to the horizon.
func (c *collection) databaseKeys(ctx context.Context) (list []databaseKey, err error) {
	it, err := c.s.ix.db.NewIterWithContext(ctx, spaceBounds(spaceRelation))
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	for ok := it.First(); ok; {
		k := it.Key()
		space := be.Uint64(k[1:])
		if be.Uint32(k[9:]) != 0 {
			if space++; space == 0 {
				break
			}
			next := relationKey(forkKey{space: space}.locator(), 0)
			ok = it.SeekGE(next[:])
			continue
		}
		if keyLSN(k) <= c.horizon {
			var d databaseChange
			if d, err = parseDatabase(space, k, it.Value()); err != nil {
				break
			}
			list = append(list, databaseKey{databaseChange: d})
		}
		ok = it.Next()
	}
	return list, closed(err, it)
}

// leastPoint is the least LSN as of which the database is read.
func (c *collection) leastPoint(space uint64) wal.LSN {
	if p := c.pins[space]; len(p) > 0 {
		return p[0]
	}
	return c.horizon
}

// entangled reports that versions of the database's pages stay before the last
// one, or that its pages can begin as those of another: then what happened to it
// and to its relations must stay, too.
func (c *collection) entangled(space uint64) bool {
	return len(c.pins[space]) > 0 || c.copied(space)
}

// released is the databases that were copied, and whose copies nobody can read any
// more.
func (c *collection) released() map[uint64]bool {
	list := make(map[uint64]bool)
	for _, keys := range c.databases {
		for _, k := range keys {
			if k.kind == databaseCopied && !k.alive {
				list[k.source] = true
			}
		}
	}
	return list
}

// copied reports that pages of the database can begin as those of another.
func (c *collection) copied(space uint64) bool {
	return slices.ContainsFunc(c.databases[space], func(k databaseKey) bool { return k.alive })
}
