package archiveverify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// Records that begin a timeline (catalog/pg_control.h), and where they name it:
// CheckPoint is redo, ThisTimeLineID, PrevTimeLineID, …; xl_end_of_recovery is
// end_time, ThisTimeLineID, PrevTimeLineID, ….
const (
	infoMask              = 0xF0
	infoCheckpoint        = 0x00 // XLOG_CHECKPOINT_SHUTDOWN
	infoEndOfRecovery     = 0x90 // XLOG_END_OF_RECOVERY
	thisTimelineOffset    = 8    // of either
	previousTimelineAfter = thisTimelineOffset + 4
)

// beginning reads the segment in which a timeline begins.
type beginning struct {
	v      *verifier
	h      wal.History
	s      *segment
	begins wal.LSN
	r      *xlogreader.Reader
	rec    wal.Record

	here  bool // a record begins at the switch point
	over  bool // there is nothing more to look at
	wrong bool // a fault was found
}

// begins checks the segment in which the timeline begins: its pages carry the
// timelines that the history says, a record begins at the switch point, and the
// timeline's first record follows.
func (v *verifier) begins(ctx context.Context, h wal.History, s *segment, begins wal.LSN) error {
	b := &beginning{v: v, h: h, s: s, begins: begins}
	b.r = xlogreader.New(s.start, xlogreader.Options{SystemID: v.systemID, SegmentSize: v.size, Timeline: h.Timeline(), File: true})
	c, err := v.openForm(s.forms[0])
	if err != nil {
		return nil // it is known already
	}
	defer c.Close()
	buf := make([]byte, chunkSize)
	for pos := s.start; pos < s.start+wal.LSN(v.size) && !b.over; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(c, buf[:min(chunkSize, int(s.start+wal.LSN(v.size)-pos))])
		b.take(pos, buf[:n])
		pos += wal.LSN(n)
		if err != nil {
			break
		}
	}
	return nil
}

func (b *beginning) fault(at wal.LSN, format string, args ...any) {
	b.over, b.wrong = true, true
	b.v.note(Fault{Kind: KindSwitch, Timeline: b.h.Timeline(), File: b.s.forms[0].Name, LSN: at,
		Reason: fmt.Sprintf(format, args...) + "; see " + b.v.histories[b.h.Timeline()].Name})
}

// take looks at what lies at pos.
func (b *beginning) take(pos wal.LSN, p []byte) {
	valid := b.records(p)
	for off := 0; off+shortHeaderSize <= len(p) && !b.wrong; off += wal.PageSize {
		at := pos + wal.LSN(off)
		if at >= valid {
			return
		}
		if tli, want := wal.TimelineID(binary.LittleEndian.Uint32(p[off+4:])), b.h.TimelineAt(at); tli != want {
			b.fault(at, "the page at %s is of timeline %d, the history says %d", at, tli, want)
		}
	}
}

// records reads the records in p, and answers up to where it holds.
func (b *beginning) records(p []byte) wal.LSN {
	b.r.Feed(p)
	for !b.over {
		status, err := b.r.Next(&b.rec)
		switch {
		case err != nil || status == xlogreader.EndOfWAL:
			b.over = true
			e := (*wal.Error)(nil)
			if errors.As(err, &e) {
				return min(e.LSN, b.r.RecordsEnd())
			}
			return b.r.RecordsEnd()
		case status == xlogreader.NeedMore:
			return b.r.Fed()
		case b.rec.FragmentOffset == 0:
			b.record()
		}
	}
	return b.rec.StartLSN
}

func (b *beginning) record() {
	at := b.rec.StartLSN
	new, old, names := b.timelines()
	switch {
	case at < b.begins && names && new == b.h.Timeline():
		b.fault(at, "timeline %d begins with the record at %s, before the switch point %s", new, at, b.begins)
	case at < b.begins:
	case !b.here && at != b.begins && at != pageStart(b.v.size, b.begins):
		b.fault(b.begins, "no record begins at the switch point %s", b.begins)
	case !names || new == old:
		b.here = true
		if b.rec.RmgrID != wal.RmgrXLOG { // no server writes such a one there
			b.fault(at, "the record at %s stands between the switch point %s and the first record of timeline %d", at, b.begins, b.h.Timeline())
		}
	case new != b.h.Timeline() || old != b.h[len(b.h)-2].Timeline:
		b.fault(at, "the record at %s begins timeline %d after %d", at, new, old)
	default:
		b.over = true // it begins as it should
	}
}

// pageStart is where a record begins that has nothing but a page's header before it.
func pageStart(size wal.SegmentSize, lsn wal.LSN) wal.LSN {
	switch {
	case lsn%wal.PageSize != 0:
		return lsn
	case size.Offset(lsn) == 0:
		return lsn + archive.HeaderSize
	}
	return lsn + shortHeaderSize
}

// timelines is what a record says that begins a timeline, or a shutdown's
// checkpoint, which names one timeline twice.
func (b *beginning) timelines() (new, old wal.TimelineID, ok bool) {
	info, main := b.rec.Info&infoMask, b.rec.MainData()
	if b.rec.RmgrID != wal.RmgrXLOG || info != infoCheckpoint && info != infoEndOfRecovery || len(main) < previousTimelineAfter+4 {
		return 0, 0, false
	}
	le := binary.LittleEndian
	return wal.TimelineID(le.Uint32(main[thisTimelineOffset:])), wal.TimelineID(le.Uint32(main[previousTimelineAfter:])), true
}
