// Package sinktest drives a sink in a test as the host would, in the test's own
// process: WAL goes through the record reader and the block layout, and the sink
// gets what is new to it.
package sinktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
	"github.com/walplex/walplex/sdk/wire/ring"
)

// Options of a session.
type Options struct {
	// Start is where a new sink begins; streaming starts at its segment's start.
	Start wal.LSN
	// LockWait is handed to Open; 0 is one second.
	LockWait time.Duration
	// History is the history file of the system's timeline, handed to Open.
	History []byte
}

// Session is one life of a sink, from Open to Close.
type Session struct {
	sink    sdk.Sink
	def     *sdk.Definition
	sys     sdk.System
	result  sdk.OpenResult
	begin   wal.LSN // records that start before it are not a new sink's; 0 for one that held something
	at      wal.LSN // the sink's position, or where a new one begins
	next    wal.LSN // first byte of WAL that Deliver takes
	asm     *wire.Assembler
	batcher *sdk.Batcher
	buf     []byte
}

// Open decodes the configuration, which is a value that encoding/json turns into
// an object of the sink's attributes, or that object as []byte, and opens the sink.
func Open(ctx context.Context, def *sdk.Definition, config any, sys sdk.System, o Options) (*Session, error) {
	raw, ok := config.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(config); err != nil {
			return nil, err
		}
	}
	sink, err := def.NewSink(raw)
	if err != nil {
		return nil, err
	}
	return OpenSink(ctx, def, sink, sys, o)
}

// OpenSink opens a sink that was made by other means, as one with a file system
// of the test's.
func OpenSink(ctx context.Context, def *sdk.Definition, sink sdk.Sink, sys sdk.System, o Options) (*Session, error) {
	if o.LockWait == 0 {
		o.LockWait = time.Second
	}
	res, err := sink.Open(ctx, &sdk.OpenRequest{Stream: "test", Sink: "test", System: sys, LockWait: o.LockWait, History: o.History, Metrics: new(sdk.Metrics), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	s := &Session{sink: sink, def: def, sys: sys, result: res, at: res.Position.LSN, buf: slot()}
	if res.New {
		s.at = o.Start
		if def.Raw() && !def.WantsRecords() {
			s.at = sys.SegmentSize.Start(o.Start)
		}
		s.begin = s.at
	}
	s.restart()
	return s, nil
}

// slot is memory like a slot of the shared ring, which begins with a page.
func slot() []byte {
	b := make([]byte, ring.SlotSize+durable.DirectAlign)
	for !durable.Aligned(b[:0], 0) {
		b = b[1:]
	}
	return b[:0]
}

// Backup gives a new sink that wants one a base backup of these files, which begins
// and ends at these positions. Deliver then takes the WAL from the backup's start on,
// from the start of its segment.
func (s *Session) Backup(ctx context.Context, files fs.FS, start, end wal.Position) error {
	to, ok := s.sink.(sdk.BackupReceiver)
	if !ok || !s.result.WantsBackup {
		return fmt.Errorf("the sink %s wants no base backup", s.def.Type())
	}
	if err := to.BeginBackup(ctx, &sdk.BackupStart{Start: start}); err != nil {
		return err
	}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		return backUp(ctx, to, files, name, d)
	})
	if err != nil {
		return err
	}
	if err := to.EndBackup(ctx, end); err != nil {
		return err
	}
	s.at, s.begin, s.sys.Timeline = start.LSN, 0, start.Timeline
	if s.def.Raw() {
		s.at = s.sys.SegmentSize.Start(start.LSN)
	}
	s.restart()
	return nil
}

// backUp hands over one file or directory.
func backUp(ctx context.Context, to sdk.BackupReceiver, files fs.FS, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	f := &sdk.BackupFile{Name: name, Mode: info.Mode() & (fs.ModePerm | fs.ModeDir)}
	if d.IsDir() {
		return to.BackupFile(ctx, f)
	}
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	f.Size = int64(len(content))
	if err := to.BackupFile(ctx, f); err != nil {
		return err
	}
	for p := range slices.Chunk(content, wire.BackupChunkSize) {
		if err := to.BackupData(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// restart reads WAL from the start of the segment of the sink's position on.
func (s *Session) restart() {
	s.next = s.sys.SegmentSize.Start(s.at)
	reader := xlogreader.New(s.next, xlogreader.Options{SystemID: s.sys.ID, SegmentSize: s.sys.SegmentSize, Timeline: s.sys.Timeline, MaxWhole: wire.MaxWhole})
	s.asm = wire.NewAssembler(reader, s.sys.Timeline, s.next)
	s.batcher = sdk.NewBatcher(s.def, s.at)
}

// Epoch tells the sink of a switch of timelines and answers its position on the
// new one. Deliver then takes WAL of the new timeline, from Next on.
func (s *Session) Epoch(ctx context.Context, e *sdk.Epoch) (wal.LSN, error) {
	r, ok := s.sink.(sdk.Rewinder)
	if !ok {
		return 0, fmt.Errorf("the sink %s does not follow a switch of timelines", s.def.Type())
	}
	lsn, err := r.Rewind(ctx, e)
	if err != nil {
		return 0, err
	}
	s.sys.Timeline, s.at, s.begin = e.NewTimeline, lsn, 0
	s.restart()
	return lsn, nil
}

// Result is what the sink answered at Open.
func (s *Session) Result() sdk.OpenResult { return s.result }

// Next is the LSN of the first byte that Deliver takes: at first the start of
// the segment of the sink's position.
func (s *Session) Next() wal.LSN { return s.next }

// Deliver hands over the WAL that follows Next, cut into blocks.
func (s *Session) Deliver(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		if s.asm.NeedsBuffer() {
			s.asm.SetBuffer(s.buf)
		}
		n, err := s.asm.Append(p, 0)
		p = p[n:]
		s.next += wal.LSN(n)
		if err2 := s.write(ctx, s.asm.Seal()); err2 != nil {
			return err2
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) write(ctx context.Context, block []byte) error {
	s.buf = block
	v, err := wire.ParseBlock(block, false)
	if err != nil {
		return err
	}
	if v.WALEnd() <= s.at {
		return nil
	}
	recordFrom := 0
	if s.def.WantsRecords() {
		recordFrom = v.FirstRecord(s.at, s.begin)
	} else {
		block = v.WALOnly()
	}
	b, err := s.batcher.Next(block, max(s.at, v.WALStart()), recordFrom)
	if err != nil {
		return err
	}
	return errors.Join(s.sink.Write(ctx, b), s.batcher.Err())
}

// Flush asks the sink to make everything durable.
func (s *Session) Flush(ctx context.Context) (wal.LSN, error) { return s.sink.Flush(ctx) }

// Close closes the sink.
func (s *Session) Close(ctx context.Context) error { return s.sink.Close(ctx) }

// Kill forgets the sink without closing it, as a crash does.
func (s *Session) Kill() { s.sink = nil }

func (s *Session) String() string { return fmt.Sprintf("%s at %s", s.def.Type(), s.next) }
