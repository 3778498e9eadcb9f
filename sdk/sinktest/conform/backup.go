package conform

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/crc32c"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

// A sink that wishes for a base backup gets a small one wherever it is new, in every
// check: files as a server of the WAL's version has them, of some relations that the
// WAL does not name.

// wishes reports that the sink, as it was opened, gets a backup first.
func (s *session) wishes() bool { return s.opened.GetWishes().GetBaseBackup() }

// checkWish holds a wish to the contract.
func (r *run) checkWish(o *wire.OpenResponse) error {
	switch {
	case !o.GetWishes().GetBaseBackup():
		return nil
	case !o.IsNew:
		return violation(RuleBackup, "the sink wishes for a base backup, but is not new")
	case !r.can(wire.CapBackup):
		return violation(RuleBackup, "the sink wishes for a base backup, and has not declared the capability %q", wire.CapBackup)
	}
	return nil
}

// backedUpFile is a file of the backup that the checks give.
type backedUpFile struct {
	name string
	data []byte
}

// backupFiles are the files of a server of this version.
func backupFiles(w *waltest.Writer, start wal.LSN) []backedUpFile {
	o := w.Options()
	page := make([]byte, 8192)
	for i, v := range []uint16{24, 8192, 8192} { // pd_lower, pd_upper, pd_special: an empty page
		binary.LittleEndian.PutUint16(page[12+2*i:], v)
	}
	binary.LittleEndian.PutUint16(page[18:], 8192|4)         // pd_pagesize_version
	binary.LittleEndian.PutUint32(page[4:], uint32(start)-8) // pd_lsn: before the WAL
	binary.LittleEndian.PutUint32(page[0:], uint32((start-8)>>32))
	zero := make([]byte, 8192)
	label := fmt.Appendf(nil, "START WAL LOCATION: %s (file %s)\nCHECKPOINT LOCATION: %s\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nLABEL: walplex\nSTART TIMELINE: %d\n",
		start, o.SegmentSize.FileName(o.Timeline, o.SegmentSize.SegNo(start)), start, o.Timeline)
	version := fmt.Appendf(nil, "%d\n", o.Version)
	return []backedUpFile{
		{"backup_label", label},
		{"PG_VERSION", version},
		{"base/1/PG_VERSION", version},
		{"base/1/pg_filenode.map", relationMap(o.Version)},
		{"base/1/112", slices.Concat(page, zero, page)},
		{"base/1/112_vm", page},
		{"base/1/113", nil},
		{"base/1/114", slices.Repeat(page, 80)}, // more than a chunk
		{"global/pg_filenode.map", relationMap(o.Version)},
		{"pg_xact/0000", zero},
	}
}

// relationMap is a pg_filenode.map without mappings (utils/cache/relmapper.c).
func relationMap(v wal.Version) []byte {
	size := 512 // 62 mappings, checksum and padding
	if v >= wal.PG16 {
		size = 524 // 64 mappings and checksum
	}
	b := make([]byte, size)
	binary.LittleEndian.PutUint32(b, 0x592717)
	at := 8 + (size-8)/8*8
	if v < wal.PG16 {
		at = 504
	}
	binary.LittleEndian.PutUint32(b[at:], ^crc32c.Update(^uint32(0), b[:at]))
	return b
}

// chunkSize is that of the checks' chunks, bytes.
const chunkSize = 100_000

// backupChunks is the backup that begins at start, up to its end.
func (s *session) backupChunks(start wal.LSN) []*wire.BackupChunk {
	files := backupFiles(s.w, start)
	total := 0
	for _, f := range files {
		total += len(f.data)
	}
	list := []*wire.BackupChunk{{StartLsn: uint64(start), Timeline: uint32(s.timeline), TotalBytes: uint64(total)}}
	for _, dir := range []string{"base", "base/1", "global", "pg_tblspc", "pg_wal", "pg_xact"} {
		list = append(list, &wire.BackupChunk{File: dir, Directory: true, Mode: 0o700})
	}
	manifest, err := json.Marshal(map[string]int{"PostgreSQL-Backup-Manifest-Version": 1})
	if err != nil {
		panic(err) // of a constant
	}
	for _, f := range append(files, backedUpFile{"backup_manifest", manifest}) {
		for at := 0; at == 0 || at < len(f.data); at += chunkSize {
			list = append(list, &wire.BackupChunk{File: f.name, Size: uint64(len(f.data)), Mode: 0o600, Offset: uint64(at), Data: f.data[at:min(at+chunkSize, len(f.data))]})
		}
	}
	return append(list, &wire.BackupChunk{EndLsn: uint64(s.w.Records()[3].End), Timeline: uint32(s.timeline)})
}

