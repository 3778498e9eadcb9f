package retention

import (
	"cmp"
	"slices"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// File is a file of an archive that holds a segment, finished or not.
type File struct {
	Name     string // in its directory
	Timeline wal.TimelineID
	No       wal.SegNo
	Partial  bool
	Size     int64 // bytes that the file has, compressed or not
	Modified time.Time
}

// Segment is a segment of one timeline in all its files.
type Segment struct {
	Timeline wal.TimelineID
	No       wal.SegNo
	Finished bool      // one of the files is not partial
	Size     int64     // bytes, of all files
	Modified time.Time // of the file that was changed last
	Files    []File
}

// Segments puts files together to segments, in the order in which they may be
// removed: by their place in the WAL, then by timeline.
func Segments(files []File) []Segment {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.No, b.No), cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.Name, b.Name))
	})
	var out []Segment
	for i, f := range files {
		n := len(out) - 1
		if n < 0 || out[n].No != f.No || out[n].Timeline != f.Timeline {
			out = append(out, Segment{Timeline: f.Timeline, No: f.No, Modified: f.Modified})
			n++
		}
		s := &out[n]
		s.Files = append(s.Files, files[i])
		s.Finished = s.Finished || !f.Partial
		s.Size += f.Size
		if f.Modified.After(s.Modified) {
			s.Modified = f.Modified
		}
	}
	return out
}

// Rules are what the user wants kept. A zero field is a rule that is not given.
type Rules struct {
	Age    time.Duration // keep what has been changed since
	Size   int64         // keep so many bytes
	Backup bool          // keep what lies from Since on
	Since  wal.SegNo
}

// Given reports whether there is a rule.
func (r Rules) Given() bool { return r.Age > 0 || r.Size > 0 || r.Backup }

// Reason is why a segment, and with it all that follow, is kept.
type Reason string

// The reasons.
const (
	NoReason Reason = ""       // all segments may go, or there is none
	NoRule   Reason = "rule"   // none is given
	Needed   Reason = "needed" // others, or the archive itself, need it
	BySize   Reason = "size"   // the archive is not above its size
	ByAge    Reason = "age"    // it is too young
	ByBackup Reason = "backup" // a backup needs it
)

// Decision is what may be removed.
type Decision struct {
	Remove  []Segment // in the order in which they are to be removed
	Removed int64     // bytes of them
	Keep    []Segment
	Kept    int64  // bytes of them
	Held    Reason // why the first of Keep is kept
}

// Decide decides about segments as [Segments] puts them. Whatever the rules say,
// nothing is removed that belongs to the segment needed or a later one.
func Decide(segments []Segment, r Rules, needed wal.SegNo, now time.Time) Decision {
	d := Decision{Keep: segments}
	for i := range segments {
		d.Kept += segments[i].Size
	}
	for len(d.Keep) > 0 {
		s := &d.Keep[0]
		if d.Held = r.holds(s, d.Kept, needed, now); d.Held != NoReason {
			break
		}
		d.Keep, d.Remove = d.Keep[1:], segments[:len(d.Remove)+1]
		d.Kept, d.Removed = d.Kept-s.Size, d.Removed+s.Size
	}
	return d
}

// holds is why a segment is kept, the rules first. total is the size of all that
// is there, it included.
func (r *Rules) holds(s *Segment, total int64, needed wal.SegNo, now time.Time) Reason {
	switch {
	case !r.Given():
		return NoRule
	case r.Size > 0 && total <= r.Size:
		return BySize
	case r.Age > 0 && now.Sub(s.Modified) <= r.Age:
		return ByAge
	case r.Backup && s.No >= r.Since:
		return ByBackup
	case s.No >= needed:
		return Needed
	}
	return NoReason
}
