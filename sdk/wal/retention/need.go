package retention

import (
	"cmp"
	"slices"

	"github.com/walplex/walplex/sdk/wal"
)

// NeededFrom is the first segment that others need, who have told the position
// from. h is the history of the timeline that the archive is on. Whoever is still
// on an ancestor goes on at the switch point, though it may have got past that. ok
// is false when it cannot be told, so that nothing is to be removed: nobody has
// told a position, or it is on no timeline of the history.
func NeededFrom(size wal.SegmentSize, from wal.Position, h wal.History) (no wal.SegNo, ok bool) {
	lsn := from.LSN
	left, ok := h.SwitchPoint(from.Timeline)
	if !ok || lsn == 0 {
		return 0, false
	}
	if left != 0 {
		// The last record before a switch point may end right at it.
		lsn = min(lsn, left) - 1
	}
	return size.SegNo(lsn), true
}

// Newest is the first segment that an archive itself needs to find its position
// again: the last finished one of timeline tli, and what a record takes that reaches
// beyond it. Where that timeline has no finished segment yet, it is not sure that
// power loss leaves anything of it: the timelines before it count too. spans tells
// of a segment what [Spans] says. It is 0 where there is no segment.
func Newest(segments []Segment, tli wal.TimelineID, spans func(s *Segment) (bool, error)) (wal.SegNo, error) {
	order := slices.Clone(segments)
	slices.SortFunc(order, func(a, b Segment) int { // the newest first
		return cmp.Or(cmp.Compare(b.Timeline, a.Timeline), cmp.Compare(b.No, a.No))
	})
	var no wal.SegNo
	for i := range order {
		s := &order[i]
		if s.Timeline > tli {
			continue
		}
		if no == 0 || s.No < no {
			no = s.No
		}
		if !s.Finished {
			continue
		}
		begin, err := recordBegin(order[i:], spans)
		return min(no, begin), err
	}
	return no, nil
}

// recordBegin goes back from the first segment, while the record at its start
// takes all of it, to the one where that begins or the archive does.
func recordBegin(newestFirst []Segment, spans func(s *Segment) (bool, error)) (wal.SegNo, error) {
	for i := range newestFirst {
		s := &newestFirst[i]
		goesBack, err := spans(s)
		if err != nil {
			return 0, err
		}
		last := i+1 == len(newestFirst) || newestFirst[i+1].Timeline != s.Timeline || newestFirst[i+1].No != s.No-1
		if !goesBack || last {
			return s.No, nil
		}
	}
	return 0, nil
}

// Sizes of page headers, in bytes, and the bit of xlp_info that says that a record
// goes on (access/xlog_internal.h: SizeOfXLogLongPHD, SizeOfXLogShortPHD,
// XLP_FIRST_IS_CONTRECORD).
const (
	longHeader        = 40
	shortHeader       = 24
	firstIsContrecord = 0x0001
)

// Spans reports whether the record that goes on at a segment's start goes on
// beyond its end too. info and remLen are those of the segment's first page header.
func Spans(size wal.SegmentSize, info uint16, remLen uint32) bool {
	pages := uint32(size) / wal.PageSize
	room := uint32(size) - longHeader - (pages-1)*shortHeader
	return info&firstIsContrecord != 0 && remLen > room
}
