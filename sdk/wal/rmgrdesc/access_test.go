package rmgrdesc

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// sample is a record that a server wrote, and what the pg_waldump of its major
// prints after "desc: ", up to the block references.
type sample struct {
	record wal.Record
	text   string // "OPERATION description"
}

// accessSamples reads testdata/access/<major>.txt: a line is the resource
// manager, the text quoted, and the record in hexadecimal.
func accessSamples(t testing.TB, v wal.Version) []sample {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "access", strconv.Itoa(int(v))+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), " ")
		end := strings.LastIndexByte(rest, ' ')
		text, err := strconv.Unquote(rest[:end])
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		rec, err := hex.DecodeString(rest[end+1:])
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		s := sample{record: wal.Record{Version: v, Data: rec}, text: text}
		if err := s.record.Decode(rec); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if s.record.RmgrID.String() != name {
			t.Fatalf("%s: a record of %s", lines.Text(), s.record.RmgrID)
		}
		all = append(all, s)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

var majors = []wal.Version{wal.PG14, wal.PG15, wal.PG16, wal.PG17, wal.PG18}

// describe is what pg_waldump prints after "desc: ".
func describe(r *wal.Record) string {
	return string(Append([]byte(r.Operation()+" "), r))
}

func TestAccessSamples(t *testing.T) {
	for _, v := range majors {
		t.Run(v.String(), func(t *testing.T) {
			for _, s := range accessSamples(t, v) {
				if got := describe(&s.record); got != s.text {
					t.Errorf("%s record %x\n got %q\nwant %q", s.record.RmgrID, s.record.Data, got, s.text)
				}
			}
		})
	}
}

// unseen are the named operations of which there is no sample: no server writes
// them.
var unseen = map[string]bool{
	"Heap HOT_UPDATE+INIT": true, // a HOT update stays on a page that has the old tuple
}

// TestAccessSamplesComplete holds the samples to every operation that has a name
// in its major.
func TestAccessSamplesComplete(t *testing.T) {
	ids := []wal.RmgrID{wal.RmgrHeap, wal.RmgrHeap2, wal.RmgrBtree, wal.RmgrHash, wal.RmgrGin, wal.RmgrGist, wal.RmgrSPGist, wal.RmgrBRIN}
	for _, v := range majors {
		seen := map[string]bool{}
		for _, s := range accessSamples(t, v) {
			seen[s.record.RmgrID.String()+" "+s.record.Operation()] = true
		}
		for _, id := range ids {
			for op := range 16 {
				r := wal.Record{Version: v, RmgrID: id, Info: uint8(op << 4)}
				name := id.String() + " " + r.Operation()
				if !strings.Contains(name, "UNKNOWN") && !seen[name] && !unseen[name] {
					t.Errorf("%s: no sample of %s", v, name)
				}
			}
		}
	}
}

// TestAccessCutShort cuts the main data and block 0's data of every sample at
// every length. What is described is the whole or a beginning of it that says so.
func TestAccessCutShort(t *testing.T) {
	for _, v := range majors {
		for _, s := range accessSamples(t, v) {
			full := s.record
			for n := range full.MainDataLen {
				r := full
				r.MainDataLen = n
				checkCut(t, &r, s.text)
			}
			b := block(&full, 0)
			if b == nil || v == wal.PG16 && full.RmgrID == wal.RmgrHeap2 && full.Info&heapOpMask == 0x10 {
				continue // PRUNE of PG16 takes the number of the unused from the length
			}
			blocks := append([]wal.BlockRef(nil), full.Blocks...)
			for n := range b.DataLen {
				r := full
				r.Blocks = append(r.Blocks[:0:0], blocks...)
				block(&r, 0).DataLen = n
				checkCut(t, &r, s.text)
			}
		}
	}
}

func checkCut(t *testing.T, r *wal.Record, whole string) {
	t.Helper()
	got := describe(r)
	if got == whole {
		return
	}
	beginning, cut := strings.CutSuffix(got, Truncated)
	if !cut || !strings.HasPrefix(whole, beginning) {
		t.Errorf("%s %s cut to main data %d:\n  got %q\nwhole %q", r.Version, r.RmgrID, r.MainDataLen, got, whole)
	}
}

func TestAccessAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 1<<16)
	for _, v := range majors {
		samples := accessSamples(t, v)
		n := testing.AllocsPerRun(10, func() {
			for i := range samples {
				buf = Append(buf[:0], &samples[i].record)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations for %d records", v, n, len(samples))
		}
	}
}

// TestAppendDouble is %g of PostgreSQL's printf, as far as no sample shows it.
func TestAppendDouble(t *testing.T) {
	for text, v := range map[string]string{
		"0": "0", "-0": "-0", "1": "1", "10": "10", "123456": "123456", "999999.5": "1e+06",
		"1000000": "1e+06", "1234567": "1.23457e+06", "1e100": "1e+100", "0.0001": "0.0001", "0.00001": "1e-05",
		"30000.25": "30000.2", "NaN": "NaN", "Inf": "Infinity", "-Inf": "-Infinity",
	} {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendDouble(nil, f)); got != v {
			t.Errorf("%s: %s, want %s", text, got, v)
		}
	}
}

