package pagestore

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// Ending is the record by which a transaction ended. Pages as of StartLSN do not
// show what it did, pages as of EndLSN do, unless it was aborted.
type Ending struct {
	StartLSN, EndLSN wal.LSN
	XID              uint32 // of the transaction, not of a subtransaction that committed with it
	Aborted          bool
	Time             int64 // of the commit or abort, microseconds since 2000-01-01 00:00 UTC
}

// LocateXID finds the commit or abort of a transaction among what ends at or
// before to, at LSN 0 as of now: the last one, where transaction numbers have come
// round. A subtransaction that was rolled back has an abort of its own; one that
// was not ends with the transaction that it belongs to. A prepared transaction
// ends with COMMIT PREPARED or ROLLBACK PREPARED. One that has not ended, or
// before the store began, is [ErrNotFound]; other errors are those of
// [Store.RelSize].
func (s *Store) LocateXID(ctx context.Context, xid uint32, to wal.LSN) (Ending, error) {
	var found Ending
	at, err := s.locate(ctx, to, func(l *finder, at wal.LSN) (bool, error) {
		return l.backward(ctx, at, func(e *endings) bool { return e.mayHave(xid) }, func() (bool, error) {
			end, has, err := l.ending(xid)
			if has {
				found = end
			}
			return has, err
		})
	})
	if err == nil && found.EndLSN == 0 {
		err = fmt.Errorf("%w: no commit or abort of transaction %d ends at or before %s", ErrNotFound, xid, at)
	}
	return found, err
}

// LocateTime finds the first commit whose time is at or after usec, microseconds
// since 2000-01-01 00:00 UTC, among what ends at or before to, at LSN 0 as of
// now. First is in the order of the WAL, in which commits that are under way at
// the same moment can be out of the order of their times by as much as they
// take, and all can where the server's clock was set back: of the commits before
// it none is as late, but some after it can be earlier. Of a time before all that
// is held it is the first commit held. Where there is none it is
// [ErrNotFound]; other errors are those of [Store.RelSize].
func (s *Store) LocateTime(ctx context.Context, usec int64, to wal.LSN) (Ending, error) {
	var found Ending
	at, err := s.locate(ctx, to, func(l *finder, at wal.LSN) (bool, error) {
		return l.forward(ctx, at, func(e *endings) bool { return e.latest >= usec }, func() (bool, error) {
			if l.aborts() {
				return false, nil
			}
			end, _, err := l.ending(0)
			if err != nil || end.Time < usec {
				return false, err
			}
			found = end
			return true, nil
		})
	})
	if err == nil && found.EndLSN == 0 {
		err = fmt.Errorf("%w: no commit at or after %s ends at or before %s", ErrNotFound, wal.TimestampTime(usec), at)
	}
	return found, err
}

// locate runs a search as of to, and answers the LSN that is.
func (s *Store) locate(ctx context.Context, to wal.LSN, search func(l *finder, at wal.LSN) (bool, error)) (wal.LSN, error) {
	gen, err := s.visible.enter()
	if err != nil {
		return 0, err
	}
	defer s.visible.leave(gen)
	_, at, err := s.readAt(to)
	if err != nil {
		return 0, err
	}
	l := &finder{s: s}
	_, err = search(l, at)
	return at, s.unlessCollected(at, err)
}

// finder reads commits and aborts among the records without block references.
type finder struct {
	s   *Store
	it  *pebble.Iterator
	rec wal.Record
	buf []byte
}

// backward calls f with it at each commit and abort that ends at or before at,
// the last one first, but for those in stretches that may not have what is
// sought, until f has found it.
func (l *finder) backward(ctx context.Context, at wal.LSN, may func(*endings) bool, f func() (bool, error)) (bool, error) {
	return l.stretches(ctx, at, (*pebble.Iterator).Last, (*pebble.Iterator).Prev, may, f)
}

// forward is backward, the first one first.
func (l *finder) forward(ctx context.Context, at wal.LSN, may func(*endings) bool, f func() (bool, error)) (bool, error) {
	return l.stretches(ctx, at, (*pebble.Iterator).First, (*pebble.Iterator).Next, may, f)
}

func (l *finder) stretches(ctx context.Context, at wal.LSN, first, next func(*pebble.Iterator) bool, may func(*endings) bool, f func() (bool, error)) (found bool, err error) {
	lower, upper := endingsKey(0), endingsKey(stretchOf(at)+1)
	it, err := l.s.ix.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]})
	if err != nil {
		return false, fmt.Errorf("index: %w", err)
	}
	defer it.Close() // its errors are those of Error
	for ok := first(it); ok && !found; ok = next(it) {
		e, err := parseEndings(it.Key(), it.Value())
		if err != nil {
			return false, err
		}
		if !may(&e) {
			continue
		}
		if found, err = l.stretch(ctx, e.stretch, at, first, next, f); err != nil {
			return false, err
		}
	}
	if err := it.Error(); err != nil {
		return false, fmt.Errorf("index: %w", err)
	}
	return found, nil
}

// stretch goes through the commits and aborts of one stretch up to at.
func (l *finder) stretch(ctx context.Context, stretch uint64, at wal.LSN, first, next func(*pebble.Iterator) bool, f func() (bool, error)) (found bool, err error) {
	low, high := stretchBounds(stretch)
	lower, upper := lsnKey(low), lsnKey(after(min(high, at)))
	if l.it, err = l.s.ix.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]}); err != nil {
		return false, fmt.Errorf("index: %w", err)
	}
	defer l.it.Close() // its errors are those of Error
	n := 0
	for ok := first(l.it); ok && !found; ok = next(l.it) {
		if n++; n%ctxEvery == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		if v := l.it.Value(); len(v) != lsnValueSize || !endsTransaction(wal.RmgrID(v[pointerSize]), v[pointerSize+1]) {
			continue
		}
		if found, err = f(); err != nil {
			return false, err
		}
	}
	if err := l.it.Error(); err != nil {
		return false, fmt.Errorf("index: %w", err)
	}
	return found, nil
}

// aborts reports that the record that it is at is an abort.
func (l *finder) aborts() bool { return isAbort(l.it.Value()[pointerSize+1]) }

// ending reads the record that it is at, and whether it ends xid.
func (l *finder) ending(xid uint32) (end Ending, has bool, err error) {
	p, err := parsePointer(l.it.Value())
	if err != nil {
		return Ending{}, false, err
	}
	return l.s.reader.ending(p, keyLSN(l.it.Key()), xid, &l.rec, &l.buf)
}
