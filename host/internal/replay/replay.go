package replay

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
	"github.com/walplex/walplex/sdk/wal/slru"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// Memory that waiting changes may take, in bytes.
const (
	DefaultMemory = 256 << 20
	minMemory     = 1 << 20
)

// Options say what to replay.
type Options struct {
	DataDir string // of a server that does not run: as a crash left it, or a base backup
	WALDir  string // of the segments; default pg_wal in DataDir
	Memory  int    // bytes that changes may take while they wait; default DefaultMemory
}

// Result is what was done.
type Result struct {
	From, To wal.LSN // redo began here, the last record ends there
	Records  uint64  // records
	Changes  uint64  // changes of pages, by images too
	Images   uint64  // of those, by images
	Passed   uint64  // changes that the pages had already
	Read     uint64  // pages read from files
	Written  uint64  // pages written to files
}

// engine is one run.
type engine struct {
	control *control
	disk    *disk
	src     *source
	slrus   slrus
	window  window
	run     run
	invalid map[pageID]wal.LSN // pages that were not there, and the first record that wanted them
	result  Result

	rec     wal.Record // one that is applied
	redo    redo.Redoer
	implied []redo.ImpliedBlock
	done    int   // changes of the window that were applied
	fetched int   // and those whose records were fetched from memory
	touched uint8 // keeps the compiler from leaving that out
}

// pageID names a page.
type pageID struct {
	forkID
	block wal.BlockNumber
}

// Run replays. An error leaves the directory as it is then, to be thrown away.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	c, err := readControl(o.DataDir)
	if err != nil {
		return nil, err
	}
	if o.WALDir == "" {
		o.WALDir = filepath.Join(o.DataDir, "pg_wal")
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	e := &engine{
		control: c,
		invalid: map[pageID]wal.LSN{},
		disk:    newDisk(o.DataDir, c),
		src:     &source{dir: o.WALDir, timeline: c.Timeline, size: c.SegmentSize},
		window:  window{memory: max(o.Memory, minMemory), base: c.SegmentSize.Start(c.Redo)},
		result:  Result{From: c.Redo},
	}
	e.slrus = slrus{disk: e.disk, pages: map[slru.Page]*slruPage{}}
	defer func() { err = errors.Join(err, e.src.close(), e.disk.close()) }()
	if err := e.records(ctx); err != nil {
		return nil, err
	}
	if err := e.apply(); err != nil {
		return nil, err
	}
	if err := e.slrus.flush(); err != nil {
		return nil, err
	}
	for id, lsn := range e.invalid {
		return nil, fmt.Errorf("the WAL refers to %d pages that are not there: among them block %d of relation %s, fork %s, by the record at %s: the data directory is incomplete",
			len(e.invalid), id.block, id.rel, id.fork, lsn)
	}
	e.result.Read, e.result.Written = e.disk.read, e.disk.written
	return &e.result, e.disk.sync()
}

// records goes through all records.
func (e *engine) records(ctx context.Context) error {
	start := e.control.Redo &^ (wal.PageSize - 1)
	r := xlogreader.New(start, xlogreader.Options{
		SegmentSize: e.control.SegmentSize, SystemID: e.control.SystemID, Timeline: e.control.Timeline, File: true, MaxWhole: wal.MaxRecordSize,
	})
	var rec wal.Record
	for pos := start; ; pos = e.src.size.End(pos) {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := e.src.segment(e.src.size.SegNo(pos))
		if err != nil {
			return err
		}
		if b == nil {
			return e.ended(pos)
		}
		r.Feed(b[e.src.size.Offset(pos):])
		for {
			status, err := r.Next(&rec)
			if status == xlogreader.NeedMore && err == nil {
				break
			}
			// What cannot be read is the end of what a crash left behind.
			if err != nil || status == xlogreader.EndOfWAL {
				return e.ended(r.RecordsEnd())
			}
			if rec.StartLSN < e.control.Redo {
				continue
			}
			if err := e.record(&rec); err != nil {
				return err
			}
		}
	}
}

// ended checks that the WAL may end here.
func (e *engine) ended(at wal.LSN) error {
	switch {
	case e.result.Records == 0:
		return fmt.Errorf("could not find the record at the redo location %s of the checkpoint: the WAL ends at %s", e.control.Redo, at)
	case e.control.backup:
		return fmt.Errorf("the WAL ends at %s, before the end of the base backup", e.result.To)
	}
	return nil
}

// record enters one record's changes of pages into the window, and does the
// others.
func (e *engine) record(rec *wal.Record) error {
	e.result.Records++
	e.result.To = rec.EndLSN
	e.rec.Version = rec.Version
	if e.window.full() || rec.StartLSN-e.window.base >= maxSpan {
		if err := e.flush(rec.StartLSN); err != nil {
			return err
		}
	}
	offset := uint64(rec.StartLSN - e.window.base)
	for i := range rec.Blocks {
		ref := &rec.Blocks[i]
		f, err := e.disk.fork(forkID{ref.Rel, ref.Fork})
		if err != nil {
			return err
		}
		anew := ref.WillInit() || ref.HasImage() && ref.ApplyImage()
		if !anew && rec.RmgrID == wal.RmgrXLOG {
			continue // FPI_FOR_HINT without full_page_writes: the page is not looked at
		}
		if !anew && ref.Block >= f.blocks && ref.Fork != wal.VisibilityMapFork {
			e.missing(f, ref.Block, rec.StartLSN)
			continue
		}
		e.window.note(f, ref.Block, i, offset, anew)
	}
	switch rec.RmgrID {
	case wal.RmgrHeap, wal.RmgrHeap2, wal.RmgrStorage:
		if err := e.implications(rec, offset); err != nil {
			return err
		}
	}
	return e.effects(rec)
}

// implications enters changes that the record does not name. A page that is not
// there has no bits to clear.
func (e *engine) implications(rec *wal.Record, offset uint64) error {
	e.implied = redo.Implied(rec, e.implied[:0])
	for i, b := range e.implied {
		f, err := e.disk.fork(forkID{b.Rel, b.Fork})
		if err != nil {
			return err
		}
		if b.Block < f.blocks {
			e.window.note(f, b.Block, implied+i, offset, false)
		}
	}
	return nil
}

// flush does what waits, before the record at lsn.
func (e *engine) flush(lsn wal.LSN) error {
	if err := e.apply(); err != nil {
		return err
	}
	e.window.empty(e.src.size.Start(lsn))
	return e.src.forget(e.src.size.SegNo(lsn))
}
