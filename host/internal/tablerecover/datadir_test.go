package tablerecover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk/wal"
)

// dataDir is a Source over the files of a server that was shut down.
type dataDir struct{ dir string }

const blocksPerFile = 1 << 30 / wal.BlockSize

func (d dataDir) path(rel wal.RelFileLocator) (string, error) {
	switch rel.Spc {
	case 1663:
		return filepath.Join(d.dir, "base", fmt.Sprint(rel.DB), fmt.Sprint(rel.Rel)), nil
	case globalSpace:
		return filepath.Join(d.dir, "global", fmt.Sprint(rel.Rel)), nil
	}
	found, err := filepath.Glob(filepath.Join(d.dir, "pg_tblspc", fmt.Sprint(rel.Spc), "PG_*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("tablespace %d: %v (%v)", rel.Spc, found, err)
	}
	return filepath.Join(found[0], fmt.Sprint(rel.DB), fmt.Sprint(rel.Rel)), nil
}

func (d dataDir) Page(_ context.Context, rel wal.RelFileLocator, _ wal.ForkNumber, block wal.BlockNumber) ([]byte, error) {
	name, err := d.path(rel)
	if err != nil {
		return nil, err
	}
	return readAt(name, int64(block)*wal.BlockSize)
}

func readAt(name string, off int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, wal.BlockSize)
	_, err = f.ReadAt(b, off)
	return b, err
}

func (d dataDir) Blocks(_ context.Context, rel wal.RelFileLocator, _ wal.ForkNumber) (wal.BlockNumber, error) {
	name, err := d.path(rel)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if info.Size() >= blocksPerFile*wal.BlockSize {
		return 0, fmt.Errorf("%s is too large for a test", name)
	}
	return wal.BlockNumber(info.Size() / wal.BlockSize), nil
}

func (d dataDir) SLRUPage(_ context.Context, kind SLRU, page uint32) ([]byte, error) {
	const pagesPerFile = 32
	b, err := readAt(filepath.Join(d.dir, kind.String(), fmt.Sprintf("%04X", page/pagesPerFile)), int64(page%pagesPerFile)*wal.BlockSize)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrNotThere, err)
	}
	return b, err
}

func (d dataDir) RelMap(_ context.Context, spc, db wal.OID) ([]byte, error) {
	name := filepath.Join(d.dir, "global", "pg_filenode.map")
	if db != 0 {
		base, err := d.path(wal.RelFileLocator{Spc: spc, DB: db})
		if err != nil {
			return nil, err
		}
		name = filepath.Join(filepath.Dir(base), "pg_filenode.map")
	}
	return os.ReadFile(name)
}
