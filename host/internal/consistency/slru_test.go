package consistency

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/slru"
)

// slruServer makes a server, has it write the WAL, and answers it and the server's files.
func slruServer(t *testing.T, server postgres.Install, prepare func(c *postgres.Cluster)) (*SLRUWAL, *postgres.Cluster) {
	t.Helper()
	c := pgtest.Start(t, func(o *postgres.Options) { o.Install = server; *o = SLRUOptions(o.Install) })
	if prepare != nil {
		prepare(c)
	}
	w, err := RecordSLRU(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return w, c
}

// nearWraparound prepares a server whose ids wrap around.
func nearWraparound(t *testing.T) func(c *postgres.Cluster) {
	return func(c *postgres.Cluster) {
		t.Helper()
		if err := c.Stop(t.Context(), postgres.Fast); err != nil {
			t.Fatal(err)
		}
		if err := NearWraparound(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

// slruChanges are what every run has to have changed and removed.
var slruChanges = []string{
	"Transaction COMMIT: pg_xact", "Transaction COMMIT: pg_commit_ts", "Transaction ABORT: pg_xact",
	"Transaction COMMIT_PREPARED: pg_xact", "Transaction COMMIT_PREPARED: pg_commit_ts", "Transaction ABORT_PREPARED: pg_xact",
	"CLOG ZEROPAGE: pg_xact", "CommitTs ZEROPAGE: pg_commit_ts", "XLOG PARAMETER_CHANGE: pg_commit_ts",
	"MultiXact ZERO_OFF_PAGE: pg_multixact/offsets", "MultiXact ZERO_MEM_PAGE: pg_multixact/members",
	"MultiXact CREATE_ID: pg_multixact/offsets", "MultiXact CREATE_ID: pg_multixact/members",
}

// verifySLRU redoes the WAL and compares with the server that wrote it, and with the
// same one after it has recovered from the WAL.
func verifySLRU(t *testing.T, w *SLRUWAL, c *postgres.Cluster, removed ...slru.Kind) {
	t.Helper()
	pages, err := RedoSLRU(w, OurSLRU())
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range slices.Sorted(maps.Keys(pages.Changed)) {
		t.Logf("%7d %s", pages.Changed[what], what)
	}
	t.Logf("removed %v", pages.Removed)
	for _, what := range slruChanges {
		if pages.Changed[what] == 0 {
			t.Errorf("no change of %s", what)
		}
	}
	for _, kind := range removed {
		if pages.Removed[kind] == 0 {
			t.Errorf("no page of %s was removed", kind)
		}
	}
	least := func(r *Recovered, pages int, what string) {
		t.Logf("%s: %d pages are as the server has them, %d are holes of files", what, r.Pages, r.Dropped)
		if r.Failed > 0 || r.Pages < pages {
			t.Errorf("%s: %d pages differ, %d do not\n%s", what, r.Failed, r.Pages, strings.Join(r.Failures, "\n"))
		}
	}
	compare := func(what string) {
		r, err := CompareSLRU(pages, c.DataDir())
		if err != nil {
			t.Fatal(err)
		}
		least(r, 20, what)
	}
	least(pages.Middle, 200, "the server in the midst of the WAL")
	compare("the server that wrote the WAL")
	if err := w.Recover(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	compare("its recovery")
}

// After all records every page of every SLRU is as the installed server has it, from
// the first ids on; and were it not, that would be found.
func TestSLRU(t *testing.T) {
	w, c := slruServer(t, postgres.Install{}, nil)
	verifySLRU(t, w, c, slru.MultiXactOffsets, slru.MultiXactMembers, slru.CommitTs)
	t.Run("faults", func(t *testing.T) { seedSLRUFaults(t, w, c, slruFaults) })
}

// So it is where ids wrap around.
func TestSLRUWraparound(t *testing.T) {
	w, c := slruServer(t, postgres.Install{}, nearWraparound(t))
	verifySLRU(t, w, c, slruKinds...)
	t.Run("faults", func(t *testing.T) { seedSLRUFaults(t, w, c, slruWrapFaults) })
}

// slruFault is a mistake in redo.
type slruFault struct {
	name string
	redo func(seeded *int) SLRURedo
}

// spoiltPage is a fault in what a kind of record does to pages of a kind.
func spoiltPage(name string, rmgr wal.RmgrID, info uint8, kind slru.Kind, s spoil) slruFault {
	return slruFault{name, func(seeded *int) SLRURedo {
		r := OurSLRU()
		r.Apply = func(page []byte, rec *wal.Record, p slru.Page) error {
			before := [wal.BlockSize]byte(page)
			err := slru.Apply(page, rec, p)
			if err == nil && rec.RmgrID == rmgr && rec.Info&0x70 == info && p.Kind == kind {
				after := [wal.BlockSize]byte(page)
				s(page, before[:])
				if [wal.BlockSize]byte(page) != after {
					*seeded++
				}
			}
			return err
		}
		return r
	}}
}

// pagesLost is a fault in which pages a record changes.
func pagesLost(name string, lost func(rec *wal.Record, p slru.Page) bool) slruFault {
	return slruFault{name, func(seeded *int) SLRURedo {
		r := OurSLRU()
		r.Pages = func(rec *wal.Record, dst []slru.Page) []slru.Page {
			return slices.DeleteFunc(slru.Pages(rec, dst), func(p slru.Page) bool {
				if lost(rec, p) {
					*seeded++
					return true
				}
				return false
			})
		}
		return r
	}}
}

// removedWrongly is a fault in what is removed.
func removedWrongly(name string, change func(t *slru.Truncation) bool) slruFault {
	return slruFault{name, func(seeded *int) SLRURedo {
		r := OurSLRU()
		r.Truncated = func(rec *wal.Record, dst []slru.Truncation) []slru.Truncation {
			dst = slru.Truncated(rec, dst)
			for i := range dst {
				if change(&dst[i]) {
					*seeded++
				}
			}
			return dst
		}
		return r
	}}
}

func ofKind(k slru.Kind) func(*wal.Record, slru.Page) bool {
	return func(_ *wal.Record, p slru.Page) bool { return p.Kind == k && !p.Init }
}

var slruFaults = []slruFault{
	spoiltPage("a ZEROPAGE leaves a state", wal.RmgrCLOG, 0x00, slru.Xact, flipped(wal.BlockSize-1, 1)),
	spoiltPage("aborts are commits", wal.RmgrTransaction, 0x20, slru.Xact, func(page, before []byte) {
		for i := range page {
			page[i] = before[i] | (page[i]^before[i])>>1
		}
	}),
	spoiltPage("a prepared transaction's abort", wal.RmgrTransaction, 0x40, slru.Xact, skipped),
	spoiltPage("a prepared transaction's time", wal.RmgrTransaction, 0x30, slru.CommitTs, skipped),
	spoiltPage("a status of a member", wal.RmgrMultiXact, 0x20, slru.MultiXactMembers, func(page, before []byte) {
		for i := 0; i < len(page)-20; i += 20 {
			copy(page[i:i+4], before[i:i+4])
		}
	}),
	spoiltPage("a member's xid", wal.RmgrMultiXact, 0x20, slru.MultiXactMembers, func(page, before []byte) {
		copy(page[16:20], before[16:20])
	}),
	spoiltPage("the last offset of a page", wal.RmgrMultiXact, 0x20, slru.MultiXactOffsets, kept(wal.BlockSize-4, 4)),
	spoiltPage("the origin of a commit", wal.RmgrTransaction, 0x00, slru.CommitTs, func(page, before []byte) {
		for i := 8; i < len(page); i += 10 {
			copy(page[i:i+2], before[i:i+2])
		}
	}),
	pagesLost("states of subtransactions on a later page", func(rec *wal.Record, p slru.Page) bool {
		return rec.RmgrID == wal.RmgrTransaction && p.Kind == slru.Xact && p.Number != slru.XactPage(rec.XID) && rec.Info&0x70 == 0
	}),
	pagesLost("times of subtransactions on a later page", func(rec *wal.Record, p slru.Page) bool {
		return rec.RmgrID == wal.RmgrTransaction && p.Kind == slru.CommitTs && p.Number != slru.CommitPage(rec.XID) && rec.Info&0x70 == 0
	}),
	pagesLost("offsets", ofKind(slru.MultiXactOffsets)),
	pagesLost("members", ofKind(slru.MultiXactMembers)),
	removedWrongly("a file of members too few", func(t *slru.Truncation) bool {
		if t.Kind == slru.MultiXactMembers && t.To > 0 {
			t.To--
			return true
		}
		return false
	}),
	removedWrongly("a file of offsets too many", func(t *slru.Truncation) bool {
		if t.Kind == slru.MultiXactOffsets {
			t.Cutoff += slru.PagesPerSegment
			return true
		}
		return false
	}),
	removedWrongly("times stay when they are no longer kept", func(t *slru.Truncation) bool {
		if t.All {
			*t = slru.Truncation{Kind: slru.CommitTs}
			return true
		}
		return false
	}),
}

var slruWrapFaults = []slruFault{
	pagesLost("members on page 0", func(_ *wal.Record, p slru.Page) bool {
		return p.Kind == slru.MultiXactMembers && p.Number == 0 && !p.Init
	}),
	pagesLost("states on page 0", func(_ *wal.Record, p slru.Page) bool {
		return p.Kind == slru.Xact && p.Number == 0 && !p.Init
	}),
	removedWrongly("states stay", func(t *slru.Truncation) bool {
		if t.Kind == slru.Xact {
			t.Cutoff = slru.Xact.LastPage()
			return true
		}
		return false
	}),
	removedWrongly("members stay", func(t *slru.Truncation) bool {
		if t.Kind == slru.MultiXactMembers && t.From > t.To {
			t.From = t.To
			return true
		}
		return false
	}),
}

// seedSLRUFaults puts each fault into redo, and has the comparison find it.
func seedSLRUFaults(t *testing.T, w *SLRUWAL, c *postgres.Cluster, faults []slruFault) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			seeded := 0
			pages, err := RedoSLRU(w, f.redo(&seeded))
			failed := fmt.Sprint(err)
			if err == nil {
				r, err := CompareSLRU(pages, c.DataDir())
				if err != nil {
					t.Fatal(err)
				}
				failed = ""
				if n := pages.Middle.Failed + r.Failed; n > 0 {
					failed = fmt.Sprintf("%d pages differ", n)
				}
			}
			switch {
			case seeded == 0:
				t.Error("the fault was nowhere: there was nothing to find")
			case failed == "":
				t.Errorf("the fault was seeded %d times, and no difference was found", seeded)
			}
		})
	}
}
