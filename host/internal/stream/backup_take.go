package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/walplex/walplex/host/internal/basebackup"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// What a backup is asked for with, and how it is told of.
const (
	backupChecksums = "CRC32C" // as pg_basebackup
	backupLogEvery  = 30 * time.Second
	// backupRefusals is how often in a row a server may have no walsender left until
	// that is called final: the tries take some twenty seconds.
	backupRefusals = 9
)

// run takes the backup and sends it, up to its end; the sink's answer comes to the
// loop. want is the cluster that the stream is of.
func (b *backup) run(ctx context.Context, server replication.Config, want replication.System) error {
	conn, from, err := b.begin(ctx, server, want)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	start := from.Start()
	first := &wire.BackupChunk{StartLsn: uint64(start.LSN), Timeline: uint32(start.Timeline)}
	for _, t := range from.Tablespaces() {
		b.total.Add(max(t.Size, 0))
		if t.OID != 0 {
			first.Tablespaces = append(first.Tablespaces, &wire.BackupTablespace{Oid: t.OID, Location: t.Location})
		}
	}
	first.TotalBytes = uint64(b.total.Load())
	b.start.Store(&wal.Position{Timeline: start.Timeline, LSN: start.LSN})
	b.phase.Store(copying)
	b.life.log.Info("base backup: copying", "start", *b.start.Load(), "bytes_estimated", b.total.Load())
	to := &backupSender{b: b, ctx: ctx, logged: time.Now()}
	if err := to.send(first); err != nil {
		return err
	}
	got, err := basebackup.Receive(from, to, backupChecksums, want.SystemID)
	if err != nil {
		return err
	}
	end := from.End()
	b.life.log.Info("base backup: every file was held against the manifest; the sink makes it durable",
		"files", got.Files, "bytes", got.Bytes, "end_lsn", end.LSN)
	b.end = end.LSN
	b.phase.Store(finishing)
	return to.send(&wire.BackupChunk{EndLsn: uint64(end.LSN), Timeline: uint32(end.Timeline)})
}

// begin connects and has the server begin, as often as it takes: nothing was sent to
// the sink yet.
func (b *backup) begin(ctx context.Context, server replication.Config, want replication.System) (*replication.Conn, *replication.BaseBackup, error) {
	var again backoff
	for refused := 0; ; {
		conn, from, err := b.tryBegin(ctx, server, want)
		switch {
		case err == nil:
			b.problem.Store(nil)
			return conn, from, nil
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case permanent(err):
			return nil, nil, faultf("sink %q cannot have its base backup: %w", b.life.name, err)
		}
		var r *replication.Error
		if errors.As(err, &r) && r.ServerEnds {
			return nil, nil, err // the session ends too
		}
		if r != nil && r.NoRoom {
			if refused++; refused == backupRefusals {
				return nil, nil, faultf("sink %q cannot have its base backup, which needs one connection more than the stream: %w", b.life.name, err)
			}
		} else {
			refused = 0
		}
		text := err.Error()
		b.problem.Store(&text)
		b.phase.Store(connecting)
		d := again.delay()
		b.life.log.Warn("base backup: the server does not begin; trying again", "error", err, "in", d.Round(time.Millisecond))
		if !wait(ctx, d) {
			return nil, nil, ctx.Err()
		}
	}
}

func (b *backup) tryBegin(ctx context.Context, server replication.Config, want replication.System) (*replication.Conn, *replication.BaseBackup, error) {
	conn, err := replication.Connect(ctx, server)
	if err != nil {
		return nil, nil, err
	}
	sys, err := conn.IdentifySystem(ctx)
	if err == nil && sys.SystemID != want.SystemID {
		err = fmt.Errorf("the server has the system identifier %d, the stream is of %d: another cluster answers at this address", sys.SystemID, want.SystemID)
	}
	var from *replication.BaseBackup
	if err == nil {
		b.phase.Store(checkpointing)
		b.life.log.Info("base backup: waiting for the server's checkpoint", "server", conn.Server())
		from, err = conn.BaseBackup(ctx, replication.BaseBackupOptions{
			Label: "walplex " + b.life.name, Fast: true, ManifestChecksums: backupChecksums, TablespaceMap: true,
			Warning: func(text string) { b.life.log.Warn("base backup: the server warns", "text", text) }})
	}
	if err != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
		return nil, nil, err
	}
	return conn, from, nil
}

