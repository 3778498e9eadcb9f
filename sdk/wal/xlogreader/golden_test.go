package xlogreader_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// TestScenarios runs testdata/scenarios. The command wal writes WAL from 0/100000 on, in
// segments of 1 MiB, and answers the complete records in it; its steps, one a
// line, are
//
//	commit                          a record of 34 bytes
//	message N                       a logical message of N bytes
//	fill N                          a record after which N bytes are left in the page
//	fill-segment N                  records after which N bytes are left in the segment
//	switch, switch-pages            a segment switch, then zeros or empty pages
//	abandon N WRITTEN               a message of N bytes of which so many were written, then a crash
//	timeline N                      of the pages from here on
//	flip LSN                        spoils a byte
//	pad LSN                         zeros up to there
//	record LSN KEY=N…               a record header: len prev xid info rmgr
//	page LSN KEY=N…                 a page header: magic info tli addr rem
//
// where an LSN is written 0/100028, end, end-8, page (the page after the one
// that ends with the last record), segment (likewise), or last (where the last
// record starts). Numbers in records and pages may be LSNs.
//
// The command read answers what a Reader makes of it, fed in any split:
//
//	read [from=LSN] [to=LSN] [file] [timeline=N] [max-whole=N]
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		w := waltest.New(waltest.Options{})
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "wal":
				w = waltest.New(waltest.Options{})
				for _, line := range strings.Split(d.Input, "\n") {
					if err := write(w, strings.Fields(line)); err != nil {
						d.Fatalf(t, "%s: %v", line, err)
					}
				}
				return written(w)
			case "read":
				return readScenario(t, d, w)
			}
			d.Fatalf(t, "unknown command")
			return ""
		})
	})
}

// write executes one step of the command wal.
func write(w *waltest.Writer, step []string) error {
	if len(step) == 0 {
		return nil
	}
	var n []int
	var at wal.LSN
	for i, arg := range step[1:] {
		if v, err := strconv.Atoi(arg); err == nil {
			n = append(n, v)
		} else if i == 0 {
			if at, err = place(w, arg); err != nil {
				return err
			}
		}
	}
	switch step[0] {
	case "commit":
		w.Append(waltest.Commit(700, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)))
	case "message":
		w.LogicalMessage("m", n[0])
	case "fill":
		w.FillTo(n[0])
	case "fill-segment":
		w.FillToSegmentEnd(n[0])
	case "switch":
		w.Switch()
	case "switch-pages":
		w.SwitchWithPages()
	case "abandon":
		w.Abandon(waltest.LogicalMessage("m", n[0]), n[1])
	case "timeline":
		w.SetTimeline(wal.TimelineID(n[0]))
	case "flip":
		w.Flip(at)
	case "pad":
		w.PadTo(at)
	case "record":
		v, err := values(w, step[2:], "len", "xid", "prev", "info", "rmgr")
		if err != nil {
			return err
		}
		w.Patch(at, waltest.RecordHeader(uint32(v["len"]), wal.XID(v["xid"]), wal.LSN(v["prev"]), uint8(v["info"]), wal.RmgrID(v["rmgr"]), 0))
	case "page":
		v, err := values(w, step[2:], "magic", "info", "tli", "addr", "rem")
		if err != nil {
			return err
		}
		w.Patch(at, waltest.PageHeader(uint16(v["magic"]), uint16(v["info"]), wal.TimelineID(v["tli"]), wal.LSN(v["addr"]), uint32(v["rem"])))
	default:
		return fmt.Errorf("unknown step")
	}
	return nil
}

// place is an LSN as a scenario writes it.
func place(w *waltest.Writer, s string) (wal.LSN, error) {
	records := w.Records()
	var last waltest.Appended
	if len(records) > 0 {
		last = records[len(records)-1]
	}
	if back, ok := strings.CutPrefix(s, "end-"); ok {
		n, err := strconv.Atoi(back)
		return last.End - wal.LSN(n), err
	}
	switch s {
	case "end":
		return last.End, nil
	case "last":
		return last.Start, nil
	case "page":
		return last.End&^(wal.PageSize-1) + wal.PageSize, nil
	case "segment":
		return w.Options().SegmentSize.End(last.End), nil
	}
	return wal.ParseLSN(s)
}

