package filter_test

import (
	"testing"

	"github.com/walplex/walplex/host/internal/filter"
	"github.com/walplex/walplex/sdk/wal"
)

// Blocks are looked at by each comparison for itself, != is the negation of ==.
func TestBlocks(t *testing.T) {
	block := func(db, rel wal.OID, n wal.BlockNumber, flags wal.BlockFlags) wal.BlockRef {
		return wal.BlockRef{Rel: wal.RelFileLocator{Spc: 1663, DB: db, Rel: rel}, Block: n, Flags: flags}
	}
	none := &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrTransaction}
	one := &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrHeap, Blocks: []wal.BlockRef{block(5, 100, 3, 0)}}
	two := &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrHeap, Blocks: []wal.BlockRef{block(5, 100, 30, wal.BlockHasImage), block(6, 101, 3, 0)}}
	for text, want := range map[string][3]bool{ // none, one, two
		"record.database == 5":                              {false, true, true},
		"record.database != 5":                              {true, false, false},
		"record.database != 6":                              {true, true, false},
		"!(record.database == 6)":                           {true, true, false},
		"record.database == 5 && record.block < 10":         {false, true, true},
		"record.database == 5 && record.database == 6":      {false, false, true},
		"record.block > 10":                                 {false, false, true},
		"!(record.block > 10)":                              {true, true, false},
		"record.block <= 10":                                {false, true, true},
		"record.block >= 0":                                 {false, true, true},
		"contains([6, 7], record.database)":                 {false, false, true},
		"!contains([6, 7], record.database)":                {true, true, false},
		"contains([3, 30], record.block)":                   {false, true, true},
		"record.has_image":                                  {false, false, true},
		"!record.has_image":                                 {true, true, false},
		"record.has_image == false":                         {true, true, false},
		"record.fork == \"main\"":                           {false, true, true},
		"record.fork != \"vm\"":                             {true, true, true},
		"record.relation == 101 || record.rmgr != \"Heap\"": {true, false, true},
		"record.relation == \"s.t\"":                        {false, false, false},
		"record.relation != \"s.t\"":                        {true, true, true},
		"record.tablespace == 1663 && record.operation == \"COMMIT\" || record.rmgr == \"Transaction\"": {true, false, false},
	} {
		f := compile(t, text)
		if got := [3]bool{f.Match(none), f.Match(one), f.Match(two)}; got != want {
			t.Errorf("%s picks %v of none, one and two blocks; want %v", text, got, want)
		}
	}
}

// An operation is called as its record's major calls it.
func TestOperationByMajor(t *testing.T) {
	for text, want := range map[string][2]bool{ // PG16, PG17
		`record.operation == "VACUUM"`:                                                          {true, false},
		`record.operation == "PRUNE_VACUUM_SCAN"`:                                               {false, true},
		`contains(["VACUUM", "PRUNE_VACUUM_SCAN"], record.operation) && record.rmgr == "Heap2"`: {true, true},
	} {
		f := compile(t, text)
		rec := wal.Record{Version: wal.PG16, RmgrID: wal.RmgrHeap2, Info: 0x20}
		was := f.Match(&rec)
		rec.Version = wal.PG17
		if got := [2]bool{was, f.Match(&rec)}; got != want {
			t.Errorf("%s picks %v of PG16 and PG17, want %v", text, got, want)
		}
	}
}

// mix are filters as people write them.
var mix = map[string]string{
	"rmgr":      `record.rmgr == "Transaction"`,
	"operation": `contains(["COMMIT", "ABORT", "COMMIT_PREPARED"], record.operation) || record.operation == "INSERT"`,
	"design":    `record.rmgr == "Transaction" || record.rmgr == "Heap" && record.database == 16384`,
	"database":  `record.database == 5`,
	"range":     `record.rmgr == "Heap" && record.relation == 16384 && record.block >= 1 && record.block < 3`,
	"names":     `record.relation == "public.orders" || record.relation == "public.items" || record.rmgr == "Transaction"`,
	"large":     `(record.main_data_length > 1000 || record.has_image && record.length > 4096) && !contains([1, 2, 7], record.origin) && record.xid > 710 && record.start_lsn >= lsn("0/1")`,
}

func named(f *filter.Filter) {
	for i := range 2 {
		if n := f.Names(); n != nil {
			n.Add(i, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: wal.OID(16384 + i)})
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	all := random(t, 500_000)
	for name, text := range mix {
		f := compile(t, text)
		named(f)
		picked := 0
		if n := testing.AllocsPerRun(3, func() {
			for _, rec := range all {
				if f.Match(rec) {
					picked++
				}
			}
		}); n != 0 || picked == 0 || picked == len(all) {
			t.Errorf("%s: %v allocations, %d records picked", name, n, picked)
		}
	}
}

// BenchmarkMatch tests records of a mixed load, one an operation.
func BenchmarkMatch(b *testing.B) {
	var all []*wal.Record
	for _, rec := range random(b, 200_000) {
		if rec.Version == wal.PG15 {
			all = append(all, rec)
		}
	}
	for name, text := range mix {
		b.Run(name, func(b *testing.B) {
			f := compile(b, text)
			named(f)
			b.ReportAllocs()
			i, picked := 0, 0
			for b.Loop() {
				if f.Match(all[i]) {
					picked++
				}
				if i++; i == len(all) {
					i = 0
				}
			}
		})
	}
}
