package wal

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// recordedOperations reads testdata/operations.txt: what pg_waldump of each
// major printed.
func recordedOperations(t *testing.T) map[Version]map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[Version]map[string]string{PG14: {}, PG15: {}, PG16: {}, PG17: {}, PG18: {}}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var rmgr, info, name string
		var from, to Version
		if n, err := fmt.Sscanf(line, "%s %s %d %d %s", &rmgr, &info, &from, &to, &name); n != 5 {
			t.Fatalf("%q: %v", line, err)
		}
		for v := from; v <= to; v++ {
			all[v][rmgr+" "+info] = name
		}
	}
	return all
}

func TestOperationAsRecorded(t *testing.T) {
	for v, recorded := range recordedOperations(t) {
		used := 0
		for id := range 256 {
			for info := range 256 {
				r := Record{Version: v, RmgrID: RmgrID(id), Info: uint8(info)}
				mask := 0xF0
				if r.RmgrID == RmgrTransaction {
					mask = xactOpMask
				}
				want, ok := recorded[fmt.Sprintf("%s %02X", r.RmgrID, info&mask)]
				if !ok {
					want = fmt.Sprintf("UNKNOWN (%x)", info&0xF0)
				} else if info == info&mask {
					used++
				}
				if got := r.Operation(); got != want {
					t.Errorf("%s: operation %02X of %s is %q, pg_waldump says %q", v, info, r.RmgrID, got, want)
				}
			}
		}
		if used != len(recorded) {
			t.Errorf("%s: %d of %d recorded names were asked for", v, used, len(recorded))
		}
	}
}

// TestOperationAsInstalled asks the pg_waldump that is installed, so that the
// recording cannot drift from the tool.
func TestOperationAsInstalled(t *testing.T) {
	tool, v := pgWaldump(t)
	n := 0
	for line := range strings.Lines(waldumpOperations(t, tool, v)) {
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		info, want, _ := strings.Cut(rest, " ")
		id, err := ParseRmgrID(name)
		if err != nil {
			t.Fatal(err)
		}
		r := Record{Version: v, RmgrID: id}
		if _, err := fmt.Sscanf(info, "%X", &r.Info); err != nil {
			t.Fatal(err)
		}
		if got := r.Operation(); got != want {
			t.Errorf("operation %s of %s is %q, %s says %q", info, name, got, tool, want)
		}
		n++
	}
	want := 22*16 - 8 // Transaction has 8
	if v >= PG15 {
		want += 2 * 16
	}
	if n != want {
		t.Errorf("%s named %d operations, want %d", tool, n, want)
	}
}

func TestOperationAllocatesNothing(t *testing.T) {
	n := 0
	if allocs := testing.AllocsPerRun(10, func() {
		for id := range 256 {
			r := Record{Version: PG15, RmgrID: RmgrID(id), Info: 0xF0}
			n += len(r.Operation())
		}
	}); allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}
