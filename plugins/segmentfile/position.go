package segmentfile

import (
	"context"
	"encoding/binary"
	"os"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// XLOG_SWITCH (catalog/pg_control.h), and the part of xl_info that says so.
const (
	infoMask   = 0xF0
	infoSwitch = 0x40
)

// scanner reads records up to the first place that is none.
type scanner struct {
	reader *xlogreader.Reader
	rec    wal.Record
	swtch  bool  // the last record was XLOG_SWITCH
	err    error // what stands at that place, nil where it is zeros
}

func (s *scanner) feed(p []byte) error {
	s.reader.Feed(p)
	for {
		status, err := s.reader.Next(&s.rec)
		switch {
		case err != nil:
			s.err = err
			return errStop
		case status == xlogreader.EndOfWAL:
			return errStop
		case status == xlogreader.NeedMore:
			return nil
		}
		s.swtch = s.rec.RmgrID == wal.RmgrXLOG && s.rec.Info&infoMask == infoSwitch
	}
}

// readFrom is the segment from which the run has to be read so that the checksum
// of a record can be verified that reaches into segment no: the one in which it
// begins, as far as the run goes back.
func (d *directory) readFrom(r *run, no wal.SegNo, file string) (wal.SegNo, error) {
	for {
		h, ok, err := d.header(entry{segment: r.name(no), file: file})
		if err != nil {
			return 0, err
		}
		begins := !ok || h.info&firstIsContrecord == 0
		// A record that goes on past this segment began before it.
		within := ok && contrecordEnd(r.size.LSN(no), r.size, h.info, h.remLen) <= r.size.LSN(no+1)
		if begins || no <= r.first || within && file == r.name(no) {
			return no, nil
		}
		no--
		file = r.name(no)
	}
}

// validEnd is where the run ends: behind its last finished segment, or at the end
// of the last record in the partial one whose checksum holds.
func (d *directory) validEnd(ctx context.Context, r *run) (wal.LSN, error) {
	start := r.size.LSN(r.end)
	if !r.partial {
		return start, nil
	}
	file := r.name(r.end) + wal.PartialSuffix
	from, err := d.readFrom(r, r.end, file)
	if err != nil {
		return 0, err
	}
	s := scanner{reader: xlogreader.New(r.size.LSN(from), xlogreader.Options{
		SystemID: r.systemID, SegmentSize: r.size, Timeline: r.timeline, File: true})}
	for no := from; no <= r.end && err == nil; no++ {
		name := r.name(no)
		if no == r.end {
			name = file
		}
		err = d.each(ctx, name, int64(r.size), s.feed)
	}
	if err != nil && err != errStop {
		return 0, err
	}
	last, end := s.reader.LastRecord()
	if end <= start {
		return start, nil // nothing in it can be verified, or nothing is there
	}
	if s.swtch {
		// What follows a switch is not covered by a checksum: it comes again.
		return max(last, start), nil
	}
	if overwritten, err := d.overwrittenBefore(file, start, s.reader.SkippedTo()); err != nil || overwritten {
		return start, err
	}
	return end, nil
}

// overwrittenBefore reports whether a page of the file between start and end says
// that the record which it should continue was never completed. Of the rest of a
// record whose beginning is not kept, nothing but the server's word is known; it
// ends earlier than that then, and what was written of it may be lost.
func (d *directory) overwrittenBefore(file string, start, end wal.LSN) (bool, error) {
	if end <= start {
		return false, nil
	}
	f, err := d.fs.OpenFile(d.join(file), os.O_RDONLY, 0)
	if err != nil {
		return false, explain(err, "read the archive")
	}
	defer f.Close()
	for page := start + wal.PageSize; page < end; page += wal.PageSize {
		var info [2]byte // xlp_info
		if _, err := f.ReadAt(info[:], int64(page-start)+2); err != nil {
			return false, explain(err, "read the archive")
		}
		if binary.LittleEndian.Uint16(info[:])&firstIsOverwriteContrecord != 0 {
			return true, nil
		}
	}
	return false, nil
}

// settle makes durable what of the partial segment lies before at, and puts zeros
// behind it that are durable too, unless all of it is to stay. It writes the bytes
// anew: those of a write that failed in a former life may be in memory only, and no
// sync would write them.
func (s *Sink) settle(ctx context.Context, at wal.LSN, all bool) error {
	what := "make what was received before " + at.String()
	n := int64(s.run.size)
	if !all {
		n = int64(at - s.cur.start)
		if s.run.first == s.run.end {
			// Its header alone tells whose archive it is, and on which timeline.
			n = max(n, longHeaderSize)
		}
		if err := s.cur.f.Truncate(n); err != nil {
			return explain(err, what+" durable")
		}
	}
	off := int64(0)
	err := s.dir.each(ctx, s.cur.name+wal.PartialSuffix, n, func(p []byte) error {
		_, err := s.cur.f.WriteAt(p, off)
		off += int64(len(p))
		return explain(err, what+" durable")
	})
	if err == nil && s.config.Preallocate && !all {
		err = explain(s.cur.f.Allocate(int64(s.run.size)), what+" durable")
	}
	if err != nil {
		return err
	}
	return notDurable(s.cur.f.SyncData(), what)
}
