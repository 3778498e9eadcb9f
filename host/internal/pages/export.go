package pages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

// ExportOptions are what Export is given.
type ExportOptions struct {
	Client    *pageclient.Client
	Rel       wal.RelFileLocator
	At        pageclient.AsOf
	To        string    // directory, made where it is missing
	Checksums bool      // the cluster has data checksums
	Progress  *Progress // may be nil
}

// Exported is a file that Export has written.
type Exported struct {
	Name   string
	Blocks uint32
}

// exportSuffix ends the name of a file until all are written.
const exportSuffix = ".walplex-tmp"

// export is one under way.
type export struct {
	ExportOptions
	done []Exported
}

// Export writes a relation's files, of all its forks, as they are as of an LSN.
// They get their names when all of them are durable; none is replaced. It answers
// the LSN and the files.
func Export(ctx context.Context, o ExportOptions) (lsn wal.LSN, files []Exported, err error) {
	e := &export{ExportOptions: o}
	if err := os.MkdirAll(o.To, 0o700); err != nil {
		return 0, nil, err
	}
	if err := e.free(); err != nil {
		return 0, nil, err
	}
	defer func() {
		if err != nil {
			for _, f := range e.done {
				err = errors.Join(err, os.Remove(filepath.Join(o.To, f.Name+exportSuffix)))
			}
		}
	}()
	for fork := wal.MainFork; fork <= wal.InitFork; fork++ {
		size, err := o.Client.RelSize(ctx, o.Rel, fork, e.At)
		if pageclient.Code(err) == codes.NotFound && fork != wal.MainFork {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		e.At.LSN = wal.LSN(size.Lsn) // the same for all
		if err := e.fork(ctx, fork, size.Blocks); err != nil {
			return 0, nil, err
		}
	}
	if err := e.publish(); err != nil {
		return 0, nil, err
	}
	return e.At.LSN, e.done, nil
}

// free refuses a directory in which the relation has files: some of them might not
// be replaced, and belong to another LSN.
func (e *export) free() error {
	entries, err := os.ReadDir(e.To)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), exportSuffix)
		if f := relfile.Parse("base/1/" + name); f.Kind == relfile.Relation && f.Rel.Rel == e.Rel.Rel {
			return fmt.Errorf("%s has %s already: name another directory, or remove the files of relation file %d", e.To, entry.Name(), e.Rel.Rel)
		}
	}
	return nil
}

// fork writes a fork's segments.
func (e *export) fork(ctx context.Context, fork wal.ForkNumber, blocks uint32) error {
	e.Progress.expect(int64(blocks) * wal.BlockSize)
	for first := uint32(0); first == 0 || first < blocks; first += relfile.SegmentBlocks {
		count := min(blocks-first, relfile.SegmentBlocks)
		name := relfile.Base(e.Rel.Rel, fork, first/relfile.SegmentBlocks)
		if err := e.segment(ctx, fork, name, first, count); err != nil {
			return err
		}
	}
	return nil
}

// segment writes and syncs one file.
func (e *export) segment(ctx context.Context, fork wal.ForkNumber, name string, first, blocks uint32) (err error) {
	f, err := os.OpenFile(filepath.Join(e.To, name+exportSuffix), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	e.done = append(e.done, Exported{name, blocks})
	defer func() { err = errors.Join(err, f.Close()) }()
	if blocks == 0 {
		return f.Sync()
	}
	at := first
	err = e.Client.Range(ctx, pageclient.PageName{Rel: e.Rel, Fork: fork, Block: wal.BlockNumber(first)}, blocks, e.At, func(part *pagepb.GetPagesResponse) error {
		for _, fault := range part.Faults {
			if fork != wal.FSMFork { // an empty page of a free space map is one that knows of no space
				return fmt.Errorf("block %d of %s as of %s: %w", at+fault.Index, Fork{e.Rel, fork}, e.At.LSN,
					&pageclient.Error{Code: codes.Code(fault.Code), Reason: fault.Reason})
			}
		}
		for i := range part.EndLsns {
			if e.Checksums {
				redo.SetChecksum(part.Pages[i*wal.BlockSize:][:wal.BlockSize], wal.BlockNumber(at)+wal.BlockNumber(i))
			}
		}
		at += uint32(len(part.EndLsns))
		e.Progress.add(int64(len(part.Pages)))
		_, err := f.Write(part.Pages)
		return err
	})
	if err == nil && at != first+blocks {
		err = fmt.Errorf("the sink has answered blocks %d to %d of %s only, not up to %d", first, at, Fork{e.Rel, fork}, first+blocks)
	}
	if err != nil {
		return err
	}
	return f.Sync()
}

// publish gives all files their names.
func (e *export) publish() error {
	for _, f := range e.done {
		name := filepath.Join(e.To, f.Name)
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there meanwhile: %w", name, errors.Join(err, fs.ErrExist))
		}
	}
	for _, f := range e.done {
		name := filepath.Join(e.To, f.Name)
		if err := os.Rename(name+exportSuffix, name); err != nil {
			return err
		}
	}
	d, err := os.Open(e.To)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
