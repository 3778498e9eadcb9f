package archiveverify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
)

// maxHistory bounds a history file, bytes: a timeline is a line of some 60.
const maxHistory = 1 << 20

// timelines checks the history files, and what the WAL of each timeline has to do
// with them.
func (v *verifier) timelines(ctx context.Context, lines []Timeline) error {
	histories := map[wal.TimelineID]wal.History{}
	for _, tli := range slices.Sorted(maps.Keys(v.histories)) {
		f := v.histories[tli]
		h, err := readHistory(filepath.Join(v.dir, f.Name), tli)
		if err != nil {
			v.note(Fault{Kind: KindHistory, Timeline: tli, File: f.Name, Reason: err.Error()})
			continue
		}
		histories[tli] = h
	}
	for _, tli := range slices.Sorted(maps.Keys(histories)) {
		v.agree(histories[tli], histories)
	}
	for i := range lines {
		t := &lines[i]
		if t.Timeline == 1 {
			continue
		}
		h, ok := histories[t.Timeline]
		if !ok {
			if _, there := v.histories[t.Timeline]; !there {
				v.note(Fault{Kind: KindHistory, Timeline: t.Timeline, File: wal.HistoryFileName(t.Timeline),
					Reason: fmt.Sprintf("the history file of timeline %d is missing: without it PostgreSQL does not recover to it; copy it from the server's pg_wal", t.Timeline)})
			}
			continue
		}
		own := h[len(h)-1]
		t.Begins, t.Parent = own.Begin, h[len(h)-2].Timeline
		if err := v.switched(ctx, h, t, lines); err != nil {
			return err
		}
	}
	return nil
}

func readHistory(path string, tli wal.TimelineID) (wal.History, error) {
	c, err := archive.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b, err := io.ReadAll(io.LimitReader(c, maxHistory+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxHistory:
		return nil, fmt.Errorf("it has more than %d bytes", maxHistory)
	}
	h, err := wal.ParseHistory(tli, b)
	if err == nil && len(h) == 1 && tli > 1 {
		err = errors.New("it names no timeline that it began from")
	}
	return h, err
}

// agree checks that a history repeats its parent's, where that is known.
func (v *verifier) agree(h wal.History, all map[wal.TimelineID]wal.History) {
	if len(h) < 2 {
		return
	}
	parent, ok := all[h[len(h)-2].Timeline]
	ancestors := h[:len(h)-2]
	if !ok || slices.EqualFunc(ancestors, parent[:len(parent)-1], func(a, b wal.HistoryEntry) bool {
		return a.Timeline == b.Timeline && a.End == b.End
	}) {
		return
	}
	v.note(Fault{Kind: KindHistory, Timeline: h.Timeline(), File: v.histories[h.Timeline()].Name,
		Reason: "it does not repeat the history of timeline " + fmt.Sprint(parent.Timeline()) + ", " + v.histories[parent.Timeline()].Name})
}

// switched checks the timeline's beginning: what its parent holds up to there, and
// its own first segment.
func (v *verifier) switched(ctx context.Context, h wal.History, t *Timeline, lines []Timeline) error {
	segs := v.segments[t.Timeline]
	first := v.size.SegNo(t.Begins)
	if segs[0].no < first {
		v.note(Fault{Kind: KindSwitch, Timeline: t.Timeline, File: segs[0].forms[0].Name, LSN: segs[0].start,
			Reason: fmt.Sprintf("it lies before the switch point %s at which timeline %d begins by %s", t.Begins, t.Timeline, v.histories[t.Timeline].Name)})
	}
	if segs[0].no > first {
		t.hole(Hole{v.size.LSN(first), segs[0].start, int(segs[0].no - first)})
	}
	v.before(h, first, lines)
	i, ok := find(segs, first)
	if !ok {
		return nil
	}
	if same, err := v.repeats(ctx, h, segs[i], t.Begins); err != nil || !same {
		return err
	}
	return v.begins(ctx, h, segs[i], t.Begins)
}

func find(segs []*segment, no wal.SegNo) (int, bool) {
	return slices.BinarySearchFunc(segs, no, func(s *segment, n wal.SegNo) int {
		switch {
		case s.no < n:
			return -1
		case s.no > n:
			return 1
		}
		return 0
	})
}

// before notes the hole between the end of the parent's WAL and the timeline's
// first segment, unless the archive begins behind it.
func (v *verifier) before(h wal.History, first wal.SegNo, lines []Timeline) {
	parent := h[len(h)-2].Timeline
	i := slices.IndexFunc(lines, func(t Timeline) bool { return t.Timeline == parent })
	if i < 0 {
		return
	}
	segs := v.segments[parent]
	from, to := segs[len(segs)-1].start+wal.LSN(v.size), v.size.LSN(first)
	if lines[i].EndsIn != "" {
		from = lines[i].To
	}
	if from >= to {
		return
	}
	hole := Hole{from, to, int(first - v.size.SegNo(from))}
	if !slices.Contains(lines[i].Holes, hole) { // another child may have found it
		lines[i].hole(hole)
	}
}

// repeats checks that the segment s, in which the timeline begins, holds up to
// there what the segment of the timeline before it holds.
func (v *verifier) repeats(ctx context.Context, h wal.History, s *segment, begins wal.LSN) (bool, error) {
	for _, e := range slices.Backward(h[:len(h)-1]) {
		i, ok := find(v.segments[e.Timeline], s.no)
		if !ok || begins == s.start {
			continue
		}
		old := v.segments[e.Timeline][i]
		upTo := begins
		if end := e.End; end < upTo {
			upTo = end
		}
		if upTo <= s.start {
			return true, nil
		}
		at, same, err := v.compare(ctx, form{s, s.forms[0], false}, form{old, old.forms[0], old.partial()}, upTo-s.start)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil:
			return true, nil // the file's fault, which is known
		case !same:
			v.note(Fault{Kind: KindSwitch, Timeline: h.Timeline(), File: s.forms[0].Name, LSN: at,
				Reason: fmt.Sprintf("it differs from %s at %s, before the switch point %s: one of them, or %s, is of another history",
					old.forms[0].Name, at, begins, v.histories[h.Timeline()].Name)})
		}
		return same, nil
	}
	return true, nil
}
