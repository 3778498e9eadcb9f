package consistency

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/walplex/walplex/host/internal/golden/workload"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

//go:embed sql/*.sql
var scripts embed.FS

const (
	segmentSize = wal.SegmentSize(workload.SegmentSizeMB << 20)
	// maxRecord bounds the records that are read whole, in bytes: one with
	// images of 33 blocks has some 270 KiB.
	maxRecord = 4 << 20
)

// Options are those of a cluster that [Record] can run on.
func Options(in postgres.Install) postgres.Options {
	o := workload.Options(in)
	o.Checksums = true // else recovery does not set all of pd_lsn (XLogHintBitIsNeeded)
	o.Conf["wal_consistency_checking"] = "all"
	o.Conf["wal_keep_size"] = "4GB" // images make much WAL, of which all is kept
	o.Conf["max_wal_size"] = "4GB"
	return o
}

// WAL is what a server wrote, in complete segments of one timeline, and the
// files that it began with.
type WAL struct {
	From        wal.LSN // records from here on are not in the files
	First, Last wal.SegNo

	dir   string            // of the segments
	base  string            // the copy of the data directory
	files map[string][]byte // of the copy, as far as they were read
}

// Record runs the workload, and the scripts of sql/, on a cluster made with
// Options and started, and answers the WAL that it wrote.
func Record(ctx context.Context, c *postgres.Cluster) (*WAL, error) {
	w := &WAL{dir: c.WALDir(), base: filepath.Join(c.Dir(), "base"), files: map[string][]byte{}}
	if err := w.copyFiles(ctx, c); err != nil {
		return nil, err
	}
	if _, err := workload.RunOneTimeline(ctx, c, postgres.Install{}); err != nil {
		return nil, err
	}
	images, err := c.QueryString(ctx, "SHOW wal_consistency_checking")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(scripts, "sql/*.sql")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		script, err := scripts.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := workload.Play(ctx, c, adapt(string(script), images == "")); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return w, w.end(ctx, c)
}

// adapt leaves out of a script what makes images, where none are wanted.
func adapt(script string, noImages bool) string {
	if !noImages {
		return script
	}
	var b strings.Builder
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(line, "SET wal_consistency_checking") && !strings.HasPrefix(line, "RESET wal_consistency_checking") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// copyFiles copies the data directory as a crash right after a checkpoint leaves
// it: so recovery can begin with it, and go through all that follows.
func (w *WAL) copyFiles(ctx context.Context, c *postgres.Cluster) (err error) {
	if w.From, err = c.SwitchWAL(ctx); err != nil {
		return err
	}
	w.First = segmentSize.SegNo(w.From)
	if err := c.Checkpoint(ctx); err != nil {
		return err
	}
	if err := c.Stop(ctx, postgres.Immediate); err != nil {
		return err
	}
	if err := copyDir(ctx, c, c.DataDir(), w.base); err != nil {
		return err
	}
	return c.Start(ctx)
}

// copyDir copies a directory as the server's user.
func copyDir(ctx context.Context, c *postgres.Cluster, from, to string) error {
	out, err := c.Tool(ctx, "env", "cp", "-a", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// end ends the WAL with the current segment, which it has the server end.
func (w *WAL) end(ctx context.Context, c *postgres.Cluster) error {
	end, err := c.SwitchWAL(ctx)
	w.Last = segmentSize.SegNo(end - 1)
	return err
}

// Each calls use for each record from w.From on, in order. What use gets is
// borrowed until it returns.
func (w *WAL) Each(use func(*wal.Record) error) error {
	r := xlogreader.New(segmentSize.LSN(w.First), xlogreader.Options{SegmentSize: segmentSize, File: true, Timeline: 1, MaxWhole: maxRecord})
	var rec wal.Record
	for segno := w.First; segno <= w.Last; segno++ {
		b, err := os.ReadFile(filepath.Join(w.dir, segmentSize.FileName(1, segno)))
		if err != nil {
			return err
		}
		r.Feed(b)
		for {
			status, err := r.Next(&rec)
			if err != nil {
				return err
			}
			if status == xlogreader.NeedMore {
				break
			}
			if status != xlogreader.Record {
				return fmt.Errorf("segment %s: %v instead of a record", segmentSize.FileName(1, segno), status)
			}
			if rec.StartLSN < w.From {
				continue
			}
			if err := use(&rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// load is a page as the files had it at first, nil without one.
func (w *WAL) load(key pageKey) (*pageBytes, error) {
	path := filepath.Join(w.base, key.path())
	content, known := w.files[path]
	if !known {
		var err error
		if content, err = os.ReadFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		w.files[path] = content
	}
	at := int(key.block) * wal.BlockSize
	if at+wal.BlockSize > len(content) {
		return nil, nil
	}
	page := pageBytes(content[at:])
	return &page, nil
}

// path is the relation's file below the data directory, for the tablespaces that
// every cluster has (GetRelationPath in common/relpath.c). No relation here
// reaches a second segment.
func (k pageKey) path() string {
	const globalSpace = 1664
	suffix := ""
	if k.fork != wal.MainFork {
		suffix = "_" + k.fork.String()
	}
	if k.rel.Spc == globalSpace {
		return filepath.Join("global", fmt.Sprint(k.rel.Rel)+suffix)
	}
	return filepath.Join("base", fmt.Sprint(k.rel.DB), fmt.Sprint(k.rel.Rel)+suffix)
}
