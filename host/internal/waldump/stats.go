package waldump

import (
	"fmt"
	"io"

	"github.com/walplex/walplex/sdk/wal"
)

// count is what --stats counts of one kind of record: how many, their bytes
// without images, and their images' bytes.
type count struct{ n, records, images uint64 }

func (c *count) add(o count) {
	c.n += o.n
	c.records += o.records
	c.images += o.images
}

func (c *count) combined() uint64 { return c.records + c.images }

// operationMask keeps what of xl_info, shifted, tells a Transaction record's
// operation (XLOG_XACT_OPMASK): the highest bit does not.
const operationMask = 0x07

// statistics is XLogStats (access/xlogstats.h).
type statistics struct {
	version    wal.Version
	start, end wal.LSN // of the first record, shown or not, and behind the last shown; 0 without
	n          uint64
	counts     [256][16]count // by resource manager and operation
}

// add counts a record.
func (s *statistics) add(r *wal.Record) {
	images := uint32(0)
	for i := range r.Blocks {
		images += uint32(r.Blocks[i].ImageLen)
	}
	s.count(r.RmgrID, r.Info, r.TotalLen, images)
	s.end = r.EndLSN
}

func (s *statistics) count(rmgr wal.RmgrID, info uint8, total, images uint32) {
	op := info >> 4
	if rmgr == wal.RmgrTransaction {
		op &= operationMask
	}
	c := &s.counts[rmgr][op]
	c.n++
	c.records += uint64(total - images)
	c.images += uint64(images)
	s.n++
}

// merge adds what was counted behind it.
func (s *statistics) merge(o *statistics) {
	if o.n == 0 {
		return
	}
	for i := range o.counts {
		for j := range o.counts[i] {
			if o.counts[i][j].n != 0 {
				s.counts[i][j].add(o.counts[i][j])
			}
		}
	}
	s.n += o.n
	s.end = o.end
}

// row is a line of the table.
type row struct {
	name string
	count
}

// rows are the table's lines, and their sum.
func (s *statistics) rows(perRecord bool) (rows []row, total count) {
	for i := range s.counts {
		id := wal.RmgrID(i)
		if !id.Valid(s.version) {
			continue
		}
		sum := count{}
		for op := range s.counts[i] {
			c := s.counts[i][op]
			sum.add(c)
			if perRecord && c.n != 0 {
				r := wal.Record{RmgrID: id, Info: uint8(op << 4), Version: s.version}
				rows = append(rows, row{id.String() + "/" + r.Operation(), c})
			}
		}
		if !perRecord && (sum.n != 0 || !id.Custom()) {
			rows = append(rows, row{id.String(), sum})
		}
		total.add(sum)
	}
	return rows, total
}

// print writes the table (XLogDumpDisplayStats); without any record shown it
// is empty.
func (s *statistics) print(w io.Writer, perRecord bool) {
	if s.end == 0 {
		return
	}
	rows, total := s.rows(perRecord)
	if words := wordingOf(s.version); !words.noStatsRange {
		fmt.Fprintf(w, "WAL statistics between %s and %s:\n", s.start, s.end)
	}
	const head = "%-27s %20s %8s %20s %8s %20s %8s %20s %8s\n"
	fmt.Fprintf(w, head, "Type", "N", "(%)", "Record size", "(%)", "FPI size", "(%)", "Combined size", "(%)")
	fmt.Fprintf(w, head, "----", "-", "---", "-----------", "---", "--------", "---", "-------------", "---")
	for _, r := range rows {
		fmt.Fprintf(w, "%-27s %20d (%6.02f) %20d (%6.02f) %20d (%6.02f) %20d (%6.02f)\n", r.name,
			r.n, percent(r.n, total.n), r.records, percent(r.records, total.records),
			r.images, percent(r.images, total.images), r.combined(), percent(r.combined(), total.combined()))
	}
	const line = "--------"
	fmt.Fprintf(w, "%-27s %20s %8s %20s %8s %20s %8s %20s\n", "", line, "", line, "", line, "", line)
	fmt.Fprintf(w, "%-27s %20d %-9s%20d %-9s%20d %-9s%20d %-6s\n", "Total", s.n, "",
		total.records, fmt.Sprintf("[%.02f%%]", percent(total.records, total.combined())),
		total.images, fmt.Sprintf("[%.02f%%]", percent(total.images, total.combined())),
		total.combined(), "[100%]")
}

func percent(part, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(part) / float64(of)
}

// printJSON writes the table's lines and their sum as objects.
func (s *statistics) printJSON(w io.Writer, perRecord bool) {
	if s.end == 0 {
		return
	}
	rows, total := s.rows(perRecord)
	for _, r := range append(rows, row{"Total", total}) {
		fmt.Fprintf(w, `{"type":%q,"count":%d,"record_bytes":%d,"image_bytes":%d,"combined_bytes":%d,"start_lsn":%q,"end_lsn":%q}`+"\n",
			r.name, r.n, r.records, r.images, r.combined(), s.start.String(), s.end.String())
	}
}
