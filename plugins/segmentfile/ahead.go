package segmentfile

import "encoding/binary"

// An archive may begin inside a record, whose rest no checksum covers. To be able
// to trust what is found behind it after power loss, that rest is made durable
// before anything behind it is written: syncUntil is where it ends, 0 as long as
// the archive's first page header is not known.

// ahead is how many of the bytes p, which come at the position, may be written
// without a sync behind them. It reads the archive's first header as it comes by.
func (s *Sink) ahead(p []byte) int {
	start := s.run.start()
	if s.syncUntil == 0 {
		got := copy(s.head[s.pos-start:], p)
		if int(s.pos-start)+got < len(s.head) {
			return got
		}
		info, remLen := binary.LittleEndian.Uint16(s.head[2:]), binary.LittleEndian.Uint32(s.head[16:])
		s.syncUntil = contrecordEnd(start, s.run.size, info, remLen)
	}
	if s.pos < s.syncUntil {
		return min(len(p), int(s.syncUntil-s.pos))
	}
	return len(p)
}

// aheadAtOpen does the same with the header that is there already.
func (s *Sink) aheadAtOpen() error {
	if s.pos == s.run.start() {
		return nil // it comes by again
	}
	s.syncUntil = s.pos
	if s.run.first == s.run.end {
		return nil // the position is behind a record, thus behind the rest of another
	}
	name := s.run.name(s.run.first)
	h, ok, err := s.dir.header(entry{segment: name, file: name})
	if ok {
		s.syncUntil = max(s.pos, contrecordEnd(s.run.start(), s.run.size, h.info, h.remLen))
	}
	return err
}