// beginsBackup opens the Stream of a sink that gets a backup, and answers its chunks.
func (s *session) beginsBackup() ([]*wire.BackupChunk, error) {
	ctx, cancel := context.WithCancel(s.run.ctx)
	st, err := s.life.Client.Stream(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s.leave, s.stream = cancel, st
	s.watch = newWatch(s.run.raw, s.w.Records(), 0) // nothing may be acknowledged yet
	go s.listen(st)
	s.restart(s.at)
	return s.backupChunks(s.w.Records()[3].Start), s.send(&wire.HostMessage{Message: &wire.HostMessage_Start{Start: &wire.StreamStart{}}})
}

// chunks sends chunks of the backup, within the window.
func (s *session) chunks(list []*wire.BackupChunk) error {
	for _, c := range list {
		if err := s.await(s.run.patience(), "that chunks of the base backup are taken", func() bool {
			return s.chunksSent-s.progress.BackupChunks < wire.BackupWindow
		}); err != nil {
			return err
		}
		s.note(func() {
			s.chunksSent++
			if c.EndLsn != 0 {
				s.backupAt = s.at
			}
		})
		if err := s.send(&wire.HostMessage{Message: &wire.HostMessage_Backup{Backup: c}}); err != nil {
			return err
		}
	}
	return nil
}

// chunksTaken waits until the sink has told that it is done with all chunks.
func (s *session) chunksTaken() error {
	return s.await(s.run.patience(), "that all chunks of the base backup are taken", func() bool { return s.progress.BackupChunks == s.chunksSent })
}

// backUp gives the sink its backup, whole.
func (s *session) backUp() error {
	list, err := s.beginsBackup()
	if err == nil {
		err = s.chunks(list)
	}
	if err == nil {
		err = s.await(s.run.patience(), "the answer that the sink holds the base backup", func() bool { return s.backupDone != nil })
	}
	if err != nil {
		return err
	}
	s.run.flushed, s.run.sent = max(s.run.flushed, s.at), max(s.run.sent, s.at)
	s.begin = 0
	return nil
}

// holdsBackup takes in the sink's answer. It is the watch's, with its lock.
func (w *watch) holdsBackup(done *wire.BackupDone) {
	at := wal.LSN(done.Lsn)
	switch {
	case w.backupAt == 0:
		w.broken = violation(RuleBackup, "the sink says that it holds a base backup, whose end did not come")
	case at != w.backupAt:
		w.broken = violation(RuleBackup, "the sink holds the base backup and says that it is at %s; it begins at %s", at, w.backupAt)
	default:
		w.backupDone, w.sentTo = done, at
		w.progress.WrittenLsn, w.progress.FlushedLsn = uint64(at), uint64(at)
	}
}

func checkBackup(r *run) error {
	w := r.workload(wal.PG17, 300<<10)
	if wishes, err := r.wishesWhenNew(w); err != nil || !wishes {
		return firstOf(err, &NotApplicable{"the sink does not wish for a base backup"})
	}
	total := 2
	for n := 0; n < total; n += 1 + total/10 {
		s, err := r.open(w, 1, StartOptions{})
		if err != nil {
			return err
		}
		if !s.opened.IsNew || !s.wishes() {
			return violation(RuleBackup, "the sink was killed in the middle of a base backup; now it is new: %t, wishes for another one: %t", s.opened.IsNew, s.wishes())
		}
		list, err := s.beginsBackup()
		total = len(list)
		if err == nil {
			err = firstOf(s.chunks(list[:n]), s.chunksTaken())
		}
		if err != nil {
			return fmt.Errorf("%d chunks of a base backup: %w", n, err)
		}
		if n == 1 {
			err = s.drain() // as a host does that stops
		} else {
			s.kill()
		}
		if err := firstOf(err, s.brokenRule()); err != nil {
			return err
		}
	}
	s, err := r.open(w, 1, StartOptions{})
	if err != nil {
		return err
	}
	if err := s.backUp(); err != nil {
		return err
	}
	s.kill()
	if r.target.PowerLoss != nil {
		r.target.PowerLoss()
	}
	return firstOf(s.brokenRule(), r.finish(w))
}

// wishesWhenNew asks the sink, and compares it with what Validate tells.
func (r *run) wishesWhenNew(w *waltest.Writer) (bool, error) {
	life, err := r.start(StartOptions{})
	if err != nil {
		return false, err
	}
	config, err := r.target.Config(r.dir)
	if err != nil {
		return false, err
	}
	ctx, cancel := r.call()
	defer cancel()
	res, err := life.Client.Validate(ctx, &wire.ValidateRequest{ConfigJson: config})
	if err != nil {
		return false, fmt.Errorf("Validate: %s", status.Convert(err).Message())
	}
	s, err := r.openIn(life, w, 1)
	if err != nil {
		return false, err
	}
	if told := res.GetWishes().GetBaseBackup(); told != s.wishes() {
		return false, violation(RuleBackup, "the sink wishes for a base backup at Open: %t; Validate tells: %t", s.wishes(), told)
	}
	return s.wishes(), s.drain()
}
