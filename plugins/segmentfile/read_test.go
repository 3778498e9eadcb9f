package segmentfile_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
)

func TestReadWAL(t *testing.T) {
	w := source(4500) // segments 1 to 4, and part of 5
	disk := crashfs.New()
	putSegments(t, disk, w)
	must(t, disk.Remove(filepath.Join(archive, name(2<<20))))
	put(t, disk, "000000020000000000000009", make([]byte, segSize)) // put away by a failed promotion
	must(t, disk.Rename(filepath.Join(archive, "000000020000000000000009"), filepath.Join(archive, "kept")))
	l := mustStart(t, disk, w)
	flushed := w.End()
	messages(w, 10)
	l.mustDeliver(w, w.End())
	for what, c := range map[string]struct {
		tli      wal.TimelineID
		from, to wal.LSN
		end      wal.LSN // of what is read
		notHeld  bool
	}{
		"all there is":            {1, 3 << 20, 0, flushed, false},
		"over segments":           {1, 3<<20 + 5, 4<<20 + 7, 4<<20 + 7, false},
		"nothing":                 {1, 3 << 20, 3 << 20, 3 << 20, false},
		"up to what is flushed":   {1, 5 << 20, flushed, flushed, false},
		"what is not flushed":     {1, 5 << 20, flushed + 1, flushed, true},
		"what is not there":       {1, 8 << 20, 9 << 20, 8 << 20, true},
		"behind the end":          {1, flushed, 0, flushed, false},
		"before the beginning":    {1, 5, 1 << 20, 5, true},
		"into a hole":             {1, 1 << 20, 5 << 20, 2 << 20, true},
		"another timeline":        {2, 3 << 20, 4 << 20, 3 << 20, true},
		"all of another timeline": {2, 3 << 20, 0, 3 << 20, false},
	} {
		got, err := readAll(t.Context(), l.sink, c.tli, c.from, c.to)
		if errors.Is(err, sdk.ErrNotHeld) != c.notHeld || err != nil && !c.notHeld {
			t.Errorf("%s: %v", what, err)
		}
		if end := c.from + wal.LSN(len(got)); end != c.end {
			t.Errorf("%s: ended at %s, want %s", what, end, c.end)
		} else if len(got) > 0 && !bytes.Equal(got, w.Bytes()[c.from-w.Options().Start:end-w.Options().Start]) {
			t.Errorf("%s: other bytes", what)
		}
	}
	if _, err := readAll(t.Context(), segmentfile.New(config(archive), disk), 1, 1<<20, 0); !errors.Is(err, sdk.ErrNotHeld) {
		t.Errorf("of an archive that is empty: %v", err)
	}
	stop := errors.New("stop")
	if err := l.sink.ReadWAL(t.Context(), 1, 3<<20, 0, func(wal.LSN, []byte) error { return stop }); err != stop {
		t.Errorf("the receiver's error became %v", err)
	}
}

// WAL is read while it is written: never a byte that is not right, and all that
// was flushed.
func TestReadWhileWriting(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 4*int(segSize))
	l := mustStart(t, crashfs.New(), w)
	l.mustDeliver(w, w.Options().Start+50_000)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for last := false; !last; {
				select {
				case <-done:
					last = true
				default:
				}
				got, err := readAll(t.Context(), l.sink, 1, w.Options().Start, 0)
				if err != nil || !bytes.Equal(got, w.Bytes()[:len(got)]) {
					t.Errorf("%d bytes, %v", len(got), err)
					return
				}
				if last && len(got) != len(w.Bytes()) {
					t.Errorf("%d of %d bytes", len(got), len(w.Bytes()))
				}
			}
		})
	}
	for l.Next() < w.End() {
		l.mustDeliver(w, min(l.Next()+30_000, w.End()))
		l.mustFlush()
	}
	close(done)
	readers.Wait()
}

