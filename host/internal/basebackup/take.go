package basebackup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/walplex/walplex/host/internal/replication"
)

// Formats of a backup.
const (
	Plain = "plain"
	Tar   = "tar"
)

// Options say what to back up, and to where.
type Options struct {
	Server      replication.Config
	To          string // DIR
	Format      string // Plain or Tar
	Compression string // of tar archives: none, gzip, zstd or lz4
	Label       string
	Fast        bool   // checkpoint at once
	MaxRate     int    // kB/s, 0 unlimited
	Checksums   string // SHA256 or CRC32C
	// Mapping is where tablespaces go in a plain backup: place on the server → here,
	// both absolute.
	Mapping map[string]string

	Archive string        // the archive that has the WAL; "": none is looked at
	Wait    time.Duration // how long for the archive to get the WAL; 0 unlimited

	Progress *Progress // nil: nobody asks
	Log      *slog.Logger
}

// UsageError says that the options are wrong.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// check looks at the options alone.
func (o *Options) check() error {
	if o.Format != Plain && o.Format != Tar {
		return usage("the format %q is neither plain nor tar", o.Format)
	}
	z, err := compressionNamed(o.Compression)
	switch {
	case err != nil:
		return usage("%v", err)
	case z.writer != nil && o.Format != Tar:
		return usage("only tar archives can be compressed: add --format tar, or leave --compress out")
	case len(o.Mapping) > 0 && o.Format != Plain:
		return usage("a tablespace mapping is for plain backups: the archives of a tar backup are unpacked to where you like")
	case o.MaxRate != 0 && (o.MaxRate < replication.MinBackupRate || o.MaxRate > replication.MaxBackupRate):
		return usage("the rate of %d kB/s is not between %d and %d", o.MaxRate, replication.MinBackupRate, replication.MaxBackupRate)
	case o.To == "":
		return usage("no directory for the backup is given")
	}
	if _, err := checksum(o.Checksums); err != nil {
		return usage("%v", err)
	}
	for old, new := range o.Mapping {
		if !filepath.IsAbs(old) || !filepath.IsAbs(new) {
			return usage("the tablespace mapping %s=%s: both are absolute paths", old, new)
		}
	}
	return nil
}

// NotArchivedError says that the backup is whole, but that the archive lacks WAL
// that it needs.
type NotArchivedError struct {
	Summary *Summary
	Err     error
}

func (e *NotArchivedError) Error() string {
	return fmt.Sprintf("the backup %s is whole, but cannot be restored yet: %v; it needs the WAL from %s to %s on timeline %d",
		e.Summary.Directory, e.Err, e.Summary.StartLSN, e.Summary.StopLSN, e.Summary.Timeline)
}

// Unwrap is why.
func (e *NotArchivedError) Unwrap() error { return e.Err }

