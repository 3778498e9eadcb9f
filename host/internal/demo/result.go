package demo

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// claim is something about the result that is to be proved.
type claim int

// The claims, in the order in which the result shows them.
const (
	archiveClaim claim = iota
	trailClaim
	pagesClaim
	tableClaim
	stopClaim
	claims int = iota
)

func (c claim) String() string {
	return [...]string{
		"the archive is pg_wal, byte for byte",
		"the audit trail has every record once",
		"the page cache has every page right",
		"the dropped table's rows are all back",
		"the server stopped under the stream",
	}[c]
}

// proof is what became of a claim.
type proof struct {
	found string // what was compared, "" where it was not come to
	err   error  // the first difference
}

// errDiffers is the error of a step that has found a claim not to hold. It does
// not end the run, so that the others are looked at too.
var errDiffers = errors.New("it differs")

// proved notes that a claim holds, when err is nil, and is how its step ends.
func (d *demo) proved(c claim, found string, err error) (string, error) {
	if err != nil {
		d.proofs[c] = proof{found: "differs", err: fmt.Errorf("not proved: %s: %w", c, err)}
		return "", errDiffers
	}
	d.proofs[c] = proof{found: found}
	return found, nil
}

// load is what pgbench amounted to.
type load struct {
	from, to     wal.LSN
	began        time.Time
	took         time.Duration // until all was flushed
	transactions string        // a second, as pgbench says
}

// result prints the table of what was proved, and answers what was not.
func (d *demo) result() error {
	var s style
	if d.show.screen != nil {
		s = d.show.screen.style
	}
	if _, err := fmt.Fprint(d.o.Out, resultTable(d.proofs, d.load, d.dump.within, s)); err != nil {
		return err
	}
	var all []error
	for _, p := range d.proofs {
		all = append(all, p.err)
	}
	return errors.Join(all...)
}

// claimWidth is the width of the claims' column.
const claimWidth = 40

func resultTable(proofs [claims]proof, l load, records int64, s style) string {
	var b strings.Builder
	b.WriteString("\n" + s.dim("  proved  "+cell("claim", claimWidth)+"compared") + "\n")
	for c, p := range proofs {
		mark := s.green("yes") + "     "
		if p.err != nil {
			mark = s.red("NO") + "      "
		}
		b.WriteString("  " + mark + cell(claim(c).String(), claimWidth) + p.found + "\n")
	}
	bytes, sec := int64(l.to-l.from), l.took.Seconds()
	fmt.Fprintf(&b, "\n  load    %s bytes of WAL, %s records, %s transactions/s\n", group(bytes), group(records), l.transactions)
	fmt.Fprintf(&b, "          %.1f MB/s and %s records/s for %.1f s, until all was flushed\n", float64(bytes)/1e6/sec, group(int64(float64(records)/sec)), sec)
	return b.String()
}
