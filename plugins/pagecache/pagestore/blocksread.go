package pagestore

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// maxCopies is how many databases in a row can have been made by copying each
// other's files. What lies behind more is an error.
const maxCopies = 256

// RelSize is how many blocks a relation's fork has as all records that end at or
// before lsn have left it, at LSN 0 as of now; it answers the LSN that 0 stands
// for. A fork that does not exist then is [ErrNotFound]. It does not wait.
//
// Sizes are those that recovery makes, as of a standby: what a server extends and
// never logs is not there. The free space map is as long as its images need.
// Where the store began without a base backup, relations that were made before
// it, and not truncated since, have at least so many blocks.
func (s *Store) RelSize(ctx context.Context, rel wal.RelFileLocator, fork wal.ForkNumber, lsn wal.LSN) (blocks wal.BlockNumber, at wal.LSN, err error) {
	gen, err := s.visible.enter()
	if err != nil {
		return 0, 0, err
	}
	defer s.visible.leave(gen)
	st, at, err := s.readAt(lsn)
	if err != nil {
		return 0, 0, err
	}
	n, err := s.committedView(ctx).blocks(makeForkKey(rel, fork), at)
	if err = s.unlessCollected(at, err); err != nil {
		return 0, 0, err
	}
	if n == noFork {
		return 0, 0, fmt.Errorf("%w: fork %s of relation %s does not exist as of %s, or no record from %s on told of it", ErrNotFound, fork, rel, at, st.Horizon)
	}
	return n, at, nil
}

// sizeView is where sizes are read: in the index, and for who appends also in
// what is pending.
type sizeView struct {
	store   *Store
	open    func(*pebble.IterOptions) (*pebble.Iterator, error)
	pending bool
}

// committedView is what readers see.
func (s *Store) committedView(ctx context.Context) sizeView {
	return sizeView{store: s, open: func(o *pebble.IterOptions) (*pebble.Iterator, error) { return s.ix.db.NewIterWithContext(ctx, o) }}
}

// appendedView is what was appended.
func (s *Store) appendedView() sizeView {
	return sizeView{store: s, open: s.ix.db.NewIter, pending: true}
}

// sizeReader reads sizes and changes of databases at one moment.
type sizeReader struct {
	sizeView
	it *pebble.Iterator
}

func (v sizeView) reader() (sizeReader, error) {
	it, err := v.open(&pebble.IterOptions{LowerBound: []byte{spaceRelation}, UpperBound: []byte{spaceSize + 1}})
	if err != nil {
		return sizeReader{}, fmt.Errorf("index: %w", err)
	}
	return sizeReader{v, it}, nil
}

func (r sizeReader) close() { r.it.Close() } // its errors are those of Error

// before finds the last key from lower on and before upper.
func (r sizeReader) before(lower, upper []byte) (bool, error) {
	if r.it.SeekLT(upper) && bytes.Compare(r.it.Key(), lower) >= 0 {
		return true, nil
	}
	if err := r.it.Error(); err != nil {
		return false, fmt.Errorf("index: %w", err)
	}
	return false, nil
}

// blocks is how long the fork is as of lsn.
func (v sizeView) blocks(k forkKey, lsn wal.LSN) (wal.BlockNumber, error) {
	r, err := v.reader()
	if err != nil {
		return 0, err
	}
	defer r.close()
	for range maxCopies + 1 {
		n, at, err := r.last(k, lsn)
		if err != nil {
			return 0, err
		}
		d, ok, err := r.database(k.space, at, lsn)
		switch {
		case err != nil:
			return 0, err
		case !ok:
			return n, nil
		case d.kind != databaseCopied:
			return noFork, nil
		}
		// The files are those of another database, as of the record that copied them.
		k.space, lsn = d.source, d.lsn-1
	}
	return 0, tooManyCopies(k.space)
}

func tooManyCopies(space uint64) error {
	return fmt.Errorf("database %d in tablespace %d is the first of more than %d that were made by copying each other's files; the page cache follows no more",
		uint32(space), space>>32, maxCopies)
}

// last is the last size that was noted at or before lsn, and at which LSN: noFork
// at 0 where none was.
func (r sizeReader) last(k forkKey, lsn wal.LSN) (wal.BlockNumber, wal.LSN, error) {
	// What is pending is in Store.sizes, unless its database was changed since.
	if r.pending && len(r.store.sizes.databases) > 0 {
		for i := len(r.store.pending.sizes) - 1; i >= 0; i-- {
			if e := &r.store.pending.sizes[i]; e.fork == k && e.lsn <= lsn {
				return e.blocks, e.lsn, nil
			}
		}
	}
	var lower, upper [sizeKeySize]byte
	k.put(lower[:], 0)
	k.put(upper[:], after(lsn))
	ok, err := r.before(lower[:], upper[:])
	if !ok || err != nil {
		return noFork, 0, err
	}
	n, err := parseSize(r.it.Value())
	return n, keyLSN(r.it.Key()), err
}

func parseSize(b []byte) (wal.BlockNumber, error) {
	if len(b) != sizeValueSize {
		return 0, fmt.Errorf("%w: a size of %d bytes in the index", ErrDamaged, len(b))
	}
	return wal.BlockNumber(le.Uint32(b)), nil
}

// database is the last change of a database in (low, high], if there is one.
func (r sizeReader) database(space uint64, low, high wal.LSN) (databaseChange, bool, error) {
	if r.pending {
		list := r.store.sizes.databases
		for i := len(list) - 1; i >= 0; i-- {
			if d := list[i]; d.space == space && d.lsn > low && d.lsn <= high {
				return d, true, nil
			}
		}
	}
	rel := forkKey{space: space}.locator()
	lower, upper := relationKey(rel, after(low)), relationKey(rel, after(high))
	ok, err := r.before(lower[:], upper[:])
	if !ok || err != nil {
		return databaseChange{}, false, err
	}
	d, err := parseDatabase(space, r.it.Key(), r.it.Value())
	return d, err == nil, err
}

// parseDatabase reads a key of the relation space and its value.
func parseDatabase(space uint64, k, v []byte) (databaseChange, error) {
	if len(v) != relationValueSize {
		return databaseChange{}, fmt.Errorf("%w: a value of %d bytes in the index", ErrDamaged, len(v))
	}
	c := parseChange(forkKey{space: space}.locator(), v[pointerSize:])
	return makeDatabaseChange(&c, keyLSN(k)), nil
}
