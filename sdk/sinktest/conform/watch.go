package conform

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

// watch hears what a sink says on one Stream, and holds each answer to the rules.
type watch struct {
	records []waltest.Appended // of the WAL that is sent
	raw     bool

	mu      sync.Mutex
	changed chan struct{} // closed at every change

	sentTo   wal.LSN   // what may be acknowledged
	blocks   uint64    // sent
	ends     []wal.LSN // sentTo after each block
	asked    uint64    // number of the last flush request
	progress wire.Progress
	beat     uint64 // number of the last heartbeat answered
	fault    *wire.Fault
	epoch    *wire.EpochDone
	// Of a base backup:
	chunksSent uint64
	backupAt   wal.LSN // where the sink is with it, once all was sent
	backupDone *wire.BackupDone
	broken     error // the first rule that was broken
	ended      bool
	endErr     error // why, nil: it was asked for, or after a fault
}

func newWatch(raw bool, records []waltest.Appended, at wal.LSN) *watch {
	return &watch{raw: raw, records: records, changed: make(chan struct{}), sentTo: at,
		progress: wire.Progress{WrittenLsn: uint64(at), FlushedLsn: 0}}
}

// note changes the state and wakes whoever waits for it.
func (w *watch) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	close(w.changed)
	w.changed = make(chan struct{})
}

// listen hears the stream until its end.
func (w *watch) listen(st wire.Sink_StreamClient) {
	for {
		m, err := st.Recv()
		if err != nil {
			w.note(func() {
				w.ended = true
				if !errors.Is(err, io.EOF) {
					w.endErr = err
				}
			})
			return
		}
		w.note(func() {
			switch x := m.Message.(type) {
			case *wire.SinkMessage_Progress:
				w.take(x.Progress)
			case *wire.SinkMessage_Heartbeat:
				w.beat = x.Heartbeat.GetNumber()
			case *wire.SinkMessage_Fault:
				w.fault = x.Fault
			case *wire.SinkMessage_EpochDone:
				w.epoch = x.EpochDone
			case *wire.SinkMessage_BackupDone:
				w.holdsBackup(x.BackupDone)
			}
		})
	}
}

// take checks a progress against what was sent and what was said before.
func (w *watch) take(p *wire.Progress) {
	if err := w.judge(p); err != nil && w.broken == nil {
		w.broken = err
	}
	w.progress = wire.Progress{WrittenLsn: p.WrittenLsn, FlushedLsn: max(p.FlushedLsn, w.progress.FlushedLsn), AppliedLsn: p.AppliedLsn,
		FlushNumber: p.FlushNumber, ReleasedBlocks: p.ReleasedBlocks, BackupChunks: p.BackupChunks}
}

func (w *watch) judge(p *wire.Progress) error {
	old := &w.progress
	written, flushed, applied := wal.LSN(p.WrittenLsn), wal.LSN(p.FlushedLsn), wal.LSN(p.AppliedLsn)
	switch {
	case max(written, flushed, applied) > w.sentTo:
		return violation(RuleSent, "the sink says written %s, flushed %s, applied %s, but was sent WAL up to %s", written, flushed, applied, w.sentTo)
	case written != 0 && p.WrittenLsn < old.WrittenLsn, flushed != 0 && p.FlushedLsn < old.FlushedLsn, applied != 0 && p.AppliedLsn < old.AppliedLsn:
		return violation(RuleForward, "written %s after %s, flushed %s after %s, applied %s after %s", written, wal.LSN(old.WrittenLsn),
			flushed, wal.LSN(old.FlushedLsn), applied, wal.LSN(old.AppliedLsn))
	case flushed > max(written, wal.LSN(old.WrittenLsn)):
		return violation(RuleSent, "the sink says flushed %s, but written only %s", flushed, written)
	case p.ReleasedBlocks > w.blocks || p.ReleasedBlocks < old.ReleasedBlocks:
		return violation(RuleRelease, "the sink gives back %d blocks after %d, of %d that it was sent", p.ReleasedBlocks, old.ReleasedBlocks, w.blocks)
	case p.BackupChunks > w.chunksSent || p.BackupChunks < old.BackupChunks:
		return violation(RuleRelease, "the sink is done with %d chunks of a base backup after %d, of %d that it was sent", p.BackupChunks, old.BackupChunks, w.chunksSent)
	case p.FlushNumber > w.asked || p.FlushNumber < old.FlushNumber:
		return violation(RuleFlush, "the sink answers flush %d after %d, of %d that were asked for", p.FlushNumber, old.FlushNumber, w.asked)
	}
	return w.inside(flushed)
}

// inside finds a record sink's position in the middle of a record.
func (w *watch) inside(lsn wal.LSN) error {
	if w.raw {
		return nil
	}
	i := sort.Search(len(w.records), func(i int) bool { return w.records[i].End > lsn })
	if i < len(w.records) && w.records[i].Start < lsn {
		return violation(RuleRecordEnd, "%s is inside the record from %s to %s", lsn, w.records[i].Start, w.records[i].End)
	}
	return nil
}

// await waits until cond holds, which is called with the lock. A rule that was
// broken, a fault and the stream's end come first.
func (w *watch) await(patience time.Duration, what string, cond func() bool) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		w.mu.Lock()
		ok, broken, fault, ended, err, changed := cond(), w.broken, w.fault, w.ended, w.endErr, w.changed
		w.mu.Unlock()
		switch {
		case broken != nil:
			return broken
		case ok:
			return nil
		case fault != nil:
			return &gaveUp{fault}
		case ended:
			return fmt.Errorf("the stream ended before %s: %s", what, status.Convert(err).Message())
		}
		select {
		case <-changed:
		case <-late.C:
			w.note(func() { w.broken = violation(RuleAnswer, "%s did not happen within %s", what, patience) })
		}
	}
}

// firstOf is the first of the errors of steps that were done in this order. Once
// one has failed the others fail at once.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// gaveUp is a fault that the sink has told.
type gaveUp struct{ fault *wire.Fault }

func (e *gaveUp) Error() string {
	return fmt.Sprintf("the sink gave up (%s): %s", e.fault.Kind, e.fault.Reason)
}
