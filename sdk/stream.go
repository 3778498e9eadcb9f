package sdk

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// queueLimit bounds the messages that wait for the sink. Credits bound their
// bytes; this bounds a host that ignores them.
const queueLimit = 2048

// Progress after each block would cost more than the block itself, where blocks
// come through the shared ring: while more is queued, it is told after so many
// blocks, or so long a time. The last block that there is, or that comes before a
// flush, is told at once, and so is a flush.
const (
	reportBlocks = 8
	reportAfter  = 10 * time.Millisecond
)

// session is one Stream call: a reader that queues what the host sends, so that
// data arrives while the sink writes and fsyncs, and one worker that calls the
// sink.
type session struct {
	s       *server
	stream  wire.Sink_StreamServer
	sendMu  sync.Mutex // the worker's progress and the reader's heartbeats
	batcher *Batcher
	queue   chan *wire.HostMessage

	written, flushed, applied uint64 // LSNs
	flushNumber, released     uint64
	chunks                    uint64 // of a backup, taken

	untold   int // blocks, or chunks of a backup, that were not reported yet
	reported time.Time
}

// Stream delivers WAL to the sink.
func (s *server) Stream(stream wire.Sink_StreamServer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sink == nil {
		return status.Error(codes.FailedPrecondition, "the sink is not open")
	}
	if s.failed != nil {
		return status.Error(codes.FailedPrecondition, "the sink has failed and can only be closed: "+s.failed.Error())
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return status.Error(codes.InvalidArgument, "the stream does not begin with its start")
	}
	if s.backup != nil && start.FromLsn != 0 {
		return status.Error(codes.FailedPrecondition, "this sink is to begin with a base backup, which this version of walplex does not give: install a newer one, or set the sink to begin without")
	}
	ss := &session{s: s, stream: stream, queue: make(chan *wire.HostMessage, queueLimit),
		batcher: NewBatcher(s.def, wal.LSN(start.FromLsn))}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	received := make(chan error, 1)
	go func() { received <- ss.receive(ctx) }()
	if s.failed = ss.work(ctx); s.failed != nil {
		return ss.fault(s.failed)
	}
	return <-received
}

