package pagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
)

// Limits of what is appended and not committed. Beyond them Full reports true.
const (
	maxPendingKeys  = 64 << 10
	maxPendingBytes = 64 << 20
)

// Options of a store.
type Options struct {
	FS         vfs.FS        // default vfs.Default
	Logger     *slog.Logger  // default: none
	LockWait   time.Duration // how long to wait for another process to let go
	MaxLogFile int64         // default [MaxLogFile], bytes
	MayHold    []string      // names that a directory that is no store yet may hold
	CacheBytes int64         // memory for pages that were read, default [CacheBytes]; negative: none
}

// Store keeps records by page. Append, Commit, Rewind and Close are for one
// goroutine; all else may be called by any.
type Store struct {
	fs     vfs.FS
	dir    string
	lock   io.Closer
	ix     *index
	log    *log
	reader *logReader
	failed error // why nothing can be appended or committed any more

	state   State // with what is pending
	pending pending
	sorter  pageSorter
	changes []change            // of the record being appended
	rest    partial             // a record that comes in fragments
	sizes   sizes               // of forks, after the last record
	implied []redo.ImpliedBlock // of the record being appended
	slru    slruNotes

	visible   visible
	collector collector
	marks     timeMarks
	images    images
	pages     *pages
	reads     sync.Pool  // of *reading
	imports   *importing // nil but between BeginImport and EndImport
}

// pending is what was appended since the last commit.
type pending struct {
	pages   []pageEntry
	alone   []aloneEntry
	marks   []timeMark
	changes []changeEntry
	sizes   []sizeEntry
	endings []endings
	bytes   int64 // of records
}

// aloneEntry is a key of the LSN space.
type aloneEntry struct {
	lsn  wal.LSN
	ptr  pointer
	rmgr wal.RmgrID
	info uint8
}

// changeEntry is a key of the relation space.
type changeEntry struct {
	change
	lsn wal.LSN
	ptr pointer
}

func (p *pending) reset() {
	p.marks = p.marks[:0]
	p.pages, p.alone, p.changes, p.sizes, p.bytes = p.pages[:0], p.alone[:0], p.changes[:0], p.sizes[:0], 0
	p.endings = p.endings[:0]
}

func (p *pending) keys() int { return len(p.pages) + len(p.alone) + len(p.changes) + len(p.sizes) }

// Open opens the store in dir, which becomes one if it is empty. What was not
// committed is gone.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxLogFile == 0 {
		o.MaxLogFile = MaxLogFile
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = CacheBytes
	}
	if err := makeDir(o.FS, dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(ctx, o.FS, dir, o.LockWait)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, dir, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	return s, nil
}

func open(ctx context.Context, dir string, o Options) (*Store, error) {
	if err := checkFormat(o.FS, dir, o.MayHold); err != nil {
		return nil, err
	}
	values, images, indexDir := o.FS.PathJoin(dir, valuesName), o.FS.PathJoin(dir, imagesName), o.FS.PathJoin(dir, indexName)
	for _, d := range []string{values, images, indexDir} {
		if err := makeDir(o.FS, d); err != nil {
			return nil, err
		}
	}
	if err := checkIndex(o.FS, indexDir, values); err != nil {
		return nil, err
	}
	ix, err := openIndex(ctx, o.FS, indexDir, o.Logger)
	if err != nil {
		return nil, err
	}
	s := &Store{fs: o.FS, dir: dir, ix: ix, reader: newLogReader(o.FS, values)}
	s.images.reader = newLogReader(o.FS, images)
	if err := s.recover(ctx, values, o.MaxLogFile); err != nil {
		return nil, errors.Join(err, ix.close(ctx))
	}
	s.pages = newPages(max(o.CacheBytes, 0), s.state.Position)
	s.visible.publish(s.state)
	return s, nil
}

// checkIndex refuses a log of values whose index is gone: an index made anew
// would take the store for a new one, and its log for garbage.
func checkIndex(fs vfs.FS, indexDir, values string) error {
	desc, err := pebble.Peek(indexDir, fs)
	if err != nil {
		return err
	}
	names, err := fs.List(values)
	if err != nil {
		return err
	}
	if !desc.Exists && len(names) > 0 {
		return fmt.Errorf("%w: %s holds records, but %s no index to them; use an empty directory", ErrDamaged, values, indexDir)
	}
	return nil
}