// values reads KEY=N fields, of these keys only.
func values(w *waltest.Writer, fields []string, keys ...string) (map[string]uint64, error) {
	v := map[string]uint64{}
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		if !strings.Contains(" "+strings.Join(keys, " ")+" ", " "+key+" ") {
			return nil, fmt.Errorf("no field is called %q", key)
		}
		n, err := strconv.ParseUint(value, 0, 64)
		if err != nil {
			lsn, err := place(w, value)
			if err != nil {
				return nil, err
			}
			n = uint64(lsn)
		}
		v[key] = n
	}
	return v, nil
}

// longest is how many records a scenario lists at the most at either end.
const longest = 6

func shorten(lines []string) string {
	if n := len(lines); n > 2*longest {
		lines = append(append(lines[:longest:longest], fmt.Sprintf("… %d more …", n-2*longest)), lines[n-longest:]...)
	}
	return strings.Join(lines, "\n")
}

func written(w *waltest.Writer) string {
	var lines []string
	for _, a := range w.Records() {
		lines = append(lines, fmt.Sprintf("%s to %s, %d bytes", a.Start, a.End, len(a.Raw)))
	}
	return shorten(append(lines, "end "+w.End().String()))
}

// readScenario executes the command read, with every split.
func readScenario(t *testing.T, d *datadriven.TestData, w *waltest.Writer) string {
	from, to := w.Options().Start, w.End()
	for arg, lsn := range map[string]*wal.LSN{"from": &from, "to": &to} {
		if !d.HasArg(arg) {
			continue
		}
		var s string
		d.ScanArgs(t, arg, &s)
		var err error
		if *lsn, err = place(w, s); err != nil {
			d.Fatalf(t, "%v", err)
		}
	}
	o := options(w)
	o.File = d.HasArg("file")
	d.MaybeScanArgs(t, "max-whole", &o.MaxWhole)
	var tli int
	d.MaybeScanArgs(t, "timeline", &tli)
	o.Timeline = wal.TimelineID(tli)

	data := w.Bytes()[from-w.Options().Start : to-w.Options().Start]
	out := outcome(t, from, o, data, all)
	for name, split := range splits(3) {
		if other := outcome(t, from, o, data, split); other != out {
			d.Fatalf(t, "fed %s:\n%s\nfed at once:\n%s", name, other, out)
		}
	}
	return out
}

// outcome is what a Reader makes of data, in words.
func outcome(t *testing.T, from wal.LSN, o xlogreader.Options, data []byte, split func(int) int) string {
	r := xlogreader.New(from, o)
	res := read(t, r, data, split)
	var lines []string
	for _, s := range res.records {
		_, header, _ := strings.Cut(s.header, "rmgr ")
		header, _, _ = strings.Cut(header, " xid")
		lines = append(lines, fmt.Sprintf("%s to %s, %d bytes, rmgr %s, prev %s", s.start, s.end, len(s.data), header, s.prev))
	}
	out := shorten(lines)
	if out != "" {
		out += "\n"
	}
	if res.fragments > 0 {
		out += fmt.Sprintf("fragments %d\n", res.fragments)
	}
	for _, s := range res.dropped {
		out += fmt.Sprintf("dropped %s after %d bytes\n", s.start, len(s.data))
	}
	if r.SkippedTo() != 0 {
		out += fmt.Sprintf("skipped to %s\n", r.SkippedTo())
	}
	if res.err != nil {
		return out + "error: " + res.err.Error()
	}
	return out + fmt.Sprintf("%s: records end %s", res.status, r.RecordsEnd())
}
