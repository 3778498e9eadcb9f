package consistency

import (
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// record makes a server, and has it write the WAL to check.
func record(t *testing.T, server postgres.Install) *WAL {
	t.Helper()
	c := pgtest.Start(t, func(o *postgres.Options) { o.Install = server; *o = Options(o.Install) })
	w, err := Record(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// proved are the resource managers whose redo is held against the server.
var proved = []wal.RmgrID{
	wal.RmgrXLOG, wal.RmgrHeap2, wal.RmgrHeap, wal.RmgrSequence, wal.RmgrGeneric, wal.RmgrBtree, wal.RmgrHash,
	wal.RmgrGin, wal.RmgrGist, wal.RmgrSPGist, wal.RmgrBRIN,
}

// verify checks the WAL, and prints the counts.
func verify(t *testing.T, w *WAL) {
	t.Helper()
	report, err := Check(w, Ours())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d segments\n%s", w.Last-w.First+1, report)
	if never := report.Unchecked(); len(never) > 0 {
		t.Errorf("no page was compared of %s", strings.Join(never, ", "))
	}
	for _, id := range proved {
		t.Run(id.String(), func(t *testing.T) {
			for _, k := range report.Kinds {
				if k.Rmgr == id && k.Failed > 0 {
					t.Errorf("%s: %d of %d pages are not as the server has them\n%s",
						k.Operation, k.Failed, k.Failed+k.Checked, strings.Join(k.Failures, "\n"))
				}
			}
		})
	}
}

// After every record of the installed server's, every page is as the server has
// it; and were it not, that would be found.
func TestInstalledServer(t *testing.T) {
	w := record(t, postgres.Install{})
	verify(t, w)
	t.Run("damages", func(t *testing.T) { damages(t, w) })
	t.Run("faults", func(t *testing.T) {
		seedFaults(t, w, slices.Concat(heapFaults, pruneFaults, pruneLowerFaults, btreeFaults, hashFaults,
			ginFaults, gistFaults, spgistFaults, brinFaults))
	})
}
