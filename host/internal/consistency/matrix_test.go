//go:build matrix

package consistency

import (
	"context"
	"slices"
	"testing"

	"github.com/walplex/walplex/host/internal/golden/servers"
	"github.com/walplex/walplex/host/internal/postgres"
)

// pruningFaults are those of a major's records.
func pruningFaults(major int) []fault {
	switch {
	case major >= 17:
		return pruneFreezeFaults
	case major >= 15:
		return slices.Concat(pruneFaults, pruneLowerFaults)
	}
	return pruneFaults
}

// After every record of every major's server, every page is as the server has it,
// and after all of them as its recovery makes it. Of 17 and 18 there are two servers each, for the two layouts that heap
// records have there.
func TestMajors(t *testing.T) {
	cache, err := servers.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		name   string
		major  int
		obtain func(context.Context, string, int) (postgres.Install, error)
	}{
		{"14", 14, servers.NPM}, {"15", 15, servers.NPM}, {"16", 16, servers.NPM},
		{"17", 17, servers.NPM}, {"17Distribution", 17, servers.Apt},
		{"18", 18, servers.NPM}, {"18Distribution", 18, servers.Apt},
	} {
		t.Run(s.name, func(t *testing.T) {
			in, err := s.obtain(t.Context(), cache, s.major)
			if err != nil {
				t.Fatal(err)
			}
			images := record(t, in)
			verify(t, images)
			t.Run("faults", func(t *testing.T) {
				seedFaults(t, images, pruningFaults(s.major))
			})
			w, dataDir := recovered(t, in)
			verifyRecovered(t, w, dataDir)
		})
	}
}
