package pagestore

import (
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// maxSteps is how many sizes of a fork are passed over one by one before the
// last one is sought.
const maxSteps = 8

// forks goes through the forks of a database as of an LSN, in order, among them
// those that are gone. Where the database's files were copied from another's,
// what it has not changed since comes from there.
type forks struct {
	rel    uint64 // relation and fork
	blocks wal.BlockNumber
	ok     bool // there is one

	own    ownForks
	source *forks // nil, or what was copied
}

// ownForks goes through the last sizes in (low, high] that were noted of the
// forks of a database.
type ownForks struct {
	it        *pebble.Iterator
	space     uint64
	low, high wal.LSN

	rel    uint64
	blocks wal.BlockNumber
	ok     bool
}

// forks is at the first fork of the database.
func (v sizeView) forks(space uint64, lsn wal.LSN, copies int) (*forks, error) {
	r, err := v.reader()
	if err != nil {
		return nil, err
	}
	d, _, err := r.database(space, 0, lsn)
	r.close()
	if err != nil {
		return nil, err
	}
	c := &forks{own: ownForks{space: space, low: d.lsn, high: lsn}}
	if d.kind == databaseCopied {
		if copies == 0 {
			return nil, tooManyCopies(space)
		}
		if c.source, err = v.forks(d.source, d.lsn-1, copies-1); err != nil {
			return nil, err
		}
	}
	if err := c.own.start(v); err != nil {
		c.close()
		return nil, err
	}
	c.choose()
	return c, nil
}

// choose takes the lesser of the database's own next fork and of that of what
// was copied.
func (c *forks) choose() {
	c.rel, c.blocks, c.ok = c.own.rel, c.own.blocks, c.own.ok
	if s := c.source; s != nil && s.ok && (!c.ok || s.rel < c.rel) {
		c.rel, c.blocks, c.ok = s.rel, s.blocks, true
	}
}

// next goes on behind the fork.
func (c *forks) next() error {
	at := c.rel
	if c.own.ok && c.own.rel == at {
		if err := c.own.next(); err != nil {
			return err
		}
	}
	if s := c.source; s != nil && s.ok && s.rel == at {
		if err := s.next(); err != nil {
			return err
		}
	}
	c.choose()
	return nil
}

func (c *forks) close() {
	if c.own.it != nil {
		c.own.it.Close() // its errors are those of Error
	}
	if c.source != nil {
		c.source.close()
	}
}

func (o *ownForks) start(v sizeView) error {
	var lower, upper [sizeKeySize]byte
	forkKey{space: o.space}.put(lower[:], 0)
	forkKey{space: o.space, rel: math.MaxUint64}.put(upper[:], math.MaxUint64)
	it, err := v.open(&pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]})
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	o.it = it
	it.First()
	return o.next()
}

// next reads forks from the iterator's place on until one has a size in (low,
// high], and leaves the iterator behind it.
func (o *ownForks) next() error {
	for o.it.Valid() {
		k := parseForkKey(o.it.Key())
		value, at, err := o.last(k)
		if err != nil {
			return err
		}
		if at > o.low {
			o.rel, o.blocks, o.ok = k.rel, value, true
			return nil
		}
	}
	o.ok = false
	if err := o.it.Error(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// last reads the last size up to high of the fork at whose first key the
// iterator is, and goes to the next fork's. at is 0 where there is none.
func (o *ownForks) last(k forkKey) (n wal.BlockNumber, at wal.LSN, err error) {
	for step := 0; o.it.Valid() && parseForkKey(o.it.Key()) == k; step++ {
		lsn := keyLSN(o.it.Key())
		if lsn <= o.high {
			if n, err = parseSize(o.it.Value()); err != nil {
				return 0, 0, err
			}
			at = lsn
		}
		if lsn > o.high || step == maxSteps {
			return o.seek(k, n, at)
		}
		o.it.Next()
	}
	return n, at, nil
}

// seek is last of a fork with many sizes, of which n at LSN at was read.
func (o *ownForks) seek(k forkKey, n wal.BlockNumber, at wal.LSN) (wal.BlockNumber, wal.LSN, error) {
	var key [sizeKeySize]byte
	if keyLSN(o.it.Key()) <= o.high {
		k.put(key[:], after(o.high))
		if !o.it.SeekLT(key[:]) {
			return 0, 0, errors.Join(fmt.Errorf("%w: the index is out of order", ErrDamaged), o.it.Error())
		}
		var err error
		if n, err = parseSize(o.it.Value()); err != nil {
			return 0, 0, err
		}
		at = keyLSN(o.it.Key())
	}
	forkKey{space: k.space, rel: k.rel + 1}.put(key[:], 0)
	o.it.SeekGE(key[:])
	return n, at, nil
}
