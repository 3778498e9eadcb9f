package segmentfile

import (
	"context"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// seam checks that what is received continues what was there at Open, up to the
// end of the first record.
type seam struct {
	reader *xlogreader.Reader
	rec    wal.Record
	at     wal.LSN // the position at Open
}

// checkSeam looks at p, which comes at the position, as long as the first record
// is not complete.
func (s *Sink) checkSeam(ctx context.Context, p []byte) error {
	if s.seamDone {
		return nil
	}
	if s.seam == nil {
		var err error
		if s.seam, err = s.openSeam(ctx); err != nil {
			return err
		}
	}
	done := s.seam == nil
	if !done {
		var err error
		if done, err = s.seam.feed(p); err != nil {
			return sdk.Permanentf("the WAL received at %s does not continue the WAL in the archive %s, which ends there: %w: "+
				"the server has taken another history under the same system identifier and timeline (restored from a backup, or two servers write one timeline): "+
				"keep this archive as it is and use a new directory for the server", s.seam.at, s.dir.path, err)
		}
	}
	if done {
		s.seam, s.seamDone = nil, true
	}
	return nil
}

// openSeam reads what is there up to the position; nil when there is nothing to
// be continued, or nothing that can be read.
func (s *Sink) openSeam(ctx context.Context) (*seam, error) {
	last, file := s.run.size.SegNo(s.pos), ""
	if s.run.size.Offset(s.pos) != 0 {
		file = s.run.name(last) + wal.PartialSuffix
	} else if last > s.run.first {
		last--
		file = s.run.name(last)
	} else {
		return nil, nil
	}
	from, err := s.dir.readFrom(&s.run, last, file)
	if err != nil {
		return nil, err
	}
	c := scanner{reader: xlogreader.New(s.run.size.LSN(from), xlogreader.Options{
		SystemID: s.run.systemID, SegmentSize: s.run.size, Timeline: s.run.timeline})}
	for no := from; no <= last && err == nil; no++ {
		name := s.run.name(no)
		if no == last {
			name = file
		}
		err = s.dir.each(ctx, name, int64(min(s.pos, s.run.size.LSN(no+1))-s.run.size.LSN(no)), c.feed)
	}
	if err == errStop || err == nil && c.reader.Fed() != s.pos {
		s.log.Warn("the last segments of the archive cannot be read as WAL: whether the server continues them is not checked",
			"directory", s.dir.path, "position", s.pos.String(), "reason", c.err)
		return nil, nil
	}
	return &seam{reader: c.reader, at: s.pos}, err
}

// feed reads on in p. done is true once a record behind the position has been
// read.
func (m *seam) feed(p []byte) (done bool, err error) {
	m.reader.Feed(p)
	for {
		status, err := m.reader.Next(&m.rec)
		if err != nil {
			return false, err
		}
		if status == xlogreader.NeedMore {
			return false, nil
		}
		if _, end := m.reader.LastRecord(); end > m.at {
			return true, nil
		}
	}
}
