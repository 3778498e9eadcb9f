package wire

import "github.com/walplex/walplex/sdk/wal"

// FirstRecord is the index of the first record that is new to a sink: one that
// ends after at and starts at or after begin (where a new sink began, else 0).
// Fragments, which have no end yet, go by their record's start.
func (v *View) FirstRecord(at, begin wal.LSN) int {
	for i := range v.records {
		start, end := v.RecordLSN(i)
		if start >= begin && (start >= at || end > at) {
			return i
		}
	}
	return v.records
}
