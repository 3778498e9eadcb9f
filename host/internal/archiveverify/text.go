package archiveverify

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "archive            %s\nsystem identifier  %d\nserver             PostgreSQL %d, segments of %s\n",
		r.Directory, r.SystemID, r.Version, Size(int64(r.SegmentSize)))
	for i := range r.Timelines {
		r.Timelines[i].text(&b)
	}
	if r.ForeignTotal > 0 {
		fmt.Fprintf(&b, "foreign files      %s%s\n", strings.Join(r.Foreign, ", "), more(r.ForeignTotal-len(r.Foreign)))
	}
	if r.DoubleForms > 0 {
		fmt.Fprintf(&b, "double             %d segments are there in several forms\n", r.DoubleForms)
	}
	for i, f := range r.Faults {
		if i == 0 {
			fmt.Fprintf(&b, "faults             %d\n", r.FaultsTotal)
		}
		fmt.Fprintf(&b, "  %s", f.File)
		if f.LSN != 0 {
			fmt.Fprintf(&b, ", %s", f.LSN)
		}
		fmt.Fprintf(&b, ": %s\n", f.Reason)
	}
	if n := r.FaultsTotal - len(r.Faults); n > 0 {
		fmt.Fprintf(&b, "  … and %d more\n", n)
	}
	if r.Whole {
		fmt.Fprintf(&b, "the archive is whole: %s, %s, no hole and no fault\n", count(r.Segments, "segment"), count64(r.Records, "record"))
	} else {
		fmt.Fprintf(&b, "the archive is NOT whole: %s, %s; put whole copies of what is missing or damaged into it\n", count(r.Holes, "hole"), count(r.FaultsTotal, "fault"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Timeline) text(b *strings.Builder) {
	fmt.Fprintf(b, "timeline %-9d %s to %s, %s", t.Timeline, t.From, t.To, count(t.Segments, "segment"))
	if t.Compressed > 0 {
		fmt.Fprintf(b, " (%d compressed)", t.Compressed)
	}
	fmt.Fprintf(b, ", %s\n", count64(t.Records, "record"))
	const indent = "                   "
	if t.Parent != 0 {
		fmt.Fprintf(b, indent+"left timeline %d at %s\n", t.Parent, t.Begins)
	}
	for _, h := range t.Holes {
		fmt.Fprintf(b, indent+"HOLE from %s to %s, %s missing\n", h.From, h.To, count(h.Segments, "segment"))
	}
	if n := t.HolesTotal - len(t.Holes); n > 0 {
		fmt.Fprintf(b, indent+"… and %s more\n", count(n, "hole"))
	}
	if t.EndsIn != "" {
		fmt.Fprintf(b, indent+"ends in %s, which is valid up to %s\n", t.EndsIn, t.To)
	}
	if t.Recycled > 0 {
		fmt.Fprintf(b, indent+"%s behind it hold no WAL yet\n", count(t.Recycled, "file"))
	}
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}

func count(n int, what string) string { return count64(int64(n), what) }

func count64(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Size writes a number of bytes for people.
func Size(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	if v == float64(int64(v)) {
		return fmt.Sprintf("%d %s", int64(v), units[i])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
