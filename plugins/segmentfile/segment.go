package segmentfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// segment is the segment being received.
type segment struct {
	f          durable.File
	name       string  // without suffix
	start, end wal.LSN // of the segment
	fresh      bool    // its name is not durable yet
	info       fs.FileInfo
	flushing
}

// openSegment makes the partial segment at the position, unless it is there.
func (s *Sink) openSegment() error {
	if s.cur != nil {
		return nil
	}
	if err := s.sameDirectory(); err != nil {
		return err
	}
	what := "begin the segment at " + s.pos.String()
	name := s.run.name(s.run.size.SegNo(s.pos))
	f, err := s.dir.fs.OpenFile(s.dir.join(name+wal.PartialSuffix), os.O_RDWR|os.O_CREATE|os.O_EXCL|s.syncFlag(), s.dir.access.file)
	if errors.Is(err, fs.ErrExist) {
		f, err = s.dir.openVoid(name, s.syncFlag())
	}
	if err != nil {
		return explain(err, what)
	}
	if err := s.dir.access.give(f); err != nil {
		return explain(errors.Join(err, f.Close()), what)
	}
	s.cur = &segment{f: f, name: name, start: s.pos, end: s.run.size.End(s.pos), fresh: true}
	if s.cur.info, err = f.Stat(); err == nil && s.config.Preallocate {
		err = f.Allocate(int64(s.run.size))
	}
	return explain(err, what)
}

// syncFlag is what the files of WAL are opened with besides.
func (s *Sink) syncFlag() int {
	if s.config.Sync == syncODSync {
		return durable.ODSync
	}
	return 0
}

// openVoid opens a partial segment that was there without holding anything, such
// as one whose first page did not survive a crash, and empties it.
func (d *directory) openVoid(name string, flag int) (durable.File, error) {
	file := name + wal.PartialSuffix
	_, ok, err := d.header(entry{segment: name, file: file})
	if err != nil {
		return nil, err
	}
	if ok {
		return nil, sdk.Permanentf("%s holds WAL, and was not there when the archive was opened: another program, such as pg_receivewal, is writing to the directory: end it", d.join(file))
	}
	f, err := d.fs.OpenFile(d.join(file), os.O_RDWR|flag, 0)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(0), f.SyncData()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sync makes the partial segment's bytes and name durable.
func (s *Sink) sync() error {
	if s.cur == nil {
		return nil
	}
	what := "make WAL before " + s.pos.String()
	if err := s.writeAhead(); err != nil {
		return err
	}
	if s.syncFlag() == 0 {
		if err := s.cur.f.SyncData(); err != nil {
			return notDurable(err, what)
		}
	}
	if s.cur.fresh {
		if err := s.syncDir(); err != nil {
			return notDurable(err, what)
		}
		s.cur.fresh = false
	}
	return s.sameFile()
}

// finish gives the full segment its final name, durably. Until the name is
// durable the other one stays.
func (s *Sink) finish(ctx context.Context) error {
	cur := s.cur
	s.cur = nil
	what := "finish segment " + cur.name
	if err := errors.Join(cur.f.SyncData(), cur.f.Close()); err != nil {
		return notDurable(err, "make segment "+cur.name)
	}
	if err := s.dir.final(ctx, &s.run, cur.name); err != nil {
		return explain(err, what)
	}
	if err := s.syncDir(); err != nil {
		return notDurable(err, "make the name of segment "+cur.name)
	}
	if err := s.dir.fs.Remove(s.dir.join(cur.name + wal.PartialSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, what)
	}
	s.run.end, s.run.partial = s.run.size.SegNo(cur.end), false
	s.setHeld(cur.end)
	return s.compressor.add(ctx, &s.run, s.run.end-1)
}

// final links the partial segment to its final name. A file that has the name is
// never replaced: it must have the same bytes.
func (d *directory) final(ctx context.Context, r *run, name string) error {
	from, to := d.join(name+wal.PartialSuffix), d.join(name)
	for _, file := range finishedNames(name)[1:] {
		if _, err := d.fs.Stat(d.join(file)); err == nil {
			if err := d.mustEqual(ctx, r, file, name+wal.PartialSuffix, false); err != nil {
				return err
			}
		}
	}
	err := d.fs.Link(from, to)
	switch {
	case errors.Is(err, fs.ErrExist):
		return d.mustEqual(ctx, r, name, name+wal.PartialSuffix, false)
	case noLinks(err):
		// The directory is locked: nobody makes the file between the two calls.
		if _, err := d.fs.Stat(to); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, d.mustEqual(ctx, r, name, name+wal.PartialSuffix, false))
		}
		return d.fs.Rename(from, to)
	}
	return err
}

// noLinks reports whether the file system knows no links.
func noLinks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK)
}
