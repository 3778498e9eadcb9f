package durable_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
)

// pages is memory that can be written directly.
func pages(n int, fill byte) []byte {
	b := make([]byte, (n+1)*durable.DirectAlign)
	for !durable.Aligned(b[:0], 0) {
		b = b[1:]
	}
	b = b[:n*durable.DirectAlign]
	for i := range b {
		b[i] = fill
	}
	return b
}

// What is written directly and what is not meet in one file, whose name may
// change meanwhile.
func TestWriteDirectly(t *testing.T) {
	const page = durable.DirectAlign
	for what, disk := range map[string]durable.FS{t.TempDir(): durable.OS{}, "/": crashfs.New()} {
		name := filepath.Join(what, "a")
		f, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		must(t, f.Allocate(8*page))
		_, err = f.WriteAt(bytes.Repeat([]byte("x"), 5*page), 100)
		must(t, err)
		w, ok := f.(durable.DirectWriter)
		if !ok {
			t.Fatalf("%T cannot be written to directly", f)
		}
		want := make([]byte, 8*page)
		copy(want[100:], bytes.Repeat([]byte("x"), 5*page))
		for i, at := range []int64{1, 5} {
			p := pages(2, byte('0'+i))
			n, err := w.WriteDirectAt(p, at*page)
			if errors.Is(err, errors.ErrUnsupported) && n == 0 { // then it says so, and has done nothing
				_, err = f.WriteAt(p, at*page)
			}
			must(t, err)
			copy(want[at*page:], p)
			must(t, disk.Rename(name, name+"a"))
			name += "a"
		}
		if _, err := w.WriteDirectAt(pages(2, 'y')[1:], page); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: memory between pages was written: %v", what, err)
		}
		must(t, f.SyncData())
		must(t, f.Close())
		if got := read(t, disk, name); got != string(want) {
			t.Errorf("%s: the file holds other bytes", what)
		}
	}
}

func TestAligned(t *testing.T) {
	p := pages(2, 0)
	for _, c := range []struct {
		p    []byte
		off  int64
		want bool
	}{{p, 0, true}, {p[:4096], 8192, true}, {p[1:4097], 0, false}, {p[:4095], 0, false}, {p, 512, false}} {
		if got := durable.Aligned(c.p, c.off); got != c.want {
			t.Errorf("%d bytes at %d: %v", len(c.p), c.off, got)
		}
	}
}
