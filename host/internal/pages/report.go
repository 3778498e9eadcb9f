package pages

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/walplex/walplex/sdk/wal"
)

// MaxDifferences is how many differences a report names; all are counted.
const MaxDifferences = 20

// Report is what came of a verification.
type Report struct {
	LSN              wal.LSN        `json:"lsn"`
	Timeline         wal.TimelineID `json:"timeline"`
	SystemIdentifier uint64         `json:"system_identifier,string"`
	DataDirectory    string         `json:"data_directory"`

	Pages     int64 `json:"pages"`     // that were compared
	Relations int   `json:"relations"` // of which a fork was compared
	Different int64 `json:"different"` // pages that differ or that one side lacks

	Kinds       []Count      `json:"kinds"`
	Differences []Difference `json:"differences"` // the first MaxDifferences
	LeftOut     []LeftOut    `json:"left_out"`
	Compared    []string     `json:"compared"` // besides relations, and how far
	Hint        string       `json:"hint,omitempty"`
}

// Equal reports that nothing differs.
func (r *Report) Equal() bool { return r.Different == 0 }

// Count is of one kind of page.
type Count struct {
	Kind      string `json:"kind"`
	Pages     int64  `json:"pages"`
	Different int64  `json:"different"`
}

// Difference is a page that differs, by the file that it lies in.
type Difference struct {
	File     string `json:"file"`
	Relation string `json:"relation,omitempty"` // tablespace/database/file number
	Fork     string `json:"fork,omitempty"`
	Block    uint32 `json:"block"` // of the relation's fork, or the page of an SLRU
	Kind     string `json:"kind"`
	Reason   string `json:"reason"`
}

func (d *Difference) String() string {
	if d.Relation == "" {
		return fmt.Sprintf("%s, page %d: %s", d.File, d.Block, d.Reason)
	}
	return fmt.Sprintf("%s (relation %s, fork %s), block %d, %s: %s", d.File, d.Relation, d.Fork, d.Block, d.Kind, d.Reason)
}

// LeftOut is what was not compared, and why.
type LeftOut struct {
	What  string `json:"what"`
	Files int    `json:"files"`
}

// Progress is how far a command is, for whoever shows it; any goroutine may ask.
type Progress struct{ done, total atomic.Int64 }

// Done answers the bytes that were worked on, and of how many.
func (p *Progress) Done() (done, total int64) { return p.done.Load(), p.total.Load() }

func (p *Progress) add(n int64) {
	if p != nil {
		p.done.Add(n)
	}
}

func (p *Progress) expect(n int64) {
	if p != nil {
		p.total.Add(n)
	}
}

// found collects a report from several goroutines.
type found struct {
	mu    sync.Mutex
	r     Report
	kinds map[string]*Count
	left  map[string]int
}

// page counts a page that was compared; it differs where reason is given.
func (f *found) page(kind string, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count(kind).Pages += n
	f.r.Pages += n
}

// differ notes n pages that differ, of which d is the first.
func (f *found) differ(d Difference, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count(d.Kind).Different += n
	f.r.Different += n
	f.r.Differences = append(f.r.Differences, d)
	if len(f.r.Differences) >= 2*MaxDifferences {
		f.first()
	}
}

// first keeps the first differences, by file and block.
func (f *found) first() {
	slices.SortFunc(f.r.Differences, func(a, b Difference) int {
		if a.File != b.File {
			if a.File < b.File {
				return -1
			}
			return 1
		}
		return int(int64(a.Block) - int64(b.Block))
	})
	f.r.Differences = f.r.Differences[:min(len(f.r.Differences), MaxDifferences)]
}

func (f *found) count(kind string) *Count {
	c := f.kinds[kind]
	if c == nil {
		c = &Count{Kind: kind}
		f.kinds[kind] = c
	}
	return c
}

func (f *found) leave(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left[what]++
}

// report is what was collected.
func (f *found) report() *Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first()
	for _, c := range f.kinds {
		f.r.Kinds = append(f.r.Kinds, *c)
	}
	slices.SortFunc(f.r.Kinds, func(a, b Count) int { return int(b.Pages - a.Pages) })
	for what, n := range f.left {
		f.r.LeftOut = append(f.r.LeftOut, LeftOut{what, n})
	}
	slices.SortFunc(f.r.LeftOut, func(a, b LeftOut) int {
		if a.What < b.What {
			return -1
		}
		return 1
	})
	return &f.r
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	for i := range r.Differences {
		if _, err := fmt.Fprintf(w, "DIFFERS  %s\n", &r.Differences[i]); err != nil {
			return err
		}
	}
	if more := r.Different - int64(len(r.Differences)); len(r.Differences) > 0 && more > 0 {
		fmt.Fprintf(w, "         and %d more pages\n", more)
	}
	fmt.Fprintf(w, "%-22s %12s %12s\n", "kind", "pages", "different")
	for _, c := range r.Kinds {
		fmt.Fprintf(w, "%-22s %12d %12d\n", c.Kind, c.Pages, c.Different)
	}
	for _, c := range r.Compared {
		fmt.Fprintf(w, "compared: %s\n", c)
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(w, "left out: %s (%s)\n", l.What, count(l.Files, "file", "files"))
	}
	if r.Hint != "" {
		fmt.Fprintln(w, r.Hint)
	}
	verdict := "equal"
	if !r.Equal() {
		verdict = fmt.Sprintf("%d DIFFERENT", r.Different)
	}
	_, err := fmt.Fprintf(w, "%s: %d pages of %d relations compared as of %s on timeline %d, %s\n", r.DataDirectory, r.Pages, r.Relations, r.LSN, r.Timeline, verdict)
	return err
}
