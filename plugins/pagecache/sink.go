package pagecache

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

// sink is the sink page_cache: a store that it fills and a service that reads it.
type sink struct {
	config *Config
	fs     vfs.FS // of the directory; the socket is always the system's

	maxLogFile int64 // 0: the store's own

	system  sdk.System
	store   *pagestore.Store
	keeps   *keeps
	service *service
	backup  *backup            // that is being imported
	at      pagestore.Progress // after the last batch
	started bool               // a batch came
	upkeep  *upkeep
}

func newSink(c *Config, fs vfs.FS) *sink { return &sink{config: c, fs: fs} }

// Open opens the store and begins to answer reads.
func (s *sink) Open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	if req.Filtered {
		return sdk.OpenResult{}, sdk.Permanentf("sink %q has a filter, and pages of which records are missing would be wrong: take the filter out; "+
			"to keep fewer pages, set databases or relations in the sink's config", req.Sink)
	}
	s.system = req.System
	at := place{socket: s.config.listen(), tcp: s.config.ListenTCP}
	var err error
	if at.tls, err = s.config.tcpCredentials(); err != nil {
		return sdk.OpenResult{}, err
	}
	if s.keeps, err = newKeeps(s.config); err != nil {
		return sdk.OpenResult{}, sdk.Permanent(err)
	}
	o := pagestore.Options{FS: s.fs, Logger: req.Logger, LockWait: req.LockWait, MaxLogFile: s.maxLogFile}
	if filepath.Dir(s.config.listen()) == filepath.Clean(s.config.Directory) {
		name := filepath.Base(s.config.listen())
		o.MayHold = []string{name, name + newSocketSuffix}
	}
	store, err := pagestore.Open(ctx, s.config.Directory, o)
	if err != nil {
		return sdk.OpenResult{}, openError(err)
	}
	if err := req.MustHold(s.config.Directory); store.New() && err != nil {
		return sdk.OpenResult{}, errors.Join(err, store.Close(ctx))
	}
	if err := settleKeeps(s.fs, s.config.Directory, s.keeps, store.New()); err != nil {
		return sdk.OpenResult{}, errors.Join(err, store.Close(ctx))
	}
	service, err := serve(at, store, s.keeps, s.system.ServerVersion/10000)
	if err != nil {
		return sdk.OpenResult{}, errors.Join(err, store.Close(ctx))
	}
	s.store, s.service = store, service
	if s.upkeep, err = startUpkeep(ctx, s.config, store, req.Metrics, req.Logger); err != nil {
		return sdk.OpenResult{}, errors.Join(err, store.Close(ctx), service.close(ctx))
	}
	st := store.State()
	s.at = pagestore.Progress{Position: st.Position, LastValid: st.LastValid}
	return sdk.OpenResult{
		New:         store.New(),
		SystemID:    st.SystemID,
		Position:    wal.Position{Timeline: st.Timeline, LSN: st.Position},
		WantsBackup: store.New() && s.config.BaseBackup,
	}, nil
}

// openError marks what a person has to mend.
func openError(err error) error {
	if errors.Is(err, pagestore.ErrFormat) || errors.Is(err, pagestore.ErrDamaged) {
		return sdk.Permanent(err)
	}
	return err
}

