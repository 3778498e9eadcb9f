package sdk

import (
	"iter"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// Batch is a stretch of WAL. It is borrowed until Write returns, and so is all
// that it hands out.
type Batch struct {
	view    wire.View
	raw     bool       // the sink subscribed to raw WAL
	records bool       // the sink subscribed to records
	rmgrs   *[256]bool // of these resource managers, nil all
	walFrom wal.LSN    // first byte that is new to the sink
	first   int        // first entry of the index that is new to the sink
	prev    wal.LSN    // To of the batch before
	to      wal.LSN    // see To
	joiner  joiner
	rec     wal.Record
	err     error // of the index, found while it was iterated
}

// Timeline is the timeline of the WAL.
func (b *Batch) Timeline() wal.TimelineID { return b.view.Timeline() }

// Version is the major version whose format the WAL has.
func (b *Batch) Version() wal.Version { return b.view.Version() }

// From is the position before this batch: To of the one before, of the first
// the position that the sink answered at Open, or where a new sink begins.
func (b *Batch) From() wal.LSN { return b.prev }

// To is the position after this batch: what Flush answers once it is durable.
// For a sink of raw WAL alone it is the LSN after the last byte; for a sink of
// records all records up to it have been handed over, and none is cut by it.
func (b *Batch) To() wal.LSN { return b.to }

// WAL is the raw WAL that is new to the sink, from WALStart to WALEnd; nil for a
// sink that did not subscribe to it.
func (b *Batch) WAL() []byte {
	if !b.raw {
		return nil
	}
	return b.view.WAL()[b.walFrom-b.view.WALStart():]
}

// WALStart is the LSN of the first byte of WAL.
func (b *Batch) WALStart() wal.LSN { return b.walFrom }

// WALEnd is the LSN after the last byte of WAL that was received, which may lie
// inside a record (the last-valid LSN).
func (b *Batch) WALEnd() wal.LSN { return b.view.WALEnd() }

// ServerTime is the server's clock when it sent the WAL, zero when unknown.
func (b *Batch) ServerTime() time.Time {
	if us := b.view.ServerTime(); us != 0 {
		return wal.TimestampTime(us)
	}
	return time.Time{}
}

// Records yields the batch's records in order, for a sink that subscribed to
// them. The record is overwritten by the next one. A record larger than
// 1 MiB ([wire.MaxWhole]) is put together up to the sink's limit ([MaxRecord]);
// a larger one comes as fragments (see [wal.Record.Whole]). Iterate them once and
// to the end: that is how the pieces are collected, from batch to batch.
func (b *Batch) Records() iter.Seq[*wal.Record] {
	return func(yield func(*wal.Record) bool) {
		for i := b.first; i < b.view.Len(); i++ {
			if b.err = b.view.Record(i, &b.rec); b.err != nil {
				return
			}
			rec := &b.rec
			if b.rmgrs != nil && !b.rmgrs[rec.RmgrID] {
				continue
			}
			if !rec.Whole() {
				if rec = b.joiner.add(rec); rec == nil {
					continue
				}
			}
			if !yield(rec) {
				return
			}
		}
	}
}
