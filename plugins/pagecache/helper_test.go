package pagecache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// testSystem is the cluster of waltest's default options.
var testSystem = sdk.System{ID: waltest.DefaultSystemID, Timeline: 1, SegmentSize: wal.MinSegmentSize, ServerVersion: 150018}

// life is one life of the sink over WAL that a test wrote.
type life struct {
	*sinktest.Session
	t    testing.TB
	sink *sink
	w    *waltest.Writer
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "pc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// begin opens the sink over w's WAL; in fs, unless that is nil.
func begin(t testing.TB, fs vfs.FS, dir string, w *waltest.Writer) *life {
	t.Helper()
	if fs == nil {
		fs = vfs.Default
	}
	l, err := beginSink(t, newSink(&Config{Directory: dir, Listen: filepath.Join(shortDir(t), "s")}, fs), w)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// testLogFile makes the log of values go through many files.
const testLogFile = 64 << 10

func beginSink(t testing.TB, s *sink, w *waltest.Writer) (*life, error) {
	s.maxLogFile = testLogFile
	session, err := sinktest.OpenSink(t.Context(), Definition(), s, testSystem, sinktest.Options{Start: w.Options().Start})
	if err != nil {
		return nil, err
	}
	return &life{Session: session, t: t, sink: s, w: w}, nil
}

// deliver hands over the WAL up to lsn.
func (l *life) deliver(lsn wal.LSN) {
	l.t.Helper()
	if lsn <= l.Next() {
		return
	}
	start := l.w.Options().Start
	if err := l.Deliver(l.t.Context(), l.w.Bytes()[l.Next()-start:lsn-start]); err != nil {
		l.t.Fatal(err)
	}
}

// flush flushes, and answers the position.
func (l *life) flush() wal.LSN {
	l.t.Helper()
	lsn, err := l.Flush(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return lsn
}

// all delivers everything and flushes.
func (l *life) all() {
	l.t.Helper()
	l.deliver(l.w.End())
	l.flush()
}

func (l *life) close() {
	l.t.Helper()
	if err := l.Close(context.WithoutCancel(l.t.Context())); err != nil {
		l.t.Fatal(err)
	}
}

// client is a client of the sink's socket.
func (l *life) client() *pageclient.Client {
	l.t.Helper()
	c, err := pageclient.Dial(l.sink.config.listen())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

// model is what a page cache must answer, kept as plainly as can be.
type model struct {
	pages map[pagestore.PageID][]modelVersion
	made  map[wal.RelFileLocator][]wal.LSN // ends of XLOG_SMGR_CREATE records, main fork
}

type modelVersion struct {
	start, end wal.LSN
	init       bool
	image      []byte // the page, with its LSN; nil unless redo restores it
}

// modelOf reads the records that a test wrote. It knows the kinds of record that
// waltest.Random writes.
func modelOf(t testing.TB, w *waltest.Writer) *model {
	m := &model{pages: make(map[pagestore.PageID][]modelVersion), made: make(map[wal.RelFileLocator][]wal.LSN)}
	var images wal.Images
	for _, a := range w.Records() {
		rec := wal.Record{StartLSN: a.Start, EndLSN: a.End, Version: w.Options().Version, Data: a.Raw}
		if err := rec.Decode(a.Raw); err != nil {
			t.Fatal(err)
		}
		if main := rec.MainData(); rec.RmgrID == wal.RmgrStorage && rec.Info == 0x10 {
			rel := wal.RelFileLocator{Spc: wal.OID(binary.LittleEndian.Uint32(main)), DB: wal.OID(binary.LittleEndian.Uint32(main[4:])), Rel: wal.OID(binary.LittleEndian.Uint32(main[8:]))}
			m.made[rel] = append(m.made[rel], a.End)
		}
		for i := range rec.Blocks {
			b := &rec.Blocks[i]
			v := modelVersion{start: a.Start, end: a.End, init: b.WillInit()}
			if b.ApplyImage() {
				v.image = make([]byte, wal.BlockSize)
				if err := images.Restore(v.image, &rec, b); err != nil {
					t.Fatal(err)
				}
				binary.LittleEndian.PutUint32(v.image[0:], uint32(a.End>>32))
				binary.LittleEndian.PutUint32(v.image[4:], uint32(a.End))
			}
			id := pagestore.PageID{Rel: b.Rel, Fork: b.Fork, Block: b.Block}
			m.pages[id] = append(m.pages[id], v)
		}
	}
	return m
}

// check compares what the store answers for a page as of lsn with the model.
func (m *model) check(ctx context.Context, s *pagestore.Store, id pagestore.PageID, lsn wal.LSN) error {
	var born wal.LSN
	for _, end := range m.made[id.Rel] {
		if end <= lsn {
			born = end
		}
	}
	var want []modelVersion // from the base on
	for _, v := range m.pages[id] {
		if v.end > lsn || v.end <= born {
			continue
		}
		if v.image != nil || v.init {
			want = want[:0]
		}
		want = append(want, v)
	}
	var got []modelVersion
	base := pagestore.NoBase
	_, err := s.EachVersion(ctx, id, lsn, func(b pagestore.Base, rec *wal.Record) error {
		base = b
		got = append(got, modelVersion{start: rec.StartLSN, end: rec.EndLSN})
		return nil
	})
	switch {
	case len(want) == 0:
		if !errors.Is(err, pagestore.ErrNotFound) {
			return fmt.Errorf("%s as of %s: got %v, %v, want not found", id, lsn, got, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("%s as of %s: %w", id, lsn, err)
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s as of %s: %d records, want %d", id, lsn, len(got), len(want))
	}
	for i, v := range got {
		if v.start != want[i].start || v.end != want[i].end {
			return fmt.Errorf("%s as of %s: record %d is %s to %s, want %s to %s", id, lsn, i, v.start, v.end, want[i].start, want[i].end)
		}
	}
	wantBase := pagestore.NoBase
	switch {
	case want[0].image != nil:
		wantBase = pagestore.ImageBase
	case want[0].init:
		wantBase = pagestore.InitBase
	case born != 0:
		wantBase = pagestore.ZeroBase
	}
	if base != wantBase {
		return fmt.Errorf("%s as of %s: base %d, want %d", id, lsn, base, wantBase)
	}
	a, err := s.ReadPage(ctx, id, lsn)
	switch {
	case base == pagestore.NoBase && !errors.Is(err, pagestore.ErrNoBase):
		return fmt.Errorf("%s as of %s: got %v, want that there is no base", id, lsn, err)
	case len(want) > 1 || want[0].image == nil:
	case err != nil:
		return fmt.Errorf("%s as of %s: %w", id, lsn, err)
	case a.LastLSN != want[0].end || !bytes.Equal(a.Page, want[0].image):
		return fmt.Errorf("%s as of %s: another page than the image at %s", id, lsn, want[0].end)
	}
	return nil
}

// checkAll checks every version of every page up to lsn.
func (m *model) checkAll(ctx context.Context, s *pagestore.Store, lsn wal.LSN) error {
	for id, versions := range m.pages {
		for _, v := range versions {
			if v.end > lsn {
				break
			}
			if err := m.check(ctx, s, id, v.end); err != nil {
				return err
			}
		}
		if err := m.check(ctx, s, id, lsn); err != nil {
			return err
		}
	}
	return nil
}
