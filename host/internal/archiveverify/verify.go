package archiveverify

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/walplex/walplex/sdk/wal"
)

// Options of Verify. The zero value is a good one.
type Options struct {
	Jobs     int       // goroutines that read; 0: one for each CPU
	Progress *Progress // told how far it is; may be nil
	PartSize int       // bytes that a goroutine reads in one go, rounded to segments; 0: DefaultPartSize
}

// Progress is how far Verify is. It may be asked at any time.
type Progress struct{ done, total atomic.Int64 }

// Done is how much WAL has been read and how much there is, bytes.
func (p *Progress) Done() (done, total int64) { return p.done.Load(), p.total.Load() }

// verifier is one verification.
type verifier struct {
	*survey
	rep      *Report
	progress *Progress

	mu sync.Mutex // of rep while goroutines run
}

// Verify reads the archive in dir. An error means that it could not be read at
// all; what is wrong with it is in the report.
func Verify(ctx context.Context, dir string, o Options) (*Report, error) {
	s, err := take(dir)
	if err != nil {
		return nil, err
	}
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	v := &verifier{survey: s, progress: o.Progress, rep: &Report{
		Directory: dir, SystemID: s.systemID, Version: int(s.version), SegmentSize: s.size,
		HistoryFiles: len(s.histories), BackupHistory: s.backups,
		Faults: []Fault{}, Foreign: append([]string{}, s.foreign[:min(len(s.foreign), MaxListedForeign)]...), ForeignTotal: len(s.foreign),
	}}
	if o.PartSize <= 0 {
		o.PartSize = DefaultPartSize
	}
	runs, lines := v.plan(o.PartSize)
	if err := v.work(ctx, o.Jobs, runs); err != nil {
		return nil, err
	}
	for _, r := range runs {
		i := slices.IndexFunc(lines, func(t Timeline) bool { return t.Timeline == r.tli })
		r.join(v.rep, &lines[i])
	}
	if err := v.timelines(ctx, lines); err != nil {
		return nil, err
	}
	v.rep.Timelines = lines
	v.rep.finish()
	return v.rep, nil
}

// plan cuts the archive into runs and parts, and names the holes between runs.
func (v *verifier) plan(partSize int) (runs []*run, lines []Timeline) {
	size := wal.LSN(v.size)
	for tli, segs := range v.segments {
		t := Timeline{Timeline: tli, From: segs[0].start, Holes: []Hole{}}
		var r *run
		for i, s := range segs {
			t.Segments += len(s.forms)
			for _, f := range s.forms {
				if f.Suffix != "" {
					t.Compressed++
				}
			}
			if len(s.forms) > 1 {
				v.rep.DoubleForms++
			}
			if r == nil || s.no != segs[i-1].no+1 {
				if r != nil {
					t.hole(Hole{segs[i-1].start + size, s.start, int(s.no - segs[i-1].no - 1)})
				}
				r = &run{tli: tli}
				runs = append(runs, r)
			}
			r.segs = append(r.segs, s)
		}
		r.last = true
		lines = append(lines, t)
		v.progress.total.Add(int64(len(segs)) * int64(v.size))
	}
	slices.SortFunc(lines, func(a, b Timeline) int { return int(int64(a.Timeline) - int64(b.Timeline)) })
	slices.SortFunc(runs, func(a, b *run) int {
		if a.tli != b.tli {
			return int(int64(a.tli) - int64(b.tli))
		}
		return int(int64(a.segs[0].no) - int64(b.segs[0].no))
	})
	for _, r := range runs {
		r.cut(v.size, partSize)
	}
	return runs, lines
}

// work reads all parts, and compares the forms of segments that have several.
func (v *verifier) work(ctx context.Context, jobs int, runs []*run) error {
	parts := make(chan *part)
	var wg sync.WaitGroup
	for range jobs {
		wg.Go(func() {
			w := &walker{v: v, buf: make([]byte, chunkSize)}
			for p := range parts {
				if ctx.Err() != nil {
					continue
				}
				if w.read(ctx, p) == nil {
					v.compareForms(ctx, p)
				}
			}
		})
	}
	for _, r := range runs {
		for _, p := range r.parts {
			parts <- p
		}
	}
	close(parts)
	wg.Wait()
	return ctx.Err()
}

// note notes a fault while goroutines run.
func (v *verifier) note(f Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rep.add(f)
}
