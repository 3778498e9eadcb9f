package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// PositionFile keeps a sink's position, and what small state belongs to it, in one
// file of a directory that it locks. Both change in one atomic write, so that
// state in it has each record exactly once, whatever crashes. It is for one
// goroutine at a time.
//
//	position.json   {"format":1,"system_id":"…","timeline":1,"lsn":"0/1000028","state":…}
type PositionFile[T any] struct {
	// State is the sink's own, of any type that encoding/json takes. Change it as you
	// like; Save makes it durable.
	State T

	fsys  durable.FS
	name  string
	lock  io.Closer
	saved positionJSON[T]
}

// positionJSON is the file.
type positionJSON[T any] struct {
	Format   int            `json:"format"`
	SystemID uint64         `json:"system_id,string"`
	Timeline wal.TimelineID `json:"timeline"`
	LSN      string         `json:"lsn"`
	State    T              `json:"state"`
}

// positionFormat is the newest version of the file that is known here.
const positionFormat = 1

// Names in the directory.
const (
	positionName = "position.json"
	lockName     = "lock"
)

// OpenPositionFile makes the directory where it is missing, locks it, waiting for
// a predecessor as req says, and reads the file, in which a new sink has nothing.
// [PositionFile.Result] is then what Open answers. fsys is [durable.OS] but in
// tests.
func OpenPositionFile[T any](ctx context.Context, fsys durable.FS, dir string, req *OpenRequest) (*PositionFile[T], error) {
	if err := durable.MkdirAll(fsys, dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(ctx, filepath.Join(dir, lockName), req.LockWait)
	if err != nil {
		return nil, err
	}
	p := &PositionFile[T]{fsys: fsys, name: filepath.Join(dir, positionName), lock: lock}
	if err := p.load(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if p.saved.SystemID == 0 {
		p.saved.SystemID = req.System.ID
	}
	p.State = p.saved.State
	return p, nil
}

func (p *PositionFile[T]) load() error {
	f, err := p.fsys.OpenFile(p.name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	var head struct{ Format int }
	if err := json.Unmarshal(b, &head); err == nil && head.Format > positionFormat {
		return Permanentf("%s has the format %d, which a newer version has written; this one knows %d: install the newer version", p.name, head.Format, positionFormat)
	}
	if err := json.Unmarshal(b, &p.saved); err != nil {
		return Permanentf("%s is damaged (%w): restore it, or give the sink a new directory", p.name, err)
	}
	if _, err := wal.ParseLSN(p.saved.LSN); err != nil || p.saved.SystemID == 0 || p.saved.Timeline == 0 {
		return Permanentf("%s is damaged: it holds no position; restore it, or give the sink a new directory", p.name)
	}
	return nil
}

// Position is what was saved last; zero in a new sink.
func (p *PositionFile[T]) Position() wal.Position {
	lsn, _ := wal.ParseLSN(p.saved.LSN) // load has checked it; empty is new
	return wal.Position{Timeline: p.saved.Timeline, LSN: lsn}
}

// Result is the answer to Open.
func (p *PositionFile[T]) Result() OpenResult {
	at := p.Position()
	return OpenResult{New: at.LSN == 0, SystemID: p.saved.SystemID, Position: at}
}

// Save makes State and the position that it has durable, at once or not at all.
// Where neither can have changed it does nothing.
func (p *PositionFile[T]) Save(at wal.Position) error {
	if at == p.Position() || at.LSN == 0 {
		return nil
	}
	next := positionJSON[T]{Format: positionFormat, SystemID: p.saved.SystemID, Timeline: at.Timeline, LSN: at.LSN.String(), State: p.State}
	b, err := json.Marshal(&next)
	if err != nil {
		return Permanent(fmt.Errorf("state of %s: %w", p.name, err))
	}
	if err := durable.WriteFileAtomic(p.fsys, p.name, append(b, '\n'), 0o600); err != nil {
		return err
	}
	p.saved = next
	return nil
}

// Close lets go of the directory. It saves nothing.
func (p *PositionFile[T]) Close() error { return p.lock.Close() }
