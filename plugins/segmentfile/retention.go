package segmentfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/retention"
)

// maxRemoved is how many segments are removed in one go, in which no segment is
// compressed.
const maxRemoved = 64

// keeper removes segments that nobody needs any more, beside the sink. A failure
// holds up nobody: it is logged and tried again.
//
//	unlink the oldest segment, in all its files · fsync the directory · the next one
//
// The fsync between them lets power loss bring back no segment from before a hole.
type keeper struct {
	dir      directory
	settings Retention
	log      *slog.Logger
	held     func() held        // the archive as the sink knows it
	names    *sync.Mutex        // held while the files of a segment change their names
	cancel   context.CancelFunc // nil: rounds are called, for tests that have to be repeatable
	ended    chan struct{}

	mu   sync.Mutex
	from wal.Position // others need WAL from there on
	err  error        // of the last sync of the directory; a failed one is not tried again

	metrics keeperMetrics

	// Of the goroutine that does the rounds.
	said    string // what was logged last of what stands in the way, or would go
	removed int64  // segments, since Open
	bytes   int64
}

// Retain implements [sdk.Retainer].
func (s *Sink) Retain(ctx context.Context, from wal.Position) error {
	if s.config.Retention == nil || !s.ours || s.failed != nil {
		return nil
	}
	first := s.keeper == nil
	if first {
		s.keeper = &keeper{dir: s.dir, settings: *s.config.Retention, log: s.log, names: &s.names, ended: make(chan struct{}),
			metrics: newKeeperMetrics(s.metrics),
			held: func() held {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.held
			}}
	}
	s.keeper.retain(from)
	switch {
	case s.inline:
		s.keeper.round(ctx)
	case first:
		s.keeper.start(ctx)
	}
	return nil
}

func (k *keeper) retain(from wal.Position) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.from = from
}

