package consistency

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
	o.Conf["wal_consistency_checking"] = "all"
	o.Conf["wal_keep_size"] = "4GB" // images make much WAL, of which all is kept
	o.Conf["max_wal_size"] = "4GB"
	return o
}

// WAL is what a server wrote, in complete segments of one timeline.
type WAL struct {
	First    wal.SegNo
	Segments [][]byte
}

// Record runs the workload, and the scripts of sql/, on a cluster made with
// Options and started, and answers the WAL that it wrote. Tools are as for
// [workload.Run].
func Record(ctx context.Context, c *postgres.Cluster, tools postgres.Install) (*WAL, error) {
	parts, err := workload.RunOneTimeline(ctx, c, tools)
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
		if err := workload.Play(ctx, c, string(script)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return segmentsFrom(ctx, c, parts[0].First)
}

// segmentsFrom reads the segments from first to the current one, which it has
// the server end.
func segmentsFrom(ctx context.Context, c *postgres.Cluster, first wal.SegNo) (*WAL, error) {
	end, err := c.SwitchWAL(ctx)
	if err != nil {
		return nil, err
	}
	w := &WAL{First: first}
	for segno := first; segno <= segmentSize.SegNo(end-1); segno++ {
		b, err := os.ReadFile(filepath.Join(c.WALDir(), segmentSize.FileName(1, segno)))
		if err != nil {
			return nil, err
		}
		w.Segments = append(w.Segments, b)
	}
	return w, nil
}

// Each calls use for each record, in order. What use gets is borrowed until it
// returns.
func (w *WAL) Each(use func(*wal.Record) error) error {
	r := xlogreader.New(segmentSize.LSN(w.First), xlogreader.Options{SegmentSize: segmentSize, File: true, Timeline: 1, MaxWhole: maxRecord})
	var rec wal.Record
	for i, b := range w.Segments {
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
				return fmt.Errorf("segment %d of %d: %v instead of a record", i+1, len(w.Segments), status)
			}
			if err := use(&rec); err != nil {
				return err
			}
		}
	}
	return nil
}
