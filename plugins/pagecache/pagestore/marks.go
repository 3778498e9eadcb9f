package pagestore

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// markEvery is how far apart marks of the time are, in microseconds of the
// server's clock.
const markEvery = 10e6

// timeMark says when a record was written, by the server's clock: a COMMIT or an
// ABORT has the time.
type timeMark struct {
	lsn    wal.LSN // its end
	micros int64   // since 2000-01-01 00:00 UTC
}

// timeMarks makes a mark now and then.
type timeMarks struct {
	last int64 // of the last mark
}

// note adds a mark for the record if it has a time some while after the last one.
// A clock that is set back makes none until it has caught up.
func (m *timeMarks) note(dst []timeMark, rec *wal.Record) []timeMark {
	if rec.RmgrID != wal.RmgrTransaction || rec.Info&xactOpMask == xactPrepare {
		return dst
	}
	micros, ok := rec.XactTime()
	if !ok || micros < m.last+markEvery {
		return dst
	}
	m.last = micros
	return append(dst, timeMark{lsn: rec.EndLSN, micros: micros})
}

func markKey(lsn wal.LSN) (k [lsnKeySize]byte) {
	k = lsnKey(lsn)
	k[0] = spaceMark
	return k
}

func fillMarks(b *pebble.Batch, marks []timeMark) error {
	for _, m := range marks {
		key := markKey(m.lsn)
		if err := b.Set(key[:], le.AppendUint64(nil, uint64(m.micros)), nil); err != nil {
			return err
		}
	}
	return nil
}

// readLastMark has marks go on from the last one in the index.
func (s *Store) readLastMark() error {
	it, err := s.ix.db.NewIter(spaceBounds(spaceMark))
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	s.marks = timeMarks{}
	if it.Last() && len(it.Value()) == 8 {
		s.marks.last = int64(le.Uint64(it.Value()))
	}
	return closed(nil, it)
}

// markBefore is the LSN of the last mark at or before the time, 0 where there is
// none.
func (s *Store) markBefore(at time.Time) (wal.LSN, error) {
	it, err := s.ix.db.NewIter(spaceBounds(spaceMark))
	if err != nil {
		return 0, fmt.Errorf("index: %w", err)
	}
	defer it.Close() // its errors are those of Error
	lsn := wal.LSN(0)
	// What is before the horizon was deleted: few are passed over.
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Value()) != 8 {
			return 0, fmt.Errorf("%w: a value of %d bytes in the index", ErrDamaged, len(it.Value()))
		}
		if wal.TimestampTime(int64(le.Uint64(it.Value()))).After(at) {
			break
		}
		lsn = keyLSN(it.Key())
	}
	if err := it.Error(); err != nil {
		return 0, fmt.Errorf("index: %w", err)
	}
	return lsn, nil
}
