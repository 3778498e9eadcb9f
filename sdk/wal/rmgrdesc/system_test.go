package rmgrdesc

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/walplex/walplex/sdk/wal"
)

// systemRecord makes a record without block references.
func systemRecord(v wal.Version, rmgr wal.RmgrID, info uint8, origin uint16, main []byte) *wal.Record {
	return &wal.Record{
		Version: v, RmgrID: rmgr, Info: info, Origin: origin,
		TotalLen: uint32(len(main)), MainDataLen: uint32(len(main)), Data: main,
	}
}

// systemSample reads a case of testdata/system/<major>.txt.
func systemSample(t testing.TB, v wal.Version, d *datadriven.TestData) *wal.Record {
	t.Helper()
	var name, infoHex string
	origin := 0
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "rmgr":
			name = arg.Vals[0]
		case "info":
			infoHex = arg.Vals[0]
		case "origin":
			origin, _ = strconv.Atoi(arg.Vals[0])
		}
	}
	rmgr, err := wal.ParseRmgrID(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := strconv.ParseUint(infoHex, 16, 8)
	if err != nil {
		t.Fatal(err)
	}
	main, err := hex.DecodeString(d.Input)
	if err != nil {
		t.Fatal(err)
	}
	return systemRecord(v, rmgr, uint8(info), uint16(origin), main)
}

// eachSystemSample calls f with every sample and pg_waldump's text of it.
func eachSystemSample(t *testing.T, f func(t *testing.T, r *wal.Record, d *datadriven.TestData) string) {
	t.Helper()
	for v := wal.PG14; v <= wal.PG18; v++ {
		n := 0
		datadriven.RunTest(t, filepath.Join("testdata", "system", fmt.Sprintf("%d.txt", v)),
			func(t *testing.T, d *datadriven.TestData) string {
				n++
				return f(t, systemSample(t, v, d), d)
			})
		if n < 150 {
			t.Errorf("%v: only %d samples", v, n)
		}
	}
}

func TestSystemSamples(t *testing.T) {
	eachSystemSample(t, func(_ *testing.T, r *wal.Record, _ *datadriven.TestData) string {
		return fmt.Sprintf("%s %q", r.Operation(), Append(nil, r))
	})
}

// TestSystemCutShort cuts every sample at every length: the description either
// is not touched by it, or says so.
func TestSystemCutShort(t *testing.T) {
	eachSystemSample(t, func(t *testing.T, r *wal.Record, d *datadriven.TestData) string {
		whole := string(Append(nil, r))
		if r.RmgrID == wal.RmgrGeneric {
			return d.Expected // has no length: any number of regions is whole
		}
		for n := range r.Data {
			got := string(Append(nil, systemRecord(r.Version, r.RmgrID, r.Info, r.Origin, r.Data[:n])))
			if got != whole && !strings.HasSuffix(got, Truncated) {
				t.Errorf("%v %s %x cut to %d bytes: %q, whole %q", r.Version, r.RmgrID, r.Info, n, got, whole)
			}
		}
		return d.Expected
	})
}

func TestSystemAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 1<<16)
	eachSystemSample(t, func(t *testing.T, r *wal.Record, d *datadriven.TestData) string {
		if n := testing.AllocsPerRun(10, func() { buf = Append(buf[:0], r) }); n != 0 {
			t.Errorf("%v %s %x: %v allocations", r.Version, r.RmgrID, r.Info, n)
		}
		return d.Expected
	})
}

// systemRmgrs are the resource managers of testdata/system.
var systemRmgrs = []wal.RmgrID{
	wal.RmgrXLOG, wal.RmgrTransaction, wal.RmgrStorage, wal.RmgrCLOG, wal.RmgrDatabase, wal.RmgrTablespace,
	wal.RmgrMultiXact, wal.RmgrRelMap, wal.RmgrStandby, wal.RmgrSequence, wal.RmgrCommitTs,
	wal.RmgrReplicationOrigin, wal.RmgrGeneric, wal.RmgrLogicalMessage,
}

// TestSystemSamplesComplete: of every operation of a major there is a sample,
// NOOP among the made-up ones, as no server writes it.
func TestSystemSamplesComplete(t *testing.T) {
	seen := map[string]bool{}
	key := func(r *wal.Record) string { return fmt.Sprint(r.Version, " ", r.RmgrID, " ", r.Operation()) }
	eachSystemSample(t, func(_ *testing.T, r *wal.Record, d *datadriven.TestData) string {
		seen[key(r)] = true
		return d.Expected
	})
	for v := wal.PG14; v <= wal.PG18; v++ {
		for _, rmgr := range systemRmgrs {
			for op := range 16 {
				r := systemRecord(v, rmgr, uint8(op<<4), 0, nil)
				if name := r.Operation(); !strings.HasPrefix(name, "UNKNOWN") && !seen[key(r)] {
					t.Errorf("no sample of %s", key(r))
				}
			}
		}
	}
}

