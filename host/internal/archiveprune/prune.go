package archiveprune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal/retention"
)

// Files of the segment_file sink in its directory, and the newest version of its
// format that is known here.
const (
	lockFile      = ".walplex.lock"
	formatFile    = ".walplex-segment_file"
	formatVersion = 2
)

// Options say what to remove.
type Options struct {
	Directory string
	Age       time.Duration // keep what was changed since; 0: no rule
	Size      int64         // keep so many bytes; 0: no rule
	Backup    string        // keep what this backup needs, see [retention.Since]; "": no rule
	DryRun    bool          // remove nothing
	Now       time.Time
	// Removed is told the path of each file that is removed, or would be.
	Removed func(path string)
}

// Report is what was done, or would be.
type Report struct {
	Segments, Bytes         int64 // removed
	KeptSegments, KeptBytes int64
	First                   string           // the first segment that is kept
	Held                    retention.Reason // why it is
}

// Prune removes what the rules allow, the oldest first. An error says how far it
// came in the report that is answered with it.
func Prune(ctx context.Context, o Options) (Report, error) {
	if err := checkDirectory(o.Directory); err != nil {
		return Report{}, err
	}
	if !o.DryRun {
		lock, err := durable.OS{}.Lock(ctx, filepath.Join(o.Directory, lockFile), 0)
		if errors.Is(err, durable.ErrLocked) {
			return Report{}, fmt.Errorf("%w: a sink has the directory open: give it a retention block, which knows what others need, or stop walplex first; --dry-run works meanwhile", err)
		}
		if err != nil {
			return Report{}, err
		}
		defer lock.Close()
	}
	s, err := take(o.Directory)
	if err != nil {
		return Report{}, err
	}
	d, err := s.decide(&o)
	if err != nil {
		return Report{}, err
	}
	r := Report{KeptSegments: int64(len(d.Keep) + len(d.Remove)), KeptBytes: d.Kept + d.Removed, Held: d.Held}
	if len(d.Keep) > 0 {
		r.First = s.size.FileName(d.Keep[0].Timeline, d.Keep[0].No)
	}
	for i := range d.Remove {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if err := o.remove(&d.Remove[i]); err != nil {
			return r, err
		}
		r.Segments, r.Bytes = r.Segments+1, r.Bytes+d.Remove[i].Size
		r.KeptSegments, r.KeptBytes = r.KeptSegments-1, r.KeptBytes-d.Remove[i].Size
	}
	return r, nil
}

// remove removes a segment, durably before the next one is: power loss brings none
// back from before a hole.
func (o *Options) remove(s *retention.Segment) error {
	for _, f := range s.Files {
		path := filepath.Join(o.Directory, f.Name)
		if !o.DryRun {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
		o.Removed(path)
	}
	if o.DryRun {
		return nil
	}
	return durable.OS{}.SyncDir(o.Directory)
}

// checkDirectory refuses what is no archive, or one of a later release's.
func checkDirectory(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "archive_status")); err == nil {
		return fmt.Errorf("%s has a directory archive_status: it is the pg_wal of a server, which removes its WAL itself", dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var format struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &format); err != nil {
		return fmt.Errorf("%s does not say the version of the archive's format: %w", filepath.Join(dir, formatFile), err)
	}
	if format.Version > formatVersion {
		return fmt.Errorf("%s: the archive has format version %d, this walplex knows up to %d: use a later release of walplex", filepath.Join(dir, formatFile), format.Version, formatVersion)
	}
	return nil
}

// readHeader reads a segment's first page header.
func readHeader(path string) (archive.Header, error) {
	c, err := archive.OpenFile(path)
	if err != nil {
		return archive.Header{}, err
	}
	defer c.Close()
	var b [archive.HeaderSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return archive.Header{}, fmt.Errorf("%s: %w", path, err)
	}
	return archive.ParseHeader(b[:]), nil
}
