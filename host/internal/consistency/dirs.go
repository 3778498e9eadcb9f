package consistency

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

// CompareDirs compares the pages of users' relations, and of transactions' states,
// multixacts and commit times, in two data directories, ours
// and that of a server which has recovered from the same files and WAL, and was
// stopped before anybody read them: all bytes, but one flag of GiST, and pd_lsn of
// heap pages that are all visible, which a server sets with checksums or
// wal_log_hints only. A page that is not there is taken for one of zeros, which a
// page of the visibility map without bits equals. The free space map is left out,
// and of unlogged relations all but their init fork: their changes are not logged.
func CompareDirs(ours, theirs string) (*Recovered, error) {
	names, unlogged := map[string]relfile.File{}, map[wal.RelFileLocator]bool{}
	for _, dir := range []string{ours, theirs} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			f := relfile.Parse(filepath.ToSlash(name))
			if f.Kind >= relfile.Xact {
				names[name] = f
			}
			if f.Kind == relfile.Relation && f.Rel.Rel >= firstNormalOID && f.Fork != wal.FSMFork {
				names[name] = f
				unlogged[f.Rel] = unlogged[f.Rel] || f.Fork == wal.InitFork
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	done := &Recovered{}
	for name, f := range names {
		if unlogged[f.Rel] && f.Fork != wal.InitFork {
			continue
		}
		if err := done.compareFiles(f, filepath.Join(ours, name), filepath.Join(theirs, name)); err != nil {
			return nil, err
		}
	}
	return done, nil
}

func (d *Recovered) compareFiles(f relfile.File, ours, theirs string) error {
	a, err := readAll(ours)
	if err != nil {
		return err
	}
	b, err := readAll(theirs)
	if err != nil {
		return err
	}
	if len(a)%wal.BlockSize != 0 || len(b)%wal.BlockSize != 0 {
		return fmt.Errorf("%s has %d bytes and %s %d, not whole pages", ours, len(a), theirs, len(b))
	}
	for at := 0; at < max(len(a), len(b)); at += wal.BlockSize {
		var got, want pageBytes
		if at < len(a) {
			got = pageBytes(a[at:])
		}
		if at < len(b) {
			want = pageBytes(b[at:])
		}
		d.Pages++
		if f.Kind == relfile.Relation {
			hide(&got, &want, f.Fork)
		}
		if got != want {
			if f.Kind != relfile.Relation {
				d.Failed++
				d.Failures = append(d.Failures, fmt.Sprintf("%s, byte %d: %s", ours, at, difference(&got, &want)))
				continue
			}
			d.fail(pageKey{f.Rel, f.Fork, f.FirstBlock() + wal.BlockNumber(at/wal.BlockSize)}, difference(&got, &want))
		}
	}
	return nil
}

// readAll reads a file; one that is not there is empty.
func readAll(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// hide takes out of two pages of the same place what may differ.
func hide(a, b *pageBytes, fork wal.ForkNumber) {
	if *a == *b {
		return
	}
	const header, flags, special, allVisible = 24, 10, 16, 0x0004
	before := [2]pageBytes{*a, *b}
	zero := make([]byte, wal.BlockSize)
	for _, p := range []*pageBytes{a, b} {
		switch {
		case fork == wal.VisibilityMapFork && bytes.Equal(p[header:], zero[header:]):
			clear(p[:header])
		case le.Uint16(p[special:]) == wal.BlockSize && p[flags]&allVisible != 0:
			clear(p[:8])
		default:
			p.maskTuplesDeleted()
		}
	}
	if before != [2]pageBytes{*a, *b} {
		clear(a[8:10]) // pd_checksum, over all of it
		clear(b[8:10])
	}
}