// Take takes a base backup. Where it fails nothing of it stays, unless the error
// is a [*NotArchivedError].
func Take(ctx context.Context, o Options) (*Summary, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Archive != "" {
		if err := checkArchive(o.Archive); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(o.To)
	if err != nil {
		return nil, err
	}
	o.To = dir
	began := time.Now()
	t, err := openTarget(ctx, o.To)
	if err != nil {
		return nil, err
	}
	conn, err := replication.Connect(ctx, o.Server)
	if err != nil {
		return nil, errors.Join(err, t.abandon())
	}
	defer conn.Close(context.WithoutCancel(ctx))
	s, label, err := o.receive(ctx, conn, t)
	if err != nil {
		return nil, errors.Join(err, t.abandon())
	}
	s.Started, s.Finished = began.UTC(), time.Now().UTC()
	s.Seconds = s.Finished.Sub(s.Started).Seconds()
	json, err := s.JSON()
	if err != nil {
		return nil, errors.Join(err, t.abandon())
	}
	if err := t.finish(json); err != nil {
		return nil, errors.Join(err, t.abandon())
	}
	return s, o.archived(ctx, s, label)
}

// receive receives the backup into the target, durable but for its name.
func (o *Options) receive(ctx context.Context, conn *replication.Conn, t *target) (*Summary, *Received, error) {
	sys, err := conn.IdentifySystem(ctx)
	if err != nil {
		return nil, nil, err
	}
	o.Log.Info("base backup: waiting for the server's checkpoint", "server", conn.Server(), "label", o.Label, "fast", o.Fast)
	b, err := conn.BaseBackup(ctx, replication.BaseBackupOptions{
		Label: o.Label, Fast: o.Fast, MaxRate: o.MaxRate, ManifestChecksums: o.Checksums, TablespaceMap: o.Format == Tar,
		Warning: func(text string) { o.Log.Warn("base backup: the server warns", "text", text) },
	})
	if err != nil {
		return nil, nil, err
	}
	o.Log.Info("base backup: receiving", "start_lsn", b.Start().LSN, "timeline", b.Start().Timeline, "bytes_estimated", o.expect(b))
	w, err := o.writer(t, b, sys.ServerVersion)
	if err != nil {
		return nil, nil, err
	}
	got, err := Receive(b, w, o.Checksums, sys.SystemID)
	if err != nil {
		w.discard()
		return nil, nil, err
	}
	if err := w.sync(); err != nil {
		return nil, nil, err
	}
	return o.summary(b, w, got, sys), got, nil
}

// expect tells the progress how much will come.
func (o *Options) expect(b *replication.BaseBackup) (total int64) {
	for _, t := range b.Tablespaces() {
		total += max(t.Size, 0)
	}
	if o.Progress != nil {
		o.Progress.total.Store(total)
	}
	return total
}

func (o *Options) writer(t *target, b *replication.BaseBackup, version int) (writer, error) {
	if o.Format == Plain {
		return newPlain(t, b.Tablespaces(), o.Mapping, o.Progress)
	}
	z, err := compressionNamed(o.Compression)
	if err != nil {
		return nil, err
	}
	return &tarball{root: t.data(), compress: z, unterminated: version < 150000, progress: o.Progress}, nil
}

func (o *Options) summary(b *replication.BaseBackup, w writer, got *Received, sys replication.System) *Summary {
	start, end, size := b.Start(), b.End(), sys.SegmentSize
	s := &Summary{
		Version: summaryVersion, Label: o.Label, Directory: o.To, Format: o.Format, Compression: o.Compression,
		StartLSN: start.LSN, StopLSN: end.LSN, StartTimeline: start.Timeline, Timeline: end.Timeline,
		FirstSegment: size.FileName(start.Timeline, size.SegNo(start.LSN)), LastSegment: size.FileName(end.Timeline, size.SegNo(end.LSN-1)),
		HistoryFile: historyFileName(size, start.Timeline, start.LSN),
		SystemID:    sys.SystemID, ServerVersion: sys.ServerVersion, SegmentSize: size, Standby: sys.InRecovery,
		Files: got.Files, Bytes: got.Bytes, ChecksumAlgorithm: o.Checksums, ManifestChecksum: got.ManifestChecksum,
		Tablespaces: []TablespaceDest{},
	}
	for _, t := range b.Tablespaces() {
		if t.OID == 0 {
			continue
		}
		d := TablespaceDest{OID: t.OID, Location: t.Location}
		if p, ok := w.(*plain); ok {
			d.Directory = p.places[tablespaceLink(t.OID)]
		}
		s.Tablespaces = append(s.Tablespaces, d)
	}
	return s
}

// archived sees to it that the archive keeps and has the backup's WAL.
func (o *Options) archived(ctx context.Context, s *Summary, got *Received) error {
	if o.Archive == "" {
		return nil
	}
	content, err := historyFile(got.Label, s.SegmentSize, s.Timeline, s.StopLSN, s.Finished)
	if err == nil {
		err = writeHistory(o.Archive, s.HistoryFile, content)
	}
	if err == nil {
		o.Log.Info("base backup: waiting for the archive", "archive", o.Archive, "stop_lsn", s.StopLSN, "last_segment", s.LastSegment)
		err = awaitWAL(ctx, o.Archive, s.SegmentSize, got.Manifest.WAL, o.Wait)
	}
	if err != nil {
		return &NotArchivedError{s, err}
	}
	return nil
}
