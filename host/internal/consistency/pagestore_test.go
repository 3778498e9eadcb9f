package consistency

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

// A store of pages that began with a server's files, and got its WAL, has the
// relations, of the length, and with the pages that the recovery of the installed
// server makes of both, its relation maps, and knows where transactions ended.
func TestStoreOfPages(t *testing.T) { verifyStore(t, postgres.Install{}) }

func verifyStore(t *testing.T, server postgres.Install) {
	c := pgtest.Start(t, func(o *postgres.Options) {
		o.Install = server
		*o = Options(o.Install)
		delete(o.Conf, "wal_consistency_checking")
	})
	w, err := Record(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	copyDatabases(t, c)
	if err := errors.Join(w.end(t.Context(), c), w.Recover(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	s, err := pagestore.Open(t.Context(), "/pages", pagestore.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	importBase(t, s, w)
	ends := appendWAL(t, s, w)
	for xid, want := range ends {
		if e, err := s.LocateXID(t.Context(), uint32(xid), 0); err != nil || e.EndLSN != want {
			t.Errorf("transaction %d: %+v, %v; it ended at %s", xid, e, err, want)
		}
	}
	compareStore(t, s, c.DataDir())
	t.Logf("%d transactions were found", len(ends))
}

// copyDatabases makes databases as copies of each other that stay, and changes
// each after it was copied.
func copyDatabases(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	version, err := c.QueryString(t.Context(), "SHOW server_version_num")
	if err != nil {
		t.Fatal(err)
	}
	copied, logged := "CREATE DATABASE copied TEMPLATE kept STRATEGY file_copy", "CREATE DATABASE logged TEMPLATE copied STRATEGY wal_log"
	if version < "150000" {
		copied, logged = "CREATE DATABASE copied TEMPLATE kept", "CREATE DATABASE logged TEMPLATE copied"
	}
	for _, step := range []struct{ db, sql string }{
		{"postgres", "CREATE DATABASE kept"},
		{"kept", "CREATE TABLE t AS SELECT g FROM generate_series(1, 20000) g"},
		{"kept", "VACUUM t"},
		{"postgres", copied},
		{"kept", "DELETE FROM t WHERE g > 1000"},
		{"kept", "VACUUM t"},
		{"copied", "INSERT INTO t SELECT g FROM generate_series(1, 100) g"},
		{"copied", "VACUUM FULL pg_class"},
		{"copied", "CREATE TABLE u AS SELECT * FROM t"},
		{"postgres", logged},
		{"copied", "DROP TABLE u"},
		{"logged", "UPDATE u SET g = 0 WHERE g < 500"},
	} {
		conn, err := c.Connect(t.Context(), "dbname="+step.db)
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Exec(t.Context(), step.sql)
		if err = errors.Join(err, conn.Close(t.Context())); err != nil {
			t.Fatalf("%s: %v", step.sql, err)
		}
	}
}

// importBase begins the store with the files that the WAL began with.
func importBase(t *testing.T, s *pagestore.Store, w *WAL) {
	t.Helper()
	if err := s.BeginImport(1, 1, segmentSize, w.From); err != nil {
		t.Fatal(err)
	}
	eachPageFile(t, w.base, func(f relfile.File, b []byte) {
		var err error
		if f.Kind == relfile.RelMap {
			id := pagestore.RelMapPage(f.Rel.Spc, f.Rel.DB)
			err = s.ImportPages(id.Rel, id.Fork, id.Block, append(b, make([]byte, wal.BlockSize-len(b))...))
		} else {
			err = errors.Join(s.ImportPages(f.Rel, f.Fork, f.FirstBlock(), b),
				s.ImportFork(f.Rel, f.Fork, f.FirstBlock()+wal.BlockNumber(len(b)/wal.BlockSize)))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if err := s.EndImport(t.Context(), w.From); err != nil {
		t.Fatal(err)
	}
}

// eachPageFile calls f with the relations' and the relation maps' files of a data
// directory.
func eachPageFile(t *testing.T, dataDir string, f func(f relfile.File, b []byte)) {
	t.Helper()
	var walk func(name string) error
	walk = func(name string) error {
		path := filepath.Join(dataDir, name)
		info, err := os.Stat(path) // of what a tablespace's link leads to
		if errors.Is(err, fs.ErrNotExist) && name != "" {
			return nil // of a tablespace that was dropped
		}
		if err != nil {
			return err
		}
		if info.IsDir() {
			entries, err := os.ReadDir(path)
			for _, e := range entries {
				err = errors.Join(err, walk(filepath.Join(name, e.Name())))
			}
			return err
		}
		if file := relfile.Parse(filepath.ToSlash(name)); file.Kind == relfile.Relation || file.Kind == relfile.RelMap {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f(file, b)
		}
		return nil
	}
	for _, dir := range []string{"global", "base", "pg_tblspc"} {
		if err := walk(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// appendWAL gives the store all records, and answers where transactions ended,
// those that were not prepared.
func appendWAL(t *testing.T, s *pagestore.Store, w *WAL) map[wal.XID]wal.LSN {
	t.Helper()
	const often = 5000 // records
	var end wal.LSN
	ends, n := map[wal.XID]wal.LSN{}, 0
	commit := func() error {
		return s.Commit(t.Context(), pagestore.Progress{Position: end, LastValid: end})
	}
	err := w.Each(func(rec *wal.Record) error {
		end = rec.EndLSN
		if op := rec.Operation(); rec.RmgrID == wal.RmgrTransaction && rec.XID != 0 && (op == "COMMIT" || op == "ABORT") {
			ends[rec.XID] = end
		}
		if err := s.Append(rec); err != nil {
			return err
		}
		if n++; n%often == 0 || s.Full() {
			return commit()
		}
		return nil
	})
	if err = errors.Join(err, commit()); err != nil {
		t.Fatal(err)
	}
	return ends
}

// compareStore compares what the store has with a server's files. The free space
// map is left out, and of unlogged relations all but their init fork.
func compareStore(t *testing.T, s *pagestore.Store, dataDir string) {
	t.Helper()
	files, maps := map[pageKey]pagestore.RelFork{}, 0 // by block 0
	var pages Recovered
	eachPageFile(t, dataDir, func(f relfile.File, b []byte) {
		if f.Kind == relfile.RelMap {
			maps++
			a, err := s.ReadPage(t.Context(), pagestore.RelMapPage(f.Rel.Spc, f.Rel.DB), 0)
			if err != nil {
				t.Error(err)
			} else if got, err := pagestore.RelMapFile(a.Page); err != nil || !bytes.Equal(got, b) {
				t.Errorf("the relation map of %s is another: %v", f.Rel, err)
			}
			return
		}
		if f.Fork == wal.FSMFork {
			return
		}
		key := pageKey{f.Rel, f.Fork, 0}
		end := f.FirstBlock() + wal.BlockNumber(len(b)/wal.BlockSize)
		files[key] = pagestore.RelFork{Rel: f.Rel, Fork: f.Fork, Blocks: max(end, files[key].Blocks)}
		if f.Rel.Rel >= firstNormalOID {
			pages.compareStored(t, s, f, b)
		}
	})
	for key, f := range files {
		if _, unlogged := files[pageKey{f.Rel, wal.InitFork, 0}]; unlogged && f.Fork != wal.InitFork {
			delete(files, key)
		}
	}
	forks := len(files)
	if _, err := s.EachFork(t.Context(), 0, nil, func(f pagestore.RelFork) error {
		if f.Fork == wal.FSMFork {
			return nil
		}
		key := pageKey{f.Rel, f.Fork, 0}
		if files[key] != f {
			t.Errorf("%s, fork %s, has %d blocks, and of the server's file %d", f.Rel, f.Fork, f.Blocks, files[key].Blocks)
		}
		delete(files, key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Errorf("%s, fork %s, with %d blocks, is not there", f.Rel, f.Fork, f.Blocks)
	}
	t.Logf("%d forks, %d relation maps and %d pages are compared", forks, maps, pages.Pages)
	if pages.Failed > 0 || pages.Pages < leastRecovered || maps < 3 {
		t.Errorf("%d pages differ of %d; %d relation maps\n%s", pages.Failed, pages.Pages, maps, pages.Failures)
	}
}

// compareStored compares the store's pages with a file's.
func (d *Recovered) compareStored(t *testing.T, s *pagestore.Store, f relfile.File, b []byte) {
	t.Helper()
	for at := 0; at < len(b); at += wal.BlockSize {
		id := pagestore.PageID{Rel: f.Rel, Fork: f.Fork, Block: f.FirstBlock() + wal.BlockNumber(at/wal.BlockSize)}
		a, err := s.ReadPage(t.Context(), id, 0)
		if errors.Is(err, pagestore.ErrNotFound) {
			continue // of an unlogged relation; else its size differs
		}
		key := pageKey{f.Rel, f.Fork, id.Block}
		if err != nil {
			d.fail(key, err.Error())
			continue
		}
		d.Pages++
		got, want := pageBytes(a.Page), pageBytes(b[at:])
		hide(&got, &want, f.Fork)
		clear(got[8:10]) // pd_checksum: whoever writes a page computes it
		clear(want[8:10])
		if got != want {
			d.fail(key, difference(&got, &want))
		}
	}
}
