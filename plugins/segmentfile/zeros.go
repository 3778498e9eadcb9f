package segmentfile

import "github.com/walplex/walplex/sdk/wal"

// Where transactions wait for each flush, little WAL comes between two of them. In
// a file whose room is only reserved each of them has the file system note that a
// few blocks more are written, which takes longer than the blocks themselves. So
// zeros are written ahead: the flushes that follow overwrite them, and nothing but
// data has to reach the disk.

const (
	smallFlush  = 32 << 10  // bytes between two flushes that are waited for
	smallInARow = 3         // such flushes make it likely that more follow
	zerosAhead  = 256 << 10 // bytes
)

// writeAhead writes zeros behind the position, before a sync, if flushes are small.
func (s *Sink) writeAhead() error {
	cur := s.cur
	if !s.config.Preallocate || s.syncFlag() != 0 {
		return nil
	}
	if cur.small++; s.pos-max(cur.synced, cur.start) > smallFlush {
		cur.small = 0
	}
	cur.synced = s.pos
	if cur.small < smallInARow || s.pos+smallFlush <= cur.zeroed {
		return nil
	}
	from := max(s.pos, cur.zeroed)
	to := min(s.pos+zerosAhead, cur.end)
	if from >= to {
		return nil
	}
	if s.zeros == nil {
		s.zeros = make([]byte, zerosAhead)
	}
	if _, err := cur.f.WriteAt(s.zeros[:to-from], int64(from-cur.start)); err != nil {
		return explain(err, "write behind "+s.pos.String())
	}
	cur.zeroed = to
	return nil
}

// flushing is what is known of a segment's flushes.
type flushing struct {
	synced wal.LSN // position at the last one
	small  int     // how many in a row were small
	zeroed wal.LSN // zeros were written up to here
}
