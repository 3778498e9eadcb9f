package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// Sink takes the WAL of one stream. The package documentation says what the
// host promises and what it expects.
type Sink interface {
	// Open acquires what the sink owns and answers its position. It is the first
	// call and comes once. The configuration was decoded and validated before.
	//
	// A sink that owns a directory locks it, and waits up to req.LockWait for a
	// predecessor that is still dying. Where what it holds belongs to another
	// cluster than req.System it still answers its position and that system
	// identifier: the host compares, and explains.
	Open(ctx context.Context, req *OpenRequest) (OpenResult, error)

	// Write takes one batch, which is borrowed until it returns. Nothing has to be
	// durable yet.
	Write(ctx context.Context, b *Batch) error

	// Flush makes everything written so far durable and answers the LSN up to
	// which that holds: normally To of the last batch. An error means that
	// durability is not known: the sink is closed and started again, and must find
	// its position from what is really there.
	Flush(ctx context.Context) (wal.LSN, error)

	// Close releases everything. It follows a successful Open whatever happened in
	// between; a Flush comes before it when the stream ends in order.
	Close(ctx context.Context) error
}

// Applier is a sink that makes what it was given visible to readers at another
// moment than it makes it durable. Sinks without it have no apply position.
type Applier interface {
	// Applied is the LSN up to which readers see everything written. It is asked
	// after each Write and Flush.
	Applied() wal.LSN
}

// Rewinder is a sink that follows a switch of timelines, as after a promotion.
type Rewinder interface {
	// Rewind ends the old timeline: what was written beyond e.SwitchLSN never
	// belonged to the new one. The sink leaves that out from now on, makes its
	// position on the new timeline durable, and answers it, for delivery to go on
	// from there: at most e.SwitchLSN; of a sink of records the end of a record, of
	// one of raw WAL the start of the switch point's segment, since the new timeline
	// has that segment from its start. It comes between two Writes, and again where
	// the sink died before it had answered.
	Rewind(ctx context.Context, e *Epoch) (wal.LSN, error)
}

// Retainer is a sink that removes what it holds after a time.
type Retainer interface {
	// Retain tells the position from which on another sink, or the server's slot,
	// still needs WAL: the sink keeps what it holds from there on, whatever its own
	// rules say. It comes between two Writes, from time to time, and never before
	// the first one is known.
	Retain(ctx context.Context, from wal.Position) error
}

// Epoch is a switch of timelines.
type Epoch struct {
	OldTimeline wal.TimelineID
	SwitchLSN   wal.LSN // where the old timeline ends and the new one begins
	NewTimeline wal.TimelineID
	// HistoryFile is the name of the new timeline's history file, History its bytes.
	HistoryFile string
	History     []byte
}

// Reader is a sink that keeps WAL and gives it back: the host serves new and
// lagging sinks, and gaps, through it.
type Reader interface {
	// ReadWAL calls emit with consecutive pieces of the timeline's WAL from from
	// on, at most 256 KiB each, borrowed by emit until it returns, and ends at to,
	// or, when to is 0, with what is durable. WAL that is not there is an error
	// that wraps [ErrNotHeld]. It may be called while Write and Flush run, several
	// times at once; Close comes after all have returned, for which ctx is cancelled.
	ReadWAL(ctx context.Context, tli wal.TimelineID, from, to wal.LSN, emit func(lsn wal.LSN, p []byte) error) error
}

// ErrNotHeld is returned by a Reader for WAL that it does not keep.
var ErrNotHeld = errors.New("this WAL is not held here")

// System is the identity of the cluster that the WAL comes from.
type System struct {
	ID            uint64          // system identifier
	Timeline      wal.TimelineID  // that is about to be streamed
	SegmentSize   wal.SegmentSize // wal_segment_size
	ServerVersion int             // server_version_num, e.g. 150018
}

// OpenRequest is what a sink is told at Open.
type OpenRequest struct {
	Stream   string // name of the stream in the configuration
	Sink     string // name of the sink in the stream
	System   System
	LockWait time.Duration // how long to wait for a directory's lock
	// Known is what a life of the sink before this one had flushed, as it told this
	// host; LSN 0: nothing is known. A sink that keeps files and finds none is not new
	// then: a file system is not mounted, or somebody has removed them. It returns an
	// error, and is tried again.
	Known wal.Position
	// History is the history file of System.Timeline, empty on timeline 1.
	History []byte
	// Filtered says that the user gave the sink a filter: records are missing by
	// intention. Batches cover the whole WAL all the same.
	Filtered bool
	// Metrics are shown in the host's /metrics. It is not nil.
	Metrics *Metrics
	// Logger writes lines that arrive in the host's log under the sink's name.
	Logger *slog.Logger
}

// MustHold is the error of a sink that finds nothing where it keeps its data,
// though it had flushed something there before; nil where nothing is known of it.
// A sink that keeps files asks before it makes any.
func (r *OpenRequest) MustHold(where string) error {
	if r.Known.LSN == 0 {
		return nil
	}
	return fmt.Errorf("%s is empty, though WAL up to %s was flushed to it before: a file system is not mounted there, or somebody has removed the files. "+
		"Nothing was written; mount it, or restart walplex to begin anew", where, r.Known)
}

// OpenResult is a sink's answer to Open.
type OpenResult struct {
	// New says that the sink holds nothing; SystemID and Position are then not read.
	New      bool
	SystemID uint64       // of the cluster whose WAL is held
	Position wal.Position // everything before it is held durably
	// WantsBackup asks for a base backup before the WAL; only with New, of a
	// [BackupReceiver].
	WantsBackup bool
}

// permanentError is an error that a restart does not cure.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error that a restart of the sink cannot cure: a person must
// act first. Its text says what to do. All other errors are retried.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// Permanentf is [Permanent] of fmt.Errorf.
func Permanentf(format string, args ...any) error {
	return Permanent(fmt.Errorf(format, args...))
}

// IsPermanent reports whether err, or what it wraps, was marked with [Permanent].
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}
