package pagestore

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// importing is a base backup that is being imported.
type importing struct {
	systemID uint64
}

// BeginImport begins to fill a store that is New with the pages of a base backup,
// which began at start (START WAL LOCATION of its backup_label, a redo point).
// Until EndImport nothing of it is durable: after a crash, and after another
// BeginImport, the store is New and empty again.
//
// BeginImport, ImportPages, ImportFork and EndImport are for the goroutine of
// Append. After an error of them nothing can be imported or appended any more.
func (s *Store) BeginImport(systemID uint64, tli wal.TimelineID, size wal.SegmentSize, start wal.LSN) error {
	if s.failed != nil {
		return s.failed
	}
	if !s.New() {
		return fmt.Errorf("a base backup is imported into an empty page cache only, and this one holds pages up to %s", s.state.Position)
	}
	if systemID == 0 || start == 0 {
		return fmt.Errorf("a base backup of system %d that began at %s cannot be imported", systemID, start)
	}
	s.images.mu.Lock()
	defer s.images.mu.Unlock()
	if err := s.emptyImages(); err != nil {
		s.failed = err
		return err
	}
	s.imports = &importing{systemID: systemID}
	s.state = State{Timeline: tli, SegmentSize: size, Horizon: start, Position: start, LastRecord: start, LastValid: start, BaseLSN: start}
	s.log.systemID, s.images.log.systemID = systemID, systemID
	return nil
}

// emptyImages drops what a former import left.
func (s *Store) emptyImages() error {
	m := &s.images
	s.pending.reset()
	s.sizes.forget()
	s.slru = slruNotes{}
	if err := m.log.close(); err != nil {
		return err
	}
	m.reader.forget(0)
	if err := removeLogs(s.fs, m.reader.dir, 0); err != nil {
		return err
	}
	if err := s.discardKeys(); err != nil {
		return err
	}
	m.state, m.failed = imagesState{}, nil
	m.live, m.dirty = make(map[uint32]liveImages), make(map[uint32]bool)
	l, err := openLog(s.fs, m.reader.dir, 0, s.log.maxFile, logState{})
	m.log = l
	return err
}

// discardImport empties a store that has no state: a crash ended an import.
func (s *Store) discardImport(ctx context.Context) error {
	if err := s.discardKeys(); err != nil {
		return err
	}
	return ctx.Err()
}

// discardKeys deletes every key, if there is any.
func (s *Store) discardKeys() error {
	it, err := s.ix.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	found := it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if !found {
		return nil
	}
	if err := s.ix.db.DeleteRange([]byte{0}, []byte{math.MaxUint8}, pebble.Sync); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// ImportPages takes the pages of a fork from block first on, as the backup has
// them. Pages that are all zero take no room.
func (s *Store) ImportPages(rel wal.RelFileLocator, fork wal.ForkNumber, first wal.BlockNumber, pages []byte) error {
	if err := s.mayImport(); err != nil {
		return err
	}
	if len(pages)%wal.BlockSize != 0 {
		return fmt.Errorf("%d bytes of relation %s, fork %s, are not a number of pages of %d", len(pages), rel, fork, wal.BlockSize)
	}
	s.images.mu.Lock()
	defer s.images.mu.Unlock()
	for n := 0; n < len(pages); n += wal.BlockSize {
		id := PageID{Rel: rel, Fork: fork, Block: first + wal.BlockNumber(n/wal.BlockSize)}
		if err := s.importPage(id, pages[n:n+wal.BlockSize]); err != nil {
			s.failed = err
			return err
		}
	}
	return nil
}

func (s *Store) mayImport() error {
	if s.failed == nil && s.imports == nil {
		return errors.New("no base backup is being imported")
	}
	return s.failed
}

func (s *Store) importPage(id PageID, page []byte) error {
	// All that is zero is so without an image; pages of pseudo relations have no
	// size by which to tell.
	if id.Rel.Spc != 0 && allZero(page) {
		return nil
	}
	at, err := s.images.add(id, s.state.Position, page)
	if err != nil {
		return err
	}
	at.flags = flagMade | flagNoRecord
	s.pending.pages = append(s.pending.pages, makePageEntry(id.Rel, id.Fork, id.Block, s.state.Position, at))
	if s.pending.keys() < maxPendingKeys {
		return nil
	}
	return s.flushImport(nil)
}

// flushImport puts the keys of what was imported into the index, unless abandoned
// is closed before; nil never is.
func (s *Store) flushImport(abandoned <-chan struct{}) error {
	if err := errors.Join(s.fillBatch(), s.images.sync(s.ix.batch)); err != nil {
		return err
	}
	if err := s.ix.commitUntil(s.ix.batch, abandoned); err != nil {
		return err
	}
	s.pending.reset()
	s.sizes.committed()
	return nil
}

// EndImport ends the import of a base backup whose pages are consistent with
// each other as of end (STOP WAL LOCATION), which becomes the horizon. All of it
// is durable then. The WAL follows from the LSN that BeginImport was given.
func (s *Store) EndImport(ctx context.Context, end wal.LSN) error {
	if err := s.mayImport(); err != nil {
		return err
	}
	if start := s.state.Position; end < start {
		return fmt.Errorf("a base backup that begins at %s cannot end at %s", start, end)
	}
	s.images.mu.Lock()
	defer s.images.mu.Unlock()
	if err := s.endImport(ctx, end); err != nil {
		s.failed = err
		return err
	}
	s.imports = nil
	s.visible.publish(s.state)
	return nil
}

func (s *Store) endImport(ctx context.Context, end wal.LSN) error {
	s.images.state.swept = s.state.Position
	if err := s.flushImport(ctx.Done()); err != nil {
		return err
	}
	s.state.SystemID, s.state.Horizon = s.imports.systemID, end
	if err := s.setState(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return s.ix.commit(ctx)
}
