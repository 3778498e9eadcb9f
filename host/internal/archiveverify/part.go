package archiveverify

import (
	"slices"

	"github.com/walplex/walplex/sdk/wal"
)

// run are segments of a timeline that follow each other.
type run struct {
	tli   wal.TimelineID
	segs  []*segment
	parts []*part
	last  bool // of its timeline: the WAL may end in it
}

// DefaultPartSize is how much WAL one part has, bytes; a larger segment is a part.
const DefaultPartSize = 32 << 20

// part is what is read in one go, and what was found.
type part struct {
	run         *run
	first, next int     // of its segments, in run.segs
	from, to    wal.LSN // likewise

	records int64
	begin   wal.LSN // of the first record that begins in it, 0 none
	lastEnd wal.LSN // of the last such
	after   wal.LSN // of the first record behind it, as seen from here; 0 not known

	faults    []Fault // the first MaxListedFaults
	total     int     // all
	trailing  int     // of all: since the last record
	trailList int     // of those listed: likewise
	hardTrail bool    // one of those is not a tail
	overrun   *Fault  // of the first record behind it, whose back-link only this part knows
	tailFile  string  // of the first trailing one
	short     bool    // its last file, a partial one, ends before its segment does
	recycled  int     // of the trailing: whole files
	bytes     int64
}

// cut cuts the run into parts.
func (r *run) cut(size wal.SegmentSize, partSize int) {
	n := max(1, partSize/int(size))
	for i := 0; i < len(r.segs); i += n {
		next := min(i+n, len(r.segs))
		r.parts = append(r.parts, &part{run: r, first: i, next: next,
			from: r.segs[i].start, to: r.segs[next-1].start + wal.LSN(size)})
	}
}

// fault notes one.
func (p *part) fault(f Fault) {
	p.total++
	p.trailing++
	if p.trailing == 1 {
		p.tailFile = f.File
	}
	if !f.tail {
		p.hardTrail = true
	}
	if len(p.faults) < MaxListedFaults {
		p.trailList++
		p.faults = append(p.faults, f)
	}
}

// record notes a record that holds.
func (p *part) record(r *wal.Record) {
	p.records++
	p.lastEnd = r.EndLSN
	p.trailing, p.trailList, p.recycled, p.hardTrail = 0, 0, 0, false
}

// join puts the parts of a run together: what they say of each other's edges, and
// where the WAL ends. It answers the end of the last record.
func (r *run) join(rep *Report, t *Timeline) {
	var expect wal.LSN // where the next part's first record has to begin
	for i, p := range r.parts {
		if p.begin != 0 {
			if expect != 0 && expect != p.begin && p.total == 0 {
				p.fault(Fault{Kind: KindWAL, Timeline: r.tli, File: r.segs[p.first].forms[0].Name, LSN: p.begin,
					Reason: "a record begins at " + p.begin.String() + ", the one before ends before " + expect.String()})
			}
			expect = 0
		}
		if p.after != 0 {
			expect = p.after
		}
		if p.overrun != nil && i+1 < len(r.parts) {
			r.parts[i+1].precede(*p.overrun)
		}
	}
	if r.last {
		r.dropTail(t)
	}
	for _, p := range r.parts {
		t.Records += p.records
		rep.Bytes += p.bytes
		rep.FaultsTotal += p.total
		rep.Faults = append(rep.Faults, p.faults[:min(len(p.faults), MaxListedFaults-min(len(rep.Faults), MaxListedFaults))]...)
		t.To = max(t.To, p.lastEnd)
	}
	if r.last && t.EndsIn == "" && r.parts[len(r.parts)-1].short {
		t.EndsIn = r.segs[len(r.segs)-1].forms[0].Name
	}
}

// precede notes what the part before found at this one's first record, unless this
// one has found it too.
func (p *part) precede(f Fault) {
	if slices.ContainsFunc(p.faults, func(g Fault) bool { return g.LSN == f.LSN }) {
		return
	}
	p.total++
	p.faults = append([]Fault{f}, p.faults...)
	if p.records == 0 {
		p.trailing++
		p.trailList++
		p.hardTrail = true
	}
}

// dropTail forgets what was found behind the last record, if it is no more than
// what lies behind the end of the WAL.
func (r *run) dropTail(t *Timeline) {
	from := len(r.parts) - 1
	for ; from >= 0; from-- {
		if p := r.parts[from]; p.hardTrail {
			return
		} else if p.records > 0 {
			break
		}
	}
	for _, p := range r.parts[max(from, 0):] {
		if p.trailing > 0 && t.EndsIn == "" {
			t.EndsIn = p.tailFile
		}
		p.total -= p.trailing
		p.faults = p.faults[:len(p.faults)-p.trailList]
		t.Recycled += p.recycled
	}
}
