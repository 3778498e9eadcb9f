package segmentfile

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// readSize is how much of a file is read at once, in bytes.
const readSize = 256 << 10

// XLOG_SWITCH (catalog/pg_control.h), and the part of xl_info that says so.
const (
	infoMask   = 0xF0
	infoSwitch = 0x40
)

// errStop ends the reading of a file without being a fault.
var errStop = errors.New("stop")

// each calls fn with consecutive pieces of the first limit bytes of a file; a
// shorter file ends sooner.
func (d *directory) each(ctx context.Context, file string, limit int64, fn func(p []byte) error) error {
	f, err := d.fs.OpenFile(d.join(file), os.O_RDONLY, 0)
	if err != nil {
		return explain(err, "read the archive")
	}
	defer f.Close()
	buf := make([]byte, min(readSize, limit))
	for off := int64(0); off < limit; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), limit-off)], off)
		if err != nil && err != io.EOF {
			return explain(err, "read the archive")
		}
		if errFn := fn(buf[:n]); errFn != nil {
			return errFn
		}
		if off += int64(n); err == io.EOF || n == 0 {
			break
		}
	}
	return nil
}

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

// settle makes durable what of a partial segment lies before at, and puts zeros
// behind it that are durable too. It writes the bytes anew: those of a write that
// failed in a former life may be in memory only, and no sync would write them.
func (d *directory) settle(ctx context.Context, f durable.File, r *run, at wal.LSN) error {
	keep := int64(at - r.size.LSN(r.end))
	what := "make what was received before " + at.String() + " durable"
	if err := f.Truncate(keep); err != nil {
		return explain(err, what)
	}
	off := int64(0)
	err := d.each(ctx, r.name(r.end)+wal.PartialSuffix, keep, func(p []byte) error {
		_, err := f.WriteAt(p, off)
		off += int64(len(p))
		return explain(err, what)
	})
	if err != nil {
		return err
	}
	if err := f.Allocate(int64(r.size)); err != nil {
		return explain(err, what)
	}
	return notDurable(f.SyncData(), "make what was received before "+at.String())
}
