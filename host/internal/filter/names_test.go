package filter_test

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

func told(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A name stands for nothing until its file is known, and for every file that it
// ever had.
func TestNames(t *testing.T) {
	f := compile(t, `record.relation == "public.orders" || record.relation == "shop.public.items" || record.relation == "public.orders"`)
	n := f.Names()
	if l := n.List(); len(l) != 2 || l[0].String() != "public.orders" || l[1].Database != "shop" || l[1].String() != "shop.public.items" {
		t.Fatalf("names %v", l)
	}
	rec := &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrHeap, Blocks: []wal.BlockRef{{}}}
	match := func(spc, db, rel wal.OID) bool {
		rec.Blocks[0].Rel = wal.RelFileLocator{Spc: spc, DB: db, Rel: rel}
		return f.Match(rec)
	}
	if match(1663, 5, 100) {
		t.Error("a record is picked by an unknown name")
	}
	if !n.Add(0, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 100}) || n.Add(0, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 100}) {
		t.Error("a file must be new the first time only")
	}
	n.Add(1, wal.RelFileLocator{Spc: 1663, DB: 6, Rel: 100})
	n.Add(0, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 50})
	for _, c := range []struct {
		spc, db, rel wal.OID
		want         bool
	}{{1663, 5, 100, true}, {1663, 5, 50, true}, {1663, 6, 100, true}, {1663, 6, 50, false}, {1664, 5, 100, false}, {1663, 5, 75, false}, {1663, 5, 101, false}} {
		if got := match(c.spc, c.db, c.rel); got != c.want {
			t.Errorf("a record of %d/%d/%d: %t", c.spc, c.db, c.rel, got)
		}
	}
}

// Only so many files are kept of a name, the newest.
func TestNamesAreBounded(t *testing.T) {
	f := compile(t, `record.relation == "s.t"`)
	const many = 5000
	for i := range many {
		f.Names().Add(0, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: wal.OID(10 + i)})
	}
	rec := &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrHeap, Blocks: []wal.BlockRef{{}}}
	kept := 0
	for i := range many {
		rec.Blocks[0].Rel = wal.RelFileLocator{Spc: 1663, DB: 5, Rel: wal.OID(10 + i)}
		if f.Match(rec) {
			kept++
		} else if kept > 0 {
			t.Fatalf("file %d is forgotten, older ones are not", i)
		}
	}
	if kept < 1000 || kept >= many {
		t.Errorf("%d files are kept", kept)
	}
}

func TestStale(t *testing.T) {
	f := compile(t, `record.relation == "s.t"`)
	n := f.Names()
	create := &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrStorage, Info: 0x10, XID: 731}
	xact := func(info uint8, xid wal.XID) *wal.Record {
		return &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrTransaction, Info: info, XID: xid}
	}
	for _, s := range []struct {
		what string
		rec  *wal.Record
		want bool
	}{
		{"a commit of one that made nothing", xact(0x00, 731), false},
		{"a truncation", &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrStorage, Info: 0x20, XID: 731}, false},
		{"a new file", create, true},
		{"another commit", xact(0x00, 732), false},
		{"an assignment", xact(0x50, 731), false},
		{"the preparation", xact(0x10, 731), false},
		{"the commit, with more to tell", xact(0x80|0x30, 731), true},
		{"the commit again", xact(0x00, 731), false},
	} {
		if f.Match(s.rec) {
			t.Errorf("%s is picked", s.what)
		}
		if got := told(n.Stale()); got != s.want {
			t.Errorf("after %s: stale %t", s.what, got)
		}
	}
	for i := range 1000 { // many transactions, none committed: told all the same
		create.XID = wal.XID(1000 + i)
		f.Match(create)
	}
	if !told(n.Stale()) || told(n.Stale()) {
		t.Error("many files are to be told once")
	}
	if compile(t, "record.relation == 16384").Names() != nil {
		t.Error("names of a filter without")
	}
}
