package archiveverify

import (
	"cmp"
	"slices"

	"github.com/walplex/walplex/sdk/wal"
)

// Limits of what a report lists; all are counted.
const (
	MaxListedFaults  = 100
	MaxListedHoles   = 1000 // of a timeline
	MaxListedForeign = 100
)

// Report is what was found. Its JSON form is stable: fields are only added.
type Report struct {
	Directory     string          `json:"directory"`
	SystemID      uint64          `json:"system_identifier,string"`
	Version       int             `json:"server_version"`   // major
	SegmentSize   wal.SegmentSize `json:"wal_segment_size"` // bytes
	Timelines     []Timeline      `json:"timelines"`
	Segments      int             `json:"segments"`
	Records       int64           `json:"records"`
	Bytes         int64           `json:"bytes"` // of WAL read, decompressed
	Holes         int             `json:"holes"`
	Faults        []Fault         `json:"faults"`         // the first MaxListedFaults, by timeline and LSN
	FaultsTotal   int             `json:"faults_total"`   // all
	Foreign       []string        `json:"foreign"`        // files that are not an archive's, the first MaxListedForeign
	ForeignTotal  int             `json:"foreign_total"`  // all
	DoubleForms   int             `json:"double_forms"`   // segments that are there in more than one form, with equal content if there is no fault
	HistoryFiles  int             `json:"history_files"`  // timelines' history files
	BackupHistory int             `json:"backup_history"` // backup history files
	Whole         bool            `json:"whole"`          // neither a fault nor a hole
}

// Timeline is what there is of a timeline.
type Timeline struct {
	Timeline   wal.TimelineID `json:"timeline"`
	Parent     wal.TimelineID `json:"parent,omitempty"` // 0: none, or not known
	Begins     wal.LSN        `json:"begins,omitempty"` // the switch point at which it left its parent
	From       wal.LSN        `json:"from"`             // start of the first segment
	To         wal.LSN        `json:"to"`               // end of the last record
	Segments   int            `json:"segments"`         // files that are there under its name, each form once
	Compressed int            `json:"compressed"`       // of them
	Recycled   int            `json:"recycled"`         // of them: behind the end, they hold no WAL of their own yet
	Records    int64          `json:"records"`
	EndsIn     string         `json:"ends_in,omitempty"` // the file in whose midst the WAL ends; "" where it ends with a segment
	Holes      []Hole         `json:"holes"`
	HolesTotal int            `json:"holes_total"`
}

// Hole is WAL that is missing between what is there: whole segments, or at the end
// of a timeline that went on, from the midst of one.
type Hole struct {
	From     wal.LSN `json:"from"`
	To       wal.LSN `json:"to"`       // the first byte behind it
	Segments int     `json:"segments"` // that it touches
}

// Kinds of faults.
const (
	KindWAL       = "wal"       // a page or record that does not hold
	KindSize      = "size"      // a file of another size than a segment
	KindRead      = "read"      // a file that cannot be read or decompressed
	KindDuplicate = "duplicate" // two forms of a segment whose contents differ
	KindHistory   = "history"   // a history file that is missing, wrong, or does not agree with others
	KindSwitch    = "switch"    // WAL that does not agree with the history file
)

// Fault is one place that does not hold.
type Fault struct {
	Kind     string         `json:"kind"`
	Timeline wal.TimelineID `json:"timeline"`
	File     string         `json:"file"`
	LSN      wal.LSN        `json:"lsn,omitempty"` // 0: of no place in the WAL
	Reason   string         `json:"reason"`

	tail bool // nothing but zeros and old pages follows: it may be the end
}

// add notes a fault that is not found in the course of a run.
func (r *Report) add(f Fault) {
	r.FaultsTotal++
	if len(r.Faults) < MaxListedFaults {
		r.Faults = append(r.Faults, f)
	}
}

// finish sorts and sums up.
func (r *Report) finish() {
	slices.SortStableFunc(r.Faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.LSN, b.LSN), cmp.Compare(a.File, b.File))
	})
	for _, t := range r.Timelines {
		r.Records += t.Records
		r.Segments += t.Segments
		r.Holes += t.HolesTotal
	}
	r.Whole = r.FaultsTotal == 0 && r.Holes == 0
}

func (t *Timeline) hole(h Hole) {
	t.HolesTotal++
	if len(t.Holes) < MaxListedHoles {
		t.Holes = append(t.Holes, h)
	}
}
