package consistency

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/walplex/walplex/host/internal/golden"
	"github.com/walplex/walplex/host/internal/golden/workload"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// step is one block reference of a record, and the page that it changes.
type step struct {
	rec  *wal.Record
	i    int
	page *pageBytes
}

// sampleSteps are the changes in a recorded sample to the pages that begin in it.
func sampleSteps(b *testing.B, version string) []step {
	b.Helper()
	s, err := golden.Open(filepath.Join("..", "golden", "testdata", version))
	if err != nil {
		b.Fatal(err)
	}
	size := wal.SegmentSize(workload.SegmentSizeMB << 20)
	r := xlogreader.New(size.LSN(s.Parts[0].First), xlogreader.Options{SegmentSize: size, File: true, Timeline: 1, MaxWhole: maxRecord})
	pages := map[pageKey]*pageBytes{}
	var steps []step
	for _, name := range s.Parts[0].Names() {
		content, err := s.Segment(name)
		if err != nil {
			b.Fatal(err)
		}
		r.Feed(content)
		for {
			rec := new(wal.Record)
			status, err := r.Next(rec)
			if err != nil {
				b.Fatal(err)
			}
			if status != xlogreader.Record {
				break
			}
			rec.Data, rec.Blocks = slices.Clone(rec.Data), slices.Clone(rec.Blocks)
			for i, ref := range rec.Blocks {
				key := pageKey{ref.Rel, ref.Fork, ref.Block}
				if pages[key] == nil && (ref.ApplyImage() || ref.WillInit()) {
					pages[key] = new(pageBytes)
				}
				if page := pages[key]; page != nil {
					steps = append(steps, step{rec, i, page})
				}
			}
		}
	}
	return steps
}

// The changes of the workload's records, one after another: ns/op is that of one
// change to one page.
func BenchmarkApply(b *testing.B) {
	steps := sampleSteps(b, "15.18")
	for name, apply := range map[string]func([]byte, *wal.Record, int, *wal.Images) error{"Apply": redo.Apply, "ApplyScratch": redo.ApplyScratch} {
		b.Run(name, func(b *testing.B) {
			var images wal.Images
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				s := &steps[n%len(steps)]
				if err := apply(s.page[:], s.rec, s.i, &images); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