// maxExpansion bounds what one byte of a record's body becomes: an updated item
// of a btree takes 4 bytes, a freeze plan 12.
const maxExpansion = 16

// maxFixed bounds the description of the fields of an operation, in bytes.
const maxFixed = 512

func FuzzAccess(f *testing.F) {
	for _, v := range majors {
		for _, s := range accessSamples(f, v) {
			r := &s.record
			var data []byte
			flags := wal.BlockFlags(0)
			if b := block(r, 0); b != nil {
				data, flags = r.BlockData(b), b.Flags
			}
			f.Add(uint8(v), uint8(r.RmgrID), r.Info, uint16(flags), r.MainData(), data)
		}
	}
	f.Fuzz(func(t *testing.T, v, rmgr, info uint8, flags uint16, main, data []byte) {
		if len(data) > 1<<16-1 {
			return
		}
		all := append(append([]byte(nil), data...), main...)
		r := wal.Record{
			Version: wal.Version(v), RmgrID: wal.RmgrID(rmgr), Info: info, Data: all, TotalLen: uint32(len(all)),
			MainDataOffset: uint32(len(data)), MainDataLen: uint32(len(main)),
			Blocks: []wal.BlockRef{{Flags: wal.BlockFlags(flags), DataLen: uint16(len(data))}},
		}
		const before = "before"
		got := Append([]byte(before), &r)
		if !bytes.HasPrefix(got, []byte(before)) {
			t.Fatalf("what stood before is gone: %q", got)
		}
		if bound := len(before) + maxFixed + maxExpansion*len(all); len(got) > bound {
			t.Fatalf("%d bytes of description for a body of %d", len(got), len(all))
		}
	})
}

// TestAccessFlags is what no sample shows: records with images are too long to
// keep, and some flags are rare.
func TestAccessFlags(t *testing.T) {
	const verification = wal.BlockHasImage | wal.BlockHasData
	for _, c := range []struct {
		rmgr  wal.RmgrID
		info  uint8
		main  string
		flags wal.BlockFlags
		want  string
	}{
		{wal.RmgrGin, 0x20, "0300", wal.BlockHasImage | wal.BlockImageApply, "INSERT isdata: T isleaf: T (full page image)"},
		{wal.RmgrGin, 0x20, "010000000700010002000000", verification, "INSERT isdata: T isleaf: F children: 7/65538 (full page image, for WAL verification)"},
		{wal.RmgrGin, 0x90, "", wal.BlockHasImage | wal.BlockImageApply, "VACUUM_DATA_LEAF_PAGE  (full page image)"},
		{wal.RmgrGin, 0x90, "", verification, "VACUUM_DATA_LEAF_PAGE  (full page image, for WAL verification)"},
		{wal.RmgrSPGist, 0x20, "0200010101000300040000000000000000000000", 0, "MOVE_LEAFS nmoves: 2, parentoff: 3, nodeI: 4 (newpage) (replacedead) (nulls)"},
		{wal.RmgrSPGist, 0x50, "01000200030000000400000101000500060000000000000000000000", 0,
			"PICKSPLIT ndelete: 2, ninsert: 3, inneroff: 4, parentoff: 5, nodeI: 6 (innerIsParent) (nulls) (isRootSplit)"},
		{wal.RmgrSPGist, 0x30, "01000200ff00", 0, "ADD_NODE off: 1, newoff: 2, parentBlk: 0" + Truncated},
		{wal.RmgrSPGist, 0x30, "0100020000ff0300040000000000000000000000", 0, "ADD_NODE off: 1, newoff: 2, parentBlk: -1, parentoff: 3, nodeI: 4"},
	} {
		main, err := hex.DecodeString(c.main)
		if err != nil {
			t.Fatal(err)
		}
		r := wal.Record{
			Version: wal.PG18, RmgrID: c.rmgr, Info: c.info, Data: main,
			TotalLen: uint32(len(main)), MainDataLen: uint32(len(main)), Blocks: []wal.BlockRef{{Flags: c.flags}},
		}
		if got := describe(&r); got != c.want {
			t.Errorf("%s %02X:\n got %q\nwant %q", c.rmgr, c.info, got, c.want)
		}
	}
}

func BenchmarkAccess(b *testing.B) {
	samples := accessSamples(b, wal.PG18)
	buf := make([]byte, 0, 1<<16)
	for i := 0; b.Loop(); i++ {
		buf = Append(buf[:0], &samples[i%len(samples)].record)
	}
}
