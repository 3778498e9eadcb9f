package sdk

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// Batcher makes the batches of one sink out of the blocks that it is sent, and
// checks that they follow each other without a gap. Serve and package sinktest
// use it; a sink does not.
type Batcher struct {
	batch   Batch
	walOnly bool
	started bool
	walEnd  wal.LSN // of the block before
}

// NewBatcher makes one for a sink of this definition whose position is at.
func NewBatcher(d *Definition, at wal.LSN) *Batcher {
	b := &Batcher{walOnly: d.wal && !d.records}
	b.batch = Batch{raw: d.wal, records: d.records, prev: at, joiner: joiner{limit: d.maxRecord}}
	if len(d.rmgrs) > 0 {
		b.batch.rmgrs = new([256]bool)
		for _, id := range d.rmgrs {
			b.batch.rmgrs[id] = true
		}
	}
	return b
}

// Next makes the batch of a block. walFrom and recordFrom are what the host says
// of what the sink has already. The batch is valid until the next call.
func (b *Batcher) Next(block []byte, walFrom wal.LSN, recordFrom int) (*Batch, error) {
	v, err := wire.ParseBlock(block, b.walOnly)
	if err != nil {
		return nil, err
	}
	if b.batch.raw && !v.HasWAL() {
		return nil, fmt.Errorf("block of WAL from %s to %s comes without raw WAL, which this sink subscribed to", v.WALStart(), v.WALEnd())
	}
	if walFrom == 0 {
		walFrom = v.WALStart()
	}
	if walFrom < v.WALStart() || walFrom > v.WALEnd() || recordFrom < 0 || recordFrom > v.Len() {
		return nil, fmt.Errorf("block of WAL from %s to %s was to be taken from %s, record %d of %d: that is not inside it",
			v.WALStart(), v.WALEnd(), walFrom, recordFrom, v.Len())
	}
	// A record that was incomplete when the source was restarted comes again from
	// its start: for a sink of records that is no repetition.
	if b.started && (walFrom > b.walEnd || walFrom < b.walEnd && !b.batch.records) {
		return nil, fmt.Errorf("gap in the stream: WAL up to %s is followed by WAL from %s", b.walEnd, walFrom)
	}
	if b.started {
		b.batch.prev = b.batch.to
	}
	b.started, b.walEnd = true, v.WALEnd()
	b.batch.view, b.batch.walFrom, b.batch.first, b.batch.err = v, walFrom, recordFrom, nil
	// Now, because the memory of the block before may have been used again by the
	// time the next one comes.
	b.batch.to = v.WALEnd()
	if b.batch.records {
		// A new sink may begin inside a record, which is not its own.
		b.batch.to = max(b.batch.prev, v.RecordsEnd())
	}
	return &b.batch, nil
}

// Err is what was wrong with the index of the last batch, found while it was
// iterated.
func (b *Batcher) Err() error { return b.batch.err }