// receive queues what the host sends and answers heartbeats at once. It closes
// the queue when the host has closed its side.
func (ss *session) receive(ctx context.Context) error {
	defer close(ss.queue)
	for {
		m, err := ss.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if hb := m.GetHeartbeat(); hb != nil {
			if err := ss.sendMetrics(); err != nil {
				return err
			}
			if err := ss.send(&wire.SinkMessage{Message: &wire.SinkMessage_Heartbeat{Heartbeat: hb}}); err != nil {
				return err
			}
			continue
		}
		select {
		case ss.queue <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// work calls the sink for each message in order, until the queue ends.
func (ss *session) work(ctx context.Context) error {
	for m := range ss.queue {
		switch x := m.Message.(type) {
		case *wire.HostMessage_Backup:
			if err := ss.takeBackup(ctx, x.Backup); err != nil {
				return err
			}
			if ss.untold++; !ss.due() {
				continue
			}
		case *wire.HostMessage_Block:
			if err := ss.write(ctx, x.Block); err != nil {
				return err
			}
			if ss.untold++; !ss.due() {
				continue
			}
		case *wire.HostMessage_Flush:
			// It may take long, and somebody may wait for no more than written.
			if err := ss.catchUp(); err != nil {
				return err
			}
			lsn, err := ss.s.sink.Flush(ctx)
			if err != nil {
				return err
			}
			ss.flushed, ss.flushNumber = uint64(lsn), x.Flush.Number
		case *wire.HostMessage_Epoch:
			if err := ss.rewind(ctx, x.Epoch); err != nil {
				return err
			}
			continue
		case *wire.HostMessage_RetainFrom:
			if r, ok := ss.s.sink.(Retainer); ok {
				if err := r.Retain(ctx, wal.Position{Timeline: wal.TimelineID(x.RetainFrom.Timeline), LSN: wal.LSN(x.RetainFrom.Lsn)}); err != nil {
					return err
				}
			}
			if err := ss.tellAtRest(); err != nil {
				return err
			}
			continue
		default: // of no concern to this sink, or of a newer host
			if err := ss.tellAtRest(); err != nil {
				return err
			}
			continue
		}
		if err := ss.report(); err != nil {
			return err
		}
	}
	return nil
}

// takeBackup takes a chunk of a base backup. WAL follows the last one, from the
// backup's start on.
func (ss *session) takeBackup(ctx context.Context, c *wire.BackupChunk) error {
	b := ss.s.backup
	if b == nil {
		return Permanentf("a base backup comes that this sink did not wish for, or has already")
	}
	done, err := b.take(ctx, c)
	if err != nil {
		return err
	}
	ss.chunks++
	if !done {
		return nil
	}
	at := b.position()
	ss.s.backup = nil
	ss.s.result = OpenResult{SystemID: b.system.ID, Position: at}
	ss.batcher = NewBatcher(ss.s.def, at.LSN)
	ss.written, ss.flushed = uint64(at.LSN), uint64(at.LSN)
	return ss.send(&wire.SinkMessage{Message: &wire.SinkMessage_BackupDone{BackupDone: &wire.BackupDone{Timeline: uint32(at.Timeline), Lsn: uint64(at.LSN)}}})
}

func (ss *session) write(ctx context.Context, b *wire.Block) error {
	if ss.s.backup != nil {
		return Permanentf("WAL comes before the base backup that this sink wished for is whole")
	}
	data, err := ss.s.blockBytes(b)
	if err != nil {
		return err
	}
	batch, err := ss.batcher.Next(data, wal.LSN(b.WalFrom), int(b.RecordFrom))
	if err != nil {
		return err
	}
	if err := ss.s.sink.Write(ctx, batch); err != nil {
		return err
	}
	ss.written = uint64(batch.To())
	ss.released++
	return ss.batcher.Err()
}

// rewind has the sink follow a switch of timelines. What comes after it begins
// at the position that it answers.
func (ss *session) rewind(ctx context.Context, e *wire.Epoch) error {
	if err := ss.catchUp(); err != nil {
		return err
	}
	r, ok := ss.s.sink.(Rewinder)
	if !ok || !ss.s.def.rewinder {
		return Permanentf("timeline %d ended at %s and timeline %d begins: this sink does not follow a switch of timelines; give it a new directory, or whatever it keeps its data in, to begin on the new one",
			e.OldTimeline, wal.LSN(e.SwitchLsn), e.NewTimeline)
	}
	lsn, err := r.Rewind(ctx, &Epoch{OldTimeline: wal.TimelineID(e.OldTimeline), SwitchLSN: wal.LSN(e.SwitchLsn),
		NewTimeline: wal.TimelineID(e.NewTimeline), HistoryFile: e.HistoryFileName, History: e.HistoryFile})
	if err != nil {
		return err
	}
	ss.batcher = NewBatcher(ss.s.def, lsn)
	ss.written, ss.flushed = uint64(lsn), uint64(lsn)
	ss.s.result.Position = wal.Position{Timeline: wal.TimelineID(e.NewTimeline), LSN: lsn}
	return ss.send(&wire.SinkMessage{Message: &wire.SinkMessage_EpochDone{EpochDone: &wire.EpochDone{Timeline: e.NewTimeline, Lsn: uint64(lsn)}}})
}

// due reports whether the host is to be told now.
func (ss *session) due() bool {
	return len(ss.queue) == 0 || ss.untold >= reportBlocks || time.Since(ss.reported) >= reportAfter
}

// tellAtRest tells the host what was kept back because more was coming, which
// turned out to be nothing that is reported: the host may have to wait for it.
func (ss *session) tellAtRest() error {
	if len(ss.queue) > 0 {
		return nil
	}
	return ss.catchUp()
}

// catchUp tells the host of the blocks that it was not told of yet.
func (ss *session) catchUp() error {
	if ss.untold == 0 {
		return nil
	}
	return ss.report()
}

func (ss *session) report() error {
	ss.untold, ss.reported = 0, time.Now()
	if a, ok := ss.s.sink.(Applier); ok && ss.s.def.applied && ss.s.backup == nil {
		ss.applied = uint64(a.Applied())
	}
	return ss.send(&wire.SinkMessage{Message: &wire.SinkMessage_Progress{Progress: &wire.Progress{
		WrittenLsn: ss.written, FlushedLsn: ss.flushed, AppliedLsn: ss.applied,
		FlushNumber: ss.flushNumber, ReleasedBlocks: ss.released, BackupChunks: ss.chunks,
	}}})
}

// sendMetrics tells the host of the sink's own numbers, where it has some.
func (ss *session) sendMetrics() error {
	if m := ss.s.metrics.wire(); len(m.Metrics) > 0 {
		return ss.send(&wire.SinkMessage{Message: &wire.SinkMessage_Metrics{Metrics: m}})
	}
	return nil
}

func (ss *session) send(m *wire.SinkMessage) error {
	ss.sendMu.Lock()
	defer ss.sendMu.Unlock()
	return ss.stream.Send(m)
}

// fault tells the host why the sink gives up. The stream then ends.
func (ss *session) fault(err error) error {
	if ss.stream.Context().Err() != nil {
		return ss.stream.Context().Err()
	}
	kind := wire.Fault_RETRYABLE
	if IsPermanent(err) {
		kind = wire.Fault_PERMANENT
	}
	f := &wire.Fault{Kind: kind, Reason: err.Error()}
	return ss.send(&wire.SinkMessage{Message: &wire.SinkMessage_Fault{Fault: f}})
}