// start does rounds until close, whatever becomes of ctx: that is Retain's.
func (k *keeper) start(ctx context.Context) {
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	every := k.settings.Interval
	if every <= 0 {
		every = defaultInterval
	}
	go func() {
		defer close(k.ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			k.round(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

func (k *keeper) close() {
	if k != nil && k.cancel != nil {
		k.cancel()
		<-k.ended
	}
}

// fault is why a sync of the directory has failed. The kernel tells of that once:
// whoever syncs the directory after that asks here too. It waits for a sync that is
// under way.
func (k *keeper) fault() error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// round removes what may be removed now.
func (k *keeper) round(ctx context.Context) {
	var sum removal
	for more := true; more && ctx.Err() == nil; {
		var err error
		more, err = k.some(ctx, &sum)
		if err != nil && ctx.Err() == nil {
			k.say("cannot remove WAL from the archive for now; nothing is lost, and it is tried again", err.Error(), "error", err)
			break
		}
	}
	k.removed += sum.removed
	k.bytes += sum.bytes
	k.metrics.add(&sum)
	if sum.removed > 0 {
		k.log.Info("WAL was removed from the archive", "segments", sum.removed, "bytes", sum.bytes, "first", sum.first, "last", sum.last,
			"kept_segments", sum.keptSegments, "kept_bytes", sum.kept, "removed_total", k.removed, "bytes_total", k.bytes)
	}
}

// removal is what a round did.
type removal struct {
	removed, bytes     int64
	first, last        string // of the segments removed
	looked             bool   // the next two are known
	keptSegments, kept int64  // segments and bytes that are left
}

func (r *removal) add(s *retention.Segment, name string) {
	if r.removed == 0 {
		r.first = name
	}
	r.removed, r.bytes, r.last = r.removed+1, r.bytes+s.Size, name
}

// some removes up to maxRemoved segments. more is true where there are others.
func (k *keeper) some(ctx context.Context, sum *removal) (more bool, err error) {
	k.names.Lock()
	defer k.names.Unlock()
	if err := errors.Join(k.fault(), same(&k.dir, k.dir.path, k.dir.info)); err != nil {
		return false, err
	}
	size := k.held().size
	d, err := k.decide()
	if err != nil {
		return false, err
	}
	sum.looked, sum.keptSegments, sum.kept = true, int64(len(d.Keep)+len(d.Remove)), d.Kept+d.Removed
	if k.settings.DryRun {
		k.sayDry(size, &d)
		return false, nil
	}
	k.sayHeld(size, &d)
	for i := range d.Remove[:min(len(d.Remove), maxRemoved)] {
		s := &d.Remove[i]
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if err := k.remove(s); err != nil {
			return false, err
		}
		sum.add(s, size.FileName(s.Timeline, s.No))
		sum.keptSegments, sum.kept = sum.keptSegments-1, sum.kept-s.Size
	}
	return len(d.Remove) > maxRemoved, nil
}

// remove removes a segment, durably.
func (k *keeper) remove(s *retention.Segment) error {
	for _, f := range s.Files {
		if err := k.dir.fs.Remove(k.dir.join(f.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return explain(err, "remove "+k.dir.join(f.Name))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = k.dir.fs.SyncDir(k.dir.path)
	return explain(k.err, "remove segments durably")
}

// decide looks at the directory. What it does not understand lets everything stay.
func (k *keeper) decide() (d retention.Decision, err error) {
	h := k.held()
	k.mu.Lock()
	from := k.from
	k.mu.Unlock()
	if !h.size.Valid() || from.LSN == 0 {
		return d, nil
	}
	l, err := k.list(h.size)
	if err != nil {
		return d, err
	}
	history, err := k.dir.history(h.timeline)
	if err != nil {
		return d, err
	}
	needed, ok := retention.NeededFrom(h.size, from, history)
	if !ok {
		return d, fmt.Errorf("WAL is needed from %s on, which is not in the history of timeline %d that is archived", from, h.timeline)
	}
	newest, err := retention.Newest(l.segments, h.timeline, k.spans)
	if err != nil {
		return d, err
	}
	rules, err := k.settings.rules()
	if err == nil && k.settings.Backup != "" {
		rules.Backup = true
		rules.Since, err = retention.Since(h.size, k.settings.Backup, l.backups, k.label)
	}
	if err != nil {
		return d, err
	}
	return retention.Decide(l.segments, rules, min(needed, newest, h.size.SegNo(h.flushed)), time.Now()), nil
}

// inventory is what the directory holds.
type inventory struct {
	segments []retention.Segment
	backups  []retention.Backup
}

func (k *keeper) list(size wal.SegmentSize) (l inventory, err error) {
	entries, err := k.dir.fs.ReadDir(k.dir.path)
	if err != nil {
		return l, explain(err, "list the directory")
	}
	var files []retention.File
	for _, f := range entries {
		if b, ok := retention.ParseBackupName(size, trimCodec(f.Name())); ok {
			b.Name = f.Name()
			l.backups = append(l.backups, b)
			continue
		}
		e, ok := parseEntry(f.Name())
		tli, no, err := size.ParseFileName(e.segment)
		if !ok || err != nil || f.IsDir() {
			continue
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has got another name
		}
		if err != nil {
			return l, explain(err, "list the directory")
		}
		files = append(files, retention.File{Name: f.Name(), Timeline: tli, No: no, Partial: e.kind >= partial, Size: info.Size(), Modified: info.ModTime()})
	}
	l.segments = retention.Segments(files)
	return l, nil
}

// trimCodec is the name without the suffix of a compression.
func trimCodec(name string) string {
	if c := codecOf(name); c != nil {
		return strings.TrimSuffix(name, c.suffix)
	}
	return name
}

// spans reports whether a record takes the whole segment. A segment whose header
// cannot be read may be such a one.
func (k *keeper) spans(s *retention.Segment) (bool, error) {
	size := k.held().size
	name := size.FileName(s.Timeline, s.No)
	h, ok, err := k.dir.header(entry{segment: name, file: name})
	return !ok || retention.Spans(size, h.info, h.remLen), err
}

// maxBackupHistory bounds what is read of a backup history file, in bytes.
const maxBackupHistory = 64 << 10

// label reads a backup's label.
func (k *keeper) label(b *retention.Backup) (string, error) {
	c, err := k.dir.openFile(b.Name)
	if err != nil {
		return "", err
	}
	defer c.Close()
	buf := make([]byte, maxBackupHistory)
	n, err := k.dir.read(c, buf)
	return retention.Label(buf[:n]), err
}

// history is that of a timeline, as far as its file is there.
func (d *directory) history(tli wal.TimelineID) (wal.History, error) {
	var data []byte
	if tli > 1 {
		var err error
		data, err = d.readSmall(wal.HistoryFileName(tli), maxHistoryFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, explain(err, "read "+wal.HistoryFileName(tli))
		}
	}
	return wal.ParseHistory(tli, data)
}

// syncDir makes the directory's names durable. A failure that only the keeper was
// told of is one here too.
func (s *Sink) syncDir() error {
	if err := s.dir.fs.SyncDir(s.dir.path); err != nil {
		return err
	}
	return s.keeper.fault()
}