// Write stores the batch's records.
func (s *sink) Write(ctx context.Context, b *sdk.Batch) error {
	if s.store.Full() {
		// Of the batches before, so that the position is one that the host knows to
		// be complete.
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	if err := s.follows(b); err != nil {
		return err
	}
	for rec := range b.Records() {
		if !s.keeps.record(rec) {
			continue
		}
		if s.keeps.copies(rec) {
			if err := s.keeps.write(s.fs, s.config.Directory); err != nil {
				return err
			}
		}
		if err := s.store.Append(rec); err != nil {
			return err
		}
	}
	s.at = pagestore.Progress{Position: b.To(), LastValid: b.WALEnd()}
	return nil
}

// follows checks that the batch belongs to what is held, and begins a new store.
// That batches follow each other is seen to before they come here.
func (s *sink) follows(b *sdk.Batch) error {
	first := !s.started
	s.started = true
	if s.store.New() {
		s.store.Begin(s.system.ID, b.Timeline(), s.system.SegmentSize, b.From())
		return nil
	}
	st := s.store.State()
	if err := s.sameSystem(st); err != nil {
		return err
	}
	switch {
	case st.Timeline != b.Timeline():
		return sdk.Permanentf("%s holds pages of timeline %d up to %s, and WAL of timeline %d comes without a switch between them: use another directory",
			s.config.Directory, st.Timeline, st.Position, b.Timeline())
	case first && b.From() != s.at.Position && !afterBackup(st, b.From()):
		return fmt.Errorf("gap in the stream: %s holds records up to %s, and WAL follows from %s", s.config.Directory, s.at.Position, b.From())
	}
	return nil
}

// longPageHeader is SizeOfXLogLongPHD (access/xlog_internal.h), bytes.
const longPageHeader = 40

// afterBackup says that the WAL from an LSN on is what follows a base backup: that
// begins with a record, which the end of the one before it may precede by the
// header of a page.
func afterBackup(st pagestore.State, from wal.LSN) bool {
	return st.Position == st.BaseLSN && from <= st.BaseLSN && st.BaseLSN-from <= longPageHeader
}

func (s *sink) sameSystem(st pagestore.State) error {
	if st.SystemID != s.system.ID {
		return sdk.Permanentf("%s holds pages of the cluster with system identifier %d, and the WAL is of %d; use another directory",
			s.config.Directory, st.SystemID, s.system.ID)
	}
	return nil
}

// Rewind deletes what lies beyond the switch point and goes on on the new
// timeline. PostgreSQL ends a timeline behind the last record that it has
// replayed (EndOfLog in StartupXLOG), so that a record ends at the switch point.
func (s *sink) Rewind(ctx context.Context, e *sdk.Epoch) (wal.LSN, error) {
	st := s.store.State()
	if !s.store.New() {
		if err := s.sameSystem(st); err != nil {
			return 0, err
		}
	}
	switch {
	case s.store.New():
		// Nothing was held, and the new timeline begins here.
		s.store.Begin(s.system.ID, e.NewTimeline, s.system.SegmentSize, e.SwitchLSN)
		s.at = pagestore.Progress{Position: e.SwitchLSN, LastValid: e.SwitchLSN}
		return s.at.Position, s.commit(ctx)
	case st.Timeline == e.NewTimeline: // it was told before, and the answer was lost
		return s.at.Position, s.commit(ctx)
	case st.Timeline > e.NewTimeline:
		return 0, sdk.Permanentf("%s holds pages of timeline %d, and timeline %d was to follow: use another directory", s.config.Directory, st.Timeline, e.NewTimeline)
	}
	lsn, err := e.SwitchPoint(st.Timeline)
	if err != nil {
		return 0, err
	}
	// So that what is not taken back need not be delivered again.
	if err := s.commit(ctx); err != nil {
		return 0, err
	}
	if err := s.store.Rewind(ctx, e.NewTimeline, lsn); err != nil {
		err = fmt.Errorf("page cache in %s: %w", s.config.Directory, err)
		if errors.Is(err, pagestore.ErrBelowHorizon) {
			err = sdk.Permanent(err) // what was collected, or was never there, does not come back
		}
		return 0, err
	}
	st = s.store.State()
	s.at, s.started = pagestore.Progress{Position: st.Position, LastValid: st.LastValid}, false
	return st.Position, nil
}

// Flush makes what was written durable, and visible to readers.
func (s *sink) Flush(ctx context.Context) (wal.LSN, error) {
	if err := s.service.fault(); err != nil {
		return 0, err
	}
	if s.store.New() {
		return 0, nil // nothing was written
	}
	if err := s.commit(ctx); err != nil {
		return 0, err
	}
	return s.at.Position, nil
}

func (s *sink) commit(ctx context.Context) error {
	if err := s.store.Commit(ctx, s.at); err != nil {
		return fmt.Errorf("page cache in %s: %w", s.config.Directory, err)
	}
	return nil
}

// Applied is how far readers see.
func (s *sink) Applied() wal.LSN { return s.store.Visible().Position }

// Close ends the service and releases the directory. What was not flushed is
// gone.
func (s *sink) Close(ctx context.Context) error {
	s.upkeep.stop(ctx)
	// The store first: it ends the reads that wait, which then tell their clients.
	err := s.store.Close(ctx)
	return errors.Join(err, s.service.close(ctx))
}
