package pagestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
)

// maxDeletes is how many keys are deleted in one commit.
const maxDeletes = 64 << 10

// Rewind goes over to another timeline, which begins at lsn: whatever is of a
// later record never belonged to it, and is deleted. Position and last-valid LSN
// are at most lsn then. What was appended and is not committed is gone; it comes
// before the next Append.
//
// It takes three steps, each atomic and durable, so that it can be interrupted
// and come again:
//  1. the position goes back to lsn, still on the old timeline; the log ends
//     there; readers see nothing beyond it any more;
//  2. the keys beyond it are deleted, some at a time. Where this is interrupted
//     the next Open does it, before anything can be appended;
//  3. the timeline becomes tli.
//
// A reader that looks at what is deleted has ended before the first step, which
// waits for it. After an error nothing can be appended or committed any more.
func (s *Store) Rewind(ctx context.Context, tli wal.TimelineID, lsn wal.LSN) error {
	if s.failed != nil {
		return s.failed
	}
	defer s.collector.stop()()
	s.images.mu.Lock()
	defer s.images.mu.Unlock()
	// What is held is not touched then: the store can be read on.
	if st := s.visible.state(); lsn < st.Horizon && (st.Complete() || s.visible.collected() != 0) {
		return fmt.Errorf("%w: the switch to timeline %d at %s lies before %s, where the page cache begins, and of what was before it holds nothing; use an empty directory",
			ErrBelowHorizon, tli, lsn, st.Horizon)
	}
	err := s.ix.fault.get()
	if err == nil {
		err = s.rewind(ctx, tli, lsn)
	}
	if err != nil {
		s.failed = err
		s.visible.fail(err)
	}
	return err
}

func (s *Store) rewind(ctx context.Context, tli wal.TimelineID, lsn wal.LSN) error {
	st := s.visible.state()
	beyond := st.Position > lsn
	if beyond {
		at, err := s.cutLog(ctx, st.log, lsn)
		if err != nil {
			return err
		}
		st.log = at
	}
	st.Horizon = min(st.Horizon, lsn)
	st.Position = min(st.Position, lsn)
	st.LastRecord = min(st.LastRecord, st.Position)
	st.LastValid = min(st.LastValid, lsn)
	if err := s.goBack(ctx, st, beyond); err != nil {
		return err
	}
	if beyond {
		if err := s.deleteBeyond(ctx, lsn); err != nil {
			return err
		}
	}
	s.state.Timeline = tli
	if err := s.setState(); err != nil {
		return err
	}
	if err := s.ix.batch.Delete([]byte{spaceRewind}, nil); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if err := s.ix.commit(ctx); err != nil {
		return err
	}
	s.visible.publish(s.state)
	return nil
}

// goBack makes st what is held and seen.
func (s *Store) goBack(ctx context.Context, st State, beyond bool) error {
	if err := s.visible.shut(ctx, s.ix.fault.seen); err != nil {
		return err
	}
	defer s.visible.gate.Unlock()
	s.pending.reset()
	s.sizes.forget()
	s.slru.goBack(beyond)
	s.pages.clear()
	s.rest.open = false
	s.state = st
	if beyond {
		if err := s.cutIndex(ctx); err != nil {
			return err
		}
	}
	// Before anybody reads again, who would keep a page as of an LSN beyond the switch.
	s.visible.publish(st)
	if err := s.readLastMark(); err != nil {
		return err
	}
	if err := s.log.close(); err != nil {
		return err
	}
	if err := removeLogs(s.fs, s.reader.dir, st.log.file); err != nil {
		return err
	}
	s.reader.forget(st.log.file)
	l, err := openLog(s.fs, s.log.dir, st.SystemID, s.log.maxFile, st.log)
	if err != nil {
		return err
	}
	s.log = l
	return nil
}

// cutIndex makes the state durable, which has gone back, and with it that the
// keys beyond its position are to be deleted. Those that are in the order of the
// WAL are deleted at once.
func (s *Store) cutIndex(ctx context.Context) error {
	b := s.ix.batch
	file, alone := fileKey(s.state.log.file), lsnKey(after(s.state.Position))
	marks := markKey(after(s.state.Position))
	mark := le.AppendUint64(nil, uint64(s.state.Position))
	err := errors.Join(
		// The log's last file is not complete any more.
		b.DeleteRange(file[:], []byte{spaceFile + 1}, nil),
		b.DeleteRange(alone[:], []byte{spaceLSN + 1}, nil),
		b.DeleteRange(marks[:], []byte{spaceMark + 1}, nil),
		b.Set([]byte{spaceRewind}, mark, nil),
		b.Delete([]byte{spaceSLRU}, nil),
		s.setState(),
	)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return s.ix.commit(ctx)
}

// setState puts the state into the index's batch.
func (s *Store) setState() error {
	state := s.state.encode()
	return s.ix.batch.Set([]byte{spaceState}, state[:], nil)
}