// TestUnknownOperations: what the system's resource managers have no name for
// has no description. (Heap's have one: heap_desc looks at fewer bits than
// heap_identify.)
func TestUnknownOperations(t *testing.T) {
	body := make([]byte, 256)
	for v := wal.PG14; v <= wal.PG18; v++ {
		for _, rmgr := range systemRmgrs {
			for op := range 16 {
				r := systemRecord(v, rmgr, uint8(op<<4), 0, body)
				if !strings.HasPrefix(r.Operation(), "UNKNOWN") {
					continue
				}
				if got := Append(nil, r); len(got) > 0 {
					t.Errorf("%v %s %s: %q", v, rmgr, r.Operation(), got)
				}
			}
		}
	}
	custom := systemRecord(wal.PG15, 128, 0, 0, body)
	if got := Append(nil, custom); len(got) > 0 {
		t.Errorf("of an extension: %q", got)
	}
}

// TestAbortWithoutInvalidations: an abort's xinfo does not announce any, even if
// the bit is set, for which pg_waldump does not look there.
func TestAbortWithoutInvalidations(t *testing.T) {
	body := []byte{
		7, 0, 0, 0, 0, 0, 0, 0, // xact_time
		xinfoInvalidations | xinfoTwoPhase, 0, 0, 0,
		9, 0, 0, 0, // twophase xid
	}
	for v := wal.PG14; v <= wal.PG18; v++ {
		r := systemRecord(v, wal.RmgrTransaction, xactAbortPrepared|xactHasInfo, 0, body)
		if got, want := string(Append(nil, r)), "9: 2000-01-01 00:00:00.000007 UTC"; got != want {
			t.Errorf("%v: got %q, want %q", v, got, want)
		}
	}
}

// TestAppendIn: pg_waldump run with TZ=Asia/Kolkata shows these for the same
// records.
func TestAppendIn(t *testing.T) {
	ist := time.FixedZone("IST", 5*3600+1800)
	at := []byte{7, 0, 0, 0, 0, 0, 0, 0}
	r := systemRecord(wal.PG15, wal.RmgrTransaction, xactCommit, 0, at)
	if got, want := string(AppendIn(nil, r, ist)), "2000-01-01 05:30:00.000007 IST"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r = systemRecord(wal.PG15, wal.RmgrXLOG, xlogOverwriteContrecord, 0, append(make([]byte, 8), at...))
	if got, want := string(AppendIn(nil, r, ist)), "lsn 0/0; time 2000-01-01 05:30:00.000007 IST"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzAppend describes records of any resource manager, operation and body:
// main data, and the data of two block references. Nothing panics, and the text
// is bound by the body's size.
func FuzzAppend(f *testing.F) {
	for rmgr := range wal.RmgrMaxBuiltin + 1 {
		for op := range uint8(16) {
			f.Add(uint8(rmgr), op<<4, uint8(wal.PG14+wal.Version(op%5)), uint16(op), []byte("\x02\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00 and what follows"), uint8(20))
		}
	}
	f.Fuzz(func(t *testing.T, rmgr, info, version uint8, origin uint16, body []byte, mainLen uint8) {
		r := systemRecord(wal.Version(version), wal.RmgrID(rmgr), info, origin, body)
		r.MainDataLen = min(uint32(mainLen), uint32(len(body)))
		rest := uint32(len(body)) - r.MainDataLen
		r.Blocks = []wal.BlockRef{
			{ID: 0, DataOffset: r.MainDataLen, DataLen: uint16(rest / 2)},
			{ID: 2, DataOffset: r.MainDataLen + rest/2, DataLen: uint16(rest - rest/2), Flags: wal.BlockHasImage},
		}
		const perByte, fixed = 16, 1024
		prefix := "kept"
		got := Append([]byte(prefix), r)
		if !strings.HasPrefix(string(got), prefix) {
			t.Errorf("dst was changed: %q", got)
		}
		if limit := perByte*len(body) + fixed; len(got) > limit {
			t.Errorf("%d bytes of text for a body of %d", len(got), len(body))
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	at := []byte{7, 0, 0, 0, 0, 200, 2, 0}
	for _, r := range []*wal.Record{
		systemRecord(wal.PG15, wal.RmgrTransaction, xactCommit, 0, at),
		systemRecord(wal.PG15, wal.RmgrStandby, standbyRunningXacts, 0, make([]byte, 24)),
		systemRecord(wal.PG15, wal.RmgrXLOG, xlogCheckpointOnline, 0, make([]byte, 88)),
	} {
		b.Run(r.RmgrID.String()+"/"+r.Operation(), func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = Append(buf[:0], r)
			}
		})
	}
}
