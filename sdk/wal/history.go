package wal

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// HistoryEntry is the part of the WAL that one timeline contributed to a
// history (TimeLineHistoryEntry in access/timeline.h).
type HistoryEntry struct {
	Timeline TimelineID
	Begin    LSN    // first LSN that is the timeline's own: the switch point of the one before, 0 of the first
	End      LSN    // switch point, where the next timeline begins; 0 of the last, which has not ended
	Reason   string // why the next timeline was begun, "" of the last
}

// History is a timeline and its ancestors, the oldest first: how the WAL up to
// now came to be. It has at least one entry.
type History []HistoryEntry

// ParseHistory reads the history file of timeline tli
// (readTimeLineHistory in access/transam/timeline.c). It has one line for each
// ancestor, the oldest first, and lines that are empty or comments:
//
//	1<tab>0/30000A0<tab>no recovery target specified
//	# comment
//	2<tab>0/5000000<tab>before 2025-11-22 15:18:00+00
//
// Timeline 1 has no file: give it no data. Errors name the file, the line and
// what was expected there.
func ParseHistory(tli TimelineID, data []byte) (History, error) {
	if tli == 0 {
		return nil, fmt.Errorf("timeline 0 does not exist and has no history")
	}
	var h History
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		e, err := parseHistoryLine(text)
		if err == nil {
			err = h.checkNext(tli, e)
		}
		if err != nil {
			return nil, fmt.Errorf("timeline history file %s, line %d: %w: %.100q", HistoryFileName(tli), n, err, text)
		}
		h = h.with(e)
	}
	return h.with(HistoryEntry{Timeline: tli}), nil
}

// parseHistoryLine reads a line that is not a comment.
func parseHistoryLine(text string) (HistoryEntry, error) {
	id, rest := cutSpace(text)
	point, reason := cutSpace(rest)
	tli, err := strconv.ParseUint(id, 10, 32)
	if err != nil || tli == 0 {
		return HistoryEntry{}, fmt.Errorf("expected a numeric timeline ID")
	}
	end, err := ParseLSN(point)
	if err != nil || end == 0 {
		return HistoryEntry{}, fmt.Errorf("expected a write-ahead log switchpoint location")
	}
	return HistoryEntry{Timeline: TimelineID(tli), End: end, Reason: reason}, nil
}

// cutSpace splits s around its first run of blanks.
func cutSpace(s string) (before, after string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// checkNext checks that e can follow in the history of timeline tli.
func (h History) checkNext(tli TimelineID, e HistoryEntry) error {
	if len(h) > 0 && e.Timeline <= h.Timeline() {
		return fmt.Errorf("timeline IDs must be in increasing sequence")
	}
	if e.Timeline >= tli {
		return fmt.Errorf("timeline IDs must be less than child timeline's ID")
	}
	return nil
}

// with adds e, which begins where the last entry ends.
func (h History) with(e HistoryEntry) History {
	if len(h) > 0 {
		e.Begin = h[len(h)-1].End
	}
	return append(h, e)
}

// Timeline is the timeline whose history it is.
func (h History) Timeline() TimelineID { return h[len(h)-1].Timeline }

// TimelineAt is the timeline whose WAL the byte at lsn belongs to
// (tliOfPointInHistory). Its segment may also lie under the name of a later
// timeline, which begins with a copy.
func (h History) TimelineAt(lsn LSN) TimelineID {
	// From the newest on: a recovery that stopped before the switch point of
	// its own target leaves an ancestor that begins after it ends.
	for i := len(h) - 1; i > 0; i-- {
		if e := &h[i]; e.Begin <= lsn && (e.End == 0 || lsn < e.End) {
			return e.Timeline
		}
	}
	return h[0].Timeline
}

// SwitchPoint is the LSN at which the history left timeline tli
// (tliSwitchPoint): no byte from there on in tli's WAL is part of it. It is 0
// for the history's own timeline, and ok is false for one that is no ancestor.
func (h History) SwitchPoint(tli TimelineID) (lsn LSN, ok bool) {
	for i := range h {
		if h[i].Timeline == tli {
			ok = true
		}
		// A later ancestor may have been left earlier; see TimelineAt.
		if end := h[i].End; ok && end != 0 && (lsn == 0 || end < lsn) {
			lsn = end
		}
	}
	return lsn, ok
}

// Contains reports whether all WAL before p is part of the history: whoever
// stopped at p can go on in it. A false answer means that another history was
// followed since, or that p was never reached in this one.
func (h History) Contains(p Position) bool {
	lsn, ok := h.SwitchPoint(p.Timeline)
	return ok && (lsn == 0 || p.LSN <= lsn)
}
