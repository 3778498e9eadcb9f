package pagestore

import (
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/walplex/walplex/sdk/wal"
)

// lsnProperty names what pebble's tables and blocks say of the LSNs in their
// keys, so that keys beyond an LSN are found without reading all others. Tables
// that do not have it are read.
const lsnProperty = "walplex.lsn"

// lsnInterval maps keys of pages, relations and sizes to their LSN.
type lsnInterval struct{}

func (lsnInterval) MapPointKey(k pebble.InternalKey, _ []byte) (sstable.BlockInterval, error) {
	if key := k.UserKey; len(key) > lsnSize && (key[0] == spacePage || key[0] == spaceRelation || key[0] == spaceSize) {
		lsn := uint64(keyLSN(key))
		return sstable.BlockInterval{Lower: lsn, Upper: lsn + 1}, nil
	}
	return sstable.BlockInterval{}, nil
}

func (lsnInterval) MapRangeKeys(sstable.Span) (sstable.BlockInterval, error) {
	return sstable.BlockInterval{}, nil
}

func collectLSNs() pebble.BlockPropertyCollector {
	return sstable.NewBlockIntervalCollector(lsnProperty, lsnInterval{}, nil)
}

// lsnsAbove is a filter for what has LSNs above lsn.
func lsnsAbove(lsn wal.LSN) pebble.BlockPropertyFilter {
	return sstable.NewBlockIntervalFilter(lsnProperty, uint64(lsn)+1, math.MaxUint64, nil)
}
