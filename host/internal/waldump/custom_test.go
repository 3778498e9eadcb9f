package waldump

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/crc32c"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// customize copies the workload's segments into a new directory, and makes every
// third record one of an extension's resource manager, 128 to 255 in turn, as a
// server with the extension would have written it: with its own checksum. It
// answers how many became what.
func customize(t *testing.T, w *workload) (dir string, changed map[wal.RmgrID]int) {
	t.Helper()
	var all []byte
	for _, name := range w.names {
		b, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	r := xlogreader.New(w.start, xlogreader.Options{SegmentSize: segment, File: true, MaxWhole: wal.MaxRecordSize})
	r.Feed(slices.Clone(all))
	changed = map[wal.RmgrID]int{}
	var rec wal.Record
	for n := 0; ; n++ {
		status, err := r.Next(&rec)
		if err != nil || status != xlogreader.Record || rec.EndLSN > w.end {
			break // behind the end there may be anything
		}
		if n%3 != 0 || rec.RmgrID == wal.RmgrXLOG {
			continue // a reader knows the switch and the checkpoints
		}
		id := wal.RmgrID(128 + n/3%128)
		changed[id]++
		image := slices.Clone(rec.Data)
		image[17] = byte(id)
		binary.LittleEndian.PutUint32(image[20:], crc32c.Record(image))
		at := rec.StartLSN
		for _, b := range image[:wal.RecordHeaderSize] {
			if at%wal.PageSize == 0 {
				at += 24
				if segment.Offset(at-24) == 0 {
					at += 16
				}
			}
			all[at-w.start] = b
			at++
		}
	}
	dir = readableDirectory(t)
	for i, name := range w.names {
		if err := os.WriteFile(filepath.Join(dir, name), all[i*int(segment):][:segment], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, changed
}

// testCustom compares what is printed of records of extensions. The WAL is a
// server's; only the resource managers were changed, since no server has an
// extension here that writes records of its own.
func testCustom(t *testing.T, w *workload) {
	dir, changed := customize(t, w)
	if len(changed) != 128 {
		t.Fatalf("%d of 128 resource managers have records: %v", len(changed), changed)
	}
	p := []string{"-p", dir, "-s", w.start.String(), "-e", w.end.String()}
	for name, args := range map[string][]string{
		"text":                 nil,
		"details":              {"-b"},
		"statistics":           {"-z"},
		"statistics by record": {"--stats=record"},
		"one":                  {"-r", "custom128"},
		"the last":             {"--rmgr=custom255", "-b"},
		"in another case":      {"-r", "CUSTOM200"},
		"several":              {"-r", "custom130", "-r", "Heap", "-r", "custom131", "--stats=record"},
		"statistics of one":    {"-r", "custom199", "-z"},
		"of a transaction":     {"-x", w.xid, "--stats=record"},
		"of a relation":        {"-R", w.rel, "-z"},
		"full pages":           {"-w", "--stats=record"},
		"a number too small":   {"-r", "custom127"},
		"a number too large":   {"-r", "custom256"},
		"a short number":       {"-r", "custom12"},
		"a long number":        {"-r", "custom1280"},
		"a sign":               {"-r", "custom+99"},
		"a negative number":    {"-r", "custom-56"},
		"a space":              {"-r", "custom 200"},
		"no number":            {"-r", "custom"},
		"what follows":         {"-r", "custom200x", "-n", "1"},
		"a name of its own":    {"-r", "test_custom_rmgrs"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append(slices.Clone(p), args...)
			want := theirs(t, w.c, args...)
			for _, jobs := range []string{"--jobs=1", "--jobs=3"} {
				compare(t, ours(t, append(slices.Clone(args), jobs)...), want)
			}
		})
	}
	text := ours(t, append(p, "-r", "custom128")...).stdout
	if n := strings.Count(text, "rmgr: custom128"); n != changed[128] {
		t.Errorf("%d records of custom128 are shown, %d were made", n, changed[128])
	}
}
