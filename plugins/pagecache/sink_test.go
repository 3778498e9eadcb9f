package pagecache

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

var testRel = wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}

// TestDelivery stores a mixed workload in blocks and compares every version of
// every page with the model, over restarts in the middle of records.
func TestDelivery(t *testing.T) {
	w := waltest.Random(11, waltest.Options{}, 3<<20)
	m := modelOf(t, w)
	fsys := vfs.NewMem()
	step := wal.LSN(len(w.Bytes())/3 + 13)
	var last wal.LSN
	for to := w.Options().Start + step; last < w.End(); to += step {
		l := begin(t, fsys, "/pages", w)
		if r := l.Result(); r.New != (last == 0) || !r.New && r.Position != (wal.Position{Timeline: 1, LSN: last}) {
			t.Fatalf("opened at %+v after %s", r, last)
		}
		l.deliver(min(to, w.End()))
		if got := l.sink.Applied(); got > last {
			t.Fatalf("applied %s before a flush", got)
		}
		last = l.flush()
		if got := l.sink.Applied(); got != last {
			t.Fatalf("applied %s after a flush to %s", got, last)
		}
		if err := m.checkAll(t.Context(), l.sink.store, last); err != nil {
			t.Fatal(err)
		}
		l.close()
	}
}

// TestOtherWAL refuses WAL that does not belong to what is held.
func TestOtherWAL(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.Append(waltest.Commit(700, time.Unix(0, 0)))
	fsys := vfs.NewMem()
	l := begin(t, fsys, "/pages", w)
	l.all()
	l.close()

	for name, o := range map[string]waltest.Options{
		"cluster with system identifier 7000000000000000001, and the WAL is of 5": {SystemID: 5},
		"timeline 1 up to 0/100050, and WAL of timeline 2 comes without a switch": {Timeline: 2},
	} {
		w := waltest.New(o)
		w.Append(waltest.Commit(700, time.Unix(0, 0)))
		w.Append(waltest.Commit(701, time.Unix(0, 0)))
		sys := testSystem
		sys.ID, sys.Timeline = w.Options().SystemID, w.Options().Timeline
		s := newSink(&Config{Directory: "/pages", Listen: shortDir(t) + "/s"}, fsys)
		session, err := sinktest.OpenSink(t.Context(), Definition(), s, sys, sinktest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := session.Result().SystemID; got != waltest.DefaultSystemID {
			t.Fatalf("answered system identifier %d", got)
		}
		err = session.Deliver(t.Context(), w.Bytes())
		if !sdk.IsPermanent(err) || !strings.Contains(err.Error(), name) {
			t.Fatalf("got %v, want a permanent error with %q", err, name)
		}
		if err := session.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpenErrors tells what a person has to mend from what may pass.
func TestOpenErrors(t *testing.T) {
	w := waltest.New(waltest.Options{})
	fsys := vfs.NewMem()
	l := begin(t, fsys, "/pages", w)
	defer l.close()
	open := func(fsys vfs.FS, dir string) error {
		s := newSink(&Config{Directory: dir, Listen: shortDir(t) + "/s"}, fsys)
		_, err := s.Open(t.Context(), &sdk.OpenRequest{System: testSystem, LockWait: time.Millisecond})
		return err
	}
	if err := open(fsys, "/pages"); !errors.Is(err, pagestore.ErrLocked) || sdk.IsPermanent(err) {
		t.Errorf("held by another: %v", err)
	}
	if err := fsys.MkdirAll("/other/thing", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := open(fsys, "/other"); !errors.Is(err, pagestore.ErrFormat) || !sdk.IsPermanent(err) {
		t.Errorf("another's directory: %v", err)
	}
	dir := filepath.Join(shortDir(t), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(vfs.Default, dir); err == nil {
		t.Error("a file was taken for a directory")
	}
}

// TestLargeRecord has a commit that is larger than what is put together, and
// drops a relation at its very end; and one that was never completed.
func TestLargeRecord(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, image := w.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(100, 1)))
	w.Abandon(largeCommit(testRel, 5<<20), 17<<20) // of 20 MiB
	_, before := w.Append(waltest.Commit(701, time.Unix(0, 0)))
	start, end := w.Append(largeCommit(testRel, 5<<20))
	_, last := w.Append(waltest.FullPageImage(testRel, 1, waltest.HeapPage(100, 2)))

	fsys := vfs.NewMem()
	page := pagestore.PageID{Rel: testRel}
	read := func(l *life, lsn wal.LSN) error {
		_, err := l.sink.store.ReadPage(t.Context(), page, lsn)
		return err
	}
	l := begin(t, fsys, "/pages", w)
	l.deliver(start + 18<<20)
	if got := l.flush(); got != before && got != start {
		t.Fatalf("flushed %s in the middle of the record from %s to %s", got, start, end)
	}
	if err := errors.Join(read(l, image), read(l, start+17<<20)); err != nil {
		t.Fatal(err)
	}
	l.close()

	l = begin(t, fsys, "/pages", w)
	defer l.close()
	l.all()
	if got := l.sink.store.Visible(); got.Position != last || got.LastRecord != last {
		t.Fatalf("at %+v, want %s", got, last)
	}
	if err := read(l, end-1); err != nil {
		t.Fatal(err)
	}
	if err := read(l, end); !errors.Is(err, pagestore.ErrNotFound) || !strings.Contains(err.Error(), "dropped the relation") {
		t.Fatalf("after the drop: %v", err)
	}
}

// largeCommit is a commit of n subtransactions that drops a relation.
func largeCommit(rel wal.RelFileLocator, n int) waltest.Record {
	le := binary.LittleEndian
	main := le.AppendUint64(make([]byte, 0, 4*n+40), 1)
	main = le.AppendUint32(main, 1<<1|1<<2) // subxacts, relations
	main = le.AppendUint32(main, uint32(n))
	main = append(main, make([]byte, 4*n)...)
	main = le.AppendUint32(main, 1)
	main = le.AppendUint32(le.AppendUint32(le.AppendUint32(main, uint32(rel.Spc)), uint32(rel.DB)), uint32(rel.Rel))
	return waltest.Record{Rmgr: wal.RmgrTransaction, Info: 0x80, XID: 700, Main: main}
}

// TestSocket is about what stands at the socket's path at Open.
func TestSocket(t *testing.T) {
	open := func(path string) (*sink, error) {
		s := newSink(&Config{Directory: "/pages", Listen: path}, vfs.NewMem())
		_, err := s.Open(t.Context(), &sdk.OpenRequest{System: testSystem})
		return s, err
	}
	t.Run("none", func(t *testing.T) {
		path := shortDir(t) + "/s"
		s, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != fs.ModeSocket|0o600 {
			t.Fatalf("%v, %v", info.Mode(), err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
	})
	t.Run("of a process that died", func(t *testing.T) {
		path := shortDir(t) + "/s"
		for _, name := range []string{path, path + newSocketSuffix} {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}
		s, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(t.Context())
		if _, err := (&life{t: t, sink: s}).client().Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("of a process that lives", func(t *testing.T) {
		path := shortDir(t) + "/s"
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, err = open(path)
		if err == nil || sdk.IsPermanent(err) || !strings.Contains(err.Error(), "another process answers at "+path) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("no socket", func(t *testing.T) {
		path := shortDir(t) + "/s"
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := open(path)
		if !sdk.IsPermanent(err) || !strings.Contains(err.Error(), "is there and is no socket") {
			t.Fatalf("got %v", err)
		}
		if b, _ := os.ReadFile(path); string(b) != "precious" {
			t.Fatal("it was overwritten")
		}
	})
	t.Run("no directory", func(t *testing.T) {
		if _, err := open(shortDir(t) + "/none/s"); err == nil {
			t.Fatal("it opened")
		}
	})
}

// TestSocketInDirectory is the default, found again after a crash of a process
// that had done nothing else yet.
func TestSocketInDirectory(t *testing.T) {
	dir := shortDir(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "pages.sock")})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s, err := sinktest.Open(t.Context(), Definition(), map[string]any{"directory": dir}, testSystem, sinktest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Join(dir, "pages.sock")); err != nil || info.Mode().Type() != fs.ModeSocket {
		t.Fatalf("%v, %v", info, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestValidate(t *testing.T) {
	long := "/" + strings.Repeat("x", 200)
	tests := []struct {
		c    Config
		says string
	}{
		{Config{Directory: "/d"}, ""},
		{Config{}, "No directory"},
		{Config{Directory: long}, "Path of the socket is too long: " + long + "/pages.sock has 212 bytes"},
		{Config{Directory: long, Listen: "/run/pages.sock"}, ""},
		{Config{Directory: "/d", Listen: long}, "Path of the socket is too long"},
	}
	for _, tt := range tests {
		problems := tt.c.Validate()
		if (tt.says == "") != (len(problems) == 0) {
			t.Errorf("%+v: %v", tt.c, problems)
		}
		if len(problems) > 0 && !strings.Contains(problems[0].Error(), tt.says) {
			t.Errorf("%+v: %v, want %q", tt.c, problems, tt.says)
		}
	}
	// What passes can be listened on.
	dir := shortDir(t)
	path := dir + "/" + strings.Repeat("x", maxSocketPath-len(dir)-1)
	l, err := listenUnix(path)
	if err != nil {
		t.Fatalf("a path of %d bytes: %v", len(path), err)
	}
	l.Close()
}

// TestServiceFault has the service end under the sink.
func TestServiceFault(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.Append(waltest.Commit(700, time.Unix(0, 0)))
	l := begin(t, vfs.NewMem(), "/pages", w)
	l.sink.service.doors[0].ended <- net.ErrClosed
	if _, err := l.Flush(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	l.close()
}

func BenchmarkIngest(b *testing.B) {
	w := waltest.Random(1, waltest.Options{SegmentSize: wal.DefaultSegmentSize}, 64<<20)
	sys := testSystem
	sys.SegmentSize = wal.DefaultSegmentSize
	b.SetBytes(int64(len(w.Bytes())))
	b.ReportAllocs()
	for b.Loop() {
		s := newSink(&Config{Directory: filepath.Join(shortDir(b), "d")}, vfs.Default)
		session, err := sinktest.OpenSink(context.Background(), Definition(), s, sys, sinktest.Options{Start: w.Options().Start})
		if err != nil {
			b.Fatal(err)
		}
		const unit = 8 << 20 // half of a window
		for p := w.Bytes(); len(p) > 0; p = p[min(unit, len(p)):] {
			if err := session.Deliver(b.Context(), p[:min(unit, len(p))]); err != nil {
				b.Fatal(err)
			}
			if _, err := session.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		if err := session.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
