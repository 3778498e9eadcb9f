package pagestore

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// stretchBits is log2 of the bytes of a stretch of WAL. Of each the index knows
// which transactions can have ended in it, and how late, so that a search reads
// the records of few.
const stretchBits = 24

// endings are the commits and aborts whose records end in a stretch.
type endings struct {
	stretch      uint64 // number: LSN >> stretchBits
	latest       int64  // time of a commit, microseconds since 2000-01-01; MinInt64: there is none
	least, great uint32 // transactions, among them subtransactions, that ended are between these
}

func stretchOf(lsn wal.LSN) uint64 { return uint64(lsn) >> stretchBits }

// stretchBounds are the first and the last LSN of a stretch.
func stretchBounds(stretch uint64) (low, high wal.LSN) {
	low = wal.LSN(stretch << stretchBits)
	return low, low + 1<<stretchBits - 1
}

func noEndings(stretch uint64) endings {
	return endings{stretch: stretch, latest: math.MinInt64, least: math.MaxUint32, great: 0}
}

func (e *endings) mayHave(xid uint32) bool { return xid != 0 && e.least <= xid && xid <= e.great }

// addXID takes a transaction, or 0 of one that had no number.
func (e *endings) addXID(xid uint32) {
	if xid != 0 {
		e.least, e.great = min(e.least, xid), max(e.great, xid)
	}
}

// add takes a record of the stretch that ends a transaction.
func (e *endings) add(rec *wal.Record) {
	end, err := parseEnding(rec, &pieces{buf: rec.MainData()}, e.addXID)
	if err != nil || !rec.Whole() {
		// What it ends is found out by who searches.
		e.latest, e.least, e.great = math.MaxInt64, 0, math.MaxUint32
		return
	}
	e.addXID(end.XID)
	if !end.Aborted {
		e.latest = max(e.latest, end.Time)
	}
}

// merge takes what is known of the same stretch.
func (e *endings) merge(o *endings) {
	e.latest, e.least, e.great = max(e.latest, o.latest), min(e.least, o.least), max(e.great, o.great)
}

func endingsKey(stretch uint64) (k [endingsKeySize]byte) {
	k[0] = spaceEndings
	be.PutUint64(k[1:], stretch)
	return k
}

func (e *endings) value() (v [endingsValueSize]byte) {
	le.PutUint64(v[0:], uint64(e.latest))
	le.PutUint32(v[8:], e.least)
	le.PutUint32(v[12:], e.great)
	return v
}

func parseEndings(k, v []byte) (endings, error) {
	if len(k) != endingsKeySize || len(v) != endingsValueSize {
		return endings{}, fmt.Errorf("%w: a key of %d and a value of %d bytes in the index", ErrDamaged, len(k), len(v))
	}
	return endings{stretch: be.Uint64(k[1:]), latest: int64(le.Uint64(v)), least: le.Uint32(v[8:]), great: le.Uint32(v[12:])}, nil
}

// noteEnding notes a record without block references that ends a transaction.
func (p *pending) noteEnding(rec *wal.Record) {
	if !endsTransaction(rec.RmgrID, rec.Info) {
		return
	}
	stretch := stretchOf(rec.EndLSN)
	if n := len(p.endings); n == 0 || p.endings[n-1].stretch != stretch {
		p.endings = append(p.endings, noEndings(stretch))
	}
	p.endings[len(p.endings)-1].add(rec)
}

// fillEndings adds what is pending to what the index knows of the stretches.
func (s *Store) fillEndings() error {
	for i := range s.pending.endings {
		e := &s.pending.endings[i]
		key := endingsKey(e.stretch)
		old, closer, err := s.ix.db.Get(key[:])
		switch {
		case errors.Is(err, pebble.ErrNotFound):
		case err != nil:
			return err
		default:
			was, err := parseEndings(key[:], old)
			if err = errors.Join(err, closer.Close()); err != nil {
				return err
			}
			e.merge(&was)
		}
		if err := s.setEndings(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) setEndings(e *endings) error {
	key, value := endingsKey(e.stretch), e.value()
	return s.ix.batch.Set(key[:], value[:], nil)
}

// cutEndings makes the index forget endings above lsn. The records of the stretch
// that lsn is in are read again; keys beyond it are gone already.
func (s *Store) cutEndings(ctx context.Context, lsn wal.LSN) error {
	e := noEndings(stretchOf(lsn))
	key := endingsKey(e.stretch)
	if err := s.ix.batch.DeleteRange(key[:], []byte{spaceEndings + 1}, nil); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	l, some := &finder{s: s}, false
	_, err := l.stretch(ctx, e.stretch, lsn, (*pebble.Iterator).First, (*pebble.Iterator).Next, func() (bool, error) {
		p, err := parsePointer(l.it.Value())
		if err == nil {
			err = s.reader.recordOrFirst(p, keyLSN(l.it.Key()), &l.rec, &l.buf)
		}
		if err == nil {
			e.add(&l.rec)
			some = true
		}
		return false, err
	})
	if err == nil && some {
		err = s.setEndings(&e)
	}
	return err
}