// recover reads the state and removes what lies beyond it.
func (s *Store) recover(ctx context.Context, values string, maxFile int64) error {
	b, closer, err := s.ix.db.Get([]byte{spaceState})
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case err != nil:
		return fmt.Errorf("index: %w", err)
	default:
		s.state, err = decodeState(b)
		if err = errors.Join(err, closer.Close()); err != nil {
			return err
		}
	}
	if err := removeLogs(s.fs, values, s.state.log.file); err != nil {
		return err
	}
	if err := s.recoverImages(ctx, maxFile); err != nil {
		return err
	}
	if err := s.finishRewind(ctx); err != nil {
		return err
	}
	if err := s.readSLRU(); err != nil {
		return err
	}
	s.log, err = openLog(s.fs, values, s.state.SystemID, maxFile, s.state.log)
	return err
}

// New reports that nothing is held: Begin comes first.
func (s *Store) New() bool { return s.state.SystemID == 0 }

// Begin gives a new store its identity. It becomes durable with the first
// commit.
func (s *Store) Begin(systemID uint64, tli wal.TimelineID, size wal.SegmentSize, horizon wal.LSN) {
	s.state = State{SystemID: systemID, Timeline: tli, SegmentSize: size,
		Horizon: horizon, Position: horizon, LastRecord: horizon, LastValid: horizon}
	s.log.systemID, s.images.log.systemID = systemID, systemID
}

// State is what is held, with what was appended and is not committed.
func (s *Store) State() State {
	st := s.state
	st.Horizon = max(st.Horizon, s.visible.collected())
	return st
}

// Full reports that Commit should come before the next Append, so that memory
// stays bounded.
func (s *Store) Full() bool {
	return s.pending.keys() >= maxPendingKeys || s.pending.bytes >= maxPendingBytes
}

// Append takes the next record, whole or the next fragment, which it borrows.
// After an error nothing can be appended or committed any more.
func (s *Store) Append(rec *wal.Record) error {
	if s.failed != nil {
		return s.failed
	}
	if s.imports != nil {
		return errImporting
	}
	if err := s.appendRecord(rec); err != nil {
		s.failed = err
		return err
	}
	return nil
}

func (s *Store) appendRecord(rec *wal.Record) error {
	if !rec.Whole() {
		return s.appendFragment(rec)
	}
	s.rest.open = false // a record begun before was never completed
	s.state.LastRecord = rec.EndLSN
	s.slru.sees(rec)
	if len(rec.Blocks) == 0 && !keptAlone(rec.RmgrID, rec.Info) {
		return nil
	}
	e := entry{start: rec.StartLSN, end: rec.EndLSN, kind: kindRecord, version: rec.Version}
	ptr, err := s.log.append(&e, rec.Data, false)
	if err != nil {
		return err
	}
	s.pending.bytes += int64(len(rec.Data))
	s.changes = s.changes[:0]
	if rec.RmgrID == wal.RmgrTransaction {
		scan := newDropScanner(rec.Info)
		s.changes = scan.feed(s.changes, rec.MainData())
	} else {
		s.changes = appendChanges(s.changes, rec)
	}
	s.note(rec, ptr, s.changes)
	return s.noteSizes(rec, s.changes)
}

// note adds the keys of a record that lies at ptr.
func (s *Store) note(rec *wal.Record, ptr pointer, changes []change) {
	p := &s.pending
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		v := ptr
		v.blockID = b.ID
		if b.WillInit() {
			v.flags |= flagWillInit
		}
		if b.HasImage() && b.ApplyImage() {
			v.flags |= flagImage
		}
		p.pages = append(p.pages, makePageEntry(b.Rel, b.Fork, b.Block, rec.EndLSN, v))
	}
	if len(rec.Blocks) > 0 {
		v := ptr
		v.flags |= flagImplied
		s.implied = redo.Implied(rec, s.implied[:0])
		for _, b := range s.implied {
			p.pages = append(p.pages, makePageEntry(b.Rel, b.Fork, b.Block, rec.EndLSN, v))
		}
	} else {
		p.marks = s.marks.note(p.marks, rec)
		p.alone = append(p.alone, aloneEntry{lsn: rec.EndLSN, ptr: ptr, rmgr: rec.RmgrID, info: rec.Info})
		p.noteRelMap(rec, ptr)
		p.noteEnding(rec)
		s.noteSLRU(rec, ptr)
	}
	for _, c := range changes {
		p.changes = append(p.changes, changeEntry{change: c, lsn: rec.EndLSN, ptr: ptr})
	}
}

