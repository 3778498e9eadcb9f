package pagestore

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// RelFork is a fork of a relation that exists.
type RelFork struct {
	Rel    wal.RelFileLocator
	Fork   wal.ForkNumber
	Blocks wal.BlockNumber
}

// EachFork calls f with every fork of every relation that exists as of lsn, at LSN
// 0 as of now, ordered by tablespace, database, relation and fork: of one
// database in all its tablespaces, 0 for the shared relations, or of all where db
// is nil. It answers the LSN that 0 stands for. An error of f ends the walk.
// Sizes are those of [Store.RelSize], and so are errors.
func (s *Store) EachFork(ctx context.Context, lsn wal.LSN, db *wal.OID, f func(RelFork) error) (at wal.LSN, err error) {
	gen, err := s.visible.enter()
	if err != nil {
		return 0, err
	}
	defer s.visible.leave(gen)
	if _, at, err = s.readAt(lsn); err != nil {
		return 0, err
	}
	l, err := s.openLister(ctx)
	if err != nil {
		return 0, err
	}
	defer l.close()
	for space, ok := l.firstSpace(0, db); ok; space, ok = l.firstSpace(space+1, db) {
		if err := l.eachIn(ctx, space, at, f); err != nil {
			return 0, s.unlessCollected(at, err)
		}
		if space == math.MaxUint64 {
			break
		}
	}
	return at, s.unlessCollected(at, l.error())
}

// DbSize is how many bytes all forks of all relations of a database have as of
// lsn, as [Store.EachFork] finds them. A database of which there is none is
// [ErrNotFound].
func (s *Store) DbSize(ctx context.Context, db wal.OID, lsn wal.LSN) (bytes uint64, at wal.LSN, err error) {
	forks := 0
	at, err = s.EachFork(ctx, lsn, &db, func(f RelFork) error {
		forks++
		bytes += uint64(f.Blocks) * wal.BlockSize
		return nil
	})
	if err == nil && forks == 0 {
		err = fmt.Errorf("%w: no relation of database %d exists as of %s", ErrNotFound, db, at)
	}
	return bytes, at, err
}

// lister finds the databases of which there can be something.
type lister struct {
	view     sizeView // of one moment: what follows can be collected while it is listed
	snapshot *pebble.Snapshot
	sizes    *pebble.Iterator
	changes  *pebble.Iterator
}

func (s *Store) openLister(ctx context.Context) (*lister, error) {
	l := &lister{snapshot: s.ix.db.NewSnapshot()}
	l.view = sizeView{store: s, open: func(o *pebble.IterOptions) (*pebble.Iterator, error) { return l.snapshot.NewIterWithContext(ctx, o) }}
	var err error
	if l.sizes, err = l.view.open(spaceBounds(spaceSize)); err == nil {
		l.changes, err = l.view.open(spaceBounds(spaceRelation))
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("index: %w", err)
	}
	return l, nil
}

// spaceBounds encloses all keys of a space.
func spaceBounds(space byte) *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}}
}

// close releases all; errors of iterators are those of error.
func (l *lister) close() {
	for _, it := range []*pebble.Iterator{l.sizes, l.changes} {
		if it != nil {
			it.Close()
		}
	}
	l.snapshot.Close() // it fails where it was closed before only
}

func (l *lister) error() error {
	if err := errors.Join(l.sizes.Error(), l.changes.Error()); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// firstSpace is the first tablespace and database from space on that has sizes,
// or was made or dropped; of database db, unless that is nil.
func (l *lister) firstSpace(space uint64, db *wal.OID) (uint64, bool) {
	for {
		found, ok := l.anySpace(space)
		if !ok || db == nil || wal.OID(uint32(found)) == *db {
			return found, ok
		}
		// On to the database in this tablespace, or in the next.
		space = found&^math.MaxUint32 | uint64(*db)
		if uint32(found) > uint32(*db) {
			if found>>32 == math.MaxUint32 {
				return 0, false
			}
			space += 1 << 32
		}
	}
}

func (l *lister) anySpace(space uint64) (uint64, bool) {
	var key [sizeKeySize]byte
	forkKey{space: space}.put(key[:], 0)
	found, ok := uint64(0), false
	if l.sizes.SeekGE(key[:]) {
		found, ok = parseForkKey(l.sizes.Key()).space, true
	}
	for at := space; ; at++ {
		change := relationKey(forkKey{space: at}.locator(), 0)
		if !l.changes.SeekGE(change[:]) {
			return found, ok
		}
		k := l.changes.Key()
		if at = be.Uint64(k[1:]); ok && at >= found {
			return found, ok
		}
		if be.Uint32(k[9:]) == 0 {
			return at, true
		}
		if at == math.MaxUint64 {
			return found, ok
		}
	}
}

// eachIn calls f with the forks of a database in a tablespace.
func (l *lister) eachIn(ctx context.Context, space uint64, lsn wal.LSN, f func(RelFork) error) error {
	c, err := l.view.forks(space, lsn, maxCopies)
	if err != nil {
		return err
	}
	defer c.close()
	for n := 1; c.ok; n++ {
		if c.blocks != noFork {
			k := forkKey{space: space, rel: c.rel}
			if err := f(RelFork{Rel: k.locator(), Fork: k.fork(), Blocks: c.blocks}); err != nil {
				return err
			}
		}
		if n%ctxEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}
