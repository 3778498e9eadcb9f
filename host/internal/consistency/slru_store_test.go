package consistency

import (
	"errors"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/slru"
)

// A page cache that is given the files before the WAL, and the WAL, has every page of
// every SLRU as the server's files had it in the midst of the WAL and at its end, and no
// other.
func TestSLRUStore(t *testing.T) {
	w, c := slruServer(t, postgres.Install{}, nil)
	s, err := pagestore.Open(t.Context(), t.TempDir(), pagestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	before := importSLRU(t, s, w)
	var last wal.LSN
	commit := func() error {
		return s.Commit(t.Context(), pagestore.Progress{Position: last, LastValid: last})
	}
	if err := w.Each(func(rec *wal.Record) error {
		last = rec.EndLSN
		if err := s.Append(rec); err != nil || !s.Full() {
			return err
		}
		return commit()
	}); err != nil {
		t.Fatal(err)
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	middle := storedSLRU(t, s, w.MiddleDir, w.Middle, before)
	end := storedSLRU(t, s, c.DataDir(), 0, middle)
	t.Logf("%d pages before, %d in the midst and %d at the end", len(before), len(middle), len(end))
}

// importSLRU begins a store with the SLRUs' files before the WAL.
func importSLRU(t *testing.T, s *pagestore.Store, w *SLRUWAL) map[slruPage]*pageBytes {
	t.Helper()
	pages, err := readSLRU(w.base)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.BeginImport(1, 1, segmentSize, w.From); err != nil {
		t.Fatal(err)
	}
	for p, content := range pages {
		id := pagestore.SLRUPage(p.kind, p.number)
		if err := s.ImportPages(id.Rel, id.Fork, id.Block, content[:]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.EndImport(t.Context(), w.From); err != nil {
		t.Fatal(err)
	}
	return pages
}

// storedSLRU compares what the store has with a directory's files. gone are pages that
// were there before: those that are not in the files, the store must not have.
func storedSLRU(t *testing.T, s *pagestore.Store, dir string, at wal.LSN, gone map[slruPage]*pageBytes) map[slruPage]*pageBytes {
	t.Helper()
	want, err := readSLRU(dir)
	if err != nil {
		t.Fatal(err)
	}
	compared := map[slru.Kind]int{}
	for p, content := range want {
		a, err := s.ReadPage(t.Context(), pagestore.SLRUPage(p.kind, p.number), at)
		switch {
		case errors.Is(err, pagestore.ErrNotFound) && *content == pageBytes{}:
			// a hole of the file
		case err != nil:
			t.Fatal(err)
		case pageBytes(a.Page) != *content:
			got := pageBytes(a.Page)
			t.Errorf("%s: %s", p, difference(&got, content))
		default:
			compared[p.kind]++
		}
	}
	for p := range gone {
		if want[p] == nil {
			if _, err := s.ReadPage(t.Context(), pagestore.SLRUPage(p.kind, p.number), at); !errors.Is(err, pagestore.ErrNotFound) {
				t.Errorf("%s is gone: %v", p, err)
			}
		}
	}
	for _, kind := range slruKinds {
		if compared[kind] == 0 {
			t.Errorf("no page of %s was compared", kind)
		}
	}
	return want
}
