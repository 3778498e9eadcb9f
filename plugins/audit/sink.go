package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"syscall"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

type sink struct {
	fsys   durable.FS
	config *Config
	enc    *encoder
	log    *slog.Logger

	lock     io.Closer
	position *positionFile
	trail    trail
	system   uint64       // whose WAL comes
	to       wal.Position // up to which everything was written
	last     wal.LSN      // where the last record ended, or the position
	pending  pending
	err      error // the first that Write or Flush met: what is durable is then found by Open alone
}

// pending is a record that comes in fragments: its line but for the end.
type pending struct {
	start wal.LSN // 0: none
	tail  []byte  // empty where the level leaves the record out
}

func newSink(fsys durable.FS, c *Config) *sink {
	return &sink{fsys: fsys, config: c, enc: newEncoder()}
}

// Open finds what is durable, and forgets the rest.
func (s *sink) Open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	s.log = req.Logger
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.system = req.System.ID
	s.trail = trail{fsys: s.fsys, dir: s.config.Directory, limit: s.config.Rotate,
		head: header{SystemID: req.System.ID, Level: s.config.Level, Filtered: req.Filtered}}
	res, err := s.open(ctx, req)
	if err != nil {
		return sdk.OpenResult{}, errors.Join(s.explain(err), s.release())
	}
	return res, nil
}

func (s *sink) open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	dir := s.config.Directory
	if err := durable.MkdirAll(s.fsys, dir, dirMode); err != nil {
		return sdk.OpenResult{}, err
	}
	lock, err := s.fsys.Lock(ctx, filepath.Join(dir, lockName), req.LockWait)
	if err != nil {
		return sdk.OpenResult{}, err
	}
	s.lock = lock
	p, found, err := readPosition(s.fsys, dir)
	if err != nil {
		return sdk.OpenResult{}, err
	}
	ours, foreign, err := listFiles(s.fsys, dir)
	if err != nil {
		return sdk.OpenResult{}, err
	}
	switch {
	case !found && len(ours)+len(foreign) > 0:
		name := append(ours, foreign...)[0]
		return sdk.OpenResult{}, sdk.Permanentf("%s has no valid %s, but the file %s: choose an empty directory, or put the position back", dir, positionName, name)
	case !found && req.MustHold(dir) != nil:
		return sdk.OpenResult{}, req.MustHold(dir)
	case !found:
		p = position{SystemID: req.System.ID, Timeline: req.System.Timeline}
		s.position, err = createPosition(s.fsys, dir, p)
		return sdk.OpenResult{New: true}, err
	case p.LSN != 0 && p.SystemID != req.System.ID:
		// The host compares and explains; until then nothing here is touched.
		s.to = wal.Position{Timeline: p.Timeline, LSN: p.LSN}
		return sdk.OpenResult{SystemID: p.SystemID, Position: s.to}, nil
	}
	if err := s.recover(p, ours); err != nil {
		return sdk.OpenResult{}, err
	}
	if p.LSN == 0 {
		return sdk.OpenResult{New: true}, nil
	}
	return sdk.OpenResult{SystemID: p.SystemID, Position: s.to}, nil
}

// recover makes the files what p says.
func (s *sink) recover(p position, files []string) (err error) {
	for _, name := range files {
		if name <= p.File {
			continue
		}
		s.log.Info("removing an audit file that begins behind the durable position", "file", name, "position", p.LSN.String())
		if err := s.fsys.Remove(filepath.Join(s.trail.dir, name)); err != nil {
			return err
		}
	}
	if err := s.fsys.SyncDir(s.trail.dir); err != nil {
		return err
	}
	if p.File != "" {
		cut, err := s.trail.resume(p.File, p.Offset)
		if err != nil {
			return err
		}
		if cut > 0 {
			s.log.Info("cut an audit file to the durable position", "file", p.File, "bytes", cut, "position", p.LSN.String())
		}
	}
	if s.position, err = openPosition(s.fsys, s.trail.dir, p); err != nil {
		return err
	}
	if p.LSN == 0 && p.SystemID != s.system {
		// Nothing was ever held for the other cluster.
		p.SystemID = s.system
		if err := s.position.save(p); err != nil {
			return err
		}
	}
	if p.LSN != 0 {
		s.to = wal.Position{Timeline: p.Timeline, LSN: p.LSN}
	}
	s.last = p.LSN
	return nil
}

// Write appends a line for each record.
func (s *sink) Write(ctx context.Context, b *sdk.Batch) error {
	if s.err != nil {
		return s.err
	}
	if err := s.write(ctx, b); err != nil {
		s.err = s.explain(err)
	}
	return s.err
}