// finishRewind does what a Rewind that was interrupted has left undone: the
// second step. The timeline is still the old one.
func (s *Store) finishRewind(ctx context.Context) error {
	b, closer, err := s.ix.db.Get([]byte{spaceRewind})
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	lsn := wal.LSN(0)
	if len(b) == lsnSize {
		lsn = wal.LSN(le.Uint64(b))
	}
	if err := closer.Close(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if lsn != s.state.Position {
		return fmt.Errorf("%w: it was to go back to %s, but is at %s; use an empty directory", ErrDamaged, lsn, s.state.Position)
	}
	if err := s.deleteBeyond(ctx, lsn); err != nil {
		return err
	}
	if err := s.ix.batch.Delete([]byte{spaceRewind}, nil); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return s.ix.commit(ctx)
}

// deleteBeyond deletes the keys of pages, relations, sizes and endings above lsn.
func (s *Store) deleteBeyond(ctx context.Context, lsn wal.LSN) error {
	for _, space := range []byte{spacePage, spaceRelation, spaceSize} {
		it, err := s.ix.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1},
			PointKeyFilters: []pebble.BlockPropertyFilter{lsnsAbove(lsn)}})
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		err = s.deleteKeys(ctx, it, lsn)
		if err = errors.Join(err, it.Close()); err != nil {
			return err
		}
	}
	if err := s.cutEndings(ctx, lsn); err != nil {
		return err
	}
	m := &s.images
	put := m.putLive
	if m.state.made > lsn {
		m.state.made = lsn
		put = m.putState
	}
	if err := put(s.ix.batch); err != nil {
		return err
	}
	return s.ix.commit(ctx)
}

func (s *Store) deleteKeys(ctx context.Context, it *pebble.Iterator, lsn wal.LSN) error {
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%ctxEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if keyLSN(it.Key()) <= lsn {
			continue
		}
		if err := s.ix.batch.Delete(it.Key(), nil); err != nil {
			return fmt.Errorf("index: %w", err)
		}
		if it.Key()[0] == spacePage {
			if _, image, err := parsePage(it.Value()); err != nil {
				return err
			} else if image.length > 0 {
				s.images.count(image, -1)
			}
		}
		if s.ix.batch.Count() >= maxDeletes {
			if err := errors.Join(s.images.putLive(s.ix.batch), s.ix.commit(ctx)); err != nil {
				return err
			}
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// cutLog finds where the log, which ends at at, holds the first record beyond
// lsn.
func (s *Store) cutLog(ctx context.Context, at logState, lsn wal.LSN) (logState, error) {
	for at.file > 0 && at.first >= lsn {
		before, err := s.fileBefore(at.file)
		if err != nil {
			return logState{}, err
		}
		at = before
	}
	if at.file == 0 {
		return at, nil
	}
	name := s.fs.PathJoin(s.log.dir, logName(at.file))
	f, err := s.fs.Open(name)
	if err != nil {
		return logState{}, err
	}
	defer f.Close() // it was only read
	cut, err := cutFile(ctx, f, at, lsn)
	if err != nil {
		return logState{}, fmt.Errorf("%s: %w", name, err)
	}
	return cut, nil
}

// cutFile passes over the entries of a file up to the first beyond lsn.
func cutFile(ctx context.Context, f io.ReaderAt, at logState, lsn wal.LSN) (logState, error) {
	cut := logState{file: at.file, length: logHeaderSize, first: at.first, last: at.first}
	r := bufio.NewReaderSize(io.NewSectionReader(f, logHeaderSize, at.length-logHeaderSize), logBuffer)
	for n := 0; cut.length < at.length; n++ {
		if n%ctxEvery == 0 && ctx.Err() != nil {
			return logState{}, ctx.Err()
		}
		header, err := r.Peek(entryHeader)
		if err != nil {
			return logState{}, entryError(cut.length, err)
		}
		e := decodeEntry(header)
		if e.start >= lsn || e.end > lsn {
			break
		}
		size := entryHeader + int(e.length)
		if _, err := r.Discard(size); err != nil {
			return logState{}, entryError(cut.length, err)
		}
		cut.length += int64(size)
		if e.end != 0 {
			cut.last = e.end
		}
	}
	return cut, nil
}

func entryError(at int64, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the entry at byte %d is cut off", ErrDamaged, at)
	}
	return fmt.Errorf("the entry at byte %d: %w", at, err)
}

// fileBefore describes the file of the log before file number.
func (s *Store) fileBefore(number uint32) (logState, error) {
	if number == 1 {
		return logState{}, nil
	}
	key := fileKey(number - 1)
	b, closer, err := s.ix.db.Get(key[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return logState{}, fmt.Errorf("%w: the index does not know file %d of its log", ErrDamaged, number-1)
	}
	if err != nil {
		return logState{}, fmt.Errorf("index: %w", err)
	}
	st := logState{file: number - 1}
	if len(b) == fileValueSize {
		st.first, st.last, st.length = wal.LSN(le.Uint64(b)), wal.LSN(le.Uint64(b[8:])), int64(le.Uint64(b[16:]))
	}
	if err := closer.Close(); err != nil {
		return logState{}, fmt.Errorf("index: %w", err)
	}
	if st.length < logHeaderSize {
		return logState{}, fmt.Errorf("%w: the index has no length of file %d of its log", ErrDamaged, number-1)
	}
	return st, nil
}

// removeLogs removes the files of the log in dir after the last one that counts.
func removeLogs(fs vfs.FS, dir string, last uint32) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil || logName(uint32(n)) != name {
			return fmt.Errorf("%w: %s is no file of the log of %s; move it away", ErrDamaged, fs.PathJoin(dir, name), fs.PathBase(dir))
		}
		if uint32(n) > last {
			if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
