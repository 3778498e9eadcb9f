package consistency

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// recovered makes a server, has it write WAL without images, and recover from it.
// It answers the data directory.
func recovered(t *testing.T, server postgres.Install) (*WAL, string) {
	t.Helper()
	c := pgtest.Start(t, func(o *postgres.Options) {
		o.Install = server
		*o = Options(o.Install)
		delete(o.Conf, "wal_consistency_checking")
	})
	w, err := Record(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Recover(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return w, c.DataDir()
}

// leastRecovered is how many pages a run compares at least: some 6,000 they are.
const leastRecovered = 3000

// verifyRecovered compares all pages with those of the recovered server.
func verifyRecovered(t *testing.T, w *WAL, dataDir string) {
	t.Helper()
	r, err := CompareRecovered(w, Ours(), dataDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pages are compared with those of a server that recovered; %d are of relations that are gone", r.Pages, r.Dropped)
	if r.Failed > 0 {
		t.Errorf("%d pages differ\n%s", r.Failed, strings.Join(r.Failures, "\n"))
	}
	if r.Pages < leastRecovered {
		t.Errorf("only %d pages were compared", r.Pages)
	}
}

// After all records every page is, in every byte, as the recovery of the
// installed server makes it; and were it not, that would be found.
func TestRecoveredServer(t *testing.T) {
	w, dataDir := recovered(t, postgres.Install{})
	verifyRecovered(t, w, dataDir)
	for _, f := range slices.Concat(hiddenFaults, hiddenIndexFaults) {
		t.Run(fmt.Sprintf("faults/%s/%s", f.rmgr, f.name), func(t *testing.T) {
			seeded := 0
			r, err := CompareRecovered(w, f.redo(&seeded), dataDir)
			switch {
			case err != nil:
				t.Fatal(err)
			case seeded == 0:
				t.Error("no record of the kind changed such a page: there was nothing to find")
			case r.Failed == 0:
				t.Errorf("%d pages were spoilt, and no difference was found", seeded)
			}
		})
	}
}
