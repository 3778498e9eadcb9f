package sdk

import (
	"context"
	"io/fs"
	"strings"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// BackupReceiver is a sink that can begin with a base backup: pages and files that
// the WAL alone does not have. It answers WantsBackup at Open, and has the option
// [BaseBackup]. The calls come after Open and before the first Write:
//
//	BeginBackup, then for each file BackupFile and BackupData, then EndBackup
//
// Nothing of it counts before EndBackup has returned: a sink that dies earlier, or
// is closed, is new at its next Open, wishes again, and throws away what it has of
// the first one. A backup is never resumed.
//
// Delivery then begins as to a new sink, with the records that start at or after
// the backup's start. That is a checkpoint's redo pointer, so the end of the record
// before it may lie a page header lower. The pages of the backup are of any moment
// between its start and its end: one may hold changes of records that are still to
// come, up to End, which pd_lsn tells.
type BackupReceiver interface {
	// BeginBackup comes first, once in a life.
	BeginBackup(ctx context.Context, b *BackupStart) error

	// BackupFile begins a file or, where its Mode says so, tells of a directory. A
	// file's data follows, Size bytes of it. Directories that hold nothing are told of
	// too; those of a tablespace need not be. The last file is backup_manifest.
	BackupFile(ctx context.Context, f *BackupFile) error

	// BackupData is what follows of the file, at most 256 KiB, borrowed until it
	// returns. The host sends a few MiB ahead: it waits for a sink that takes long.
	BackupData(ctx context.Context, p []byte) error

	// EndBackup tells that the backup is whole: every file was held against the
	// server's manifest. The sink makes it durable, with its position, which is the
	// backup's start; a sink of raw WAL is at the start of that segment. end is where
	// the WAL ends that makes the backup consistent.
	EndBackup(ctx context.Context, end wal.Position) error
}

// BackupStart is what is known of a backup when it begins.
type BackupStart struct {
	Start       wal.Position // from which on the backup needs WAL
	Bytes       int64        // of all files, as the server has estimated them; 0 unknown
	Tablespaces []BackupTablespace
}

// BackupTablespace is a tablespace of a backup, besides the data directory. Its
// files are below pg_tblspc/OID.
type BackupTablespace struct {
	OID      wal.OID
	Location string // directory on the server
}

// BackupFile is a file or directory of a backup.
type BackupFile struct {
	Name string      // path in the data directory, with slashes; it never leads out of it
	Size int64       // bytes, 0 of a directory
	Mode fs.FileMode // permission bits, and fs.ModeDir
}

// BaseBackup says that the sink implements [BackupReceiver], and with which
// configuration it wishes for a backup when it is new: so `walplex validate` tells
// of a stream that cannot give one. wants is nil for a sink that always does.
func BaseBackup[C any](wants func(config *C) bool) Option {
	return func(d *Definition) {
		d.wantsBackup = func(c any) bool {
			config, ok := c.(*C)
			return wants == nil || ok && wants(config)
		}
	}
}

// wishes are what the sink will ask for with a configuration; nil: nothing.
func (d *Definition) wishes(config any) *wire.Wishes {
	if config == nil || d.wantsBackup == nil || !d.wantsBackup(config) {
		return nil
	}
	return &wire.Wishes{BaseBackup: true}
}

// checkWish refuses a wish that the sink's program cannot mean.
func (d *Definition) checkWish(sink Sink, res OpenResult) error {
	_, takes := sink.(BackupReceiver)
	switch {
	case !res.WantsBackup:
		return nil
	case !res.New:
		return Permanentf("the sink wants a base backup, but is not new: only one that holds nothing can begin with a backup; this is a fault of its program")
	case !takes || d.wantsBackup == nil:
		return Permanentf("the sink wants a base backup, but lacks the methods of sdk.BackupReceiver or the option sdk.BaseBackup; this is a fault of its program")
	}
	return nil
}

// backup is a base backup that comes in.
type backup struct {
	to     BackupReceiver
	system System
	raw    bool // the sink takes raw WAL

	start wal.Position // zero: it has not begun
	file  string       // that is under way
	pos   uint64       // bytes of it
	size  uint64
}

// take hands over a chunk. done is true with the last one, which the sink then
// holds durably.
func (b *backup) take(ctx context.Context, c *wire.BackupChunk) (done bool, err error) {
	switch {
	case c.StartLsn != 0:
		return false, b.begin(ctx, c)
	case b.start.LSN == 0:
		return false, Permanentf("the backup does not begin with its start")
	case c.EndLsn != 0:
		if b.pos != b.size {
			return false, b.broken(c)
		}
		return true, b.to.EndBackup(ctx, wal.Position{Timeline: wal.TimelineID(c.Timeline), LSN: wal.LSN(c.EndLsn)})
	case c.File == "":
		return false, nil // of a newer host
	case c.Directory || c.Offset == 0 && b.pos == b.size:
		if err := b.next(ctx, c); err != nil || c.Directory {
			return false, err
		}
	}
	if c.File != b.file || c.Offset != b.pos || uint64(len(c.Data)) > b.size-b.pos {
		return false, b.broken(c)
	}
	b.pos += uint64(len(c.Data))
	if len(c.Data) == 0 {
		return false, nil
	}
	return false, b.to.BackupData(ctx, c.Data)
}

func (b *backup) begin(ctx context.Context, c *wire.BackupChunk) error {
	if b.start.LSN != 0 {
		return Permanentf("a second backup begins at %s in one life of the sink", wal.LSN(c.StartLsn))
	}
	b.start = wal.Position{Timeline: wal.TimelineID(c.Timeline), LSN: wal.LSN(c.StartLsn)}
	s := &BackupStart{Start: b.start, Bytes: int64(c.TotalBytes)}
	for _, t := range c.Tablespaces {
		s.Tablespaces = append(s.Tablespaces, BackupTablespace{OID: wal.OID(t.Oid), Location: t.Location})
	}
	return b.to.BeginBackup(ctx, s)
}

// next begins a file or directory.
func (b *backup) next(ctx context.Context, c *wire.BackupChunk) error {
	if b.pos != b.size || !fs.ValidPath(c.File) || strings.Contains(c.File, `\`) {
		return b.broken(c)
	}
	f := &BackupFile{Name: c.File, Size: int64(c.Size), Mode: fs.FileMode(c.Mode) & fs.ModePerm}
	b.file, b.pos, b.size = c.File, 0, c.Size
	if c.Directory {
		f.Mode |= fs.ModeDir
		f.Size, b.size = 0, 0
	}
	return b.to.BackupFile(ctx, f)
}

func (b *backup) broken(c *wire.BackupChunk) error {
	return Permanentf("the backup is not contiguous: %q from byte %d on, %d bytes, follows byte %d of %d of %q",
		c.File, c.Offset, len(c.Data), b.pos, b.size, b.file)
}

// position is where the sink is once it holds the backup.
func (b *backup) position() wal.Position {
	at := b.start
	if b.raw {
		at.LSN = b.system.SegmentSize.Start(at.LSN)
	}
	return at
}
