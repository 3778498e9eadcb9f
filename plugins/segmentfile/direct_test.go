package segmentfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// directly sums up the disk's writes of WAL, and those of them that were direct.
func directly(disk *crashfs.FS) (all, direct int) {
	for _, c := range disk.Log() {
		if c.Op == crashfs.OpWrite && strings.HasSuffix(c.Name, wal.PartialSuffix) {
			all += c.Len
			if c.Direct {
				direct += c.Len
			}
		}
	}
	return all, direct
}

// Of WAL in large blocks all pages are written directly, where nothing speaks
// against it.
func TestDirectWrites(t *testing.T) {
	for _, c := range []struct {
		config *segmentfile.Config
		direct bool
	}{
		{config(archive), true},
		{&segmentfile.Config{Directory: archive, Preallocate: true, Direct: "auto"}, true},
		{&segmentfile.Config{Directory: archive, Preallocate: true, Direct: "off"}, false},
		{&segmentfile.Config{Directory: archive}, false},
		{&segmentfile.Config{Directory: archive, Preallocate: true, Sync: "o_dsync"}, false},
		{&segmentfile.Config{Directory: archive, Preallocate: true, Compression: "lz4"}, false},
	} {
		t.Run(fmt.Sprintf("%+v", *c.config), func(t *testing.T) {
			w := source(2500)
			disk := crashfs.New()
			sink := segmentfile.New(c.config, disk)
			session, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), sink, system(), sinktest.Options{Start: w.Options().Start})
			must(t, err)
			disk.ClearLog()
			must(t, session.Deliver(t.Context(), until(w, w.End())))
			_, err = session.Flush(t.Context())
			must(t, err)
			all, direct := directly(disk)
			if want := len(w.Bytes()) / wire.BlockWAL * wire.BlockWAL; c.direct && direct < want || !c.direct && direct > 0 || all < len(w.Bytes()) {
				t.Errorf("%d bytes of WAL: %d were written, %d of them directly, want %d", len(w.Bytes()), all, direct, want)
			}
			must(t, session.Close(t.Context()))
		})
	}
}

// Whatever way each piece takes, of blocks that begin and end anywhere: the files
// hold the WAL. On this system's own file system as well.
func TestDirectWritesMeetOthers(t *testing.T) {
	w := source(2500)
	dir := filepath.Join(t.TempDir(), "archive")
	sink := segmentfile.New(config(dir), durable.OS{})
	session, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), sink, system(), sinktest.Options{Start: w.Options().Start})
	must(t, err)
	all := w.Bytes()
	for i, sizes := 0, []int{300_000, 5, 70_000, 4096, 100_001, 8192, 150_000, 1}; len(all) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(all))
		must(t, session.Deliver(t.Context(), all[:n]))
		all = all[n:]
		if i%3 == 0 { // zeros are written ahead of some
			_, err := session.Flush(t.Context())
			must(t, err)
		}
		if flushed := session.Next(); i%3 == 0 {
			got, err := readAll(t.Context(), sink, 1, w.Options().Start, flushed)
			must(t, err)
			if !bytes.Equal(got, until(w, flushed)) {
				t.Fatalf("what is read back up to %s differs", flushed)
			}
		}
	}
	_, err = session.Flush(t.Context())
	must(t, err)
	got, err := readAll(t.Context(), sink, 1, w.Options().Start, w.End())
	must(t, err)
	if !bytes.Equal(got, w.Bytes()) {
		t.Error("what is read back differs")
	}
	must(t, session.Close(t.Context()))
}

// indirect is a file system that takes no direct writes, once it has taken some.
type indirect struct{ durable.FS }

func (i indirect) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := i.FS.OpenFile(name, flag, perm)
	return indirectFile{f}, err
}

type indirectFile struct{ durable.File }

func (f indirectFile) WriteDirectAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p[:100], off)
	return n, errors.Join(err, fmt.Errorf("write directly: %w", errors.ErrUnsupported))
}

func TestNoDirectWrites(t *testing.T) {
	w := source(2500)
	disk := crashfs.New()
	sink := segmentfile.New(config(archive), indirect{disk})
	session, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), sink, system(), sinktest.Options{Start: w.Options().Start})
	must(t, err)
	must(t, session.Deliver(t.Context(), until(w, w.End())))
	lsn, err := session.Flush(t.Context())
	must(t, err)
	got, err := readAll(t.Context(), sink, 1, w.Options().Start, lsn)
	must(t, err)
	if lsn != w.End() || !bytes.Equal(got, w.Bytes()) {
		t.Errorf("flushed %s of %s, or what is read back differs", lsn, w.End())
	}
}

// A direct write that fails ends the sink; what it was given comes again.
func TestDirectWriteFails(t *testing.T) {
	w := source(2500)
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	disk.Inject(func(c crashfs.Call) *crashfs.Fault {
		if c.Direct {
			return &crashfs.Fault{Err: syscall.EIO, Written: 5000}
		}
		return nil
	})
	err := l.deliver(w, w.End())
	wantError(t, err, false, "input/output error", ".partial")
	if _, err := l.Flush(t.Context()); err == nil {
		t.Error("a flush after a failed write succeeded")
	}
	must(t, l.Close(t.Context()))
	disk = disk.Kill()
	l = mustStart(t, disk, w)
	l.mustDeliver(w, w.End())
	if got := l.mustFlush(); got != w.End() {
		t.Errorf("flushed %s of %s", got, w.End())
	}
}
