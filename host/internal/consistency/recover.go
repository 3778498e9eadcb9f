package consistency

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

// firstNormalOID is FirstNormalObjectId (access/transam.h): relations from here
// on are not the server's own.
const firstNormalOID = 16384

// Recover has the server go through all of the WAL once more, from the files
// that it began with, by its own recovery, and stops it: nobody reads a page
// meanwhile, and so there are no hint bits but those of records.
//
// The WAL must have no images that are there to be compared, since recovery
// would stop at a Gist/DELETE: the server that wrote it does not mark the page
// F_TUPLES_DELETED, as its redo does.
func (w *WAL) Recover(ctx context.Context, c *postgres.Cluster) error {
	if err := c.Stop(ctx, postgres.Immediate); err != nil {
		return err
	}
	live := filepath.Join(c.Dir(), "live")
	if err := os.Rename(c.DataDir(), live); err != nil {
		return err
	}
	w.dir = filepath.Join(live, "pg_wal")
	if err := copyDir(ctx, c, w.base, c.DataDir()); err != nil {
		return err
	}
	if err := copyDir(ctx, c, w.dir, c.DataDir()); err != nil { // over the one that is there
		return err
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	return c.Stop(ctx, postgres.Fast)
}

// Recovered counts what came of comparing pages with files after a recovery.
type Recovered struct {
	Pages    int // pages compared
	Dropped  int // pages of relations that are gone
	Failed   int // pages that differ
	Failures []string
}

// maxDifferences is how many pages that differ are told of in words.
const maxDifferences = 20

// CompareRecovered redoes all records and then compares each page of users'
// relations that they changed with the server's files, after [WAL.Recover]: all
// bytes but pd_checksum, and one flag of GiST. So it shows what masks hide: hint bits, pd_prune_xid,
// pd_lsn, flags, and what lies between tuples. The free space map is left out:
// its changes are not logged.
func CompareRecovered(w *WAL, r Redo, dataDir string) (*Recovered, error) {
	c := newChecker(w, r)
	if err := w.Each(c.record); err != nil {
		return nil, err
	}
	var done Recovered
	for _, k := range c.report.Kinds {
		done.Failed += k.Failed
		done.Failures = append(done.Failures, k.Failures...)
	}
	files := map[string][]byte{}
	for key, page := range c.pages {
		if key.rel.Rel < firstNormalOID || key.fork == wal.FSMFork {
			continue
		}
		path := filepath.Join(dataDir, key.path())
		content, known := files[path]
		if !known {
			var err error
			if content, err = os.ReadFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			files[path] = content
		}
		done.compare(key, *page, content)
	}
	return &done, nil
}

// compare compares a page with its relation's file.
func (d *Recovered) compare(key pageKey, page pageBytes, file []byte) {
	at := int(key.block) * wal.BlockSize
	switch {
	case len(file) == 0:
		d.Dropped++
		return
	case at+wal.BlockSize > len(file):
		d.fail(key, fmt.Sprintf("the server has only %d blocks", len(file)/wal.BlockSize))
		return
	}
	d.Pages++
	want := pageBytes(file[at:])
	for _, p := range []*pageBytes{&page, &want} {
		clear(p[8:10]) // pd_checksum
		p.maskTuplesDeleted()
	}
	if page != want {
		d.fail(key, difference(&page, &want))
	}
}

// maskTuplesDeleted hides F_TUPLES_DELETED of a GiST page (access/gist.h), which
// nothing reads: redo set it when tuples were deleted, and since 17.11 and 18.6
// does not, without another sign of it in the WAL.
func (p *pageBytes) maskTuplesDeleted() {
	const special, flags, pageID = wal.BlockSize - 16, wal.BlockSize - 4, wal.BlockSize - 2
	const gistPageID, tuplesDeleted = 0xFF81, 1 << 2
	if le.Uint16(p[16:]) == special && le.Uint16(p[pageID:]) == gistPageID {
		p[flags] &^= tuplesDeleted
	}
}

func (d *Recovered) fail(key pageKey, reason string) {
	d.Failed++
	if len(d.Failures) < maxDifferences {
		d.Failures = append(d.Failures, fmt.Sprintf("relation %s, fork %s, block %d: %s", key.rel, key.fork, key.block, reason))
	}
}
