package primary

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// sampleQuery reads a slot and what endangers it. Every role may run it; the data
// directory is NULL for those that may not see it. The JSON is for columns that
// not every version has: invalidation_reason is since PG17.
const sampleQuery = `
SELECT s.slot_name IS NOT NULL, s.slot_type, s.active, s.active_pid, s.restart_lsn, s.wal_status, s.safe_wal_size,
       to_jsonb(s) ->> 'invalidation_reason',
       CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END,
       (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
       (SELECT setting FROM pg_settings WHERE name = 'max_wal_size'),
       (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
       extract(epoch FROM pg_postmaster_start_time())::bigint
  FROM (VALUES (1)) one LEFT JOIN pg_replication_slots s ON s.slot_name = $1`

// The columns of sampleQuery.
const (
	colExists = iota
	colType
	colActive
	colPID
	colRestart
	colStatus
	colSafe
	colInvalidation
	colCurrent
	colKeepMB
	colMaxWALMB
	colDataDir
	colStarted
	columns
)

// Read takes a sample of a slot. systemID proves that a data directory found on
// this machine is the server's; 0: it is not looked for.
func Read(ctx context.Context, o *replication.Ordinary, slot string, systemID uint64) (Sample, error) {
	op := "read the state of slot " + slot
	rows, err := o.Query(ctx, op, sampleQuery, slot)
	if err != nil {
		return Sample{}, err
	}
	if len(rows) != 1 || len(rows[0]) != columns {
		return Sample{}, fmt.Errorf("%s: the server's answer does not have the expected form", op)
	}
	r := row{cells: rows[0]}
	s := Sample{
		At:           time.Now(),
		Exists:       r.cells[colExists] == "t",
		Physical:     r.cells[colType] == "physical",
		Active:       r.cells[colActive] == "t",
		PID:          int(r.integer(colPID)),
		Restart:      r.lsn(colRestart),
		Current:      r.lsn(colCurrent),
		WALStatus:    r.cells[colStatus],
		Invalidation: r.cells[colInvalidation],
		KeepSize:     r.megabytes(colKeepMB),
		MaxWALSize:   r.megabytes(colMaxWALMB),
	}
	if r.cells[colSafe] != "" {
		safe := r.integer(colSafe)
		s.Safe = &safe
	}
	started := r.integer(colStarted)
	if r.err != nil {
		return Sample{}, fmt.Errorf("%s: %w", op, r.err)
	}
	if disk, err := diskOf(place{r.cells[colDataDir], systemID, started}); err == nil {
		s.Disk = disk // else it stays unknown, which Sample says
	}
	return s, nil
}

// row reads cells and keeps the first error. A NULL is 0.
type row struct {
	cells []string
	err   error
}

func (r *row) integer(col int) int64 {
	if r.cells[col] == "" {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(r.cells[col]), 10, 64)
	if err != nil && r.err == nil {
		r.err = err
	}
	return n
}

// megabytes is a setting in MB as bytes, -1 as it is.
func (r *row) megabytes(col int) int64 {
	n := r.integer(col)
	if n < 0 {
		return -1
	}
	return n << 20
}

func (r *row) lsn(col int) wal.LSN {
	if r.cells[col] == "" {
		return 0
	}
	l, err := wal.ParseLSN(r.cells[col])
	if err != nil && r.err == nil {
		r.err = err
	}
	return l
}