// blocks are the source's WAL as a host sends it.
func blocks(w *waltest.Writer, size wal.SegmentSize) [][]byte {
	start := w.Options().Start
	asm := wire.NewAssembler(xlogreader.New(start, xlogreader.Options{SegmentSize: size}), 1, start)
	var out [][]byte
	for p := w.Bytes(); len(p) > 0; {
		if asm.NeedsBuffer() {
			asm.SetBuffer(nil)
		}
		n, err := asm.Append(p, 0)
		if err != nil {
			panic(err)
		}
		p = p[n:]
		out = append(out, asm.Seal())
	}
	return out
}

// A write inside a segment is one write of the file, and allocates nothing.
func TestWriteAllocatesNothing(t *testing.T) {
	const size = 16 << 20
	w := waltest.New(waltest.Options{SegmentSize: size})
	messages(w, 10_000)
	def, sink := segmentfile.Definition(), segmentfile.New(config(t.TempDir()), durable.OS{})
	sys := system()
	sys.SegmentSize = size
	_, err := sinktest.OpenSink(t.Context(), def, sink, sys, sinktest.Options{Start: w.Options().Start})
	must(t, err)
	batcher, list, i := sdk.NewBatcher(def, w.Options().Start), blocks(w, size), 0
	write := func() {
		v, err := wire.ParseBlock(list[i], false)
		must(t, err)
		b, err := batcher.Next(v.WALOnly(), 0, 0)
		must(t, err)
		must(t, sink.Write(t.Context(), b))
		i++
	}
	write() // makes the segment
	if n := testing.AllocsPerRun(20, write); n != 0 {
		t.Errorf("%.1f allocations per write", n)
	}
	if i < 20 || i > len(list) {
		t.Fatalf("%d of %d blocks", i, len(list))
	}
}

// BenchmarkArchive writes 16 MiB segments to the real disk, with a flush every
// 64 blocks, as when catching up.
func BenchmarkArchive(b *testing.B) {
	const size = 16 << 20
	w := waltest.New(waltest.Options{SegmentSize: size})
	messages(w, 120_000)
	list := blocks(w, size)
	def := segmentfile.Definition()
	sys := system()
	sys.SegmentSize = size
	b.SetBytes(int64(len(w.Bytes())))
	for b.Loop() {
		sink := segmentfile.New(config(b.TempDir()), durable.OS{})
		if _, err := sinktest.OpenSink(b.Context(), def, sink, sys, sinktest.Options{Start: w.Options().Start}); err != nil {
			b.Fatal(err)
		}
		batcher := sdk.NewBatcher(def, w.Options().Start)
		for i, block := range list {
			v, err := wire.ParseBlock(block, false)
			if err != nil {
				b.Fatal(err)
			}
			batch, err := batcher.Next(v.WALOnly(), 0, 0)
			if err != nil {
				b.Fatal(err)
			}
			if err := sink.Write(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			if i%64 == 63 || i == len(list)-1 {
				if _, err := sink.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := sink.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSmallFlushes makes 8 KiB of WAL durable at a time, on the real disk, as
// where commits wait.
func BenchmarkSmallFlushes(b *testing.B) {
	const size, piece = 16 << 20, 8 << 10
	w := waltest.New(waltest.Options{SegmentSize: size})
	messages(w, 60_000)
	sys := system()
	sys.SegmentSize = size
	def := segmentfile.Definition()
	open := func() *sinktest.Session {
		l, err := sinktest.OpenSink(b.Context(), def, segmentfile.New(config(b.TempDir()), durable.OS{}), sys, sinktest.Options{Start: w.Options().Start})
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
	b.SetBytes(piece)
	l := open()
	for b.Loop() {
		if l.Next()+piece > w.End() {
			if err := l.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
			l = open()
		}
		at := l.Next() - w.Options().Start
		if err := l.Deliver(b.Context(), w.Bytes()[at:at+piece]); err != nil {
			b.Fatal(err)
		}
		if _, err := l.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