func (s *sink) write(ctx context.Context, b *sdk.Batch) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	tli := b.Timeline()
	if tli != s.to.Timeline && s.to.LSN != 0 {
		return sdk.Permanentf("WAL of timeline %d after WAL of timeline %d, without a switch between them: nothing was written", tli, s.to.Timeline)
	}
	for rec := range b.Records() {
		if err := s.add(tli, rec); err != nil {
			return err
		}
	}
	s.to = wal.Position{Timeline: tli, LSN: max(s.to.LSN, b.To(), s.last)}
	return nil
}

// usable says why nothing can be written.
func (s *sink) usable(ctx context.Context) error {
	if s.position == nil {
		return sdk.Permanentf("the trail in %s belongs to another cluster than system %d: choose another directory", s.config.Directory, s.system)
	}
	return ctx.Err()
}

// add writes the line of a record, when it is whole or its last fragment.
func (s *sink) add(tli wal.TimelineID, rec *wal.Record) error {
	if rec.Whole() {
		s.pending.start = 0
		if err := s.follows(rec); err != nil || !s.wanted(rec) {
			return err
		}
		mark := len(s.trail.buf)
		s.trail.buf = s.enc.appendLine(s.trail.buf, tli, rec)
		return s.trail.add(wal.Position{Timeline: tli, LSN: rec.StartLSN}, mark)
	}
	if rec.FragmentOffset == 0 {
		s.pending = pending{start: rec.StartLSN, tail: s.pending.tail[:0]}
		if s.wanted(rec) {
			s.pending.tail = s.enc.appendTail(s.pending.tail, tli, rec)
		}
		return nil
	}
	if rec.StartLSN != s.pending.start {
		return fmt.Errorf("a fragment of the record at %s came without its first: the host broke its promise", rec.StartLSN)
	}
	if !rec.Last() {
		return nil
	}
	s.pending.start = 0
	if err := s.follows(rec); err != nil || len(s.pending.tail) == 0 {
		return err
	}
	mark := len(s.trail.buf)
	s.trail.buf = append(appendHead(s.trail.buf, rec.StartLSN, rec.EndLSN), s.pending.tail...)
	return s.trail.add(wal.Position{Timeline: tli, LSN: rec.StartLSN}, mark)
}

// wanted reports whether the level has a line for the record.
func (s *sink) wanted(rec *wal.Record) bool {
	if s.config.Level != LevelTransaction {
		return true
	}
	_, ok := rec.XactTime()
	return ok
}

// follows refuses a record that was there before: a line is never doubled,
// whatever the other side does.
func (s *sink) follows(rec *wal.Record) error {
	if rec.StartLSN < s.last || rec.EndLSN <= rec.StartLSN {
		return sdk.Permanentf("the record from %s to %s came after WAL up to %s: nothing of it was written", rec.StartLSN, rec.EndLSN, s.last)
	}
	s.last = rec.EndLSN
	return nil
}

// Flush makes the lines durable, and then the position.
func (s *sink) Flush(ctx context.Context) (wal.LSN, error) {
	if s.err != nil {
		return 0, s.err
	}
	if err := s.flush(ctx); err != nil {
		s.err = s.explain(err)
		return 0, s.err
	}
	return s.to.LSN, nil
}

func (s *sink) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.position == nil || s.to.LSN == 0 || s.to == (wal.Position{Timeline: s.position.p.Timeline, LSN: s.position.p.LSN}) {
		return nil
	}
	if err := s.trail.sync(); err != nil {
		return err
	}
	p := position{SystemID: s.system, Timeline: s.to.Timeline, LSN: s.to.LSN, File: s.trail.name, Offset: s.trail.off}
	return s.position.save(p)
}

// Close lets go of the files. What was not flushed is delivered again.
func (s *sink) Close(context.Context) error { return s.release() }

func (s *sink) release() error {
	err := s.trail.close()
	if s.position != nil {
		err = errors.Join(err, s.position.f.Close())
		s.position = nil
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	return err
}

// explain adds what to do. Every error but a permanent one is worth a retry:
// Open begins at what is durable.
func (s *sink) explain(err error) error {
	dir := s.config.Directory
	switch {
	case err == nil, sdk.IsPermanent(err):
		return err
	case errors.Is(err, durable.ErrLocked):
		return fmt.Errorf("the audit trail in %s: %w: each sink needs a directory of its own", dir, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("no space for the audit trail in %s: %w: free some, and it goes on at its position; nothing that was flushed is lost", dir, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return sdk.Permanentf("the audit trail in %s cannot be written: %w: let the user that runs walplex write there, or choose another directory", dir, err)
	}
	return fmt.Errorf("audit trail in %s: %w", dir, err)
}
