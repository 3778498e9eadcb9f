package sdk

import "github.com/walplex/walplex/sdk/wal"

// joiner puts fragments of a record together, up to a limit in bytes. A record
// above the limit passes through in pieces.
type joiner struct {
	limit int
	rec   wal.Record // the record being put together; Data grows
	open  bool
}

// add takes a fragment and answers the whole record when it was the last, the
// fragment itself when the record is above the limit, else nil.
func (j *joiner) add(f *wal.Record) *wal.Record {
	if f.TotalLen > uint32(j.limit) {
		return f
	}
	if f.FragmentOffset == 0 {
		// A record that was begun and not finished was overwritten in the WAL
		// (overwrite-contrecord): it never was.
		data, blocks := j.rec.Data[:0], append(j.rec.Blocks[:0], f.Blocks...)
		j.rec = *f
		j.rec.Data, j.rec.Blocks = append(data, f.Data...), blocks
		j.open = true
		return nil
	}
	if !j.open || f.StartLSN != j.rec.StartLSN || int(f.FragmentOffset) != len(j.rec.Data) {
		return f // its head was before this sink's position: the host sends none such
	}
	j.rec.Data = append(j.rec.Data, f.Data...)
	if !f.Last() {
		return nil
	}
	j.rec.EndLSN, j.open = f.EndLSN, false
	return &j.rec
}