var errImporting = errors.New("a base backup is being imported: EndImport comes before records")

// Progress is how far the WAL was received.
type Progress struct {
	Position  wal.LSN // all records that end at or before it were appended
	LastValid wal.LSN // the WAL was received up to here
}

// Commit makes everything appended durable and visible, together with the
// progress. After an error nothing can be appended or committed any more, and
// what is durable is known after Open.
func (s *Store) Commit(ctx context.Context, p Progress) error {
	if s.failed != nil {
		return s.failed
	}
	if s.imports != nil {
		return errImporting
	}
	if err := s.ix.fault.get(); err != nil {
		s.failed = err
		return err
	}
	committed := s.visible.state()
	// WAL that is delivered again after a restart may end before what was received.
	s.state.Position, s.state.LastValid = p.Position, max(p.LastValid, s.state.LastValid)
	if p.Position == committed.Position && s.pending.keys() == 0 && committed.SystemID != 0 {
		// Only the last-valid LSN can differ, which needs no durability: a record
		// that is not complete is delivered again from its start.
		s.visible.publish(s.state)
		return nil
	}
	if err := s.commit(ctx); err != nil {
		s.failed = err
		s.visible.fail(err)
		return err
	}
	s.visible.publish(s.state)
	return nil
}

func (s *Store) commit(ctx context.Context) error {
	if err := s.log.sync(); err != nil {
		return err
	}
	s.state.log = s.log.at
	if err := errors.Join(s.fillBatch(), s.setState(), s.fillSLRU()); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if err := s.ix.commit(ctx); err != nil {
		return err
	}
	s.pages.noteCommitted(&s.pending)
	s.pending.reset()
	s.sizes.committed()
	s.log.sealed = s.log.sealed[:0]
	return nil
}

// fillBatch writes everything pending into the index's batch, page keys in the
// order of the index: inserting them out of order costs a multiple.
func (s *Store) fillBatch() error {
	b, p := s.ix.batch, &s.pending
	for i := range s.log.sealed {
		f := &s.log.sealed[i]
		key := fileKey(f.number)
		op := b.SetDeferred(fileKeySize, fileValueSize)
		copy(op.Key, key[:])
		le.PutUint64(op.Value, uint64(f.first))
		le.PutUint64(op.Value[8:], uint64(f.last))
		le.PutUint64(op.Value[16:], uint64(f.length))
		if err := op.Finish(); err != nil {
			return err
		}
	}
	for i := range p.alone {
		e := &p.alone[i]
		key := lsnKey(e.lsn)
		op := b.SetDeferred(lsnKeySize, lsnValueSize)
		copy(op.Key, key[:])
		e.ptr.put(op.Value)
		op.Value[pointerSize], op.Value[pointerSize+1] = byte(e.rmgr), e.info
		if err := op.Finish(); err != nil {
			return err
		}
	}
	p.pages = s.sorter.sort(p.pages)
	for i := range p.pages {
		e := &p.pages[i]
		size := pointerSize
		if e.ptr.flags&flagMade != 0 {
			size = madeValueSize
		}
		op := b.SetDeferred(pageKeySize, size)
		e.putKey(op.Key)
		e.putValue(op.Value)
		if err := op.Finish(); err != nil {
			return err
		}
	}
	for i := range p.changes {
		e := &p.changes[i]
		key := relationKey(e.rel, e.lsn)
		op := b.SetDeferred(relationKeySize, relationValueSize)
		copy(op.Key, key[:])
		e.ptr.put(op.Value)
		e.change.put(op.Value[pointerSize:])
		if err := op.Finish(); err != nil {
			return err
		}
	}
	return errors.Join(fillMarks(b, p.marks), s.fillSizes(), s.fillEndings())
}

// Close releases everything. What was not committed is gone.
func (s *Store) Close(ctx context.Context) error {
	s.visible.fail(ErrClosed)
	if s.failed == nil {
		s.failed = ErrClosed
	}
	err := s.log.close()
	idle := make(chan struct{})
	resume := s.collector.stop()
	go func() {
		defer resume()
		s.images.mu.Lock()
		defer s.images.mu.Unlock()
		s.visible.readers.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		err = errors.Join(err, s.images.log.close(), s.ix.close(ctx))
		s.reader.close()
		s.images.reader.close()
	case <-s.ix.fault.seen:
		// A read may hang in the index for good, and the index with it. The process
		// is about to end.
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	return errors.Join(err, s.lock.Close())
}
