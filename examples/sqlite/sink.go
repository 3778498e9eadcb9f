package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// sink has one transaction open from the first Write after a Flush to the next
// Flush, which commits records and position together: that is what "exactly once"
// takes.
type sink struct {
	file     string
	lock     io.Closer
	db       *sql.DB
	position position // after what was written

	tx             *sql.Tx // nil: nothing was written since the last Flush
	records, block *sql.Stmt
}

// Open answers the position that the database holds.
func (s *sink) Open(ctx context.Context, req *sdk.OpenRequest) (_ sdk.OpenResult, err error) {
	fsys := durable.OS{}
	if err := durable.MkdirAll(fsys, filepath.Dir(s.file), 0o755); err != nil {
		return sdk.OpenResult{}, err
	}
	if s.lock, err = fsys.Lock(ctx, s.file+".lock", req.LockWait); err != nil {
		return sdk.OpenResult{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(ctx))
		}
	}()
	if s.db, err = openOwn(ctx, s.file); err != nil {
		return sdk.OpenResult{}, err
	}
	p, held, err := load(ctx, s.db, s.file)
	if err != nil {
		return sdk.OpenResult{}, err
	}
	s.position = p
	if !held {
		s.position.systemID = strconv.FormatUint(req.System.ID, 10)
		return sdk.OpenResult{New: true}, nil
	}
	id, err := strconv.ParseUint(p.systemID, 10, 64)
	if err != nil {
		return sdk.OpenResult{}, sdk.Permanentf("%s: system_id: %w", s.file, err)
	}
	return sdk.OpenResult{SystemID: id, Position: p.at}, nil
}

// Write inserts the records.
func (s *sink) Write(ctx context.Context, b *sdk.Batch) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if s.position.at.LSN == 0 {
		s.position.first = b.From()
	}
	var failed error
	for rec := range b.Records() { // to the end: see Batch.Records
		if failed == nil && rec.Last() {
			failed = s.insert(ctx, rec, b.Timeline())
		}
	}
	s.position.at = wal.Position{Timeline: b.Timeline(), LSN: b.To()}
	return failed
}

// begin begins a transaction where none is open.
func (s *sink) begin(ctx context.Context) (err error) {
	if s.tx != nil {
		return nil
	}
	// It outlives this call; Close rolls it back.
	if s.tx, err = s.db.BeginTx(context.WithoutCancel(ctx), nil); err != nil {
		return err
	}
	if s.records, err = s.tx.PrepareContext(ctx, "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"); err != nil {
		return err
	}
	s.block, err = s.tx.PrepareContext(ctx, "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
	return err
}

func (s *sink) insert(ctx context.Context, rec *wal.Record, tli wal.TimelineID) error {
	images := 0
	for i := range rec.Blocks {
		images += int(rec.Blocks[i].ImageLen)
	}
	var at any // NULL
	if us, ok := rec.XactTime(); ok {
		at = wal.TimestampTime(us).Format(time.RFC3339Nano)
	}
	if _, err := s.records.ExecContext(ctx, int64(rec.StartLSN), int64(rec.EndLSN), tli, rec.XID, rec.RmgrID.String(), rec.Operation(), rec.TotalLen, images, at); err != nil {
		return fmt.Errorf("%s: record at %s: %w", s.file, rec.StartLSN, err)
	}
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		if _, err := s.block.ExecContext(ctx, int64(rec.StartLSN), b.ID, b.Rel.Spc, b.Rel.DB, b.Rel.Rel, b.Fork, b.Block, b.ImageLen); err != nil {
			return fmt.Errorf("%s: block %d of the record at %s: %w", s.file, b.ID, rec.StartLSN, err)
		}
	}
	return nil
}

// Flush commits.
func (s *sink) Flush(ctx context.Context) (wal.LSN, error) {
	if s.tx == nil {
		return s.position.at.LSN, nil
	}
	if err := save(ctx, s.tx, s.position); err != nil {
		return 0, fmt.Errorf("%s: %w", s.file, err)
	}
	err := s.tx.Commit()
	s.tx = nil
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.file, err)
	}
	return s.position.at.LSN, nil
}

// Rewind removes what the new timeline never had.
func (s *sink) Rewind(ctx context.Context, e *sdk.Epoch) (wal.LSN, error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	p := &s.position
	switch {
	case p.at.LSN == 0: // it holds nothing
		p.at = wal.Position{Timeline: e.NewTimeline, LSN: e.SwitchLSN}
		p.first = e.SwitchLSN
	case p.at.Timeline != e.NewTimeline: // else it was told before, and the answer was lost
		limit, err := e.SwitchPoint(p.at.Timeline)
		if err != nil {
			return 0, err
		}
		if p.at.LSN > limit {
			if p.at.LSN, err = s.cut(ctx, limit); err != nil {
				return 0, err
			}
		}
		p.at.Timeline = e.NewTimeline
	}
	return s.Flush(ctx)
}

// cut removes what ends behind limit and answers where the last record that is
// left ends.
func (s *sink) cut(ctx context.Context, limit wal.LSN) (wal.LSN, error) {
	for _, q := range []string{
		"DELETE FROM block WHERE start_lsn IN (SELECT start_lsn FROM record WHERE end_lsn > ?)",
		"DELETE FROM record WHERE end_lsn > ?",
	} {
		if _, err := s.tx.ExecContext(ctx, q, int64(limit)); err != nil {
			return 0, fmt.Errorf("%s: %w", s.file, err)
		}
	}
	var end int64
	if err := s.tx.QueryRowContext(ctx, "SELECT coalesce(max(end_lsn), ?) FROM record", int64(s.position.first)).Scan(&end); err != nil {
		return 0, fmt.Errorf("%s: %w", s.file, err)
	}
	if wal.LSN(end) > limit {
		return 0, sdk.Permanentf("%s begins at %s, behind the end of its timeline at %s: remove it to begin anew", s.file, wal.LSN(end), limit)
	}
	return wal.LSN(end), nil
}

// Close lets another process have the database. What was not flushed is undone.
func (s *sink) Close(context.Context) (err error) {
	if s.tx != nil {
		err = s.tx.Rollback()
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	return errors.Join(err, s.lock.Close())
}