// backupSender sends a backup's files to the sink, never more ahead of it than the
// window.
type backupSender struct {
	b      *backup
	ctx    context.Context
	file   wire.BackupChunk // the one under way: its name, size and mode
	pos    uint64           // bytes of it that were sent
	buf    []byte           // that follow
	logged time.Time
}

// Directory implements [basebackup.Receiver].
func (s *backupSender) Directory(name string, mode fs.FileMode) error {
	return s.send(&wire.BackupChunk{File: name, Directory: true, Mode: uint32(mode.Perm())})
}

// Link is not sent: the first chunk names the tablespaces.
func (s *backupSender) Link(string, string) error { return nil }

// File implements [basebackup.Receiver].
func (s *backupSender) File(name string, size int64, mode fs.FileMode) error {
	s.file.File, s.file.Size, s.file.Mode = name, uint64(size), uint32(mode.Perm())
	s.pos = 0
	if size == 0 {
		return s.chunk(nil)
	}
	return nil
}

// Data implements [basebackup.Receiver].
func (s *backupSender) Data(p []byte) error {
	for len(p) > 0 {
		if s.buf == nil {
			s.buf = s.b.buffer()
		}
		n := min(len(p), wire.BackupChunkSize-len(s.buf))
		s.buf = append(s.buf, p[:n]...)
		p = p[n:]
		if len(s.buf) == wire.BackupChunkSize {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// End implements [basebackup.Receiver].
func (s *backupSender) End() error { return s.flush() }

// Manifest comes as the last file.
func (s *backupSender) Manifest(data []byte) error {
	return errors.Join(s.File("backup_manifest", int64(len(data)), 0o600), s.Data(data), s.End())
}

func (s *backupSender) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	data := s.buf
	s.buf = nil
	return s.chunk(data)
}

// chunk sends what follows of the file.
func (s *backupSender) chunk(data []byte) error {
	err := s.send(&wire.BackupChunk{File: s.file.File, Size: s.file.Size, Mode: s.file.Mode, Offset: s.pos, Data: data})
	s.pos += uint64(len(data))
	s.b.done.Add(int64(len(data)))
	if time.Since(s.logged) >= backupLogEvery {
		s.logged = time.Now()
		s.b.life.log.Info("base backup: copying", "bytes", s.b.done.Load(), "bytes_estimated", s.b.total.Load())
	}
	return err
}

// send waits until the sink may be sent a chunk.
func (s *backupSender) send(c *wire.BackupChunk) error {
	b := s.b
	for b.sent.Load()-b.taken.Load() >= wire.BackupWindow {
		select {
		case <-b.freed:
		case <-b.life.ended:
			return errSinkEnded
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	b.sent.Add(1)
	b.life.push(outgoing{message: &wire.HostMessage{Message: &wire.HostMessage_Backup{Backup: c}}, chunk: b})
	return s.ctx.Err()
}

// buffer is one for the next chunk.
func (b *backup) buffer() []byte {
	select {
	case p := <-b.free:
		return p[:0]
	default:
		return make([]byte, 0, wire.BackupChunkSize)
	}
}

// wasSent gives a chunk's buffer back.
func (b *backup) wasSent(c *wire.BackupChunk) {
	if cap(c.Data) == wire.BackupChunkSize {
		select {
		case b.free <- c.Data:
		default:
		}
	}
}

// tookChunks notes how many chunks the sink is done with. It is the listener's. An
// error says that the sink cannot mean it.
func (b *backup) tookChunks(n uint64) error {
	if sent := b.sent.Load(); n > sent {
		return faultf("sink %q is done with %d chunks of a base backup, of %d that it was sent; this is a fault of the sink's program", b.life.name, n, sent)
	}
	if n > b.taken.Load() {
		b.taken.Store(n)
		signal(b.freed)
	}
	return nil
}

// errSinkEnded ends a backup whose sink has gone, which is told by itself.
var errSinkEnded = errors.New("the sink has ended")
